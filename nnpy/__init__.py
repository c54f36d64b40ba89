"""nnpy trains small fully connected neural networks at C speed.

>>> import nnpy
>>> net = nnpy.NeuralNetwork([2, 2, 1])
>>> net.randomize(0.0, 1.0, seed=69)
>>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
>>> net.gradient_descent(x, y, rate=10, iterations=10_000)
>>> round(net.mse(x, y), 6)
2.5e-05
"""

from nnpy._files import load
from nnpy._machine import get_num_threads, set_num_threads, show_config
from nnpy._network import Gradient, NeuralNetwork
from nnpy._training import Adam, GradientDescent, History

__all__ = [
    "Adam",
    "Gradient",
    "GradientDescent",
    "History",
    "NeuralNetwork",
    "__version__",
    "get_num_threads",
    "load",
    "set_num_threads",
    "show_config",
]

__version__ = "0.1.0"
