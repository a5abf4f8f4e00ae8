"""Percentiles of many durations in little memory: counts in buckets that grow by 2 %, so that a percentile is right
within 1 %."""

from __future__ import annotations

import math
from collections.abc import Iterable

_GROWTH = 1.02
_LOG_GROWTH = math.log(_GROWTH)
_SMALLEST = 1e-3


class Histogram:
    """Of non-negative numbers. Bounded: a thousand buckets span nine orders of magnitude."""

    __slots__ = ("_buckets", "count")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0

    def add(self, value: float) -> None:
        index = round(math.log(value / _SMALLEST) / _LOG_GROWTH) if value > _SMALLEST else 0
        self._buckets[index] = self._buckets.get(index, 0) + 1
        self.count += 1

    def percentile(self, share: float) -> float | None:
        """The value that a `share` (0 to 1) of the numbers do not exceed; None when there are none."""
        if not self.count:
            return None
        wanted = max(1, math.ceil(share * self.count))
        for index in sorted(self._buckets):
            wanted -= self._buckets[index]
            if wanted <= 0:
                return _SMALLEST * _GROWTH**index
        raise AssertionError("the buckets hold as many as were counted")

    @classmethod
    def together(cls, histograms: Iterable[Histogram]) -> Histogram:
        """As if all had been one."""
        whole = cls()
        for histogram in histograms:
            whole.count += histogram.count
            for index, count in histogram._buckets.items():
                whole._buckets[index] = whole._buckets.get(index, 0) + count
        return whole
