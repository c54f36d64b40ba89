"""Losses, gradients, optimisers and schedules against PyTorch, which has them from other hands, in float64."""

import numpy as np
import pytest

import nnpy

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
functional = torch.nn.functional
torch.set_num_threads(1)

FUNCTIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "softplus": functional.softplus,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "linear": lambda z: z,
    "softmax": lambda z: functional.softmax(z, dim=1),
}
PLAIN = [name for name in FUNCTIONS if name != "softmax"]


class Twin:
    """A network of nnpy once more, in PyTorch."""

    def __init__(self, net):
        self.functions = [FUNCTIONS[name] for name in net.activations]
        self.weights = [torch.tensor(w.astype(np.float64), requires_grad=True) for w in net.weights]
        self.biases = [torch.tensor(b.astype(np.float64), requires_grad=True) for b in net.biases]

    def parameters(self):
        """In the order of nnpy."""
        return [p for pair in zip(self.weights, self.biases, strict=True) for p in pair]

    def flat(self):
        return torch.cat([p.detach().ravel() for p in self.parameters()]).numpy()

    def gradient(self):
        return torch.cat([p.grad.ravel() for p in self.parameters()]).numpy()

    def __call__(self, x):
        """Return z and a of the last layer."""
        a = z = x
        for w, b, function in zip(self.weights, self.biases, self.functions, strict=True):
            z = a @ w + b
            a = function(z)
        return z, a


# ---- Losses and gradients ----

# Each gives a table, or a number for each sample, of z, a and y.
LOSSES = {
    "mse": (nnpy.MeanSquaredError(), lambda z, a, y: functional.mse_loss(a, y, reduction="none")),
    "mean_absolute_error": (nnpy.MeanAbsoluteError(), lambda z, a, y: functional.l1_loss(a, y, reduction="none")),
    "huber": (nnpy.Huber(0.4), lambda z, a, y: functional.huber_loss(a, y, reduction="none", delta=0.4)),
    "pinball": (nnpy.Pinball(0.8), lambda z, a, y: torch.where(a < y, 0.8 * (y - a), 0.2 * (a - y))),
}
PROBABILITIES = {
    "binary_cross_entropy of sigmoid": (
        nnpy.BinaryCrossEntropy(),
        lambda z, a, y: functional.binary_cross_entropy(a, y, reduction="none"),
    ),
    "binary_cross_entropy of linear": (
        nnpy.BinaryCrossEntropy(),
        lambda z, a, y: functional.binary_cross_entropy_with_logits(z, y, reduction="none"),
    ),
    "cross_entropy of rows": (
        nnpy.CrossEntropy(),
        lambda z, a, y: -y * functional.log_softmax(z, dim=1),
    ),
    "cross_entropy of labels": (
        nnpy.CrossEntropy(),
        lambda z, a, y: functional.cross_entropy(z, y, reduction="none"),
    ),
}
CASES = [
    *((hidden, hidden, name) for hidden in PLAIN for name in LOSSES),
    *(("tanh", "softmax", name) for name in LOSSES),
    *((hidden, "sigmoid", "binary_cross_entropy of sigmoid") for hidden in PLAIN),
    *((hidden, "linear", "binary_cross_entropy of linear") for hidden in PLAIN),
    *((hidden, "softmax", "cross_entropy of rows") for hidden in PLAIN),
    *((hidden, "softmax", "cross_entropy of labels") for hidden in PLAIN),
]


def problem(hidden, last, name, *, rows=61, seed=0):
    """A network whose layers do not fill the vectors, with biases; samples whose targets suit the loss."""
    rng = np.random.default_rng(seed)
    net = nnpy.NeuralNetwork([7, 21, 18, 3], [hidden, hidden, last], seed=seed)
    for b in net.biases:
        b[...] = rng.uniform(-0.5, 0.5, b.shape)
    x = rng.normal(size=(rows, 7)).astype(np.float32)
    if name.endswith("labels"):
        return net, x, rng.integers(0, 3, rows)
    if name.endswith("rows"):  # of any sum: soft targets need not add up to 1
        return net, x, rng.uniform(0, 1, (rows, 3)).astype(np.float32)
    low, high = (0, 1) if name in PROBABILITIES else (-1, 2)
    return net, x, rng.uniform(low, high, (rows, 3)).astype(np.float32)


