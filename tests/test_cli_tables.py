"""The commands for tables: ``nnpy train``, ``nnpy predict`` and ``nnpy info``."""

import csv
import io
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import nnpy
from nnpy._commands import main, report, table, train

CITIES = ["Bern", "Oslo", "Rome"]


def write(path, rows, *, delimiter=",", encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def read(text):
    return list(csv.reader(io.StringIO(text)))


@pytest.fixture
def nnpy_(capsys):
    """Run the command; return what it prints, and check that it succeeds or, with `status`, how it fails."""

    def run(*arguments, status=0):
        try:
            found = main.main([str(argument) for argument in arguments])
        except SystemExit as error:
            found = error.code
        out, err = capsys.readouterr()
        assert found == status, err
        if status == 1:
            assert err.count("\n") == 1
            return err.removesuffix("\n")
        return out if status == 0 else err

    return run


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def houses(num=60):
    """A quantity that depends on a number and on a category."""
    rng = np.random.default_rng(0)
    size, city = rng.uniform(20, 200, num).round(1), rng.integers(0, 3, num)
    price = (size * (1 + city)).round(2)
    return [["size", "city", "price"], *([s, CITIES[c], p] for s, c, p in zip(size, city, price, strict=True))]


def flowers(num=60):
    """Three classes that two numbers tell apart."""
    kinds = np.arange(num) % 3
    x = (kinds[:, np.newaxis] * [3.0, -2.0] + np.random.default_rng(0).normal(0, 0.3, (num, 2))).round(3)
    names = ["rose", "tulip", "weed \u2013 tall"]
    return [["length", "width", "kind"], *([*row, names[k]] for row, k in zip(x.tolist(), kinds, strict=True))]


# ---- Training, predicting and describing


def test_classes(nnpy_, here):
    rows = flowers()
    write("flowers.csv", rows)
    out = nnpy_("train", "flowers.csv", "--target", "kind", "--seed", 3)
    lines = out.splitlines()
    assert lines[:4] == [
        "flowers.csv: 60 rows, 3 columns",
        "target: kind, 3 classes: rose (20), tulip (20), weed \u2013 tall (20)",
        "inputs: 2 columns: length, width",
        "48 rows to train on, 12 held out for validation, the same proportion of each class (seed 3)",
    ]
    assert lines[4] == "network: 2-32-3, sigmoid, softmax; 195 parameters"
    assert re.fullmatch("fit chose: .*Adam .*; \\d+ epochs .* by 5-fold cross-validation", lines[5])
    assert re.fullmatch(r"trained for [\d,]+ epochs in \d+\.\d\d s", lines[6])
    assert lines[8].split() == ["training", "validation", "always", "rose"]
    assert lines[9].split() == ["accuracy", "1.0000", "1.0000", "0.3333"]
    assert [line.split()[-4:] for line in lines[13:16]] == [
        ["4", "0", "0", "1.00"],
        ["0", "4", "0", "1.00"],
        ["0", "0", "4", "1.00"],
    ]
    assert re.fullmatch(r"saved to flowers\.npz, \d KB", lines[17])
    assert lines[18] == "next: nnpy predict flowers.npz flowers.csv --output predictions.csv"

    net = nnpy.load("flowers.npz")
    assert (net.feature_names, net.target_names) == (("length", "width"), ("kind",))
    assert net.class_names == ("rose", "tulip", "weed \u2013 tall")
    predictions = read(nnpy_("predict", "flowers.npz", "flowers.csv"))
    assert predictions[0] == ["kind", "P(rose)", "P(tulip)", "P(weed \u2013 tall)"]
    assert [row[0] for row in predictions[1:]] == [row[2] for row in rows[1:]]
    expected = net.predict(np.array([row[:2] for row in rows[1:]]))
    np.testing.assert_allclose(np.array([row[1:] for row in predictions[1:]], float), expected, rtol=1e-5)


def test_the_network_is_the_one_of_fit_with_its_defaults(nnpy_, here):
    """What the options leave open is left to fit: with all rows, the network is that of a few lines of Python."""
    rows = flowers()
    write("flowers.csv", rows)
    nnpy_("train", "flowers.csv", "--target", "kind", "--validation", 0, "--hidden", "5,4", "--seed", 1)
    net = nnpy.NeuralNetwork([2, 5, 4, 3], seed=1)
    x, labels = np.array([row[:2] for row in rows[1:]], float), np.arange(60) % 3
    net.fit(x, labels, seed=1)
    np.testing.assert_array_equal(nnpy.load("flowers.npz").parameters, net.parameters)


def test_a_quantity_and_categories(nnpy_, here):
    rows = houses(200)
    write("houses.csv", rows)
    out = nnpy_("train", "houses.csv", "--target", "price", "--categories", "city", "--save", "net.npz")
    assert "target: price, a quantity\ninputs: 4 from 2 columns: size, city\n" in out
    scores = {line[:4].strip(): line.split()[1:] for line in out.splitlines() if re.match("R.2|MAE|RMSE", line)}
    assert float(scores["R^2"][0]) > 0.97
    assert float(scores["R^2"][1]) > 0.95
    assert -0.2 < float(scores["R^2"][2]) <= 0
    assert float(scores["MAE"][1]) < float(scores["MAE"][2]) / 3
    assert float(scores["RMSE"][1]) < float(scores["RMSE"][2]) / 3
    net = nnpy.load("net.npz")
    assert net.feature_names == ("size", "city=Bern", "city=Oslo", "city=Rome")
    assert (net.class_names, net.target_names) == (None, ("price",))

    predictions = read(nnpy_("predict", "net.npz", "houses.csv"))
    x = np.array([[row[0], *(row[1] == city for city in CITIES)] for row in rows[1:]], float)
    np.testing.assert_allclose(np.array(predictions[1:], float), net.predict(x), rtol=1e-6)
    assert predictions[0] == ["price"]

    # The columns may be in any order, and there may be others.
    write("other.csv", [["city", "owner", "size"], *([row[1], "Ann", row[0]] for row in rows[1:])])
    assert read(nnpy_("predict", "net.npz", "other.csv")) == predictions


def test_scores_of_the_report(nnpy_, here):
    """Against the definitions, from the predictions of the saved network."""
    rows = houses(50)
    write("houses.csv", rows)
    out = nnpy_("train", "houses.csv", "--target", "price", "--features", "size", "--epochs", 50, "--validation", 0)
    price = np.array([row[2] for row in rows[1:]], float)
    predicted = np.array(read(nnpy_("predict", "houses.npz", "houses.csv"))[1:], float)[:, 0]

    def scores(guess):
        error = price - guess
        return [1 - (error**2).sum() / price.var() / 50, np.abs(error).mean(), np.sqrt((error**2).mean())]

    found = np.array([line.split()[1:] for line in out.splitlines() if re.match("R.2|MAE|RMSE", line)], float)
    np.testing.assert_allclose(found, np.transpose([scores(predicted), scores(price.mean())]), rtol=1e-3, atol=1e-4)
    assert f"training  always {price.mean():.4g}" in out
    assert "50 rows to train on, none held out" in out


def test_several_targets(nnpy_, here):
    x = np.random.default_rng(0).normal(size=(80, 2)).round(4)
    write("two.csv", [["a", "b", "sum", "difference"], *np.column_stack([x, x.sum(1), x[:, 0] - x[:, 1]]).tolist()])
    out = nnpy_("train", "two.csv", "--target", "sum,difference", "--epochs", 100)
    assert "target: sum, difference, quantities\n" in out
    assert [line for line in out.splitlines() if line in ("sum", "difference")] == ["sum", "difference"]
    predictions = read(nnpy_("predict", "two.npz", "two.csv"))
    assert predictions[0] == ["sum", "difference"]
    np.testing.assert_allclose(np.array(predictions[1:], float)[:, 0], x.sum(1), atol=0.8)


def test_numbers_as_classes_or_as_a_quantity(nnpy_, here):
    write("grades.csv", [["x", "grade"], *([i % 3 + 0.1 * (i % 5), i % 3 - 1] for i in range(60))])
    out = nnpy_("train", "grades.csv", "--target", "grade", "--epochs", 2)
    assert "3 classes: -1 (20), 0 (20), 1 (20); whole numbers: --regression takes them for quantities\n" in out
    assert nnpy.load("grades.npz").class_names == ("-1", "0", "1")
    out = nnpy_("train", "grades.csv", "--target", "grade", "--epochs", 2, "--regression")
    assert "target: grade, a quantity\n" in out
    assert nnpy.load("grades.npz").activations == ("sigmoid", "linear")
    write("grades.csv", [["x", "grade"], *([i % 3, i % 3 + 0.5] for i in range(60))])
    assert "target: grade, a quantity\n" in nnpy_("train", "grades.csv", "--target", "grade", "--epochs", 2)
    out = nnpy_("train", "grades.csv", "--target", "grade", "--epochs", 2, "--classification")
    assert "3 classes: 0.5 (20), 1.5 (20), 2.5 (20)\n" in out
    write("grades.csv", [["x", "grade"], *([i, i % 21] for i in range(90))])
    assert "target: grade, a quantity\n" in nnpy_("train", "grades.csv", "--target", "grade", "--epochs", 2)


def test_options_of_the_training(nnpy_, here, monkeypatch):
    write("flowers.csv", flowers())
    given, fit = [], nnpy.NeuralNetwork.fit
    monkeypatch.setattr(
        nnpy.NeuralNetwork, "fit", lambda net, *data, **how: given.append((net, how)) or fit(net, *data, **how)
    )
    common = ["train", "flowers.csv", "--target", "kind", "--no-save", "--quiet"]
    nnpy_(*common)
    nnpy_(*common, "--activation", "relu", "--hidden", "6", "--epochs", 3, "--optimizer", "sgd", "--learning-rate", 0.1)
    nnpy_(*common, "--learning-rate", 0.1, "--epochs", 3)
    nnpy_(*common, "--optimizer", "lbfgs", "--epochs", 3, "--seed", 7)
    optimizers = [how["optimizer"] for _, how in given]
    assert optimizers == [None, nnpy.SGD(0.1), nnpy.Adam(nnpy.CosineDecay(0.1)), "lbfgs"]
    assert [how["epochs"] for _, how in given] == ["auto", 3, 3, 3]
    assert [how["seed"] for _, how in given] == [0, 0, 0, 7]
    assert given[1][0].layer_sizes == (2, 6, 3)
    assert given[1][0].activations == ("relu", "softmax")
    assert os.listdir() == ["flowers.csv"]


def test_quiet_and_verbose(nnpy_, here):
    write("flowers.csv", flowers())
    common = ["train", "flowers.csv", "--target", "kind", "--epochs", 3]
    assert nnpy_(*common, "--quiet").splitlines()[0].split() == ["training", "validation", "always", "rose"]
    out = nnpy_(*common, "--verbose")
    assert len(re.findall(r"^.*loss.*$", out, re.MULTILINE)) == 3
    assert out.count("Adam with a learning rate from 0.02 to 0\n") == 1
    assert "loss" not in nnpy_(*common)


def test_many_classes_and_columns(nnpy_, here):
    x = np.random.default_rng(0).normal(size=(200, 12)).round(3).tolist()
    write(
        "many.csv", [[*(f"x{i}" for i in range(12)), "y"], *([*row, f"class {i % 20:02}"] for i, row in enumerate(x))]
    )
    out = nnpy_("train", "many.csv", "--target", "y", "--epochs", 1)
    assert "20 classes: class 00 (10), " in out
    assert " and 12 more\n" in out
    assert "inputs: 12 columns: x0, x1, x2, x3, x4, x5, x6, x7 and 4 more\n" in out
    assert "most frequent confusions of the validation rows\n" in out
    assert re.search(r"^ +\d+  class \d\d predicted as class \d\d$", out, re.MULTILINE)


def test_a_table_of_many_parts(here):
    """It is read in many parts, and no number is lost or misplaced."""
    x = np.random.default_rng(0).normal(size=(30_001, 3))
    write("large.csv", [["a", "b", "c"], *x.tolist()])
    with table.open_table("large.csv", table.Format()) as opened:
        parts = list(opened.parts())
    assert len(parts) > 5
    np.testing.assert_array_equal(
        np.concatenate([np.stack([p.numbers(i).values for i in range(3)], 1) for p in parts]), x
    )
    assert [place for part in parts for place in part.places] == list(range(2, 30_003))


def test_info_of_networks(nnpy_, here):
    write("houses.csv", houses())
    nnpy_("train", "houses.csv", "--target", "price", "--categories", "city", "--epochs", 2)
    out = nnpy_("info", "houses.npz")
    size = os.path.getsize("houses.npz")
    assert out.startswith(f"houses.npz: a network, {size:,} bytes, format 3\nlayer  shape ")
    assert "scaled: inputs and targets\ntarget: price\n" in out
    scaler = nnpy.load("houses.npz").scaler
    assert f"price   {scaler.y_mean[0]:.6g}  {scaler.y_scale[0]:.6g}\n" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert rows["size"] == [f"{scaler.x_mean[0]:.6g}", f"{scaler.x_scale[0]:.6g}"]
    assert "city=Rome" in rows

    net = nnpy.NeuralNetwork([2, 1], seed=0)
    net.partial_fit([[0, 1]], [1], optimizer=nnpy.SGD(0.5))
    net.save("learning.npz")
    out = nnpy_("info", "learning.npz")
    assert "optimizer: SGD(learning_rate=0.5, " in out
    assert out.endswith("inputs: without names\n")
    net.fit(np.eye(2), [0, 1], epochs=3, checkpoint="checkpoint.npz")
    assert "checkpoint: 3 epochs\n" in nnpy_("info", "checkpoint.npz")
    net.fit(np.eye(2), [0, 1], epochs=9, early_stopping=1, checkpoint="checkpoint.npz", optimizer=nnpy.SGD(1e-30))
    assert "checkpoint: 2 epochs, stopped: early\n" in nnpy_("info", "checkpoint.npz")
    net.feature_names, net.class_names = ["left", "right\x1b[31m"], ["no", "yes"]
    net.quantize(np.eye(2)).save("int8.npz")
    out = nnpy_("info", "int8.npz")
    assert re.match(r"int8\.npz: a network of 8-bit integers, [\d,]+ bytes, format 1\n", out)
    assert "classes: no, yes\ninput  name\n    1  left\n    2  'right\\x1b[31m'\n" in out
    wide = nnpy.NeuralNetwork([50, 120])
    wide.feature_names, wide.class_names = map(str, range(50)), map(str, range(120))
    wide.save("wide.npz")
    out = nnpy_("info", "wide.npz")
    assert ", 98, 99 and 20 more\n" in out
    assert out.endswith("\n   40  39\nand 10 more\n")
    wide.fit_scaler(np.random.default_rng(0).normal(10, size=(5, 50)))
    wide.save("wide.npz")
    assert nnpy_("info", "wide.npz").endswith("\nand 10 more\n")


# ---- Kinds of files


@pytest.mark.parametrize(
    ("how", "arguments"),
    [
        ({"delimiter": ";", "encoding": "utf-8-sig"}, []),
        ({"delimiter": "\t"}, []),
        ({"delimiter": "\t", "encoding": "utf-16"}, []),
        ({"delimiter": "|"}, ["--delimiter", "|"]),
        ({"delimiter": "\t"}, ["--delimiter", "tab"]),
        ({"encoding": "cp1252"}, ["--encoding", "cp1252"]),
        ({"encoding": "utf-8-sig"}, ["--encoding", "utf-8"]),
    ],
)
def test_delimiters_and_encodings(nnpy_, here, how, arguments):
    rows = flowers()
    write("flowers.csv", rows)
    nnpy_("train", "flowers.csv", "--target", "kind", "--epochs", 20)
    expected = nnpy_("predict", "flowers.npz", "flowers.csv")
    write("other.csv", rows, **how)
    out = nnpy_("train", "other.csv", "--target", "kind", "--epochs", 20, *arguments)
    assert nnpy_("predict", "other.npz", "other.csv", *arguments) == expected
    if (arguments and arguments[0] == "--delimiter") or "cp1252" in arguments:
        options = " ".join(f"'{part}'" if part == "|" else part for part in arguments)
        assert f"next: nnpy predict other.npz other.csv {options} --output predictions.csv\n" in out


def test_a_table_of_excel_in_europe(nnpy_, here):
    """Semicolons, decimal commas, a byte order mark, a line that says the delimiter, empty rows at the end, CRLF."""
    text = "sep=;\r\nL\u00e4nge;Kosten\r\n" + "".join(f"{i},5;{2 * i},0\r\n" for i in range(30)) + ";\r\n;\r\n"
    for encoding in ("utf-8", "utf-8-sig"):
        (here / "table.csv").write_bytes(text.encode(encoding))
        out = nnpy_("train", "table.csv", "--target", "Kosten", "--decimal", ",", "--epochs", 2)
        assert "table.csv: 30 rows, 2 columns\n" in out
        assert "next: nnpy predict table.npz table.csv --decimal , --output predictions.csv\n" in out
    error = nnpy_("train", "table.csv", "--target", "Kosten", status=1)
    assert error == (
        "nnpy train: table.csv, line 3: column 'L\u00e4nge' has '0,5', which is no number; --decimal , reads decimal commas"
    )
    (here / "table.csv").write_text("a;b\n1.500;2\n1,5;3\n", encoding="utf-8")
    error = nnpy_("train", "table.csv", "--target", "b", "--decimal", ",", status=1)
    assert error == "nnpy train: table.csv, line 2: column 'a' has '1.500', which is no number"


def test_quoted_cells_and_line_numbers(nnpy_, here):
    """A cell may have delimiters, quotes and line ends; the line of a row is where it begins."""
    (here / "t.csv").write_text('name,x,y\n"a, ""b""\nc",1,2\n\nd,oops,3\ne,4,5\n', encoding="utf-8")
    error = nnpy_("train", "t.csv", "--target", "y", "--drop", "name", status=1)
    assert error == "nnpy train: t.csv, line 5: column 'x' has 'oops', which is no number"
    with table.open_table("t.csv", table.Format()) as opened:
        (part,) = opened.parts()
    assert list(part.places) == [2, 5, 6]
    assert list(part.cells(0)) == ['a, "b"\nc', "d", "e"]
    assert list(part.texts(0)) == ['a, "b" c', "d", "e"]


def test_without_a_header(nnpy_, here):
    rows = flowers()[1:]
    write("flowers.csv", rows)
    out = nnpy_("train", "flowers.csv", "--no-header", "--target", "-1", "--epochs", 30)
    assert "target: 3, 3 classes" in out
    assert "next: nnpy predict flowers.npz flowers.csv --no-header --drop=3 --output predictions.csv\n" in out
    net = nnpy.load("flowers.npz")
    assert (net.feature_names, net.target_names, len(net.class_names)) == (None, None, 3)
    expected = read(nnpy_("predict", "flowers.npz", "flowers.csv", "--no-header", "--drop", "-1"))
    assert expected[0][:2] == ["class", "P(rose)"]
    kept = read(nnpy_("predict", "flowers.npz", "flowers.csv", "--no-header", "--drop", "3", "--keep"))
    assert kept[0][:5] == ["1", "2", "3", "class", "P(rose)"]
    write("flowers.csv", [row[:2] for row in rows])
    assert read(nnpy_("predict", "flowers.npz", "flowers.csv", "--no-header")) == expected
    write("flowers.csv", [["any", "names"], *(row[:2] for row in rows)])
    assert read(nnpy_("predict", "flowers.npz", "flowers.csv")) == expected


def test_a_network_with_names_and_a_table_without(nnpy_, here):
    rows = houses()
    write("houses.csv", rows)
    nnpy_("train", "houses.csv", "--target", "price", "--categories", "city", "--epochs", 2)
    expected = nnpy_("predict", "houses.npz", "houses.csv")
    write("rows.csv", rows[1:])
    assert nnpy_("predict", "houses.npz", "rows.csv", "--no-header", "--drop", "-1") == expected
    error = nnpy_("predict", "houses.npz", "rows.csv", "--no-header", status=1)
    assert error == (
        "nnpy predict: rows.csv has 3 columns, the network needs 2 in its order, as the table has no header: --drop leaves "
        "columns out, such as --drop -1 for the last one"
    )


def test_columns_without_a_name_are_left_out(nnpy_, here):
    """Such as the row numbers that pandas and R write."""
    rows = flowers()
    write("flowers.csv", [["", *rows[0], ""], *([i, *row, ""] for i, row in enumerate(rows[1:]))])
    out = nnpy_("train", "flowers.csv", "--target", "kind", "--epochs", 2)
    assert "left out: column 1, which has no name\nleft out: column 5, which has no name\n" in out
    assert nnpy.load("flowers.npz").feature_names == ("length", "width")
    nnpy_("predict", "flowers.npz", "flowers.csv")


def test_row_numbers_are_noticed(nnpy_, here):
    rows = flowers()
    write("flowers.csv", [["id", *rows[0]], *([100 + i, *row] for i, row in enumerate(rows[1:]))])
    out = nnpy_("train", "flowers.csv", "--target", "kind", "--epochs", 2)
    assert "note: column 'id' numbers the rows: should it be left out, with --drop?\n" in out
    assert "note" not in nnpy_("train", "flowers.csv", "--target", "kind", "--epochs", 2, "--drop", "id")


def test_standard_input(here):
    write("flowers.csv", flowers())
    text = (here / "flowers.csv").read_bytes()
    command = [sys.executable, "-m", "nnpy"]
    options = ["--target", "kind", "--epochs", "2", "--save", "net.npz"]
    result = subprocess.run([*command, "train", "-", *options], input=text, capture_output=True, check=True)
    assert result.stdout.startswith(b"standard input: 60 rows, 3 columns")
    result = subprocess.run([*command, "predict", "net.npz", "-"], input=text, capture_output=True, check=True)
    assert result.stdout.decode("utf-8").splitlines()[0] == "kind,P(rose),P(tulip),P(weed \u2013 tall)"
    assert result.stdout.count(b"\n") == 61


# ---- nnpy predict


def test_output_to_a_file(nnpy_, here):
    write("flowers.csv", flowers())
    nnpy_("train", "flowers.csv", "--target", "kind", "--epochs", 2)
    expected = nnpy_("predict", "flowers.npz", "flowers.csv")
    assert nnpy_("predict", "flowers.npz", "flowers.csv", "--output", "p.csv") == ""
    assert (here / "p.csv").read_text(encoding="utf-8") == expected
    # An error leaves the old file.
    (here / "bad.csv").write_text("length,width\n1,2\n1,x\n", encoding="utf-8")
    error = nnpy_("predict", "flowers.npz", "bad.csv", "--output", "p.csv", status=1)
    assert error == "nnpy predict: bad.csv, line 3: column 'width' has 'x', which is no number"
    assert (here / "p.csv").read_text(encoding="utf-8") == expected
    assert sorted(os.listdir()) == ["bad.csv", "flowers.csv", "flowers.npz", "p.csv"]


def test_keep(nnpy_, here):
    rows = flowers()
    write("flowers.csv", rows, delimiter=";")
    nnpy_("train", "flowers.csv", "--target", "kind", "--epochs", 2)
    found = read(nnpy_("predict", "flowers.npz", "flowers.csv", "--keep"))
    assert found[0] == [*rows[0], "predicted kind", "P(rose)", "P(tulip)", "P(weed \u2013 tall)"]
    assert [row[:3] for row in found[1:]] == [list(map(str, row)) for row in rows[1:]]


def test_missing_values(nnpy_, here):
    rows = houses()
    rows[3][0], rows[7][1], rows[9][2], rows[11][0] = "", "", "NA", " NaN "
    write("houses.csv", rows)
    common = ["train", "houses.csv", "--target", "price", "--categories", "city", "--epochs", 2]
    error = nnpy_(*common, status=1)
    assert error == (
        "nnpy train: houses.csv, line 4: column 'size' has no value; 4 rows have missing values: --skip-missing leaves such "
        "rows out"
    )
    out = nnpy_(*common, "--skip-missing")
    assert "houses.csv: 60 rows, 3 columns\nleft out: 4 rows with missing values\n" in out
    assert "45 rows to train on, 11 held out" in out
    assert "next: nnpy predict houses.npz houses.csv --skip-missing --output predictions.csv\n" in out
    error = nnpy_("predict", "houses.npz", "houses.csv", status=1)
    assert error == (
        "nnpy predict: houses.csv, line 4: column 'size' has no value; --skip-missing writes no prediction for rows with "
        "missing values"
    )
    found = read(nnpy_("predict", "houses.npz", "houses.csv", "--skip-missing", "--keep"))
    assert [row[:3] for row in found[1:]] == [list(map(str, row)) for row in rows[1:]]
    assert [i for i, row in enumerate(found) if row[3] == ""] == [3, 7, 11]
    rows[3][0], rows[7][1], rows[11][0] = 50, "Oslo", 50
    write("houses.csv", rows)
    error = nnpy_(*common, status=1)
    assert error.startswith("nnpy train: houses.csv, line 10: column 'price' has no value; a row has missing values: ")


def test_quantized_networks(nnpy_, here):
    rows = flowers()
    write("flowers.csv", rows)
    nnpy_("train", "flowers.csv", "--target", "kind", "--epochs", 30)
    x = np.array([row[:2] for row in rows[1:]], float)
    q = nnpy.load("flowers.npz").quantize(x)
    q.save("int8.npz")
    found = read(nnpy_("predict", "int8.npz", "flowers.csv"))
    assert found[0] == ["kind", "P(rose)", "P(tulip)", "P(weed \u2013 tall)"]
    assert [row[0] for row in found[1:]] == [q.class_names[i] for i in q.predict_classes(x)]
    np.testing.assert_allclose(np.array([row[1:] for row in found[1:]], float), q.predict(x), rtol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "last", "classes", "targets", "header"),
    [
        ([2, 1], "sigmoid", None, None, ["output"]),
        ([2, 1], "sigmoid", ["no", "yes"], ["answer"], ["answer", "P(no)", "P(yes)"]),
        ([2, 1], "tanh", ["no", "yes"], None, ["class", "P(no)", "P(yes)"]),
        ([2, 2], "linear", None, None, ["output 1", "output 2"]),
        ([2, 2], "linear", None, ["y"], ["y 1", "y 2"]),
        ([2, 2], "linear", None, ["y", "z"], ["y", "z"]),
        ([2, 3], "softmax", None, None, ["class", "P(0)", "P(1)", "P(2)"]),
    ],
)
def test_networks_that_were_trained_in_python(nnpy_, here, sizes, last, classes, targets, header):
    net = nnpy.NeuralNetwork(sizes, last, seed=2)
    net.class_names, net.target_names = classes, targets
    net.save("net.npz")
    x = np.random.default_rng(0).normal(size=(20, 2)).round(3)
    write("x.csv", [["a", "b"], *x.tolist()])
    found = read(nnpy_("predict", "net.npz", "x.csv"))
    assert found[0] == header
    assert len(found) == 21
    numbers = np.array([row[-(len(header) - (classes is not None or last == "softmax")) :] for row in found[1:]], float)
    out = net.predict(x)
    if classes is not None:
        share = out if last == "sigmoid" else (out + 1) / 2
        out = np.hstack([1 - share, share])
    np.testing.assert_allclose(numbers, out, rtol=1e-5, atol=1e-6)
    if "P" in header[-1]:
        names = classes or ["0", "1", "2"]
        assert [row[0] for row in found[1:]] == [names[i] for i in net.predict_classes(x)]
        assert len({row[0] for row in found[1:]}) > 1


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such error")
def test_a_closed_pipe_is_no_error(here):
    write("flowers.csv", [flowers(6)[0], *flowers(3)[1:] * 30_000])
    nnpy.NeuralNetwork([2, 3], "softmax", seed=0).save("net.npz")
    command = [sys.executable, "-m", "nnpy", "predict", "net.npz", "flowers.csv", "--drop", "kind"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"class,P(0),P(1),P(2)\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


# ---- Parquet


def test_parquet(nnpy_, here):
    pa = pytest.importorskip("pyarrow")
    from decimal import Decimal

    from pyarrow import parquet

    rows = flowers()[1:]
    write("flowers.csv", [["kind", "width", "length"], *(row[::-1] for row in rows)])
    columns = list(zip(*rows, strict=True))
    content = {
        "kind": pa.array(columns[2]).dictionary_encode(),
        "width": pa.array([Decimal(repr(value)) for value in columns[1]]),
        "flag": pa.array([i % 2 == 0 for i in range(60)]),
        "length": pa.array(columns[0]),
        "number": pa.array([None, *range(59)], pa.int64()),
        "text": pa.array([None, *map(str, range(59))]),
        "nothing": pa.nulls(60),
        "half": pa.array(np.ones(60, np.float16)),
    }
    parquet.write_table(pa.table(content), "flowers.parquet", row_group_size=25)
    options = ["--target", "kind", "--features", "length,width", "--epochs", 20]
    nnpy_("train", "flowers.csv", *options)
    expected = nnpy_("predict", "flowers.npz", "flowers.csv")
    out = nnpy_("train", "flowers.parquet", *options)
    assert "flowers.parquet: 60 rows, 8 columns\n" in out
    assert nnpy_("predict", "flowers.npz", "flowers.parquet") == expected
    kept = read(nnpy_("predict", "flowers.npz", "flowers.parquet", "--keep"))
    assert [kept[1][i] for i in (0, 2, 4, 5, 6, 7)] == ["rose", "True", "", "", "", "1.0"]
    assert [float(kept[1][i]) for i in (3, 1)] == rows[0][:2]
    assert kept[2][4:6] == ["0", "0"]

    error = nnpy_("train", "flowers.parquet", "--target", "kind", "--drop", "nothing", status=1)
    assert error == (
        "nnpy train: flowers.parquet, row 1: column 'number' has no value; a row has missing values: --skip-missing leaves "
        "such rows out"
    )
    error = nnpy_("train", "flowers.parquet", "--target", "number", "--skip-missing", "--drop", "nothing", status=1)
    assert error.startswith("nnpy train: flowers.parquet, row 1: column 'kind' has 'rose', which is no number: ")
    out = nnpy_("train", "flowers.parquet", "--target", "flag", "--features", "length,half", "--epochs", 1)
    assert "2 classes: False (30), True (30)" in out
    error = nnpy_("train", "flowers.parquet", "--target", "flag", "--features", "nothing", status=1)
    assert error == ("nnpy train: flowers.parquet: column 'nothing' is empty in all rows: leave it out with --drop")


def test_columns_of_parquet_that_are_text(nnpy_, here):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    when = pa.array([1, 2, 3], pa.timestamp("ns"))  # nanoseconds
    damaged = pa.array([b"a", b"\xff", b"b"], pa.binary()).view("string")
    y = [1.5, 2.5, 3.5]
    for column, reason in (
        (when, "has '1970-01-01 00:00:00.000000001', which is no number: --categories x encodes"),
        (pa.array([[1], [2], None]), "has '[1]', which is no number: --categories x encodes"),
        (damaged, "cannot be read: 'utf-8' codec can't decode byte 0xff"),
    ):
        parquet.write_table(pa.table({"x": column, "y": y}), "t.parquet")
        error = nnpy_("train", "t.parquet", "--target", "y", status=1)
        assert re.match(rf"nnpy train: t\.parquet(, row 1)?: column 'x' {re.escape(reason)}", error)
    parquet.write_table(pa.table({"": y, " ": y}), "t.parquet")
    assert nnpy_("train", "t.parquet", "--target", "1", status=1) == "nnpy train: t.parquet: the header has no names"


def test_damaged_parquet(nnpy_, here):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = here / "t.parquet"
    path.write_bytes(b"PAR1 and no more")
    assert nnpy_("train", path, "--target", "y", status=1).startswith(f"nnpy train: {path} is no Parquet file: ")
    parquet.write_table(pa.table({}), path)
    assert nnpy_("train", path, "--target", "y", status=1) == f"nnpy train: {path} has no columns"
    numbers = np.arange(10_000.0)
    parquet.write_table(pa.table({"x": numbers, "y": numbers}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:1000] = bytes(996)
    path.write_bytes(content)
    assert nnpy_("train", path, "--target", "y", status=1).startswith(f"nnpy train: {path} is damaged: ")


def test_parquet_without_pyarrow(nnpy_, here, monkeypatch):
    (here / "t.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = nnpy_("train", "t.parquet", "--target", "y", status=1)
    assert error == "nnpy train: t.parquet: Parquet files need pyarrow: pip install 'nnpy[parquet]'"


def test_pyarrow_is_imported_only_for_parquet(here):
    write("flowers.csv", flowers())
    program = (
        "import sys; from nnpy._commands.main import main; "
        "main(['train', 'flowers.csv', '--target', 'kind', '--epochs', '1']); print('pyarrow' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"


# ---- Errors

SAY = ": --encoding says another one, such as cp1252"
SAME = ": give them different ones; if the first line is data, --no-header"
ALL_ROWS = ": --validation 0 trains on all rows"
SKIP = ": --skip-missing leaves such rows out"
SHARE, CHARACTER = "expected a number from 0 to less than 1", "expected a character such as ; or the word tab"
ENCODING = "expected an encoding such as utf-8 or cp1252"
A, B = "x,y\n1,2\n3,4\n5,6\n7,8\n", "x,y\n" + "".join(f"{i},{i % 7}.5\n" for i in range(30))


def b(**cells):
    """The table B with other cells, such as y5="oops" for the column y of the row with x = 5."""
    rows = [line.split(",") for line in B.splitlines()]
    for place, text in cells.items():
        rows[int(place[1:]) + 1]["xy".index(place[0])] = text
    return "\n".join(",".join(row) for row in rows)


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        # The file
        ("", [], "t.csv is empty"),
        ("\n ,\n" * 0 + "\n\n", [], "t.csv is empty"),
        ("x,y\n", [], "t.csv has no rows of data"),
        (b"x,y\n1,2\n3,\xe9\n", [], "t.csv, line 3: this is no text in UTF-8 (byte 0xe9)" + SAY),
        (
            b"x,y\n" + b"1,2\n" * 9000 + b"3,\xe9\n",
            [],
            "t.csv, line 9002: this is no text in UTF-8 (byte 0xe9)" + SAY,
        ),
        ("x,\u00e9\n1,2\n", ["--encoding", "ascii"], "t.csv, line 1: this is no text in ASCII (byte 0xc3)" + SAY),
        ("x,y\n1,2\n1,\0\n", [], "t.csv, line 3: there is a NUL character, so that this is no text in UTF-8"),
        (b"\xff\xfex", [], "t.csv, line 1: this is no text in UTF-16 (byte 0x78)" + SAY),
        (b"PK\3\4\x14", [], "t.csv is a spreadsheet or another zip file: save the table as CSV"),
        (b"PAR1\x15\4", [], "t.csv is a Parquet file: its name must end in .parquet"),
        (
            b"\x1f\x8b\x08",
            [],
            "t.csv is compressed: gzip -dc FILE | nnpy COMMAND ... reads it, with - as the name of the table",
        ),
        # Lines
        ("x,y\n1,2\n1\n", [], "t.csv, line 3: expected 2 cells, as in the first line, got 1"),
        ("x,y\n1,2\n\n1,2,3\n", [], "t.csv, line 4: expected 2 cells, as in the first line, got 3"),
        ('x,y\n1,2\n"1,2\n3,4\n', [], "t.csv, line 3: a quoted cell begins here and has no end"),
        ('x,y\n1,2\n"' + "1,2\n" * 40_000, [], "t.csv, line 3: a quoted cell begins here and has no end"),
        (
            'x,y\n1,"2"3\n',
            [],
            """t.csv, line 2: a quote within a quoted cell must be doubled, as in "3"" pipe\"""",
        ),
        # The header
        (",\n1,2\n", [], "t.csv has no column 'y'; it has '1', '2'"),
        ("a,y,a\n1,2,3\n", [], "t.csv: columns 1 and 3 have the same name, 'a'" + SAME),
        ("a  b,y,a b \n1,2,3\n", [], "t.csv: columns 1 and 3 have the same name, 'a b'" + SAME),
        (
            "5.1,3.5,setosa\n4.9,3.0,setosa\n",
            [],
            "t.csv: the header has numbers for names, such as '5.1': with --no-header the first line is data",
        ),
        # Columns that are not there
        (A, ["--target", "why"], "t.csv has no column 'why'; it has 'x', 'y'"),
        ("Price,x\n1,2\n", ["--target", "prise"], "t.csv has no column 'prise': did you mean 'Price'?"),
        ("Price,Prize\n1,2\n", ["--target", "PRIC"], "t.csv has no column 'PRIC': did you mean 'Price' or 'Prize'?"),
        (
            ",".join(map("n{}".format, range(100, 113))),
            ["--target", "y"],
            f"t.csv has no column 'y'; it has {', '.join(repr(f'n{i}') for i in range(100, 110))} and 3 more",
        ),
        (A, ["--target", "3"], "t.csv has no column 3: they are numbered from 1 to 2, or from the last one, -1"),
        (A, ["--target", "0"], "t.csv has no column 0: they are numbered from 1 to 2, or from the last one, -1"),
        (A, ["--target", "-3"], "t.csv has no column -3: they are numbered from 1 to 2, or from the last one, -1"),
        (
            A,
            ["--no-header", "--target", "y"],
            "t.csv has no column 'y': without a header they are numbered from 1 to 2",
        ),
        (A, ["--target", ""], "the target has no name"),
        (A, ["--target", "y,y"], "column 'y' of t.csv is given twice"),
        (A, ["--target", "y,2"], "column 'y' of t.csv is given twice"),
        (A, ["--features", "x,z"], "t.csv has no column 'z'; it has 'x', 'y'"),
        (A, ["--features", "x,y"], "column 'y' is a feature and the target: it can be only one of them"),
        (A, ["--drop", "y"], "column 'y' is the target: it cannot be dropped"),
        (A, ["--drop", "x"], "t.csv has no columns for the inputs of the network"),
        (A, ["--categories", "y"], "column 'y' of --categories is the target"),
        (
            "x,c,y\n1,2,3",
            ["--features", "x", "--categories", "c"],
            "column 'c' of --categories is not among the features",
        ),
        (
            A,
            ["--no-header", "--target", "2", "--categories", "1"],
            "--categories needs a header: a network knows the values by the names of its inputs",
        ),
        (
            "x,a=b,y\n1,2,3",
            ["--categories", "x"],
            "column 'a=b' has an = in its name, which --categories does not allow",
        ),
        (",y\n1,2\n", ["--features", "1"], "column 1 has no name, by which the network would find it again"),
        # Inputs that are no numbers
        (b(x4="oops"), [], "t.csv, line 6: column 'x' has 'oops', which is no number"),
        (
            b(x4="oops", x3="1_0"),
            [],
            "t.csv, line 5: column 'x' has '1_0', which is no number (and 1 more cell); --drop leaves the column out",
        ),
        (b(x0="inf"), [], "t.csv, line 2: column 'x' has 'inf', which is not finite in float32"),
        (b(x0="-1e39"), [], "t.csv, line 2: column 'x' has '-1e39', which is not finite in float32"),
        (b(x0="z" * 99), [], f"t.csv, line 2: column 'x' has '{'z' * 57}...', which is no number"),
        (
            "size,city,y\n1,Oslo,2\n3,Bern,4\n",
            [],
            "t.csv, line 2: column 'city' has 'Oslo', which is no number: --categories city encodes text "
            "as inputs (one-hot), --drop city leaves it out",
        ),
        (
            "size,the city,kind,y\n1,Oslo,a,2\n3,Bern,b,4\n",
            [],
            "t.csv, line 2: column 'the city' has 'Oslo', which is no number; 2 columns are text: "
            "--categories 'the city,kind' encodes text as inputs (one-hot), --drop 'the city,kind' leaves it out",
        ),
        (
            ",".join(f"c{i}" for i in range(11)) + ",y\n" + "a," * 11 + "1\n",
            [],
            "t.csv, line 2: column 'c0' has 'a', which is no number; 11 columns are text: --categories "
            "NAME,NAME,... encodes text as inputs (one-hot), --drop NAME,NAME,... leaves it out",
        ),
        (
            "a,b\n1,2\nx,3\n",
            ["--no-header", "--target", "2"],
            "t.csv, line 1: column 1 has 'a', which is no number (and 1 more cell); --drop leaves the column out",
        ),
        (
            "c,y\n" + "".join(f"k{i},{i}.5\n" for i in range(9)),
            ["--categories", "c"],
            "t.csv: column 'c' has 9 different values in 9 rows, too many for categories: leave it out with --drop",
        ),
        (
            "c,x,y\n,,1\n,,2\n",
            ["--categories", "c"],
            "t.csv: column 'c' is empty in all rows: leave it out with --drop",
        ),
        ("x,y\n,1\n,2\n", [], "t.csv: column 'x' is empty in all rows: leave it out with --drop"),
        # Missing values
        (b(x4="", x8=""), [], "t.csv, line 6: column 'x' has no value; 2 rows have missing values" + SKIP),
        (b(y4="nan"), [], "t.csv, line 6: column 'y' has no value; a row has missing values" + SKIP),
        (
            "a,b,y\n1,,1\n,2,2\n3,,3\n",
            ["--skip-missing"],
            "t.csv: all rows have missing values; column 'b' is empty in 2 of 3 rows: --drop leaves it out",
        ),
        # The target
        ("x,y\n1,\n2,\n", [], "t.csv: the target, column 'y', is empty in all rows"),
        ("x,y\n1,\n2,NaN\n", [], "t.csv: the target, column 'y', is empty in all rows"),
        (b(y7="oops"), ["--regression"], "t.csv, line 9: the target, column 'y', has 'oops', which is no number"),
        (b(y7="oops"), ["--target", "x,y"], "t.csv has no columns for the inputs of the network"),
        (
            "x,y,z\n1,2,3\n3,4,a\n",
            ["--target", "y,z"],
            "t.csv, line 3: the target, column 'z', has 'a', which is no number",
        ),
        (
            "x,y,z\n1,2,3\n3,4,5\n",
            ["--target", "y,z", "--classification"],
            "a classification has a single target, got 2: 'y', 'z'",
        ),
        (
            "x,y\n" + "".join(f"{i % 5},{i}\n" for i in range(30)) + "1,oops\n",
            [],
            "t.csv, line 32: the target, column 'y', has 'oops', which is no number: --classification takes each "
            "value for a class",
        ),
        (
            "x,y\n1,2\n3,inf\n",
            [],
            "t.csv, line 3: the target, column 'y', has 'inf', which is not finite in float32: --classification takes each "
            "value for a class",
        ),
        (
            "x,y\n" + "".join(f"{i},k{i}\n" for i in range(30)),
            [],
            "t.csv: the target, column 'y', has 30 different values in 30 rows, such as 'k0': too many for classes",
        ),
        ("x,y\n" + "1,a\n" * 9, [], "t.csv: the target, column 'y', is 'a' in all rows: there is nothing to learn"),
        ("x,y\n" + "1,3.5\n" * 9, [], "t.csv: the target, column 'y', is 3.5 in all rows: there is nothing to learn"),
        (
            "x,y,z\n" + "1,3.5,1\n" * 9,
            ["--target", "y,z"],
            "t.csv: the target 'y' is 3.5 in all rows: there is nothing to learn",
        ),
        # Too few rows
        (A, [], "t.csv: 4 rows are too few to hold 20 % out for validation" + ALL_ROWS),
        (
            "x,y\n1,2\n",
            ["--regression", "--validation", "0"],
            "t.csv: the target, column 'y', is 2 in all rows: there is nothing to learn",
        ),
        (B, ["--validation", "0.01"], "t.csv: 30 rows are too few to hold 1 % out for validation" + ALL_ROWS),
        (B, ["--validation", "0.99"], "t.csv: 30 rows are too few to hold 99 % out for validation" + ALL_ROWS),
        # Training
        (
            "x,y\n" + "1,a\n2,b\n" * 9,
            ["--optimizer", "lm"],
            "--optimizer lm is for --regression: it minimises squared errors, and the target is classes",
        ),
        (B, ["--learning-rate", "1e30", "--optimizer", "sgd"], "training diverged in epoch 2, batch "),
        (B, ["--hidden", "2e9,2e9"], "not enough memory for a network with layers of "),
    ],
)
def test_errors_of_training(nnpy_, here, content, arguments, message):
    (here / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    target = [] if "--target" in arguments else ["--target", "y"]
    error = nnpy_("train", "t.csv", *target, *arguments, "--quiet", status=1)
    exact = not message.endswith(" ")
    assert error == f"nnpy train: {message}" if exact else error.startswith(f"nnpy train: {message}")
    assert os.listdir() == ["t.csv"]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("size,price\n1,2\n", [], "t.csv has no column 'city'; it has 'size', 'price'"),
        ("price\n2\n", [], "t.csv has no column 'size' (and 1 more that the network needs); it has 'price'"),
        (
            "Size,citty\n1,Oslo\n",
            [],
            "t.csv has no column 'size' (and 1 more that the network needs): did you mean 'Size'?",
        ),
        (
            "size,city\n1,Oslo\n2,Paris\n",
            [],
            "t.csv, line 3: column 'city' has 'Paris', the network knows 'Bern', 'Oslo', 'Rome'",
        ),
        ("size,city\nbig,Oslo\n", [], "t.csv, line 2: column 'size' has 'big', which is no number"),
        (
            "size,city\n1,Oslo\n2,\n",
            [],
            "t.csv, line 3: column 'city' has no value; --skip-missing writes no prediction for rows with missing values",
        ),
        (
            "size,city\n3e38,Oslo\n",
            ["--drop", "city"],
            "column 'city' is an input of the network: it cannot be dropped",
        ),
        ("size,city\n1,Oslo\n", ["--output", "t.csv"], "t.csv is read by this command: --output names another file"),
        (
            "size,city\n1,Oslo\n",
            ["--output", "houses.npz"],
            "houses.npz is read by this command: --output names another file",
        ),
        ("size,city\n1,Oslo\n", ["--output", "none/t.csv"], "cannot write none/t.csv: there is no folder "),
    ],
)
def test_errors_of_predicting(nnpy_, here, content, arguments, message):
    write("houses.csv", houses())
    nnpy_("train", "houses.csv", "--target", "price", "--categories", "city", "--epochs", 1)
    (here / "t.csv").write_text(content, encoding="utf-8")
    before = (here / "houses.npz").read_bytes()
    error = nnpy_("predict", "houses.npz", "t.csv", *arguments, status=1)
    exact = not message.endswith(" ")
    assert error == f"nnpy predict: {message}" if exact else error.startswith(f"nnpy predict: {message}")
    assert (here / "t.csv").read_text(encoding="utf-8") == content
    assert (here / "houses.npz").read_bytes() == before
    assert sorted(os.listdir()) == ["houses.csv", "houses.npz", "t.csv"]


def test_networks_that_do_not_fit_a_table(nnpy_, here):
    net = nnpy.NeuralNetwork([3, 1], "linear")
    net.save("net.npz")
    (here / "t.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    error = nnpy_("predict", "net.npz", "t.csv", status=1)
    assert error == (
        "nnpy predict: t.csv has 2 columns, the network needs 3 in its order, as the network knows no names of columns"
    )
    net.feature_names = ["a", "b", "a"]
    net.save("net.npz")
    error = nnpy_("predict", "net.npz", "t.csv", status=1)
    assert error == (
        "nnpy predict: the network has several inputs with the name 'a', and columns cannot be found by it"
    )
    (here / "t.csv").write_text("a,b,c\n0,0,0\n3e38,2,3\n", encoding="utf-8")
    net.feature_names = None
    net.fit_scaler([[0, 0, 0], [1e-3, 1, 1]])
    net.save("net.npz")
    error = nnpy_("predict", "net.npz", "t.csv", status=1)
    assert error.startswith("nnpy predict: t.csv, lines 2 to 3: x must be finite in float32, got x[1, 0] = inf")


@pytest.mark.parametrize("command", [["predict"], ["info"]])
def test_files_that_are_no_network(nnpy_, here, command):
    write("t.csv", houses())
    np.savez("other.npz", a=np.zeros(3))
    table_ = ["t.csv"] if command == ["predict"] else []
    for name, reason in (("t.csv", "it is no .npz file"), ("other.npz", "it holds other arrays")):
        error = nnpy_(*command, name, *table_, status=1)
        assert error == f"nnpy {command[0]}: {name} is not a network that nnpy saved: {reason}"
    assert "No such file" in nnpy_(*command, "none.npz", *table_, status=1)


def test_files_that_are_not_there(nnpy_, here):
    nnpy.NeuralNetwork([1, 1]).save("net.npz")
    for arguments in (["train", "none.csv", "--target", "y"], ["predict", "net.npz", "none.csv"]):
        assert re.fullmatch(r"nnpy \w+: .*No such file or directory: 'none\.csv'", nnpy_(*arguments, status=1))


def test_where_a_network_is_saved(nnpy_, here):
    write("flowers.csv", flowers())
    common = ["train", "flowers.csv", "--target", "kind", "--epochs", 1]
    np.savez("flowers.npz", measurements=np.arange(3))
    before = (here / "flowers.npz").read_bytes()
    error = nnpy_(*common, status=1)
    assert error == "nnpy train: flowers.npz is there and is no network: --save FILE.npz names another file"
    assert (here / "flowers.npz").read_bytes() == before
    error = nnpy_(*common, "--save", "./flowers.npz", status=1)
    assert error == "nnpy train: flowers.npz is there and is no network: --save FILE.npz names another file"
    (here / "notes.txt").write_text("mine", encoding="utf-8")
    error = nnpy_(*common, "--save", "notes.txt", status=1)
    assert error == "nnpy train: notes.txt is there and is no network: --save FILE.npz names another file"
    assert (here / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert "saved to net.npz, 3 KB\n" in nnpy_(*common, "--save", "net.npz")
    assert "saved to net.npz, 3 KB; an older network was replaced\n" in nnpy_(*common, "--save", "net.npz")
    error = nnpy_(*common, "--save", "flowers.csv", status=1)
    assert error == "nnpy train: flowers.csv is the table itself: --save FILE.npz names another file"
    assert nnpy_(*common, "--save", "no/net.npz", status=1).startswith(
        "nnpy train: cannot write no/net.npz: there is no"
    )
    assert nnpy_(*common, "--save", "", status=1).startswith("nnpy train: cannot write .: it is a folder")
    error = nnpy_("train", "-", "--target", "y", status=1)
    assert error == "nnpy train: the standard input has no name for the network: --save FILE.npz gives one"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (None, "the following arguments are required: TABLE, --target"),
        (["--validation", "1"], f"argument --validation: {SHARE}, got '1'"),
        (["--validation", "nan"], f"argument --validation: {SHARE}, got 'nan'"),
        (["--validation", "few"], f"argument --validation: {SHARE}, got 'few'"),
        (["--hidden", "0"], "argument --hidden: expected numbers of neurons such as 32 or 32,16, got '0'"),
        (["--activation", "softmax"], "argument --activation: invalid choice: 'softmax'"),
        (["--optimizer", "best"], "argument --optimizer: invalid choice: 'best'"),
        (["--optimizer", "lm", "--learning-rate", "1"], "argument --learning-rate: the optimizer lm has none"),
        (["--epochs", "0"], "argument --epochs: expected a whole number from 1 to 2147483647, got '0'"),
        (["--delimiter", "::"], f"argument --delimiter: {CHARACTER}, got '::'"),
        (["--delimiter", '"'], f"argument --delimiter: {CHARACTER}, got '\"'"),
        (["--encoding", "klingon"], f"argument --encoding: {ENCODING}, got 'klingon'"),
        (["--encoding", "hex"], f"argument --encoding: {ENCODING}, got 'hex'"),
        (["--encoding", "a\0b"], f"argument --encoding: {ENCODING}, got 'a\\x00b'"),
        (["--features", "a", "--drop", "b"], "argument --drop: not allowed with argument --features"),
        (["--regression", "--classification"], "argument --classification: not allowed with argument --regression"),
    ],
)
def test_wrong_options(nnpy_, arguments, message):
    arguments = [] if arguments is None else ["t.csv", "--target", "y", *arguments]
    assert f"nnpy train: error: {message}" in nnpy_("train", *arguments, status=2)


@pytest.mark.skipif(sys.platform == "win32", reason="the test sends a signal")
def test_ctrl_c_saves_nothing(here, capsys, monkeypatch):
    write("flowers.csv", flowers())
    fit = nnpy.NeuralNetwork.fit

    def interrupted_fit(net, *data, **options):
        return fit(net, *data, **options, callbacks=lambda *_: signal.raise_signal(signal.SIGINT))

    monkeypatch.setattr(nnpy.NeuralNetwork, "fit", interrupted_fit)
    assert main.main(["train", "flowers.csv", "--target", "kind", "--quiet", "--epochs", "5"]) == 130
    assert capsys.readouterr() == ("", "nnpy: interrupted\n")
    assert os.listdir() == ["flowers.csv"]


# ---- The parts


def test_rows_are_held_out_of_each_class():
    for num, share, seed in ((200, 0.2, 0), (50, 0.5, 1), (90, 0.1, 2)):
        labels = np.random.default_rng(seed).choice(4, num, p=[0.5, 0.3, 0.15, 0.05])
        labels[0] = 4  # the only row of a class
        x = np.zeros((num, 1))
        data = train._Data(x, (), train._Columns([], [], []), (), np.arange(num), ())
        names = tuple("abcde")
        target = train._Target(("y",), "", labels, names, "")
        held_out = train._split(data, target, train.Options("y", validation=share, seed=seed), "t.csv")
        for label in range(4):
            count = (labels == label).sum()
            assert abs(held_out[labels == label].sum() - share * count) <= 1
        assert not held_out[labels == 4].any()
        again = train._split(data, target, train.Options("y", validation=share, seed=seed), "t.csv")
        np.testing.assert_array_equal(held_out, again)
        other = train._split(data, target, train.Options("y", validation=share, seed=seed + 5), "t.csv")
        assert (held_out != other).any()


def test_tables_and_matrices_of_the_report():
    y, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 0, 2])
    parts = {"training": np.arange(6) < 3, "validation": np.arange(6) >= 3}
    names = ["no", "yes", "a name that is long"]
    assert report.classification(names, y, predicted, parts) == [
        "          training  validation  always no",
        "accuracy    0.6667      0.6667     0.0000",
        "",
        "confusion matrix of the validation rows (rows: true class, columns: predicted class)",
        "                  no  yes  a name that i...  recall",
        "no                 0    0                 0       -",
        "yes                1    1                 0    0.50",
        "a name that i...   0    0                 1    1.00",
        "",
    ]
    assert report.some(list("abcdefghi")) == "a, b, c, d, e, f, g, h, i"
    assert report.some(list("abcdefghij")) == "a, b, c, d, e, f, g, h and 2 more"
    assert report.option_value(["a", "b c", "d,e"]) == "'a,b c,\"d,e\"'"


