"""``nnpy train``: reads a table, trains a network on it, validates it on rows that are held out, and saves it."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import nnpy
from nnpy._commands import files, report
from nnpy._commands.columns import Input, category_inputs
from nnpy._commands.table import (
    Format,
    Part,
    Table,
    counted,
    has_decimal_comma,
    is_not_finite,
    open_table,
    parse_numbers,
    quoted,
    why_no_number,
)
from nnpy._optimizers import check_optimizer

__all__ = ["HIDDEN", "VALIDATION", "Options", "Prepared", "default_save", "prepare", "run"]

HIDDEN, VALIDATION = (32,), 0.2

_MAX_CLASSES_OF_NUMBERS = 20  # integers with more different values are the target of a regression
_ROWS_PER_CLASS = 3  # and so are those with fewer rows for each value, if there are more than two
_MAX_CATEGORIES = 1000  # values of a column


@dataclass(frozen=True)
class Options:
    """What the user says of the training. None leaves it to `NeuralNetwork.fit`, or to the data.

    Attributes
    ----------
    target : str
        Names or numbers of columns, separated by commas.
    features, drop, categories : str or None
        The same: the columns to use, those to leave out, those that are text.
    kind : {"classification", "regression"} or None
    hidden : tuple of int
    activation : str or None
        Of the hidden layers.
    epochs : int or None
    optimizer : str or None
    learning_rate : float or None
    validation : float
        The proportion of the rows to hold out; 0 for none.
    seed : int
    skip_missing : bool
        Leave out rows with missing values.
    verbose : bool
        Print a line for each epoch.
    """

    target: str
    features: str | None = None
    drop: str | None = None
    categories: str | None = None
    kind: Literal["classification", "regression"] | None = None
    hidden: tuple[int, ...] = HIDDEN
    activation: str | None = None
    epochs: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    validation: float = VALIDATION
    seed: int = 0
    skip_missing: bool = False
    verbose: bool = False


def default_save(path: str) -> Path:
    """Return where to save a network if the user does not say it: in this folder, under the name of the table."""
    if path == "-":
        raise ValueError("the standard input has no name for the network: --save FILE.npz gives one")
    return Path(f"{Path(path).stem}.npz")


def _check_save(save: Path, path: str) -> bool:
    """Return whether the network will replace another one; a ValueError if it cannot be saved, or another file is there."""
    files.check_writable(save)
    if not save.exists():
        return False
    if path != "-" and save.samefile(path):
        raise ValueError(f"{save} is the table itself: --save FILE.npz names another file")
    try:
        files.load(save)
    except ValueError:
        raise ValueError(f"{save} is there and is no network: --save FILE.npz names another file") from None
    return True


def run(path: str, format_: Format, options: Options, *, save: Path | None, tell: Callable[[str], object]) -> str:
    """Train, validate and save a network; return the report.

    Parameters
    ----------
    path : str
        The table; "-" is the standard input.
    format_ : Format
    options : Options
    save : Path or None
        Where to save the network; None for nowhere.
    tell : callable
        Called with lines about the data and the training as soon as they are known.

    Raises
    ------
    OSError, ValueError, ImportError
        If the table cannot be read or is not suitable, or the network cannot be saved.
    MemoryError, ArithmeticError
        If the network does not fit into memory, or the training diverges.
    KeyboardInterrupt
        On Ctrl-C; nothing is saved.
    """
    replaced = "; an older network was replaced" if save is not None and _check_save(save, path) else ""
    table, data, target, num_missing, held_out = prepare(path, format_, options)
    if options.optimizer == "lm" and target.classes is not None:
        raise ValueError("--optimizer lm is for --regression: it minimises squared errors, and the target is classes")
    missing = [f"left out: {counted(num_missing, 'row')} with missing values"] if num_missing else []
    tell(f"{report.shown(table.name)}: {len(data.x) + num_missing:,} rows, {table.width} columns")
    tell("\n".join([*missing, *_describe_data(table, data, target, held_out, options.seed)]))

    net, history, seconds = _train(data, target, ~held_out, options)
    tell(_describe_training(net, history, seconds, verbose=options.verbose) + "\n")
    if table.names is not None:
        net.feature_names, net.target_names = [item.name for item in data.inputs], target.names
    net.class_names = target.classes
    lines = _results(net, data, target, held_out)
    if save is not None:
        net.save(save)
        arguments = [*format_.arguments(), *(["--skip-missing"] if options.skip_missing else [])]
        if table.names is None:
            used = {item.column for item in data.inputs}
            dropped = ",".join(str(column + 1) for column in range(table.width) if column not in used)
            arguments += [f"--drop={dropped}"]
        command = ["nnpy", "predict", str(save), path, *arguments, "--output", "predictions.csv"]
        lines += [
            f"saved to {report.shown(str(save))}, {save.stat().st_size / 1000:,.0f} KB{replaced}",
            f"next: {shlex.join(command)}",
        ]
    return "\n".join(lines)


class Prepared(NamedTuple):
    """A table with everything decided, ready for the training.

    Attributes
    ----------
    table : Table
        It is closed; its names are what remains.
    data, target
        The rows without missing values.
    num_missing : int
        How many rows were left out.
    held_out : ndarray of bool, shape (n,)
        The rows for validation.
    """

    table: Table
    data: _Data
    target: _Target
    num_missing: int
    held_out: NDArray[np.bool_]


def prepare(path: str, format_: Format, options: Options) -> Prepared:
    """Read a table and decide what the network is to learn; the errors of `run`."""
    with open_table(path, format_) as table:
        data = _read(table, options)
    target = _target(table, data, options.kind)
    data, target, num_missing = _without_missing(table, data, target, skip=options.skip_missing)
    target.check()
    return Prepared(table, data, target, num_missing, _split(data, target, options, table.name))


# ---- Reading ----


@dataclass
class _Columns:
    """Which columns have which part."""

    targets: list[int]
    numbers: list[int]
    categories: list[int]
    notes: list[str] = field(default_factory=list)


class _Data(NamedTuple):
    """The table in memory: inputs of the network, and the texts of the targets.

    Attributes
    ----------
    x : ndarray of float64, shape (n, n_inputs)
        NaN where a value is missing.
    inputs : tuple of Input
    columns : _Columns
    targets : tuple of list of str
        For each target, a text for each row.
    places : ndarray of int64, shape (n,)
        The line of each row.
    notes : tuple of str
        Lines for the report.
    """

    x: NDArray[np.float64]
    inputs: tuple[Input, ...]
    columns: _Columns
    targets: tuple[list[str], ...]
    places: NDArray[np.int64]
    notes: tuple[str, ...]


def _choose_columns(table: Table, options: Options) -> _Columns:
    targets = table.find_all(options.target)
    if not targets:
        raise ValueError("the target has no name")
    features, notes = _choose_features(table, options, targets)
    if not features:
        raise ValueError(f"{table.name} has no columns for the inputs of the network")
    categories = _choose_categories(table, options, targets, features)
    return _Columns(targets, [c for c in features if c not in categories], categories, notes)


def _choose_features(table: Table, options: Options, targets: Sequence[int]) -> tuple[list[int], list[str]]:
    """Return the columns to use, and notes about others."""
    if options.features is not None:
        features = table.find_all(options.features)
        for column in features:
            if column in targets:
                raise ValueError(f"{table.column_name(column)} is a feature and the target: it can be only one of them")
            if table.names is not None and not table.names[column]:
                raise ValueError(f"{table.column_name(column)} has no name, by which the network would find it again")
        return sorted(features), []  # as predict takes them from a table without names
    dropped = table.find_all(options.drop or "")
    for column in dropped:
        if column in targets:
            raise ValueError(f"{table.column_name(column)} is the target: it cannot be dropped")
    features = sorted(set(range(table.width)) - {*targets, *dropped})
    if table.names is None:
        return features, []
    # Columns without a name, such as the row numbers that pandas and R write.
    notes = [f"left out: column {column + 1}, which has no name" for column in features if not table.names[column]]
    return [column for column in features if table.names[column]], notes


def _choose_categories(table: Table, options: Options, targets: Sequence[int], features: Sequence[int]) -> list[int]:
    categories = table.find_all(options.categories or "")
    for column in categories:
        if column not in features:
            reason = "the target" if column in targets else "not among the features"
            raise ValueError(f"{table.column_name(column)} of --categories is {reason}")
    if categories and table.names is None:
        raise ValueError("--categories needs a header: a network knows the values by the names of its inputs")
    for column in features if categories and table.names is not None else ():
        if "=" in table.column_name(column):
            raise ValueError(f"{table.column_name(column)} has an = in its name, which --categories does not allow")
    for column in categories:
        start = f"{_input_name(table, column)}="
        for name in table.names or ():
            if name.startswith(start):
                raise ValueError(
                    f"column {quoted(name)} has the name of an input for {table.column_name(column)} of --categories: give it "
                    "another name"
                )
    return categories


class _Wrong(NamedTuple):
    """The first cell of a column that is no number, and how many there are."""

    place: int
    cell: str
    num: int


def _read(table: Table, options: Options) -> _Data:
    """Read the columns that are asked for; a ValueError if one is text that should be numbers."""
    columns = _choose_columns(table, options)
    blocks: list[NDArray[np.float64]] = []
    places: list[NDArray[np.int64]] = []
    texts: dict[int, list[str]] = {column: [] for column in (*columns.targets, *columns.categories)}
    wrong: dict[int, _Wrong] = {}
    same: dict[str, str] = {}  # one string for each value, however often it is there
    for part in table.parts():
        blocks.append(_read_numbers(part, columns.numbers, wrong))
        places.append(np.array(part.places, dtype=np.int64))
        for column, values in texts.items():
            values += [same.setdefault(text, text) for text in part.texts(column)]
    if not blocks:
        raise ValueError(f"{table.name} has no rows of data")
    numbers = np.concatenate(blocks)
    if wrong:
        raise ValueError(_describe_wrong(table, numbers, columns.numbers, wrong))
    inputs = [Input(_input_name(table, column), column) for column in columns.numbers]
    if not columns.categories:
        x = numbers
    else:
        for column in columns.categories:
            inputs += category_inputs(_input_name(table, column), column, _values(table, column, texts[column]))
        x = np.hstack([numbers, *(_one_hot(texts[column]) for column in columns.categories)])
        order = sorted(range(len(inputs)), key=lambda i: inputs[i].column)  # of the table, as predict takes them
        inputs, x = [inputs[i] for i in order], x[:, order]
    for place, item in enumerate(inputs):
        if np.isnan(x[:, place]).all():
            raise ValueError(
                f"{table.name}: {table.column_name(item.column)} is empty in all rows: leave it out with --drop"
            )
    targets = tuple(texts[column] for column in columns.targets)
    notes = [*columns.notes, *_row_numbers(table, numbers, columns.numbers)]
    return _Data(x, tuple(inputs), columns, targets, np.concatenate(places), tuple(notes))


def _input_name(table: Table, column: int) -> str:
    return (table.names is not None and table.names[column]) or str(column + 1)


def _read_numbers(part: Part, columns: Sequence[int], wrong: dict[int, _Wrong]) -> NDArray[np.float64]:
    """Return columns of a part as numbers; note what is none."""
    x = np.empty((len(part), len(columns)))
    for place, column in enumerate(columns):
        values, bad = part.numbers(column)
        x[:, place] = values
        if bad:
            known = wrong.get(column) or _Wrong(part.places[bad[0]], part.cells(column)[bad[0]], 0)
            wrong[column] = known._replace(num=known.num + len(bad))
    return x


def _describe_wrong(table: Table, x: NDArray[np.float64], columns: Sequence[int], wrong: dict[int, _Wrong]) -> str:
    """Return the message for columns with cells that are no numbers: for a few such cells the first one, else the columns."""
    is_text = {c: wrong[c].num > np.isfinite(x[:, columns.index(c)]).sum() for c in wrong}
    typos = [column for column in wrong if not is_text[column] or table.names is None]
    if typos:
        column = min(typos, key=lambda c: wrong[c].place)
        place, cell, num = wrong[column]
        others = f" (and {counted(num - 1, 'more cell')}); --drop leaves the column out" if num > 1 else ""
        return f"{table.place(place)}: {table.column_name(column)} has {why_no_number(cell)}{others}"
    first = next(iter(wrong))
    place, cell, _ = wrong[first]
    message = f"{table.place(place)}: {table.column_name(first)} has {why_no_number(cell)}"
    if has_decimal_comma(cell) or table.names is None:
        return message
    names = report.option_value([table.names[c] for c in wrong]) if len(wrong) <= 10 else "NAME,NAME,..."
    others = f"; {len(wrong)} columns are text" if len(wrong) > 1 else ""
    return f"{message}{others}: --categories {names} encodes text as inputs (one-hot), --drop {names} leaves it out"


def _values(table: Table, column: int, texts: Sequence[str]) -> list[str]:
    """Return the different values of a column of categories in order."""
    values = sorted(set(texts) - {""})
    if not values:
        raise ValueError(f"{table.name}: {table.column_name(column)} is empty in all rows: leave it out with --drop")
    if len(values) > min(_MAX_CATEGORIES, max(2, len(texts) // 2)):
        raise ValueError(
            f"{table.name}: {table.column_name(column)} has {len(values):,} different values in {len(texts):,} rows, too many "
            "for categories: leave it out with --drop"
        )
    return values


def _one_hot(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return a column of zeros and ones for each value; NaN where it is missing."""
    codes = {value: code for code, value in enumerate(sorted(set(texts) - {""}))}
    x = np.zeros((len(texts), len(codes)))
    for row, text in enumerate(texts):
        if text:
            x[row, codes[text]] = 1
        else:
            x[row] = np.nan
    return x


