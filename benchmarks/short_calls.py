"""Times short calls on a small network, and says what part of them is spent in C.

    python benchmarks/short_calls.py

A call is short if it takes some microseconds: one row or a few are predicted, one step is taken. "in C" is the time of the
function of C alone, with its arguments ready. "arithmetic" is the time per step, or for as many rows, within a long call of C,
where nothing is allocated, checked or packed for each of them. All times are the smallest of many rounds, in microseconds.
"""

import time
from collections.abc import Callable

import numpy as np

import nnpy
from nnpy._ffi import ffi, lib

SIZES, ACTIVATIONS = [4, 16, 2], ["tanh", "linear"]
ROUNDS, CALLS = 60, 500
LONG_STEPS, LONG_BLOCKS = 1000, 30


def seconds_of(call: Callable[[], object], number: int = CALLS) -> float:
    """Return the time of a call, of which `number` are timed together."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(number):
            call()
        best = min(best, (time.perf_counter() - begin) / number)
    return best


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    net = nnpy.NeuralNetwork(SIZES, ACTIVATIONS, seed=0)
    x, y = rng.random((64, 4), dtype=np.float32), rng.random((32, 2), dtype=np.float32)
    x1, x32, x_long = x[:1].copy(), x[:32].copy(), np.tile(x, (LONG_BLOCKS, 1))
    adam = nnpy.Adam(1e-6)  # with small steps all calls compute with normal numbers
    net.partial_fit(x32, y, optimizer=adam)
    net.gradient_descent(x32, y, rate=1e-6)

    predictor, out = net._scaling.predictor, np.empty((len(x_long), 2), np.float32)
    pointers = {len(a): ffi.from_buffer(a) for a in (x1, x32, x, x_long)}
    y_pointer, out_pointer = ffi.from_buffer(y), ffi.from_buffer(out)

    def predict(num: int) -> Callable[[], object]:
        return lambda: lib.nn_predict_few(predictor, pointers[num], num, out_pointer)

    def train(trainer: object) -> Callable[[], object]:
        return lambda: lib.nn_train_few(trainer, pointers[32], y_pointer, 32)

    empty_call = seconds_of(lib.nn_threads_available)
    one = seconds_of(lambda: net.predict(x1))
    long_prediction = seconds_of(predict(len(x_long)), 20) / LONG_BLOCKS
    prepared_step, prepared_descent = net._prepared_step, net._prepared_descent  # they own what the trainers point to
    options = {"optimizer": adam, "batch_size": 32, "shuffle": False, "epochs": LONG_STEPS}
    fit = seconds_of(lambda: net.fit(x32, y, **options), 1) / LONG_STEPS
    net.gradient_descent(x32, y, rate=1e-6, iterations=LONG_STEPS)
    long_descent = seconds_of(lambda: net.gradient_descent(x32, y, rate=1e-6, iterations=LONG_STEPS), 1) / LONG_STEPS
    net.partial_fit(x32, y, optimizer=adam)
    rows = [
        ("predict 1 row", one, seconds_of(predict(1)), long_prediction / 64),
        ("predict 64 rows", seconds_of(lambda: net.predict(x)), seconds_of(predict(64)), long_prediction),
        (
            "gradient_descent, one iteration on 32 rows",
            seconds_of(lambda: net.gradient_descent(x32, y, rate=1e-6)),
            seconds_of(train(prepared_descent._trainer)),
            long_descent,
        ),
        (
            "partial_fit, one step of Adam on 32 rows",
            seconds_of(lambda: net.partial_fit(x32, y, optimizer=adam)),
            seconds_of(train(prepared_step._trainer)),
            fit,
        ),
    ]
    print(f"Network 4-16-2; microseconds; twice the time to predict one row is {2e6 * one:.2f}.\n")
    print("| call | time | in C | in Python | arithmetic | twice one row + arithmetic |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, seconds, in_c, arithmetic in rows:
        cells = (seconds, in_c - empty_call, seconds - in_c + empty_call, arithmetic, 2 * one + arithmetic)
        print(f"| {name} | " + " | ".join(f"{1e6 * cell:.2f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
