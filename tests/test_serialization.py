"""Saving and loading: the same bits, no pickle, whole files only, clear errors."""

import copy
import json
import os
import pickle
import re
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

import nnpy


@pytest.fixture
def net():
    return nnpy.NeuralNetwork([3, 4, 2], ["relu", "softmax"], seed=0)


def test_a_network_comes_back_bit_for_bit(tmp_path, net):
    net.parameters[:3] = [np.nan, -0.0, 1e-45]
    for path in (tmp_path / "net.npz", str(tmp_path / "no ending")):
        net.save(path)
        other = nnpy.load(path)
        assert repr(other) == "NeuralNetwork([3, 4, 2], ['relu', 'softmax'])"
        assert other.parameters.tobytes() == net.parameters.tobytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.npz", "no ending"]


def test_numpy_reads_the_file_without_pickle(tmp_path, net):
    net.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["parameters"], net.parameters)
        assert file["layer_sizes"].tolist() == [3, 4, 2]


@pytest.mark.skipif(os.name == "nt", reason="permissions are Unix's")
def test_permissions_are_those_of_a_new_file(tmp_path, net):
    net.save(tmp_path / "net.npz")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "net.npz").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_failure_leaves_the_old_file(tmp_path, net, monkeypatch):
    path = tmp_path / "net.npz"
    net.save(path)
    before = path.read_bytes()
    net.parameters = 0

    def fail(*_):
        raise OSError("no space left")

    for owner, name in ((os, "fsync"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(OSError, match="^no space left$"):
                net.save(path)
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


def test_a_folder_that_is_not_there(tmp_path, net):
    with pytest.raises(FileNotFoundError):
        net.save(tmp_path / "none" / "net.npz")
    with pytest.raises(FileNotFoundError):
        nnpy.load(tmp_path / "none.npz")


def write(path, **changes):
    content = {
        "format": np.array("nnpy network"),
        "version": np.array(3),
        "layer_sizes": np.array([2, 1]),
        "activations": np.array(["sigmoid"]),
        "parameters": np.zeros(3, np.float32),
    }
    np.savez(path, **{k: v for k, v in {**content, **changes}.items() if v is not None})


def optimizer(name, numbers=(1.0, 1.0, 1.0), buffer=None, **arguments):
    """The arrays of the state of an optimiser."""
    texts = {"optimizer/class": np.array(name), "optimizer/arguments": np.array(json.dumps(arguments))}
    buffer = np.zeros(6, np.float32) if buffer is None else buffer
    return {**texts, "optimizer/numbers": np.asarray(numbers), "optimizer/buffer": buffer}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": np.array("something")}, "it holds other arrays"),
        ({"format": None}, "it holds other arrays"),
        ({"version": np.array(2)}, "its format is 2, and this version of nnpy reads format 3"),
        ({"version": np.array(4)}, "its format is 4, and this version of nnpy reads format 3"),
        ({"layer_sizes": np.array([2, -1])}, r"layer_sizes must be positive, got \[2, -1\]"),
        (
            {"layer_sizes": np.array([2.0, 1.0])},
            r"its array layer_sizes is float64 of shape \(2,\), expected integers of shape \(n,\)",
        ),
        ({"activations": np.array(["swoosh"])}, "an activation must be one of "),
        (
            {"parameters": np.zeros(4, np.float32)},
            r"its array parameters is float32 of shape \(4,\), expected float32 of shape \(3,\)",
        ),
        (
            {"parameters": np.zeros(3)},
            r"its array parameters is float64 of shape \(3,\), expected float32 of shape \(3,\)",
        ),
        (
            {"feature_names": np.array(["a"])},
            r"its array feature_names is <U1 of shape \(1,\), expected text of shape \(2,\)",
        ),
        (
            {"feature_names": np.array([1, 2], np.int64)},
            r"its array feature_names is int64 of shape \(2,\), expected text of shape \(2,\)",
        ),
        (
            {"class_names": np.array(["a", "b", "c"])},
            r"class_names must be 2 different names, one for each class, got \['a', 'b', 'c'\]",
        ),
        ({"class_names": np.array(["a", "a"])}, "class_names must be 2 different names, one for each class, got"),
        (
            {"class_names": np.array([[["a"]]])},
            r"its array class_names is <U1 of shape \(1, 1, 1\), expected text of shape \(n,\)",
        ),
        ({"class_names": np.array([1, 2], np.int64)}, r"its array class_names is int64 of shape \(2,\), expected text"),
        ({"target_names": np.array(["a", "b"])}, r"target_names must be 1 name, got \['a', 'b'\]"),
        ({"target_names": np.array(1.0)}, r"its array target_names is float64 of shape \(\), expected text of shape"),
        ({"scaler/x_mean": np.zeros(2)}, ".*scaler/x_scale"),
        (
            {"scaler/x_mean": np.zeros(2, np.float32), "scaler/x_scale": np.ones(2)},
            r"its array scaler/x_mean is float32 of shape \(2,\), expected float64 of shape \(2,\)",
        ),
        (
            {"scaler/x_mean": np.zeros(2), "scaler/x_scale": np.array([1, -1.0])},
            "its scaler has numbers that are not finite",
        ),
        (
            {"scaler/x_mean": np.zeros(2), "scaler/x_scale": np.array([1, 0.0])},
            "its scaler has numbers that are not finite",
        ),
        (
            {"scaler/x_mean": np.array([np.nan, 0]), "scaler/x_scale": np.ones(2)},
            "its scaler has numbers that are not fin",
        ),
        ({"optimizer/class": np.array("Momentum")}, "it has the state of an unknown optimizer, 'Momentum'"),
        (
            {"optimizer/class": np.array("os"), "optimizer/arguments": np.array("{}")},
            "it has the state of an unknown opt",
        ),
        (
            {"optimizer/class": np.array("Adam"), "optimizer/arguments": np.array('{"rate": 1}')},
            ".*unexpected keyword argument 'rate'",
        ),
        ({"parameters": np.array([None] * 3)}, "its array parameters is not one of plain numbers or text"),
        (optimizer("LBFGS", history_size=10_000), r"it has the state of LBFGS\(.*\), which partial_fit cannot use"),
        (
            optimizer("LevenbergMarquardt"),
            r"it has the state of LevenbergMarquardt\(.*\), which partial_fit cannot use",
        ),
        (
            optimizer("SGD", numbers=np.zeros(3, np.float16)),
            r"its array optimizer/numbers is float16 of shape \(3,\), expected float64 of shape \(n,\)",
        ),
        (optimizer("SGD", buffer=np.zeros(6)), "the state of SGD is no array of real numbers"),
        (optimizer("SGD", numbers=np.array([2.0**63, 1, 1])), "the state of SGD has numbers out of range"),
        (optimizer("SGD", numbers=np.array([0, 1, -1.0])), "the state of SGD has numbers out of range"),
    ],
)
def test_other_files_are_refused(tmp_path, changes, message):
    path = tmp_path / "net.npz"
    write(path, **changes)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is not a network that nnpy saved: {message}"):
        nnpy.load(path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x93NUMPY\x01\x00", b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    path = tmp_path / "net.npz"
    path.write_bytes(content)
    message = f"{path} is not a network that nnpy saved: it is no .npz file"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        nnpy.load(path)


def test_a_zip_file_on_many_disks_is_refused(tmp_path, net):
    path = tmp_path / "net.npz"
    net.save(path)
    content = path.read_bytes()
    locator = b"PK\6\7" + bytes(4) + bytes(8) + (2).to_bytes(4, "little")  # the second of two disks
    path.write_bytes(content[:-22] + locator + content[-22:])
    with pytest.raises(ValueError, match=" is not a network that nnpy saved: .*multiple disks"):
        nnpy.load(path)


def test_arrays_of_something_else_are_refused(tmp_path):
    """Such as those of a network of another library."""
    path = tmp_path / "net.npz"
    np.savez(path, weights=np.zeros((3, 2)), biases=np.zeros(2))
    message = f"{path} is not a network that nnpy saved: it holds other arrays"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        nnpy.load(path)


def test_damaged_files_are_refused(tmp_path, net):
    path = tmp_path / "net.npz"
    net.save(path)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[content.index(net.parameters.tobytes()) + 5] ^= 1
    for damaged in (content[:-30], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=" is not a network that nnpy saved: "):
            nnpy.load(path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ValueError, match=" is not a network that nnpy saved: "):
        nnpy.load(tmp_path / "array.npy")


@pytest.mark.slow
def test_bytes_changed_anywhere_give_a_clear_error_or_do_no_harm(tmp_path, net):
    path = tmp_path / "net.npz"
    net.partial_fit(np.ones((4, 3)), [0, 1, 0, 1])
    net.fit_scaler(np.arange(12.0).reshape(4, 3))
    net.save(path)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            assert nnpy.load(path).layer_sizes == (3, 4, 2)
        except ValueError as error:
            assert " is not a network that nnpy saved: " in str(error)  # noqa: PT017
            refused += 1
    assert refused > 100


@pytest.mark.skipif(os.name == "nt", reason="links and permissions are Unix's")
def test_links_are_followed_and_permissions_kept(tmp_path, net):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    net.save(target)
    target.chmod(0o600)
    link.symlink_to(target.name)
    net.parameters = 1
    net.save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    np.testing.assert_array_equal(nnpy.load(target).parameters, 1)
    (tmp_path / "dangling.npz").symlink_to("later.npz")
    net.save(tmp_path / "dangling.npz")
    assert nnpy.load(tmp_path / "later.npz").layer_sizes == net.layer_sizes


@pytest.mark.skipif(os.name == "nt", reason="there are no such files")
def test_only_regular_files_are_replaced(tmp_path, net):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="Not a regular file: .*fifo"):
        net.save(tmp_path / "fifo")
    with pytest.raises(IsADirectoryError):
        net.save(tmp_path)
    with pytest.raises(ValueError, match="^the path of a file must not be empty$"):
        net.save("")
    assert [p.name for p in tmp_path.iterdir()] == ["fifo"]


