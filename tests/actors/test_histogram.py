"""Values in ranges."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.histogram import Distribution, Histogram


def test_a_value_on_a_bound_belongs_to_the_range_beneath() -> None:
    histogram = Histogram((1.0, 5.0))
    for value in (0.5, 1.0, 1.1, 5.0, 5.1, 100.0):
        histogram.observe(value)
    assert histogram.seen() == Distribution((1.0, 5.0), (2, 2, 2), 112.7)
    assert (histogram.seen().count, repr(histogram)) == (6, "Histogram(count=6, total=112.7)")


def test_what_was_seen_does_not_change() -> None:
    histogram = Histogram((1.0,))
    before = histogram.seen()
    histogram.observe(0.5)
    assert (before.counts, histogram.seen().counts) == ((0, 0), (1, 0))


@pytest.mark.parametrize("bounds", [(), (1.0, 1.0), (2.0, 1.0)])
def test_bounds_ascend(bounds: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError):
        Histogram(bounds)


@given(
    st.lists(st.floats(0.001, 1000), min_size=1, max_size=20, unique=True).map(sorted),
    st.lists(st.floats(0, 2000), max_size=50),
)
def test_every_value_is_counted_once_in_its_own_range(bounds: list[float], values: list[float]) -> None:
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    edges = [float("-inf"), *bounds, float("inf")]
    expected = [sum(low < value <= high for value in values) for low, high in pairwise(edges)]
    assert histogram.seen() == Distribution(bounds, tuple(expected), sum(values))
