"""Rows of raw measurements, and what is computed from them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from msgspec import Struct

from bench.scenarios import baseline


class Row(Struct, frozen=True, kw_only=True):
    """One contender under one scenario in one round."""

    round: int
    scenario: str
    contender: str
    answers: int
    """Complete and right ones."""
    events: int
    """Events with content in those answers; 0 for JSON."""
    failures: dict[str, int]
    elapsed_secs: float
    cpu_secs: float | None
    """User and system time of the contender's processes; None without one."""
    p50_us: float
    p99_us: float
    first_p50_us: float
    first_p99_us: float
    rss_bytes: int | None
    peak_bytes: int | None
    commits: int | None = None
    """Transactions that the contender wrote to its database; None without one."""
    gap_max_us: float = 0
    """The longest time that a caller heard nothing; 0 where nobody looked."""
    late_max_us: float = 0
    """The longest time that the load generator was held up."""
    lost: dict[str, int] | None = None
    """By telemetry actor, what nobody took since the contender was started; None where nothing is counted."""

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


class Spread(Struct, frozen=True):
    """Over the rounds."""

    min: float
    median: float
    max: float


Figure: TypeAlias = Callable[[Row], float | None]
"""None: does not apply to the row, or cannot be told."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` (0-100) of the values do not exceed; 0 without values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def requests_per_sec(row: Row) -> float | None:
    return row.answers / row.elapsed_secs if row.answers else None


def cpu_us_per_request(row: Row) -> float | None:
    answered = row.answers + row.failed
    return row.cpu_secs * 1e6 / answered if answered and row.cpu_secs is not None else None


def cpu_us_per_event(row: Row) -> float | None:
    return row.cpu_secs * 1e6 / row.events if row.events and row.cpu_secs is not None else None


def core_percent(row: Row) -> float | None:
    return 100 * row.cpu_secs / row.elapsed_secs if row.cpu_secs is not None else None


def p50_us(row: Row) -> float | None:
    return row.p50_us or None


def p99_us(row: Row) -> float | None:
    return row.p99_us or None


def first_p50_us(row: Row) -> float | None:
    return row.first_p50_us if row.events else None


def first_p99_us(row: Row) -> float | None:
    return row.first_p99_us if row.events else None


def rss_mb(row: Row) -> float | None:
    return None if row.rss_bytes is None else row.rss_bytes / 1e6


def peak_mb(row: Row) -> float | None:
    return None if row.peak_bytes is None else row.peak_bytes / 1e6


def commits_per_request(row: Row) -> float | None:
    return row.commits / row.answers if row.commits is not None and row.answers else None


def spread(values: Iterable[float | None]) -> Spread | None:
    """None when there is no value."""
    known = [value for value in values if value is not None]
    return Spread(min(known), statistics.median(known), max(known)) if known else None


def added(rows: Sequence[Row], scenario: str, contender: str, figure: Figure, other: str = "direct") -> Spread | None:
    """What the contender adds to `other`'s figure of the same round."""
    return spread(mine - theirs for mine, theirs in _pairs(rows, scenario, contender, other, figure))


def ratio(
    rows: Sequence[Row], scenario: str, contender: str, other: str, figure: Figure, against: str | None = None
) -> Spread | None:
    """How many times `other`'s figure of the same round the contender's is. `against`: the scenario where the other
    is looked up; None: this one if it served that, else its baseline."""
    pairs = _pairs(rows, scenario, contender, other, figure, against)
    return spread(mine / theirs for mine, theirs in pairs if theirs)


def _pairs(
    rows: Sequence[Row], scenario: str, contender: str, other: str, figure: Figure, against: str | None = None
) -> Iterable[tuple[float, float]]:
    his = [row for row in rows if row.contender == other]
    if against is None:
        against = scenario if any(row.scenario == scenario for row in his) else baseline(scenario)
    theirs = {row.round: row for row in his if row.scenario == against}
    for row in rows:
        if row.contender == contender and row.scenario == scenario and row.round in theirs:
            mine, other_figure = figure(row), figure(theirs[row.round])
            if mine is not None and other_figure is not None:
                yield mine, other_figure