def test_a_file_system_without_nameless_files(tmp_path, net, monkeypatch):
    monkeypatch.setattr(os, "O_TMPFILE", 0, raising=False)  # opening a folder to write fails, as it does there
    net.save(tmp_path / "net.npz")
    assert nnpy.load(tmp_path / "net.npz").layer_sizes == net.layer_sizes
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


def test_compressed_arrays_are_refused_before_they_are_unpacked(tmp_path):
    path = tmp_path / "net.npz"
    write(path)
    with np.load(path) as file:
        np.savez_compressed(path, **{**file, "parameters": np.zeros(10**7, np.float32)})
    assert path.stat().st_size < 10**5
    with pytest.raises(ValueError, match="is compressed, which nnpy does not write"):
        nnpy.load(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 10**9), }", "is not one of plain numbers or text"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,), }", "expected float32 of shape"),
        (b"{'descr': '<U99999999', 'fortran_order': False, 'shape': (3,), }", "expected float32 of shape"),
        (b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", "is not one of plain numbers or text"),
        (b"(" * 5000, "is not one of plain numbers or text"),
        (b"\x00\xff", "is not one of plain numbers or text"),
    ],
    ids=["expression", "huge", "huge text", "fields", "brackets", "binary"],
)
def test_headers_are_not_evaluated(tmp_path, header, message):
    """With a right CRC, as somebody who means harm would write it."""
    path, changed = tmp_path / "net.npz", tmp_path / "changed.npz"
    write(path)
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(12)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name == "parameters.npy" else old.read(name))
    with pytest.raises(ValueError, match=f"^{re.escape(str(changed))} is not a network that nnpy saved: .*{message}"):
        nnpy.load(changed)


