"""The post's three tables, to within 2 in the sixth decimal."""

import pytest

from nnpy._commands import xor as _xor


@pytest.mark.parametrize(("method", "iterations"), _xor.PUBLISHED)
def test_published_table(method, iterations):
    published = _xor.PUBLISHED[method, iterations]
    run = _xor.train(iterations, eps=_xor.EPS if method == "finite differences" else None)
    tolerance = 2.5e-6  # 2 in the sixth decimal, each rounded
    assert run.before == pytest.approx(published.before, rel=0, abs=tolerance)
    assert run.after == pytest.approx(published.after, rel=0, abs=tolerance)
    assert run.outputs == pytest.approx(published.outputs, rel=0, abs=tolerance)


def test_published_figures_are_those_of_the_post():
    (a, b, c) = _xor.PUBLISHED.values()
    assert a[:3] == (0.356169, 0.000025, (0.004951, 0.995321, 0.994320, 0.004433))
    assert b[:3] == (0.356169, 0.000000, (0.000663, 0.999338, 0.999338, 0.000672))
    assert c[:3] == (0.356169, 0.000000, (0.000482, 0.999550, 0.999432, 0.000438))
