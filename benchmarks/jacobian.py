"""Times the derivatives of outputs by inputs beside JAX and PyTorch: `NeuralNetwork.jacobian`, vmap(jacrev) and vmap(jacfwd).

    python benchmarks/jacobian.py [--rounds 3]

Each library runs in its own process, which compares the derivatives with float64 differences and then times them. JAX is
jitted; of jacrev and jacfwd, the faster one counts, for both other libraries. The table has the medians of interleaved rounds.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from processes import environment, measure, time_text

CASES = {  # layer sizes, samples
    "surrogate, 8-64-64-1": ((8, 64, 64, 1), 10_000),
    "many outputs, 6-128-128-20": ((6, 128, 128, 20), 2_000),
    "many inputs, 200-128-10": ((200, 128, 10), 2_000),
    "control, 4-32-32-2, one row": ((4, 32, 32, 2), 1),
    "wide, 64-512-512-8": ((64, 512, 512, 8), 1_000),
}
LIBRARIES = ("nnpy", "jax", "torch")
SECONDS = 1.0  # of a case, after a call that is not counted

Array = np.ndarray[Any, np.dtype[Any]]
Network = list[tuple[Array, Array]]


def network(sizes: tuple[int, ...]) -> Network:
    """Return weights and biases of a network with tanh in its hidden layers."""
    rng = np.random.default_rng(0)
    return [
        (rng.normal(0, n**-0.5, (n, m)).astype(np.float32), rng.normal(0, 0.1, m).astype(np.float32))
        for n, m in pairwise(sizes)
    ]


def of_nnpy(parameters: Network, x: Array) -> list[Callable[[], Array]]:
    import nnpy

    sizes = [len(parameters[0][0]), *(len(b) for _, b in parameters)]
    net = nnpy.NeuralNetwork(sizes, ["tanh"] * (len(sizes) - 2) + ["linear"])
    for layer, (w, b) in enumerate(parameters):
        net.weights[layer], net.biases[layer] = w, b
    return [lambda: net.jacobian(x)]


def of_jax(parameters: Network, x: Array) -> list[Callable[[], Array]]:
    import jax
    import jax.numpy as jnp

    def forward(row: Any) -> Any:
        *hidden, (w, b) = parameters
        for wi, bi in hidden:
            row = jnp.tanh(row @ wi + bi)
        return row @ w + b

    functions = [jax.jit(jax.vmap(derivative(forward))) for derivative in (jax.jacrev, jax.jacfwd)]
    return [lambda f=f: f(x).block_until_ready() for f in functions]  # type: ignore[misc]


def of_torch(parameters: Network, x: Array) -> list[Callable[[], Array]]:
    import torch

    tensors = [(torch.from_numpy(w), torch.from_numpy(b)) for w, b in parameters]
    inputs = torch.from_numpy(x)

    def forward(row: Any) -> Any:
        *hidden, (w, b) = tensors
        for wi, bi in hidden:
            row = torch.tanh(row @ wi + bi)
        return row @ w + b

    functions = [torch.func.vmap(derivative(forward)) for derivative in (torch.func.jacrev, torch.func.jacfwd)]
    return [lambda f=f: f(inputs) for f in functions]  # type: ignore[misc]


def differences(parameters: Network, x: Array) -> Array:
    """Return central differences in float64, shape (n, outputs, inputs)."""

    def forward(rows: Array) -> Array:
        *hidden, (w, b) = [(w.astype(np.float64), b.astype(np.float64)) for w, b in parameters]
        for wi, bi in hidden:
            rows = np.tanh(rows @ wi + bi)
        return rows @ w + b

    steps = 1e-6 * np.eye(x.shape[1])
    rows = x.astype(np.float64)
    columns = [(forward(rows + step) - forward(rows - step)) / 2e-6 for step in steps]
    return np.stack(columns, axis=2)


def seconds_of(call: Callable[[], Array]) -> list[float]:
    times, end = [], time.perf_counter() + SECONDS
    call()
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def work(library: str, case: str) -> None:
    """Verify and time one library; print the times of its faster function."""
    sizes, num = CASES[case]
    parameters = network(sizes)
    x = np.random.default_rng(1).normal(size=(num, sizes[0])).astype(np.float32)
    calls = {"nnpy": of_nnpy, "jax": of_jax, "torch": of_torch}[library](parameters, x)
    expected = differences(parameters, x[:20])
    for call in calls:
        np.testing.assert_allclose(np.asarray(call())[:20], expected, rtol=0, atol=1e-5)
    print(json.dumps({"seconds": min(map(seconds_of, calls), key=statistics.median)}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(*args.work)
        return
    print(
        "| network, tanh | samples | nnpy | JAX | PyTorch | nnpy / faster other |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for case, (_, num) in CASES.items():
        times: dict[str, list[float]] = {library: [] for library in LIBRARIES}
        for _ in range(args.rounds):
            for library in LIBRARIES:
                times[library] += measure(
                    [sys.executable, str(Path(__file__)), "--work", library, case], env=environment()
                )
        medians = [statistics.median(times[library]) for library in LIBRARIES]
        cells = " | ".join(map(time_text, medians))
        print(f"| {case} | {num:,} | {cells} | {medians[0] / min(medians[1:]):.2f} |", flush=True)


if __name__ == "__main__":
    main()