def test_text_that_is_too_large_for_the_file_is_refused(tmp_path):
    path, changed = tmp_path / "net.npz", tmp_path / "changed.npz"
    write(path)
    header = b"{'descr': '<U99999999', 'fortran_order': False, 'shape': (), }"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(12)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name == "format.npy" else old.read(name))
    with pytest.raises(ValueError, match="its array format is larger than the file"):
        nnpy.load(changed)


def test_errors_are_short(tmp_path):
    path = tmp_path / "net.npz"
    write(path, layer_sizes=-np.ones(10**6, np.int64))
    with pytest.raises(ValueError, match="layer_sizes must be positive") as error:
        nnpy.load(path)
    assert len(str(error.value)) < 500


# ---- Names of classes and targets


@pytest.fixture
def named(net):
    net.class_names, net.target_names = ["no", "yes \u2013 perhaps"], iter(["answer"])
    return net


def names_of(net):
    return net.class_names, net.target_names


NAMES = (("no", "yes \u2013 perhaps"), ("answer",))


def test_names_of_classes_and_targets_are_kept(tmp_path, named):
    named.save(tmp_path / "net.npz")
    x = np.random.default_rng(0).normal(size=(20, 3))
    q = named.quantize(x)
    q.save(tmp_path / "int8.npz")
    others = [
        nnpy.load(tmp_path / "net.npz"),
        copy.copy(named),
        copy.deepcopy(named),
        pickle.loads(pickle.dumps(named)),
    ]
    others += [q, nnpy.QuantizedNetwork.load(tmp_path / "int8.npz"), copy.copy(q), pickle.loads(pickle.dumps(q))]
    assert [names_of(net) for net in others] == [NAMES] * len(others)
    named.fit(x, np.arange(20) % 2, epochs=1, seed=0, checkpoint=tmp_path / "checkpoint.npz")
    assert names_of(nnpy.load(tmp_path / "checkpoint.npz")) == NAMES