@pytest.mark.parametrize(
    ("cells", "values", "wrong"),
    [
        (["1", " 2 ", "-3e2", "+.5"], [1, 2, -300, 0.5], []),
        (["1", "", "NA", "n/a", "nan", "NULL", "None", "?", "#N/A", " "], [1, *[np.nan] * 9], []),
        (["1_0", "inf", "-Infinity", "1e39", "1,5", "x", "0x1"], [np.nan] * 7, list(range(7))),
        (["3.4e38", "1e-320"], [3.4e38, 1e-320], []),
    ],
)
def test_numbers(cells, values, wrong):
    found = table.parse_numbers(cells)
    np.testing.assert_array_equal(found.values, values)
    assert found.wrong == wrong


def test_numbers_with_a_decimal_comma():
    found = table.parse_numbers(["1,5", "2", "", "-3,25e2", "1.5", "1.000,5"], ",")
    np.testing.assert_array_equal(found.values, [1.5, 2, np.nan, -325, np.nan, np.nan])
    assert found.wrong == [4, 5]


@pytest.mark.parametrize(
    ("lines", "delimiter"),
    [
        (["a,b", "1,2"], ","),
        (["a;b", "1,5;2,5"], ";"),
        (["a;b", "1;2,5"], ";"),
        (["a\tb;c", "1\t2;3"], "\t"),
        (["1,5;2,5", "3,5;4,5"], ";"),
        (['"a;b",c', '"1;2",3', '"4",5'], ","),
        (["a", "1"], ","),
        (["a,b,c", "1,2", "3;4"], ","),
        (["a;b", "1"], ";"),
        ([], ","),
    ],
)
def test_delimiters_are_found(lines, delimiter):
    assert table._find_delimiter(lines) == delimiter


