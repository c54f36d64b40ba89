"""Writes the models in this folder, with inputs and the outputs that Keras computes for them.

    python -m venv tf && tf/bin/pip install tensorflow-cpu keras tf2onnx && tf/bin/python tests/onnx_files/make.py

Made with TensorFlow 2.21.0, Keras 3.15.1 and tf2onnx 1.17.0. "tf2onnx" is `tf2onnx.convert.from_function`, "keras" is
`keras.Model.export(format="onnx")`.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tf2onnx

HERE = Path(__file__).parent


def models():
    """Yield (name, model). GELU is not among them: tf2onnx writes an operation Erfc for it, which ONNX does not have."""
    layers = keras.layers
    yield "classifier", [layers.Input((5,)), layers.Dense(8, "relu"), layers.Dense(3, "softmax")]
    yield (
        "activations",
        [
            *(layers.Input((5,)), layers.Dense(7, "silu"), layers.Dense(6, "elu"), layers.Dense(5, "softplus")),
            *(
                layers.Dense(4),
                layers.LeakyReLU(negative_slope=0.01),
                layers.Dense(3, "tanh"),
                layers.Dense(1, "sigmoid"),
            ),
        ],
    )
    yield (
        "batch_normalization",
        [
            *(layers.Input((5,)), layers.BatchNormalization(), layers.Dense(8, use_bias=False)),
            *(layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.3), layers.Dense(2)),
        ],
    )
    scaling = layers.Rescaling(0.25, offset=-1.0)
    yield "scaled", [layers.Input((5,)), scaling, layers.Dense(8, "tanh"), layers.Dense(1), layers.Rescaling(3.0, 2.0)]
    yield "flatten", [layers.Input((3, 4)), layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(2)]
    yield "functional", None


def functional():
    start = keras.layers.Input((5,))
    return keras.Model(start, keras.layers.Dense(2)(keras.layers.Dense(6, "relu")(start)))


def main():
    rng = np.random.default_rng(0)
    for name, layers in models():
        model = functional() if layers is None else keras.Sequential(layers)
        # Random biases and statistics, too: an addition of zeros would be left out. Variances must be positive.
        model.set_weights(
            [rng.uniform(-1, 1, w.shape) if w.ndim > 1 else rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()]
        )
        x = rng.normal(size=(7, *model.input_shape[1:])).astype(np.float32)
        y = model.predict(x, verbose=0)
        signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="x")]
        function = tf.function(lambda x, model=model: model(x, training=False))
        tf2onnx.convert.from_function(function, signature, opset=15, output_path=str(HERE / f"tf2onnx_{name}.onnx"))
        model.export(HERE / f"keras_{name}.onnx", format="onnx", verbose=False)
        for kind in ("tf2onnx", "keras"):
            np.savez(HERE / f"{kind}_{name}.npz", x=x, y=y)


if __name__ == "__main__":
    main()
