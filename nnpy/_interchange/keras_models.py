"""Networks as models of Keras 3: a `keras.Sequential` of Dense layers, Normalization and Rescaling for a scaler."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from nnpy._model import Model

__all__ = ["make"]


def make(net: Model) -> Any:
    """Return the model; see `NeuralNetwork.to_keras`."""
    layers: list[Any] = [keras.layers.Input((net.layer_sizes[0],))]
    scaler = net.scaler
    if scaler is not None:
        if ((scaler.x_scale >= 1e-6) & (scaler.x_scale <= 1e18)).all():
            layers.append(keras.layers.Normalization(mean=scaler.x_mean, variance=np.square(scaler.x_scale)))
        else:  # Normalization squares scales in float32, and raises them to 1e-7
            layers.append(keras.layers.Rescaling(1.0, offset=(-scaler.x_mean).tolist()))
            layers.append(keras.layers.Rescaling((1 / scaler.x_scale).tolist()))
    dense = []
    for weights, activation in zip(net.weights, net.activations, strict=True):
        is_leaky = activation == "leaky_relu"  # the one that Keras writes as a string has the slope 0.2
        dense.append(keras.layers.Dense(weights.shape[1], activation="linear" if is_leaky else activation))
        layers.append(dense[-1])
        if is_leaky:
            layers.append(keras.layers.LeakyReLU(negative_slope=0.01))
    if scaler is not None and scaler.y_mean is not None and scaler.y_scale is not None:
        layers.append(keras.layers.Rescaling(scaler.y_scale.tolist(), offset=scaler.y_mean.tolist()))
    model = keras.Sequential(layers)
    for layer, weights, biases in zip(dense, net.weights, net.biases, strict=True):
        layer.set_weights([weights, biases])
    return model
