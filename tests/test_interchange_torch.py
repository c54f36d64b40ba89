"""`to_torch` and `from_torch` against PyTorch itself."""

import numpy as np
import pytest
from interchange import assert_same_network, largest_error, random_network

import nnpy

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional


def outputs(module, x):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(np.array(x))).numpy()


@pytest.mark.parametrize("seed", range(200))
def test_round_trip(seed):
    net, x = random_network(seed)
    module = net.to_torch()
    expected = net.predict(x)
    assert module(torch.from_numpy(x)).numpy(force=True).dtype == expected.dtype
    assert largest_error(outputs(module, x), expected) < 1e-5
    back = nnpy.from_torch(module)
    assert_same_network(net, back)
    np.testing.assert_array_equal(back.predict(x), expected)
    state = module.state_dict()
    assert list(state) == list(net.state_dict())
    other = nnpy.NeuralNetwork(net.layer_sizes, net.activations, seed=1)
    other.load_state_dict(state)
    assert_same_network(net, other)


def test_the_module_is_a_copy_that_can_be_trained():
    net = nnpy.NeuralNetwork([2, 3, 1], ["tanh", "linear"], seed=0)
    before = net.parameters.copy()
    module = net.to_torch()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x = torch.randn(20, 2)
    functional.mse_loss(module(x), x[:, :1]).backward()
    optimizer.step()
    np.testing.assert_array_equal(net.parameters, before)
    assert (nnpy.from_torch(module).parameters != before).all()


def test_a_module_is_read_as_it_is_and_not_changed():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))
    module.train()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    net = nnpy.from_torch(module)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert largest_error(net.predict(x), outputs(module, x)) < 1e-6


# ---- Modules as people write them ----


