"""The three runs that the post published are reproduced, up to 2 in the sixth decimal."""

import pytest

from nnpy._commands import xor


@pytest.mark.parametrize(
    ("method", "iterations"),
    [
        pytest.param(*run, marks=pytest.mark.slow if run == ("finite differences", 1_000_000) else ())
        for run in xor.PUBLISHED
    ],
)
def test_results_are_those_of_the_post(method, iterations):
    published = xor.PUBLISHED[method, iterations]
    run = xor.train(iterations, eps=xor.EPS if method == "finite differences" else None)
    tolerance = 2.5e-6  # 2 in the sixth decimal, and half a unit by which the published number was rounded
    assert run.mse_before == pytest.approx(published.mse_before, rel=0, abs=tolerance)
    assert run.mse_after == pytest.approx(published.mse_after, rel=0, abs=tolerance)
    assert run.outputs == pytest.approx(published.outputs, rel=0, abs=tolerance)


def test_published_results_are_copied_correctly():
    assert {key: run[:3] for key, run in xor.PUBLISHED.items()} == {
        ("backpropagation", 10_000): (0.356169, 0.000025, (0.004951, 0.995321, 0.994320, 0.004433)),
        ("finite differences", 1_000_000): (0.356169, 0.000000, (0.000663, 0.999338, 0.999338, 0.000672)),
        ("backpropagation", 1_000_000): (0.356169, 0.000000, (0.000482, 0.999550, 0.999432, 0.000438)),
    }
