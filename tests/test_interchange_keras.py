"""`to_keras` and `from_keras` against Keras itself, with PyTorch as its backend."""

import warnings

import numpy as np
import pytest
from interchange import assert_same_network, largest_error, random_network

import nnpy

# The warning is of convert_to_numpy with PyTorch as the backend.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

keras = pytest.importorskip("keras")
layers = keras.layers


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


@pytest.mark.parametrize("seed", range(200))
def test_round_trip(seed):
    net, x = random_network(seed)
    model = net.to_keras()
    back = nnpy.from_keras(model)
    assert_same_network(net, back, scaler=False)
    expected = net.predict(x)
    assert largest_error(outputs(model, x), expected) < 1e-5
    assert largest_error(back.predict(x), expected) < 1e-5
    assert (back.scaler is None) == (net.scaler is None)
    for one, other in zip(net.scaler or (), back.scaler or (), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def set_random_weights(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights(
        [rng.uniform(-1, 1, w.shape) if w.ndim > 1 else rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()]
    )
    return model


def functional():
    start = layers.Input((5,))
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(4, "tanh")])
    return keras.Model(start, layers.Dense(2)(inner(layers.Dense(6, "gelu")(start))))


def nested():
    """A functional model in another one."""
    start, first = layers.Input((5,)), layers.Input((4,))
    inner = keras.Model(first, layers.Dense(3, "tanh")(first))
    return keras.Model(start, layers.Dense(2)(inner(layers.Dense(4, "relu")(start))))


def shared():
    """A layer that is used twice, and in another model, too."""
    start, layer = layers.Input((5,)), layers.Dense(5, "tanh")
    keras.Sequential([layers.Input((5,)), layer])
    return keras.Model(start, layers.Dense(2)(layer(layer(start))))


