"""Runs scikit-learn's own tests and examples of its multilayer perceptrons, with the import changed to nnpy.sklearn.

    pip install . scikit-learn pandas matplotlib pytest
    python benchmarks/sklearn_sources.py scikit_learn-1.7.2

The argument is a source distribution of scikit-learn, unpacked. Each example runs with both, and the training scores of all
perceptrons that it fits are compared, in their order. Examples that download data are left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = "sklearn/neural_network/tests/test_mlp.py"
IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor"
EXAMPLES = (
    "neural_networks/plot_mlp_alpha.py",
    "neural_networks/plot_mlp_training_curves.py",
    "classification/plot_classifier_comparison.py",
    "miscellaneous/plot_partial_dependence_visualization_api.py",
)
# Runs an example, and writes the training scores of its perceptrons to a file.
RUN = """
import atexit, json, runpy, sys, warnings
import matplotlib
matplotlib.use("Agg")
warnings.simplefilter("ignore")
import sklearn.neural_network as perceptrons
example, module, out = sys.argv[1:]
source = __import__(module, fromlist=["MLPClassifier"])
scores = []
def recorded(kind):
    class Recorded(kind):
        def fit(self, X, y, *rest, **named):
            super().fit(X, y, *rest, **named)
            scores.append(float(self.score(X, y)))
            return self
    Recorded.__name__ = kind.__name__
    return Recorded
perceptrons.MLPClassifier, perceptrons.MLPRegressor = recorded(source.MLPClassifier), recorded(source.MLPRegressor)
atexit.register(lambda: json.dump(scores, open(out, "w")))
runpy.run_path(example, run_name="__main__")
"""


def run_tests(source: Path, folder: Path) -> None:
    """Run scikit-learn's tests with the import as it is, and changed."""
    text = (source / TESTS).read_text(encoding="utf-8")
    assert IMPORT in text, "the tests import the perceptrons in another way"
    for module in ("sklearn.neural_network", "nnpy.sklearn"):
        path = folder / f"test_{module.replace('.', '_')}.py"
        path.write_text(text.replace(IMPORT, IMPORT.replace("sklearn.neural_network", module)), encoding="utf-8")
        command = [sys.executable, "-P", "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", str(path)]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        print(f"{module}:\n{result.stdout[result.stdout.index('= short') :]}")


def run_example(path: Path, folder: Path) -> str:
    """Run an example with both; return a line of Markdown."""
    scores, seconds = [], []
    for module in ("sklearn.neural_network", "nnpy.sklearn"):
        out, start = folder / "scores.json", time.perf_counter()
        command = [sys.executable, "-P", "-c", RUN, str(path), module, str(out)]
        subprocess.run(
            command, cwd=folder, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "MPLBACKEND": "Agg"}
        )
        seconds.append(time.perf_counter() - start)
        scores.append(json.loads(out.read_text(encoding="utf-8")))
    theirs, ours = scores
    differences = [b - a for a, b in zip(theirs, ours, strict=True)]
    cells = [path.name, str(len(ours)), *(f"{statistics.fmean(s):.4f}" for s in scores)]
    cells += [f"{min(differences):+.4f} to {max(differences):+.4f}", *(f"{s:.1f}" for s in seconds)]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="the folder of scikit-learn's source distribution")
    source = parser.parse_args().source.resolve()
    with tempfile.TemporaryDirectory() as name:
        print(
            "| example | fits | mean score, scikit-learn | mean score, nnpy | differences | s, scikit-learn | s, nnpy |"
        )
        print("| --- | ---: | ---: | ---: | --- | ---: | ---: |")
        for example in EXAMPLES:
            print(run_example(source / "examples" / example, Path(name)), flush=True)
        run_tests(source, Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