def _row_numbers(table: Table, x: NDArray[np.float64], columns: Sequence[int]) -> list[str]:
    """Return a hint for each column that only numbers the rows."""
    return [
        f"note: {table.column_name(column)} numbers the rows: should it be left out, with --drop?"
        for column, values in zip(columns, x.T, strict=True)
        if len(values) > 2 and (np.diff(values) == 1).all()
    ]


# ---- The target ----


class _Target(NamedTuple):
    """What the network learns.

    Attributes
    ----------
    names : tuple of str
        Of the columns.
    title : str
        What to call it in a message.
    y : ndarray, shape (n, n_targets) of float64, or (n,) of int64
        The targets, or numbers of classes. NaN, or -1, where it is missing.
    classes : tuple of str or None
        Names of the classes; None for a regression.
    hint : str
        How the kind was chosen.
    """

    names: tuple[str, ...]
    title: str
    y: NDArray[Any]
    classes: tuple[str, ...] | None
    hint: str

    def check(self) -> None:
        """Refuse a target from which there is nothing to learn."""
        if self.classes is not None:
            found = sorted(set(self.y.tolist()))
            if len(found) == 1:
                name = self.classes[found[0]]
                raise ValueError(f"{self.title} is {quoted(name)} in all rows: there is nothing to learn")
            return
        for name, values in zip(self.names, self.y.T, strict=True):
            if (values == values[0]).all():
                title = self.title if len(self.names) == 1 else f"{self.title}: the target {quoted(name)}"
                raise ValueError(f"{title} is {values[0]:g} in all rows: there is nothing to learn")