MODELS = {
    "functional in functional": nested,
    "shared": shared,
    "classifier": lambda: [layers.Input((5,)), layers.Dense(8, "relu"), layers.Dense(3, "softmax")],
    "activations": lambda: [
        *(layers.Input((5,)), layers.Dense(7, "silu"), layers.Dense(6, "elu"), layers.Dense(5, "softplus")),
        *(layers.Dense(4), layers.LeakyReLU(negative_slope=0.01), layers.Dense(3, "tanh"), layers.Dense(1, "sigmoid")),
    ],
    "layers of activations": lambda: [
        *(
            layers.Input((5,)),
            layers.Dense(7),
            layers.Activation("gelu"),
            layers.Dense(6),
            layers.ReLU(),
            layers.Dense(5),
        ),
        *(layers.ELU(), layers.Dense(5), layers.ReLU(negative_slope=0.01), layers.Dense(3), layers.Softmax()),
    ],
    "batch normalisation": lambda: [
        *(layers.Input((5,)), layers.BatchNormalization(), layers.Dense(8, use_bias=False)),
        *(layers.BatchNormalization(scale=False), layers.ReLU(), layers.BatchNormalization(center=False)),
        *(layers.Dropout(0.3), layers.GaussianNoise(0.1), layers.Dense(2)),
    ],
    "normalization": lambda: [
        *(layers.Input((2,)), layers.Normalization(mean=[100, -5], variance=[4, 9]), layers.Dense(3, "tanh")),
        *(layers.Dense(1), layers.Rescaling(3.0, 2.0)),
    ],
    "flatten": lambda: [layers.Input((3, 4)), layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(2)],
    "nested": lambda: [
        layers.Input((5,)),
        keras.Sequential([layers.Dense(4, "relu"), layers.Dense(3)]),
        layers.Dense(2),
    ],
    "functional": functional,
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    made = MODELS[name]()
    model = set_random_weights(keras.Sequential(made) if isinstance(made, list) else made)
    x = np.random.default_rng(0).normal(size=(9, *model.input_shape[1:])).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = nnpy.from_keras(model)
    assert largest_error(net.predict(x.reshape(9, -1)), outputs(model, x)) < 1e-5
    assert (net.scaler is not None) == (name in {"normalization", "batch normalisation"})


def residual():
    start = layers.Input((3,))
    return keras.Model(start, layers.Add(name="plus")([start, layers.Dense(3)(start)]))


def two_inputs():
    first, second = layers.Input((3,)), layers.Input((3,))
    return keras.Model([first, second], layers.Dense(2)(layers.Concatenate()([first, second])))


class OwnModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = layers.Dense(2)

    def call(self, x):
        return self.layer(x)


def called(model):
    model(np.zeros((1, 3), np.float32))
    return model


def chain(*parts):
    return lambda: keras.Sequential([layers.Input((3,)), *parts])


def square(z):
    return z * z


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            chain(layers.LayerNormalization(name="norm"), layers.Dense(2)),
            r"layer 'norm' \(LayerNormalization\): it is no layer",
        ),
        (
            chain(layers.Dense(2, square, name="sq")),
            r"layer 'sq' \(Dense\): nnpy does not have its activation function 'square'",
        ),
        (chain(layers.Dense(2, "leaky_relu")), "Keras' leaky_relu has the slope 0.2, nnpy's 0.01"),
        (chain(layers.Dense(2), layers.LeakyReLU(0.2)), "its negative_slope is 0.2, in nnpy it is 0.01"),
        (chain(layers.Dense(2), layers.ReLU(max_value=6.0)), "its max_value is 6.0: nnpy's relu has none"),
        (chain(layers.Dense(2), layers.ReLU(threshold=1.0)), "its threshold is 1.0, in nnpy it is 0.0"),
        (chain(layers.Dense(2), layers.ReLU(negative_slope=0.5)), "its negative_slope is 0.5, in nnpy it is 0.0"),
        (chain(layers.Dense(2), layers.ELU(2.0)), "its alpha is 2.0, in nnpy it is 1.0"),
        (chain(layers.Dense(2), layers.Softmax(axis=0)), "it is over the samples"),
        (chain(layers.Normalization(mean=1.0, variance=4.0, invert=True), layers.Dense(2)), "it is inverted"),
        (chain(layers.Activation("relu")), 'the activation function "relu" follows no layer'),
        (chain(layers.Dropout(0.1)), "it has no layer"),
        (residual, r"layer 'plus' \(Add\) joins the outputs of 2 layers"),
        (two_inputs, "must have one input with a known number of values"),
        (lambda: keras.Sequential([layers.Dense(2)]), "has no known inputs: give it an Input layer, or call it once"),
        (lambda: called(OwnModel()), "a model with a call method of its own is not read"),
        (lambda: keras.Sequential([layers.Input((None,)), layers.Identity()]), "a known number of values"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        nnpy.from_keras(make())


class Doubled(keras.Sequential):
    def call(self, x, training=None, mask=None):
        return 2 * super().call(x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Doubled([layers.Input((3,)), layers.Dense(2, "tanh")]),
        lambda: keras.Sequential([layers.Input((2, 3)), layers.Flatten(data_format="channels_first"), layers.Dense(2)]),
    ],
)
def test_models_that_compute_something_else_than_their_layers_say(make):
    with pytest.raises(ValueError, match="computes something else than its layers say"):
        nnpy.from_keras(make())


def test_quantized_weights_are_refused():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2, "tanh")])
    model.layers[0].quantize("int8")
    with pytest.raises(ValueError, match=r"its weights are quantized \(int8\)"):
        nnpy.from_keras(model)


@pytest.mark.parametrize("scale", [1e-9, 1e-25, 1e25])
def test_scales_that_float32_cannot_square(scale):
    net = nnpy.NeuralNetwork([2, 3, 1], ["tanh", "linear"], seed=0)
    x = np.random.default_rng(0).normal(size=(50, 2)) * scale
    net.fit_scaler(x)
    x = x.astype(np.float32)
    assert largest_error(outputs(net.to_keras(), x), net.predict(x)) < 1e-5


@pytest.mark.parametrize("model", [3, None, "net.keras"])
def test_no_model(model):
    with pytest.raises(TypeError, match="model must be a keras.Model, got "):
        nnpy.from_keras(model)
