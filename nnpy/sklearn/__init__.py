"""Estimators for scikit-learn: its multilayer perceptrons, computed by nnpy. They need the extra ``sklearn``."""

try:
    import sklearn
except ImportError as error:
    raise ImportError("nnpy.sklearn needs scikit-learn: pip install 'nnpy[sklearn]'") from error

if tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 7):
    raise ImportError(f"nnpy.sklearn needs scikit-learn 1.7 or later, this is {sklearn.__version__}")

from nnpy.sklearn._mlp import MLPClassifier, MLPRegressor
from nnpy.sklearn._tabular import TabularClassifier, TabularRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"]

for _class in (MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor):  # where users find them
    _class.__module__ = "nnpy.sklearn"
del _class