def test_names_of_columns_with_commas(nnpy_, here):
    write("t.csv", [["size, m", "b", "y, z"], *([i, i % 5, i + 0.5] for i in range(30))])
    nnpy_("train", "t.csv", "--target", "y, z", "--features", "size, m", "--epochs", 1)
    assert nnpy.load("t.npz").feature_names == ("size, m",)
    nnpy_("train", "t.csv", "--target", "y, z", "--features", 'b,"size, m"', "--epochs", 1)
    assert nnpy.load("t.npz").feature_names == ("size, m", "b")  # in the order of the table
    assert read(nnpy_("predict", "t.npz", "t.csv"))[0] == ["y, z"]


# ---- The order and the names of inputs


def test_features_are_in_the_order_of_the_table(nnpy_, here):
    """A network without names gets the columns in their order, however --features names them."""
    x = np.random.default_rng(0).uniform(-1, 1, (60, 2)).round(3)
    write("t.csv", np.column_stack([x, 100 * x[:, 0] + x[:, 1]]).tolist())
    common = ["train", "t.csv", "--no-header", "--target", "3", "--epochs", 30]
    nnpy_(*common, "--features", "2,1", "--save", "a.npz")
    nnpy_(*common, "--features", "1,2", "--save", "b.npz")
    predict = ["t.csv", "--no-header", "--drop", "3"]
    assert nnpy_("predict", "a.npz", *predict) == nnpy_("predict", "b.npz", *predict)