def _target(table: Table, data: _Data, kind: str | None) -> _Target:
    """Decide what the target is: numbers or classes."""
    names = tuple(_input_name(table, column) for column in data.columns.targets)
    titles = [table.column_name(column) for column in data.columns.targets]
    title = f"{table.name}: the target, {titles[0]}," if len(titles) == 1 else table.name
    if len(names) > 1 and kind == "classification":
        raise ValueError(f"a classification has a single target, got {len(names)}: {', '.join(map(quoted, names))}")
    columns = []
    for name, texts in zip(titles, data.targets, strict=True):
        values, wrong = parse_numbers(texts, table.decimal)
        if wrong and (kind == "regression" or len(names) > 1 or (kind is None and _are_numbers(values, texts, wrong))):
            row = wrong[0]
            sign = ";" if has_decimal_comma(texts[row]) else ":"  # after another cure
            cure = f"{sign} --classification takes each value for a class" if kind is None and len(names) == 1 else ""
            raise ValueError(
                f"{table.place(int(data.places[row]))}: the target, {name}, has {why_no_number(texts[row])}{cure}"
            )
        if not wrong and np.isnan(values).all():
            raise ValueError(f"{table.name}: the target, {name}, is empty in all rows")
        if wrong:  # then it is the only target
            return _classes(names, title, texts, "")
        columns.append(values)
    y = np.column_stack(columns)
    known = y[np.isfinite(y[:, 0]), 0]
    are_classes = kind is None and len(names) == 1 and _are_class_numbers(known)
    if kind == "classification" or are_classes:
        hint = "; whole numbers: --regression takes them for quantities" if are_classes else ""
        return _classes(names, title, [_class_name(value) for value in y[:, 0].tolist()], hint, is_number=True)
    return _Target(names, title, y, None, "")