def torch_loss(twin, terms, x, y, weight=None):
    """sum_i w_i C_i / sum_i w_i, where C_i is summed over the targets that are there; a sample without any does not count."""
    w = torch.ones(len(x), dtype=torch.float64) if weight is None else torch.tensor(weight, dtype=torch.float64)
    if y.dtype.kind == "i":
        each = terms(*twin(x), torch.tensor(y))
    else:
        is_there = torch.tensor(~np.isnan(y))
        w = w * is_there.any(dim=1)
        y = torch.tensor(np.nan_to_num(y.astype(np.float64)))
        each = torch.where(is_there, terms(*twin(x), y), 0.0).sum(dim=1)
    return (w * each).sum() / w.sum()


def assert_near(actual, expected, tolerance):
    """Relative to the largest expected value."""
    scale = np.abs(expected).max()
    assert 0 < scale < np.inf
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


def assert_agrees(net, x, y, name, **options):
    loss, terms = {**LOSSES, **PROBABILITIES}[name]
    twin, inputs = Twin(net), torch.tensor(x.astype(np.float64), requires_grad=True)
    expected = torch_loss(twin, terms, inputs, y, options.get("sample_weight"))
    expected.backward()
    assert net.loss(x, y, loss=loss, **options) == pytest.approx(expected.item(), rel=4e-6)
    assert_near(net.backpropagation(x, y, loss=loss, **options).parameters, twin.gradient(), 4e-6)
    assert_near(net.input_gradient(x, y, loss=loss, **options), inputs.grad.numpy(), 4e-6)


@pytest.mark.parametrize(("hidden", "last", "name"), CASES)
def test_loss_and_gradients(hidden, last, name):
    net, x, y = problem(hidden, last, name)
    with torch.no_grad():
        assert_near(net.predict(x), Twin(net)(torch.tensor(x.astype(np.float64)))[1].numpy(), 4e-6)
    assert_agrees(net, x, y, name)


@pytest.mark.parametrize(("hidden", "last", "name"), CASES)
def test_loss_and_gradients_with_weights(hidden, last, name):
    net, x, y = problem(hidden, last, name, rows=300)
    weight = np.random.default_rng(1).uniform(0, 3, 300)
    weight[::7] = 0
    assert_agrees(net, x, y, name, sample_weight=weight)


@pytest.mark.parametrize(("hidden", "last", "name"), [case for case in CASES if not case[2].endswith("labels")])
def test_loss_and_gradients_with_missing_targets(hidden, last, name):
    net, x, y = problem(hidden, last, name)
    rng = np.random.default_rng(2)
    y[rng.random(y.shape) < 0.3] = np.nan
    y[5] = y[60] = np.nan
    assert_agrees(net, x, y, name, missing="ignore")
    assert_agrees(net, x, y, name, missing="ignore", sample_weight=rng.uniform(0, 3, len(y)))


@pytest.mark.parametrize("sizes", [[1, 1], [2, 2, 1], [3, 64, 17], [40, 1, 5], [9, 100, 70, 33, 2]])
@pytest.mark.parametrize("rows", [1, 4, 700])
def test_loss_and_gradients_of_other_shapes(sizes, rows):
    rng = np.random.default_rng(3)
    net = nnpy.NeuralNetwork(sizes, ["gelu"] * (len(sizes) - 2) + ["linear"], seed=4)
    x, y = (rng.normal(size=(rows, n)).astype(np.float32) for n in (sizes[0], sizes[-1]))
    assert_agrees(net, x, y, "mse")


def test_loss_and_gradients_with_a_scaler():
    """The loss is in the units of the targets; gradients are those of training, of the loss of the scaled targets."""
    net, x, y = problem("tanh", "linear", "huber")
    x, y = 30 * x + np.arange(7, dtype=np.float32), 20 * y - 5
    net.fit_scaler(x, y)
    twin, inputs = Twin(net), torch.tensor(x.astype(np.float64), requires_grad=True)
    x_mean, x_scale, y_mean, y_scale = (torch.tensor(a.astype(np.float64)) for a in net.scaler)
    np.testing.assert_allclose(x_scale, x.astype(np.float64).std(axis=0), rtol=1e-6)
    np.testing.assert_allclose(y_mean, y.astype(np.float64).mean(axis=0), rtol=1e-6)
    a = twin((inputs - x_mean) / x_scale)[1]
    targets = (torch.tensor(y.astype(np.float64)) - y_mean) / y_scale
    loss = functional.huber_loss(a, targets, reduction="none", delta=0.4).sum(dim=1).mean()
    loss.backward(retain_graph=True)
    options = {"loss": nnpy.Huber(0.4)}
    assert_near(net.predict(x), (a * y_scale + y_mean).detach().numpy(), 4e-6)
    in_units = functional.huber_loss(
        a * y_scale + y_mean, torch.tensor(y.astype(np.float64)), reduction="none", delta=0.4
    )
    loss_in_units = in_units.sum(dim=1).mean()
    assert net.loss(x, y, **options) == pytest.approx(loss_in_units.item(), rel=4e-6)
    assert_near(net.backpropagation(x, y, **options).parameters, twin.gradient(), 4e-6)
    (input_gradient,) = torch.autograd.grad(loss_in_units, inputs)
    assert_near(net.input_gradient(x, y, **options), input_gradient.numpy(), 4e-6)