def test_categories_keep_their_place_in_the_table(nnpy_, here):
    """So that a table without a header is read as the one of the training, wherever the column of categories is."""
    rows = [["city", "size", "kind", "price"]]
    rows += [[city, size, "ab"[i % 2], price] for i, (size, city, price) in enumerate(houses()[1:])]
    write("t.csv", rows)
    nnpy_("train", "t.csv", "--target", "price", "--categories", "kind,city", "--epochs", 2)
    names = nnpy.load("t.npz").feature_names
    assert names == ("city=Bern", "city=Oslo", "city=Rome", "size", "kind=a", "kind=b")
    write("rows.csv", rows[1:])
    expected = nnpy_("predict", "t.npz", "t.csv")
    assert nnpy_("predict", "t.npz", "rows.csv", "--no-header", "--drop", "4") == expected


def test_a_column_with_the_name_of_an_input_for_a_category(nnpy_, here):
    rows = houses()
    write("t.csv", [["city=Oslo", *rows[0]], *([5, *row] for row in rows[1:])])
    options = ["--target", "price", "--categories", "city", "--epochs", 1]
    error = nnpy_("train", "t.csv", *options, "--drop", "city=Oslo", status=1)
    assert error == (
        "nnpy train: column 'city=Oslo' has the name of an input for column 'city' of --categories: give it another name"
    )
    write("houses.csv", rows)
    nnpy_("train", "houses.csv", *options)
    error = nnpy_("predict", "houses.npz", "t.csv", status=1)
    assert error == (
        "nnpy predict: t.csv has the columns 'city' and 'city=Oslo', and each could be the input 'city=Oslo' of the network: "
        "leave one out with --drop"
    )
    expected = nnpy_("predict", "houses.npz", "houses.csv")
    assert nnpy_("predict", "houses.npz", "t.csv", "--drop", "city=Oslo") == expected
    # Where both columns are inputs of numbers, it is clear what they are.
    write("t.csv", [["a", "a=b", "y"], *([i % 5, i % 7, i + 0.5] for i in range(30))])
    nnpy_("train", "t.csv", "--target", "y", "--epochs", 1)
    assert nnpy_("predict", "t.npz", "t.csv").count("\n") == 31


