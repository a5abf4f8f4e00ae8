"""How often values fell into which range: what a histogram of Prometheus is made from."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from msgspec import Struct


class Distribution(Struct, frozen=True):
    """What a histogram held when somebody looked."""

    bounds: Sequence[float]
    """Of the ranges, ascending; each belongs to its range. Above the last there is one more range, without an end."""
    counts: Sequence[int]
    """In each range alone: one more than there are bounds."""
    total: float
    """Of all values."""

    @property
    def count(self) -> int:
        return sum(self.counts)


class Histogram:
    """Counts values in fixed ranges, each in O(log n), about 0.1 µs. It never grows."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` ascend strictly; there is at least one."""
        assert bounds, "a histogram has ranges"
        assert list(bounds) == sorted(set(bounds)), "and their bounds ascend"
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def __repr__(self) -> str:
        return f"Histogram(count={sum(self.counts)}, total={self.total:g})"

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def seen(self) -> Distribution:
        """As it is now; later values do not change it."""
        return Distribution(self.bounds, tuple(self.counts), self.total)