# ---- Optimisers ----

# 50 samples in batches of 16 as they come: 4 steps an epoch, of which the last has 2 samples.
SIZES, ACTIVATIONS = [6, 9, 3], ["tanh", "linear"]
RNG = np.random.default_rng(5)
X = RNG.normal(size=(50, 6)).astype(np.float32)
Y = np.stack([X[:, 0] * X[:, 1], np.sin(2 * X[:, 2]), X[:, 3] - 0.5 * X[:, 4]], axis=1).astype(np.float32)


def follow(optimizer, make, *, batch_size=16, epochs=25, l2=0.0, clip_norm=None, decay=0.0, schedule=None):
    """Train both; return the parameters after each epoch, the losses and the rates of both, and the clipped steps.

    make is given the twin and returns an optimiser of PyTorch; schedule is given that one, and returns what is to be called
    after each step and what after each epoch, with the epoch's loss. decay is nnpy's, of the weights.
    """
    net = nnpy.NeuralNetwork(SIZES, ACTIVATIONS, seed=6)
    twin, path, expected, losses, rates, norms = Twin(net), [], [], [], [], []
    history = net.fit(
        X,
        Y,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        shuffle=False,
        l2=l2,
        clip_norm=clip_norm,
        callbacks=lambda net, _: path.append(net.parameters.copy()),
    )
    x, y, size = torch.tensor(X.astype(np.float64)), torch.tensor(Y.astype(np.float64)), batch_size or len(X)
    other = make(twin)
    after_step, after_epoch = (lambda: None, lambda loss: None) if schedule is None else schedule(other)
    for _ in range(epochs):
        total = 0.0
        for start in range(0, len(X), size):
            part = slice(start, start + size)
            other.zero_grad()
            loss = ((twin(x[part])[1] - y[part]) ** 2).sum(dim=1).mean()
            loss.backward()
            total += loss.item() * len(x[part]) / len(x)
            if clip_norm is not None:
                norms.append(torch.nn.utils.clip_grad_norm_(twin.parameters(), clip_norm).item())
            if l2:
                (l2 / 2 * sum((w**2).sum() for w in twin.weights)).backward()
            rates.append(other.param_groups[0]["lr"])
            with torch.no_grad():
                for w in twin.weights:
                    w.mul_(1 - rates[-1] * decay)
            other.step()
            after_step()
        losses.append(total)
        after_epoch(total)
        expected.append(twin.flat())
    steps = -(-len(X) // size)
    start = nnpy.NeuralNetwork(SIZES, ACTIVATIONS, seed=6).parameters
    assert len(path) == epochs
    for now, then in zip(path, expected, strict=True):  # relative to how far the parameters have moved
        np.testing.assert_allclose(now, then, rtol=0, atol=2e-5 * np.abs(then - start).max())
    np.testing.assert_allclose(history.loss, losses, rtol=1e-4)
    if schedule is not None:
        np.testing.assert_allclose(history.learning_rate, rates[steps - 1 :: steps], rtol=1e-9)
    return history, np.array(norms)


OPTIMIZERS = {
    "gradient descent": (nnpy.SGD(0.05), lambda t: torch.optim.SGD(t.parameters(), lr=0.05)),
    "momentum": (
        nnpy.SGD(0.02, momentum=0.8),
        lambda t: torch.optim.SGD(t.parameters(), lr=0.02, momentum=0.8),
    ),
    "Nesterov": (
        nnpy.SGD(0.02, momentum=0.8, nesterov=True),
        lambda t: torch.optim.SGD(t.parameters(), lr=0.02, momentum=0.8, nesterov=True),
    ),
    "Adam": (nnpy.Adam(0.01), lambda t: torch.optim.Adam(t.parameters(), lr=0.01)),
    "Adam with an epsilon that counts": (
        nnpy.Adam(0.01, betas=(0.8, 0.98), eps=0.1),
        lambda t: torch.optim.Adam(t.parameters(), lr=0.01, betas=(0.8, 0.98), eps=0.1),
    ),
    "AdamW": (
        nnpy.AdamW(0.01, weight_decay=0.3),
        lambda t: torch.optim.AdamW(
            [{"params": t.weights, "weight_decay": 0.3}, {"params": t.biases, "weight_decay": 0.0}], lr=0.01
        ),
    ),
    # At a higher rate a gradient settles at 0, and what rounding does to it is magnified.
    "RMSprop": (
        nnpy.RMSprop(0.002, alpha=0.95),
        lambda t: torch.optim.RMSprop(t.parameters(), lr=0.002, alpha=0.95),
    ),
    "RMSprop with momentum and an epsilon that counts": (
        nnpy.RMSprop(0.005, alpha=0.95, momentum=0.7, eps=0.1),
        lambda t: torch.optim.RMSprop(t.parameters(), lr=0.005, alpha=0.95, momentum=0.7, eps=0.1),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("batch_size", "epochs"), [(16, 25), (None, 100)])
def test_hundred_steps(name, batch_size, epochs):
    follow(*OPTIMIZERS[name], batch_size=batch_size, epochs=epochs)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.8, False), (0.8, True)])