def test_skip_missing_leaves_out_classes_and_values_of_other_rows(nnpy_, here):
    rows = [["x", "city", "kind"], *([i % 7, CITIES[i % 2], "ac"[i % 2]] for i in range(40))]
    rows += [["", "Rome", "b"], ["", "Rome", "b"]]
    write("t.csv", rows)
    out = nnpy_("train", "t.csv", "--target", "kind", "--categories", "city", "--skip-missing", "--epochs", 40)
    assert "target: kind, 2 classes: a (20), c (20)\n" in out
    net = nnpy.load("t.npz")
    assert (net.class_names, net.feature_names) == (("a", "c"), ("x", "city=Bern", "city=Oslo"))
    write("known.csv", rows[:-2])
    found = read(nnpy_("predict", "t.npz", "known.csv"))
    assert [row[0] for row in found[1:]] == [row[2] for row in rows[1:-2]]
    found = read(nnpy_("predict", "t.npz", "t.csv", "--skip-missing"))
    assert [row[0] for row in found[1:]] == [*(row[2] for row in rows[1:-2]), "", ""]
    rows[-1][0] = 5
    write("t.csv", rows)
    error = nnpy_("predict", "t.npz", "t.csv", "--skip-missing", status=1)
    assert error == "nnpy predict: t.csv, line 43: column 'city' has 'Rome', the network knows 'Bern', 'Oslo'"