def test_a_network_without_names_has_none_in_its_file(tmp_path, net):
    net.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as file:
        assert not [name for name in file if "name" in name]
    assert names_of(nnpy.load(tmp_path / "net.npz")) == (None, None)
    assert names_of(net.quantize(np.eye(3))) == (None, None)


def test_a_pickle_from_before_there_were_names_of_classes(net):
    state = net.__getstate__()
    del state["class_names"], state["target_names"]
    other = nnpy.NeuralNetwork([1, 1])
    other.__setstate__(state)
    assert names_of(other) == (None, None)


def test_an_unknown_array_in_a_file_is_ignored(tmp_path):
    """As versions of nnpy do that do not know the names of classes."""
    write(tmp_path / "net.npz", names_of_a_later_version=np.array(["a"]))
    assert nnpy.load(tmp_path / "net.npz").layer_sizes == (2, 1)


@pytest.mark.parametrize(
    ("sizes", "classes", "targets"),
    [([2, 3], "abc", "t"), ([2, 3], "abc", "stu"), ([2, 1], "ab", "t"), ([2, 2], None, "st"), ([2, 2], "ab", None)],
)
def test_how_many_names_there_may_be(sizes, classes, targets):
    net = nnpy.NeuralNetwork(sizes)
    net.class_names, net.target_names = (None if names is None else list(names) for names in (classes, targets))
    assert names_of(net) == tuple(None if names is None else tuple(names) for names in (classes, targets))
    net.class_names = net.target_names = None
    assert names_of(net) == (None, None)


@pytest.mark.parametrize("names", ["abc", ["a", "b"], ["a", "b", "b"], ["a", "b", 3], ["a", "b", "c\0"], 3, []])
def test_wrong_names(named, names):
    net = nnpy.NeuralNetwork([2, 3])
    with pytest.raises(
        ValueError,
        match=f"^class_names must be 3 different names, one for each class, got {re.escape(repr(names))}$",
    ):
        net.class_names = names
    with pytest.raises(
        ValueError,
        match=f"^target_names must be 1 name, or 3 different names, one for each output, got {re.escape(repr(names))}$",
    ):
        net.target_names = names
    assert names_of(net) == (None, None)


def test_exported_c_has_the_names_of_the_classes(tmp_path, named):
    for net in (named, named.quantize(np.eye(3))):
        net.export_c(tmp_path / "net.h")
        assert '"no"' in (tmp_path / "net.h").read_text()
        net.export_c(tmp_path / "net.h", class_names=["left", "right"])
        assert '"no"' not in (tmp_path / "net.h").read_text()