class Perceptron(nn.Module):
    """As in tutorials."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(12, 8), nn.Linear(8, 6), nn.Linear(6, 1)
        self.norm, self.dropout = nn.BatchNorm1d(8), nn.Dropout(0.2)

    def forward(self, x):
        x = functional.relu(self.norm(self.fc1(x.view(-1, 12))))
        z = self.fc2(self.dropout(x))
        x = functional.dropout(z * torch.sigmoid(z), training=self.training)
        return (self.fc3(x).squeeze(-1) * 2 + 1).unsqueeze(1)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", 100 * torch.randn(5))
        self.register_buffer("scale", torch.rand(5) + 0.5)
        self.net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Sequential(nn.Identity(), nn.Linear(4, 2)))

    def forward(self, x):
        return self.net((x - self.mean) / self.scale)


class Matrices(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.randn(2, 4))

    def forward(self, x):
        a = torch.tanh(-(x @ self.first) / 2 - 1)
        return functional.linear(1 - a, self.second).softmax(1)


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(2, 4))

    def forward(self, x):
        return torch.matmul(functional.gelu(x.matmul(self.first.T)), self.second.t()).sigmoid()


class Reshaped(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.layer, self.how = nn.Linear(12, 3), how

    def forward(self, x):
        return functional.elu(self.layer(self.how(x)))


MODULES = {
    "perceptron": (Perceptron, (12,)),
    "scaled": (Scaled, (5,)),
    "matrices": (Matrices, (5,)),
    "transposed": (Transposed, (5,)),
    "view with size": (lambda: Reshaped(lambda x: x.view(x.size(0), -1)), (3, 4)),
    "view with shape": (lambda: Reshaped(lambda x: x.view(x.shape[0], 12)), (3, 4)),
    "reshape": (lambda: Reshaped(lambda x: x.reshape((-1, 12)).contiguous()), (3, 4)),
    "flatten": (lambda: Reshaped(lambda x: torch.flatten(x, 1)), (3, 4)),
    "one layer": (lambda: nn.Linear(3, 2), (3,)),
    "without biases": (lambda: nn.Sequential(nn.Linear(3, 2, bias=False), nn.LeakyReLU()), (3,)),
    "softplus": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3, 2), nn.Softplus()), (3,)),
    "norm first": (lambda: nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 2)), (3,)),
    "double": (lambda: nn.Sequential(nn.Linear(3, 2), nn.SiLU(), nn.Linear(2, 2)).double(), (3,)),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    torch.manual_seed(0)
    make, shape = MODULES[name]
    module = make()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean, part.running_var = torch.randn(part.num_features), torch.rand(part.num_features) + 0.5
    x = (np.random.default_rng(0).normal(size=(9, *shape)) * 2 + 1).astype(np.float32)
    net = nnpy.from_torch(module)
    expected = outputs(module, x.astype(np.float64) if name == "double" else x)
    assert largest_error(net.predict(x.reshape(9, -1)), expected) < 1e-5
    assert (net.scaler is not None) == (name in {"scaled", "norm first"})


# ---- What is refused ----


class Forward(nn.Module):
    """A linear layer and a function of it and of the inputs."""

    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Linear(3, 3), function

    def forward(self, x):
        return self.function(self.layer, x)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x, y):
        return self.layer(x) + y


S, L = nn.Sequential, nn.Linear


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            S(nn.Conv1d(1, 2, 3), L(6, 2)),
            r"Sequential is no network of nnpy: module '0' \(Conv1d\): it is no module of",
        ),
        (S(L(3, 2), S(nn.LayerNorm(2))), r"module '1.0' \(LayerNorm\): it is no module of a fully connected network"),
        (S(nn.ReLU()), "the module has no layer that tells the number of inputs"),
        (S(L(3, 2), L(3, 2)), r"a matrix of shape \(3, 2\) does not fit 2 numbers for each sample"),
        (S(L(3, 2), nn.Softmax(0)), "it is over the samples"),
        (S(L(3, 4), nn.Softmax(1), L(4, 2)), "softmax is for the last layer only"),
        (S(L(3, 4), nn.LogSoftmax(1)), "nnpy has softmax, whose outputs are probabilities, and no log_softmax"),
        (S(L(3, 4), nn.LeakyReLU(0.2)), "its negative_slope is 0.2, in nnpy it is 0.01"),
        (S(L(3, 4), nn.ELU(2.0)), "its alpha is 2, in nnpy it is 1"),
        (S(L(3, 4), nn.Softplus(2.0)), "its beta is 2, in nnpy it is 1"),
        (S(L(3, 4), nn.Softplus(1.0, 2.0)), "its threshold is 2: nnpy's softplus has none"),
        (S(L(3, 4), nn.GELU("tanh")), "nnpy's GELU is not approximated by tanh"),
        (S(L(3, 4), nn.Flatten(0)), "it does not keep the samples apart: start_dim=1 does"),
        (S(L(3, 2), nn.BatchNorm1d(2, track_running_stats=False)), "it has no running statistics"),
        (S(nn.LazyLinear(3)), "it does not know its sizes yet: call the module once"),
        (L(3, 2).to("meta"), "a parameter is torch.float32 on meta, not real numbers in memory"),
        (Forward(lambda f, x: x + f(x)), "operation 'add': it adds two outputs of layers, as in a residual network"),
        (Forward(lambda f, x: f(x) * f(x)), "operation 'mul': it multiplies two outputs of layers"),
        (Forward(lambda f, x: 1 / f(x)), "operation 'truediv': it divides by an output of a layer"),
        (Forward(lambda f, x: f(x) / torch.zeros(3)), "it divides by zero|cannot trace"),
        (Forward(lambda f, x: f(x) @ f(x)), "operation 'matmul': its matrix is not constant"),
        (
            Forward(lambda f, x: functional.linear(x, f(x))),
            "its weights are not constant|the module has no layer that tells",
        ),
        (Forward(lambda f, x: f(x).T), "only matrices may be transposed"),
        (Forward(lambda f, x: f(x).dtype), "nnpy does not know the attribute 'dtype'"),
        (Forward(lambda f, x: f(x)[0]), "operation 'getitem': it takes a part of a tensor"),
        (Forward(lambda f, x: f(x).view(3, -1)), "the new shape does not keep the samples apart, or has another width"),
        (Forward(lambda f, x: f(x).view(f(x).size(1), -1)), "only the number of samples may be asked for"),
        (Forward(lambda f, x: f(x).squeeze()), r"only a single output may be squeezed, from \(n, 1\) to \(n,\)"),
        (Forward(lambda f, x: f(x).unsqueeze(1)), r"only \(n,\) may become \(n, 1\)"),
        (Forward(lambda f, x: f(functional.relu(x.size()))), "its input is no output of a layer"),
        (Forward(lambda f, x: torch.add(f(x), 1, alpha=2)), "unexpected keyword argument 'alpha'"),
        (
            Forward(lambda f, x: torch.cumsum(f(x), 1)),
            "operation 'cumsum': it is no operation of a fully connected network",
        ),
        (Forward(lambda f, x: f(x).clamp(0)), "operation 'clamp': it is no operation of a fully connected network"),
        (
            Forward(lambda f, x: (f(x), x)),
            "Forward returns immutable_list|Forward returns tuple, not one tensor of outputs",
        ),
        (Forward(lambda f, x: f(x) if x.sum() > 0 else x), "PyTorch cannot trace Forward: .* torch.onnx.export"),
        (TwoInputs(), r"PyTorch cannot trace TwoInputs: .*missing 1 required positional argument"),
    ],
)
def test_what_is_refused(module, message):
    with pytest.raises(ValueError, match=message):
        nnpy.from_torch(module)


class TwoLayers(nn.Module):
    """A function between two linear layers."""

    def __init__(self, function):
        super().__init__()
        self.first, self.second, self.relu = nn.Linear(3, 8), nn.Linear(8, 2), nn.ReLU(inplace=True)
        self.function = function

    def forward(self, x):
        return self.second(self.function(self, self.first(x)))


def relu_in_place(module, h):
    functional.relu(h, inplace=True)
    return h


def relu_module_in_place(module, h):
    module.relu(h)
    return h


def add_in_place(module, h):
    g = h
    g += 1
    return h


def multiply_a_view(module, h):
    g = h.view(-1, 8)
    g *= 2
    return h


def hook(module, inputs, output):
    return output * 2


@pytest.mark.parametrize("function", [relu_in_place, relu_module_in_place, add_in_place, multiply_a_view])
def test_operations_in_place(function):
    """torch.fx does not see what they change."""
    torch.manual_seed(0)
    with pytest.raises(
        ValueError, match="computes something else than its operations say: it has hooks, or changes a tensor"
    ):
        nnpy.from_torch(TwoLayers(function))


def test_hooks_are_refused():
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].register_forward_hook(hook)
    with pytest.raises(ValueError, match="computes something else than its operations say"):
        nnpy.from_torch(module)


def test_a_module_that_cannot_be_called_with_rows():
    def function(layer, x):
        if not isinstance(x, torch.fx.Proxy):
            raise RuntimeError("no rows")
        return layer(x)

    with pytest.raises(ValueError, match="Forward cannot be called with rows of 3 numbers: no rows"):
        nnpy.from_torch(Forward(function))


def test_a_module_that_depends_on_its_mode_is_read_in_evaluation_mode():
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x):
            z = self.layer(x)
            return z if self.training else torch.softmax(z, dim=1)

    module = Classifier().train()
    assert nnpy.from_torch(module).activations == ("softmax",)
    assert module.training
    assert module.layer.training


def test_arguments_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x):
            return functional.softmax(input=self.layer(input=x), dim=1)

    assert nnpy.from_torch(Named()).activations == ("softmax",)


def test_infinite_parameters_are_refused():
    module = nn.Linear(2, 1)
    module.weight.data[0, 0] = torch.inf
    with pytest.raises(ValueError, match="it has a parameter that is not finite in float32"):
        nnpy.from_torch(module)


@pytest.mark.parametrize("module", [3, None, {"0.weight": 1}, "net.pt"])
def test_no_module(module):
    with pytest.raises(TypeError, match="module must be a torch.nn.Module, got "):
        nnpy.from_torch(module)