def test_a_target_with_decimal_commas(nnpy_, here):
    write("t.csv", [["x", "y"], *([i, "1,5" if i % 2 else "2,5"] for i in range(20))], delimiter=";")
    error = nnpy_("train", "t.csv", "--target", "y", status=1)
    assert error == (
        "nnpy train: t.csv, line 2: the target, column 'y', has '2,5', which is no number; --decimal , reads decimal commas; "
        "--classification takes each value for a class"
    )
    assert "y, a quantity\n" in nnpy_("train", "t.csv", "--target", "y", "--decimal", ",", "--epochs", 1)


def test_outputs_that_are_no_probabilities(nnpy_, here):
    net = nnpy.NeuralNetwork([1, 2], "linear", seed=0)
    net.class_names = ["u", "v"]
    net.save("net.npz")
    write("x.csv", [["a"], [1], [2]])
    found = read(nnpy_("predict", "net.npz", "x.csv"))
    assert found[0] == ["class", "output u", "output v"]
    np.testing.assert_allclose(np.array([row[1:] for row in found[1:]], float), net.predict([[1], [2]]), rtol=1e-5)
    net = nnpy.NeuralNetwork([1, 1], "linear", seed=0)
    net.class_names = ["u", "v"]
    net.save("net.npz")
    error = nnpy_("predict", "net.npz", "none.csv", status=1)  # before the table is read
    assert error == (
        "nnpy predict: net.npz: the network has names of classes and a single linear output, which has no threshold for them"
    )


