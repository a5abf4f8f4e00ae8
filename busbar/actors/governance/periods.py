"""Budget windows: the whole time, days and months of UTC. All days are counted from 1970-01-01."""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime

from busbar.actors.governance.scopes import BudgetPeriod

SECS_PER_DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


def day_of(unix_secs: float) -> int:
    """The day on which it is so late."""
    return int(unix_secs // SECS_PER_DAY)


@functools.lru_cache(64)
def first_of_month(day: int) -> int:
    """The first day of the month that `day` is in."""
    return day - date.fromordinal(_EPOCH + day).day + 1


def resets_at(period: BudgetPeriod, day: int) -> int | None:
    """When the window that `day` is in ends, in Unix seconds; None: never."""
    match period:
        case "total":
            return None
        case "daily":
            return (day + 1) * SECS_PER_DAY
        case "monthly":
            return first_of_month(first_of_month(day) + 31) * SECS_PER_DAY


def utc(unix_secs: int) -> str:
    """`2026-11-24T00:00:00Z`"""
    return datetime.fromtimestamp(unix_secs, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Spending:
    """What one scope has spent in each window, in pico-dollars. A sum belongs to the day on which its request was
    admitted, so that one that ends after midnight, or a clock that is set back, moves nothing between windows."""

    __slots__ = ("_days", "_months", "total")

    DAYS_KEPT = 40
    """Days, and months, that are told apart; of older ones only the total is known."""

    def __init__(self) -> None:
        self.total = 0
        self._days: dict[int, int] = {}
        self._months: dict[int, int] = {}

    def add(self, day: int, picodollars: int) -> None:
        """`day` -1: some day before this month."""
        self.total += picodollars
        if day >= 0:
            _add(self._days, day, picodollars, self.DAYS_KEPT)
            _add(self._months, first_of_month(day), picodollars, self.DAYS_KEPT)

    def within(self, period: BudgetPeriod, day: int) -> int:
        """In the window of `period` that `day` is in."""
        match period:
            case "total":
                return self.total
            case "daily":
                return self._days.get(day, 0)
            case "monthly":
                return self._months.get(first_of_month(day), 0)


def _add(sums: dict[int, int], window: int, amount: int, kept_max: int) -> None:
    sums[window] = sums.get(window, 0) + amount
    if len(sums) > kept_max:
        del sums[min(sums)]