def _are_numbers(values: NDArray[np.float64], texts: Sequence[str], wrong: Sequence[int]) -> bool:
    """Whether a column with some text is most likely one of numbers, with a wrong cell here and there."""
    if all(is_not_finite(texts[row]) or has_decimal_comma(texts[row]) for row in wrong):
        return True
    numbers = values[np.isfinite(values)]
    return 2 * len(numbers) > len(texts) and len(np.unique(numbers)) > _MAX_CLASSES_OF_NUMBERS


def _are_class_numbers(values: NDArray[np.float64]) -> bool:
    """Whether numbers are most likely those of classes: whole, few, and often the same."""
    if not len(values) or (values != np.floor(values)).any():
        return False
    num_values = len(np.unique(values))
    return num_values <= _MAX_CLASSES_OF_NUMBERS and (num_values <= 2 or _ROWS_PER_CLASS * num_values <= len(values))


def _class_name(value: float) -> str:
    if np.isnan(value):
        return ""
    return str(int(value)) if value == np.floor(value) else repr(value)


def _classes(
    names: tuple[str, ...], title: str, texts: Sequence[str], hint: str, *, is_number: bool = False
) -> _Target:
    """Return a target of classes: text, or numbers written as text, in order; a missing one is empty."""
    classes = sorted(set(texts) - {""}, key=float if is_number else None)
    num_rows = sum(map(bool, texts))
    if len(classes) > max(2, num_rows // 2):
        raise ValueError(
            f"{title} has {len(classes):,} different values in {num_rows:,} rows, such as {quoted(classes[0])}: too many for "
            "classes"
        )
    codes = {name: code for code, name in enumerate(classes)} | {"": -1}
    y = np.fromiter((codes[text] for text in texts), np.int64, len(texts))
    return _Target(names, title, y, tuple(classes), hint)


def _without_missing(table: Table, data: _Data, target: _Target, *, skip: bool) -> tuple[_Data, _Target, int]:
    """Leave out the rows with missing values, if the user wants it; else a ValueError that names the first one."""
    no_input = np.asarray(np.isnan(data.x).any(axis=1))
    no_target = np.asarray(target.y < 0 if target.classes is not None else np.isnan(target.y).any(axis=1))
    is_missing = no_input | no_target
    num_missing = int(is_missing.sum())
    if not num_missing:
        return data, target, 0
    if not skip:
        row = int(is_missing.argmax())
        if no_input[row]:
            column = data.inputs[int(np.isnan(data.x[row]).argmax())].column
        else:
            place = 0 if target.classes is not None else int(np.isnan(target.y[row]).argmax())
            column = data.columns.targets[place]
        rows = "a row has" if num_missing == 1 else f"{num_missing:,} rows have"
        raise ValueError(
            f"{table.place(int(data.places[row]))}: {table.column_name(column)} has no value; {rows} missing values: "
            "--skip-missing leaves such rows out"
        )
    if num_missing == len(data.x):
        counts = Counter({item.column: int(np.isnan(data.x[:, i]).sum()) for i, item in enumerate(data.inputs)})
        column, count = counts.most_common(1)[0]
        raise ValueError(
            f"{table.name}: all rows have missing values; {table.column_name(column)} is empty in {count:,} of {len(data.x):,} "
            "rows: --drop leaves it out"
        )
    kept = ~is_missing
    x, y = data.x[kept], target.y[kept]
    # Classes and values of categories that are only in the other rows are left out, too.
    used = [i for i, item in enumerate(data.inputs) if item.value is None or x[:, i].any()]
    data = data._replace(x=x[:, used], inputs=tuple(data.inputs[i] for i in used), places=data.places[kept], targets=())
    if target.classes is not None:
        classes, y = np.unique(y, return_inverse=True)
        target = target._replace(classes=tuple(target.classes[i] for i in classes.tolist()))
    return data, target._replace(y=y), num_missing


def _split(data: _Data, target: _Target, options: Options, name: str) -> NDArray[np.bool_]:
    """Choose rows at random to hold out: of classes the same proportion of each, but never all."""
    from nnpy._training.data import shuffled  # other commands start without it

    num, share = len(data.x), options.validation
    is_held_out = np.zeros(num, dtype=np.bool_)
    if share > 0:
        order = shuffled(num, options.seed)
        can_be = np.ones(num, dtype=np.bool_)
        if target.classes is not None:
            order = order[np.argsort(target.y[order], kind="stable")]
            labels = target.y[order]
            can_be[1:] = labels[1:] == labels[:-1]  # not the first row of a class
            can_be[0] = False
        steps = np.floor(np.arange(num + 1) * share)
        is_held_out[order[(steps[1:] > steps[:-1]) & can_be]] = True
    num_held_out = int(is_held_out.sum())
    if num - num_held_out < 2 or (share > 0 and num_held_out < 2):
        cure = ": --validation 0 trains on all rows" if share > 0 else ""
        what = f"hold {100 * share:g} % out for validation" if share > 0 else "train"
        rows = "1 row is" if num == 1 else f"{num} rows are"
        raise ValueError(f"{name}: {rows} too few to {what}{cure if num > 1 else ''}")
    return is_held_out


# ---- Training ----


def _train(
    data: _Data, target: _Target, rows: NDArray[np.bool_], options: Options
) -> tuple[nnpy.NeuralNetwork, nnpy.History, float]:
    """Train a new network on some rows; return it with its history and the time in seconds."""
    is_classifier = target.classes is not None
    num_outputs = len(target.classes) if target.classes is not None else target.y.shape[1]
    sizes = [data.x.shape[1], *options.hidden, num_outputs]
    hidden = options.activation or "sigmoid"  # the default of NeuralNetwork
    activations = [hidden] * len(options.hidden) + ["softmax" if is_classifier else "linear"]
    net = nnpy.NeuralNetwork(sizes, activations, seed=options.seed)
    optimizer: Any = options.optimizer
    if options.learning_rate is not None:
        kind: Any = nnpy.Adam if optimizer is None else type(check_optimizer(optimizer))
        rate = nnpy.CosineDecay(options.learning_rate) if optimizer is None else options.learning_rate
        optimizer = kind(rate)
    start = time.perf_counter()
    history = net.fit(
        data.x[rows],
        target.y[rows],
        optimizer=optimizer,
        epochs="auto" if options.epochs is None else options.epochs,
        seed=options.seed,
        verbose=int(options.verbose),
    )
    if history.stopped == "interrupt":
        raise KeyboardInterrupt
    return net, history, time.perf_counter() - start


# ---- The report ----


def _describe_data(table: Table, data: _Data, target: _Target, held_out: NDArray[np.bool_], seed: int) -> list[str]:
    num, lines = len(data.x), list(data.notes)
    names = ", ".join(map(report.shown, target.names))
    if target.classes is not None:
        counts = np.bincount(target.y, minlength=len(target.classes)).tolist()
        listed = report.some([f"{report.shown(c)} ({n:,})" for c, n in zip(target.classes, counts, strict=True)])
        lines.append(f"target: {names}, {len(target.classes)} classes: {listed}{target.hint}")
    else:
        lines.append(f"target: {names}, {'a quantity' if len(target.names) == 1 else 'quantities'}")
    columns = list(dict.fromkeys(item.column for item in data.inputs))
    listed = report.some([report.shown(_input_name(table, column)) for column in columns])
    inputs = f"{len(data.inputs)} from " if len(data.inputs) != len(columns) else ""
    lines.append(f"inputs: {inputs}{len(columns)} {'column' if len(columns) == 1 else 'columns'}: {listed}")
    num_held_out = int(held_out.sum())
    if num_held_out:
        how = "the same proportion of each class" if target.classes is not None else "at random"
        lines.append(
            f"{num - num_held_out:,} rows to train on, {num_held_out:,} held out for validation, {how} (seed {seed})"
        )
    else:
        lines.append(f"{num:,} rows to train on, none held out")
    return lines


def _describe_training(net: nnpy.NeuralNetwork, history: nnpy.History, seconds: float, *, verbose: bool) -> str:
    layers = "-".join(map(str, net.layer_sizes))
    lines = [f"network: {layers}, {', '.join(net.activations)}; {net.parameters.size:,} parameters"]
    if history.chosen and not verbose:  # else fit has printed it
        lines.append(f"fit chose: {history.chosen}")
    epochs = "1 epoch" if len(history) == 1 else f"{len(history):,} epochs"
    lines.append(f"trained for {epochs} in {seconds:.2f} s")
    return "\n".join(lines)


def _results(net: nnpy.NeuralNetwork, data: _Data, target: _Target, held_out: NDArray[np.bool_]) -> list[str]:
    """Return the scores on the rows of training and of validation, and of the best constant on those of validation."""
    out, has_validation = net.predict(data.x), bool(held_out.any())
    parts = {"training": ~held_out} | ({"validation": held_out} if has_validation else {})
    if target.classes is not None:
        return report.classification(target.classes, target.y, out.argmax(axis=1), parts)
    return report.regression(target.names, target.y, out, parts)
