"""JAX: a jitted `lax.scan` over the mini-batches of an epoch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from workloads import Array, Digits, Prediction, Step, Training, Xor, initial_parameters

XOR_ITERATIONS = 1_000_000

Network = list[tuple[jax.Array, jax.Array]]  # (weights, biases) of each layer
State = tuple[Network, Network, Network, jax.Array]  # parameters, Adam's first and second moment, number of steps


def forward(parameters: Network, x: Any, activation: Any = jax.nn.relu) -> jax.Array:
    *hidden, (w, b) = parameters
    for wi, bi in hidden:
        x = activation(x @ wi + bi)
    return x @ w + b


def cross_entropy(parameters: Network, x: jax.Array, y: jax.Array, activation: Any = jax.nn.relu) -> jax.Array:
    log_probabilities = jax.nn.log_softmax(forward(parameters, x, activation))
    return -jnp.mean(jnp.take_along_axis(log_probabilities, y[:, None], axis=1))


def squared_error(parameters: Network, x: jax.Array, y: jax.Array, activation: Any = jax.nn.relu) -> jax.Array:
    return jnp.mean(jnp.sum((forward(parameters, x, activation) - y) ** 2, axis=1))


def initial_network(workload: Training | Prediction) -> Network:
    return [(jnp.array(w), jnp.array(b)) for w, b in zip(*initial_parameters(workload.sizes), strict=True)]


def initial_state(parameters: Network) -> State:
    m, v = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))  # two copies: donated buffers must differ
    return parameters, m, v, jnp.zeros(())


def adam_update(state: State, grads: Network, learning_rate: Any) -> State:
    parameters, m, v, t = state
    m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
    v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
    t = t + 1
    one, two = 1 - 0.9**t, 1 - 0.999**t
    parameters = jax.tree.map(
        lambda p, a, b: p - learning_rate * (a / one) / (jnp.sqrt(b / two) + 1e-8), parameters, m, v
    )
    return parameters, m, v, t


def step_of(workload: Training) -> Callable[[State, jax.Array, jax.Array], tuple[State, jax.Array]]:
    """Return the function that takes a step on a mini-batch and returns its loss as well."""
    learning_rate = workload.learning_rate
    loss = cross_entropy if workload.classifies else squared_error
    activation = {"relu": jax.nn.relu, "tanh": jnp.tanh}[workload.hidden]

    def take(state: State, x: jax.Array, y: jax.Array) -> tuple[State, jax.Array]:
        value, grads = jax.value_and_grad(loss)(state[0], x, y, activation)
        if workload.optimizer == "adam":
            return adam_update(state, grads, learning_rate), value
        return (jax.tree.map(lambda p, g: p - learning_rate * g, state[0], grads), *state[1:]), value

    return take


def training(workload: Training) -> tuple[Callable[[Array, Array], list[jax.Array]], Callable[[], object]]:
    batch_size, take = workload.batch_size, step_of(workload)

    def step(state: State, rows: jax.Array, x: jax.Array, y: jax.Array) -> State:
        if len(rows) < len(x):  # of a full batch, the order makes no difference
            x, y = x[rows], y[rows]
        return take(state, x, y)[0]  # the compiler removes the loss, which nobody uses

    def epoch(state: State, order: jax.Array, x: jax.Array, y: jax.Array) -> State:
        steps = len(order) // batch_size
        full = order[: steps * batch_size].reshape(steps, batch_size)
        state, _ = jax.lax.scan(lambda s, rows: (step(s, rows, x, y), None), state, full)
        rest = order[steps * batch_size :]
        return step(state, rest, x, y) if len(rest) else state

    compiled = jax.jit(epoch, donate_argnums=0)

    def train_in_order(x: Array, y: Array) -> list[jax.Array]:
        state = compiled(initial_state(initial_network(workload)), jnp.arange(len(x)), jnp.array(x), jnp.array(y))
        return [w for w, _ in state[0]]

    x, y = map(jnp.array, workload.data())
    state = initial_state(initial_network(workload))
    rng = np.random.default_rng(3)

    def train() -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(state, jnp.array(rng.permutation(len(x))), x, y))

    return train_in_order, train


def step(workload: Step) -> tuple[Callable[[Array, Array], list[jax.Array]], Callable[[], object]]:
    compiled = jax.jit(step_of(workload), donate_argnums=0)
    x, y = workload.data()
    state = initial_state(initial_network(workload))

    def train() -> float:
        nonlocal state
        state, value = compiled(state, x, y)
        return float(value)

    return training(workload)[0], train


def prediction(workload: Prediction) -> Callable[[], Array]:
    parameters = initial_network(workload)
    compiled = jax.jit(lambda x: jax.nn.softmax(forward(parameters, x)))
    x = workload.inputs()
    return lambda: np.asarray(compiled(x))


def xor(workload: Xor, iterations: int) -> Callable[[], Array]:
    x, y = workload.x, workload.y

    def outputs(p: Any) -> jax.Array:
        w1, b1, w2, b2 = p
        return jax.nn.sigmoid(jax.nn.sigmoid(x @ w1 + b1) @ w2 + b2)

    def loss(p: Any) -> jax.Array:
        return jnp.mean(jnp.sum((outputs(p) - y) ** 2, axis=1))

    def update(_: Any, p: Any) -> Any:
        return jax.tree.map(lambda a, g: a - workload.learning_rate * g, p, jax.grad(loss)(p))

    compiled = jax.jit(lambda p: jax.lax.fori_loop(0, iterations, update, p))

    def train() -> Array:
        w1, b1, w2, b2 = map(np.asarray, compiled([jnp.array(p) for p in workload.initial_parameters()]))
        result: Array = 1 / (1 + np.exp(-((1 / (1 + np.exp(-(x @ w1 + b1)))) @ w2 + b2)))
        return result

    return train


def digits(workload: Digits) -> Callable[[], Array]:
    x, y, x_test, _ = (jnp.array(a) for a in workload.data())
    batch_size, epochs = workload.batch_size, workload.epochs
    steps = len(x) // batch_size  # the last 96 images of each shuffled epoch are left out
    warmup, total = workload.warmup_epochs * steps, epochs * steps

    def step(state: State, rows: jax.Array, x: jax.Array, y: jax.Array) -> State:
        parameters, _, _, t = state
        grads = jax.grad(cross_entropy)(parameters, x[rows], y[rows])
        factor = jnp.where(t < warmup, t / warmup, 1 - (t - warmup) / (total - warmup))
        return adam_update(state, grads, workload.learning_rate * factor)

    @jax.jit
    def epoch(state: State, order: jax.Array, x: jax.Array, y: jax.Array) -> State:
        batches = order[: steps * batch_size].reshape(steps, batch_size)
        return jax.lax.scan(lambda s, rows: (step(s, rows, x, y), None), state, batches)[0]

    rng = np.random.default_rng(7)

    def train() -> Array:
        state = initial_state(
            [
                (jnp.array(rng.normal(0, (2 / n_in) ** 0.5, (n_in, n_out)), jnp.float32), jnp.zeros(n_out, jnp.float32))
                for n_in, n_out in ((784, workload.hidden_size), (workload.hidden_size, 10))
            ]
        )
        for _ in range(epochs):
            state = epoch(state, jnp.array(rng.permutation(len(x))), x, y)
        return np.asarray(forward(state[0], x_test))

    return train