def test_gradient_descent_with_weight_decay(momentum, nesterov):
    """PyTorch's SGD adds the decay to the gradient, and so to the velocity; nnpy keeps it apart, as AdamW does."""
    follow(
        nnpy.SGD(0.02, momentum=momentum, nesterov=nesterov, weight_decay=0.5),
        lambda t: torch.optim.SGD(t.parameters(), lr=0.02, momentum=momentum, nesterov=nesterov),
        decay=0.5,
    )


@pytest.mark.parametrize("rate", [0.01, 1e-3])
def test_rprop(rate):
    follow(
        nnpy.Rprop(rate, eta_minus=0.4, eta_plus=1.3, min_step=1e-3, max_step=0.02),
        lambda t: torch.optim.Rprop(t.parameters(), lr=rate, etas=(0.4, 1.3), step_sizes=(1e-3, 0.02)),
        batch_size=None,
        epochs=100,
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_l2_is_a_penalty_in_the_loss(name):
    follow(*OPTIMIZERS[name], l2=0.2)


@pytest.mark.parametrize("name", ["gradient descent", "momentum", "Adam with an epsilon that counts", "AdamW"])
@pytest.mark.parametrize("l2", [0.0, 0.2])
def test_clip_norm(name, l2):
    """Of the loss without the penalty. PyTorch adds 1e-6 to the norm."""
    norms = follow(*OPTIMIZERS[name], l2=l2, clip_norm=1.5)[1]
    assert 10 < np.count_nonzero(norms > 1.5) < 90


@pytest.mark.parametrize("history", [10, 3])
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("seed", [6, 7])
def test_lbfgs(seed, l2, history):
    """One iteration of PyTorch an epoch, with as many evaluations as its line search takes.

    Rounding grows from iteration to iteration, as each curvature is a difference of gradients in float32: from 1e-6 of the way
    at the first to some 2e-4 at the 30th, where the choice of another direction or step is an error of 1e-2 and more.
    """
    net = nnpy.NeuralNetwork(SIZES, ACTIVATIONS, seed=seed)
    start, twin, path = net.parameters.copy(), Twin(net), []
    x, y = torch.tensor(X.astype(np.float64)), torch.tensor(Y.astype(np.float64))
    net.fit(
        X,
        Y,
        optimizer=nnpy.LBFGS(history),
        epochs=30,
        l2=l2,
        callbacks=lambda net, _: path.append(net.parameters.copy()),
    )
    other = torch.optim.LBFGS(
        twin.parameters(), lr=1, max_iter=1, max_eval=1000, history_size=history, line_search_fn="strong_wolfe"
    )

    def closure():
        other.zero_grad()
        loss = ((twin(x)[1] - y) ** 2).sum(dim=1).mean() + l2 / 2 * sum((w**2).sum() for w in twin.weights)
        loss.backward()
        return loss

    for iteration, now in enumerate(path):
        other.step(closure)
        then = twin.flat()
        tolerance = 1e-5 if iteration < 8 else 5e-4
        np.testing.assert_allclose(now, then, rtol=0, atol=tolerance * np.abs(then - start).max())
    assert len(path) == 30
    if (seed, l2) == (7, 0.0):  # here the line search has to look for its point: two evaluations are those without
        assert other.state[twin.weights[0]]["func_evals"] > 60


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("calls", ["fit", "partial_fit"])
def test_weights_and_missing_targets_in_batches(missing, clip_norm, calls):
    """The loss of a batch of n samples is sum_i w_i C_i / n.

    `fit` knows all samples and scales their weights to a mean of 1, not those of each batch; a sample without targets has
    weight 0. `partial_fit` sees a part of a stream and takes the weights as they are.
    """
    rng = np.random.default_rng(8)
    weight, y = rng.uniform(0, 3, len(X)), Y.copy()
    if missing:
        y[rng.random(y.shape) < 0.3] = np.nan
        y[3] = y[40] = np.nan
    there = ~np.isnan(y)
    net = nnpy.NeuralNetwork(SIZES, ACTIVATIONS, seed=6)
    start, twin = net.parameters.copy(), Twin(net)
    options = {"batch_size": 16, "shuffle": False, "sample_weight": weight, "missing": "ignore", "clip_norm": clip_norm}
    if calls == "fit":
        losses = net.fit(X, y, optimizer=nnpy.Adam(0.01), epochs=20, **options).loss
    else:
        losses = [net.partial_fit(X, y, optimizer=nnpy.Adam(0.01), **options) for _ in range(20)]
    other, expected = torch.optim.Adam(twin.parameters(), lr=0.01), []
    weights = weight * there.any(axis=1)
    weights = torch.tensor(weights / weights.mean() if calls == "fit" else weights)
    x, targets = torch.tensor(X.astype(np.float64)), torch.tensor(np.nan_to_num(y.astype(np.float64)))
    for _ in range(20):
        total = 0.0
        for first in range(0, len(X), 16):
            part = slice(first, first + 16)
            other.zero_grad()
            squares = torch.tensor(there[part]) * (twin(x[part])[1] - targets[part]) ** 2
            loss = (weights[part] * squares.sum(dim=1)).mean()
            loss.backward()
            total += loss.item() * len(x[part]) / len(x)
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(twin.parameters(), clip_norm)
            other.step()
        expected.append(total)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    then = twin.flat()
    np.testing.assert_allclose(net.parameters, then, rtol=0, atol=2e-5 * np.abs(then - start).max())


# ---- Schedules ----


def sgd(rate):
    return lambda t: torch.optim.SGD(t.parameters(), lr=rate)


lr = torch.optim.lr_scheduler
SCHEDULES = {
    "step": (
        nnpy.StepDecay(0.05, 7, 0.3),
        lambda o: (None, lr.StepLR(o, 7, 0.3)),
    ),
    "exponential": (
        nnpy.ExponentialDecay(0.05, 0.9),
        lambda o: (None, lr.ExponentialLR(o, 0.9)),
    ),
    "linear": (
        nnpy.LinearDecay(0.05, final_rate=0.01),
        lambda o: (lr.LinearLR(o, 1.0, 0.2, total_iters=100), None),
    ),
    "cosine": (
        nnpy.CosineDecay(0.05, final_rate=0.01),
        lambda o: (lr.CosineAnnealingLR(o, 100, 0.01), None),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    ours, make = SCHEDULES[name]

    def schedule(other):
        by_step, by_epoch = make(other)
        return (
            (lambda: None) if by_step is None else by_step.step,
            lambda loss: None if by_epoch is None else by_epoch.step(),
        )

    follow(nnpy.SGD(ours), sgd(0.05), schedule=schedule)


@pytest.mark.parametrize("patience", [1, 3])
def test_reduce_on_plateau(patience):
    """PyTorch's patience is the number of bad epochs that pass without a change, nnpy's is one more."""

    def schedule(other):
        plateau = lr.ReduceLROnPlateau(
            other, factor=0.4, patience=patience - 1, threshold=0.1, threshold_mode="abs", min_lr=0.005, eps=0
        )
        return lambda: None, plateau.step

    ours = nnpy.ReduceOnPlateau(0.05, factor=0.4, patience=patience, min_delta=0.1, min_rate=0.005)
    history, _ = follow(nnpy.SGD(ours), sgd(0.05), schedule=schedule, epochs=40)
    assert {0.05, 0.02, 0.008, 0.005} == set(history.learning_rate.round(12).tolist())


def test_results_do_not_depend_on_how_torch_sets_the_floating_point_unit():
    """set_flush_denormal lets the processor take subnormal numbers for 0, in the whole thread."""
    x = np.full((40, 3), 1e-19, np.float32)
    y = np.zeros((40, 2), np.float32)

    def train():
        net = nnpy.NeuralNetwork([3, 8, 2], ["tanh", "linear"], seed=0)
        net.parameters *= 1e-19  # so that products are subnormal
        net.fit(x, y, optimizer=nnpy.Adam(1e-30, eps=1e-30), epochs=3, batch_size=8, seed=0)
        return net.parameters.tobytes(), net.predict(x).tobytes(), net.predict(x[:1]).tobytes()

    expected = train()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    try:
        assert train() == expected
        assert torch.tensor([1e-20]).square().item() == 0  # it is still set
    finally:
        torch.set_flush_denormal(False)