# ---- Good tables that look odd


@pytest.mark.parametrize("name", ["PAID", "PK", "PAR1", "\u8b1f"])
def test_headers_that_begin_like_other_files(nnpy_, here, name):
    write("t.csv", [[name, "y"], *([i % 5, i + 0.5] for i in range(30))])
    nnpy_("train", "t.csv", "--target", "y", "--epochs", 1)
    assert nnpy.load("t.npz").feature_names == (name,)


@pytest.mark.parametrize("place", [0, 1, 50])
def test_long_cells(nnpy_, here, place):
    rows = [["x", "note", "y"], *([i % 5, "short", i + 0.5] for i in range(60))]
    rows[place][1] = "long; " * 50_000
    write("t.csv", rows)
    assert "t.csv: 60 rows, 3 columns" in nnpy_("train", "t.csv", "--target", "y", "--drop", "2", "--epochs", 1)


def test_cells_that_are_too_long(nnpy_, here, monkeypatch):
    monkeypatch.setattr(table, "_CELL_MAX", 1000)
    message = "a cell of more than 1,000 characters begins here: is the quote at its end missing?"
    for num in (1, 100):
        (here / "t.csv").write_text("x,y\n" + "1,2\n" * num + '"' + "1,2\n" * 1000, encoding="utf-8")
        error = nnpy_("train", "t.csv", "--target", "y", status=1)
        assert error == f"nnpy train: t.csv, line {num + 2}: {message}"


def test_names_of_columns_with_line_ends(nnpy_, here):
    write("t.csv", [["a\nb", "c", "d", "y\r\nz"], *([i, i % 5, i % 7, i + 0.5] for i in range(30))])
    for drop in ("a\nb,c", "a b,\r\nc", '"a\r\nb","c\n"'):
        nnpy_("train", "t.csv", "--target", "y\nz", "--drop", drop, "--epochs", 1)
        net = nnpy.load("t.npz")
        assert (net.feature_names, net.target_names) == (("d",), ("y z",))


def test_closed_standard_streams(nnpy_, here, monkeypatch):
    """Python has None for a stream that is closed when it starts."""
    write("flowers.csv", flowers())
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", None)
        error = nnpy_("train", "-", "--target", "y", "--save", "net.npz", status=1)
        assert error == "nnpy train: the standard input is closed"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        nnpy_("train", "flowers.csv", "--target", "kind", "--epochs", 1)
        error = nnpy_("predict", "flowers.npz", "flowers.csv", status=1)
        assert error == "nnpy predict: the standard output is closed: --output FILE.csv writes a file"
        nnpy_("predict", "flowers.npz", "flowers.csv", "--output", "p.csv")
    assert (here / "p.csv").read_text(encoding="utf-8").count("\n") == 61


@pytest.mark.parametrize("encoding", [None, "utf-8", "UTF8", "utf-8-sig", "utf-16-le"])
def test_a_byte_order_mark_is_no_part_of_a_name(nnpy_, here, encoding):
    rows = flowers()
    rows[0][0] = "\ufefflength"
    write("flowers.csv", rows, encoding="utf-16-le" if encoding == "utf-16-le" else "utf-8")
    arguments = [] if encoding is None else ["--encoding", encoding]
    nnpy_("train", "flowers.csv", "--target", "kind", "--epochs", 1, *arguments)
    assert nnpy.load("flowers.npz").feature_names == ("length", "width")


def test_nul_in_parquet(nnpy_, here):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    content = {"a\0": list(range(30)), "b": ["u\0", "v\0\0w"] * 15, "c": ["\0k", "l\0"] * 15}
    parquet.write_table(pa.table(content), "t.parquet")
    nnpy_("train", "t.parquet", "--target", "c", "--categories", "b", "--epochs", 40)
    net = nnpy.load("t.npz")
    assert (net.feature_names, net.class_names) == (("a", "b=u", "b=v w"), ("k", "l"))
    assert [row[0] for row in read(nnpy_("predict", "t.npz", "t.parquet"))[1:]] == ["k", "l"] * 15


# ---- What is written, and in which words


def test_kept_and_predicted_columns_have_different_names(nnpy_, here):
    rows = flowers()
    write("t.csv", [[*rows[0], "predicted kind", "P(rose)"], *([*row, 1, 2] for row in rows[1:])])
    nnpy_("train", "t.csv", "--target", "kind", "--features", "length,width", "--epochs", 1)
    header = read(nnpy_("predict", "t.npz", "t.csv", "--keep"))[0]
    assert header[5:8] == ["predicted predicted kind", "predicted P(rose)", "P(tulip)"]
    write("t.csv", [["x", "P(a)"], *([i, "ab"[i % 2]] for i in range(30))])
    nnpy_("train", "t.csv", "--target", "P(a)", "--epochs", 1)
    assert read(nnpy_("predict", "t.npz", "t.csv"))[0] == ["P(a)", "predicted P(a)", "P(b)"]


def test_no_header_before_an_error(here, capsys):
    nnpy.NeuralNetwork([1, 1], seed=0).save("net.npz")
    (here / "t.csv").write_text("a\n1\noops\n", encoding="utf-8")
    assert main.main(["predict", "net.npz", "t.csv"]) == 1
    assert capsys.readouterr() == ("", "nnpy predict: t.csv, line 3: column 'a' has 'oops', which is no number\n")
    (here / "t.csv").write_text("a\n", encoding="utf-8")
    assert main.main(["predict", "net.npz", "t.csv"]) == 0
    assert capsys.readouterr() == ("output\n", "")


def test_a_damaged_network_of_integers(nnpy_, here):
    nnpy.NeuralNetwork([2, 1], seed=0).quantize(np.eye(2)).save("int8.npz")
    content = dict(np.load("int8.npz"))
    np.savez("int8.npz", **content | {"low": np.zeros(7, np.float32)})
    error = nnpy_("info", "int8.npz", status=1)
    assert error == "nnpy info: int8.npz is not a network that nnpy saved: it has 7 ranges for 2 inputs"


def test_one_and_many(nnpy_, here):
    rows = flowers()
    rows[5][0] = ""
    write("flowers.csv", rows)
    out = nnpy_("train", "flowers.csv", "--target", "kind", "--skip-missing", "--epochs", 1)
    assert "left out: 1 row with missing values\n" in out
    (here / "t.csv").write_text("a,y\nu,1\n2,1\nu,2\nu,3\n3,1\n4,1\n", encoding="utf-8")
    error = nnpy_("train", "t.csv", "--target", "y", status=1)
    assert error == (
        "nnpy train: t.csv, line 2: column 'a' has 'u', which is no number (and 2 more cells); --drop leaves the column out"
    )
    net = nnpy.NeuralNetwork([1, 1], "linear")
    net.fit_scaler([[0], [1e-3]])
    net.save("net.npz")
    (here / "t.csv").write_text("a\n3e38\n", encoding="utf-8")
    error = nnpy_("predict", "net.npz", "t.csv", status=1)
    assert error.startswith("nnpy predict: t.csv, line 2: x must be finite in float32")
    (here / "t.csv").write_text("a\n1,2\n", encoding="utf-8")
    error = nnpy_("predict", "net.npz", "t.csv", "--delimiter", ",", status=1)
    assert error == "nnpy predict: t.csv, line 2: expected 1 cell, as in the first line, got 2"
    nnpy.NeuralNetwork([2, 1]).save("net.npz")
    error = nnpy_("predict", "net.npz", "t.csv", status=1)
    assert error == (
        "nnpy predict: t.csv has 1 column, the network needs 2 in its order, as the network knows no names of columns"
    )
