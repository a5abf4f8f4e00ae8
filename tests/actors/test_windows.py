"""Sliding windows against a log that forgets nothing; budget windows against the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.governance import windows
from busbar.actors.governance.periods import SECS_PER_DAY, Spending, day_of, first_of_month, resets_at, utc
from busbar.actors.governance.scopes import BudgetPeriod
from busbar.actors.governance.windows import EXACT_MAX, SlidingWindow

STEPS = st.lists(st.tuples(st.integers(0, 25_000), st.integers(1, 5)), max_size=80)
"""(milliseconds since the one before, amount)"""


def unix(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp())


@given(STEPS, st.integers(1, 12))
def test_what_is_admitted_is_exactly_what_a_perfect_log_would_admit(steps: list[tuple[int, int]], limit: int) -> None:
    window, log, now = SlidingWindow(), [], 0
    for pause, amount in steps:
        now += pause
        true_sum = sum(counted for at, counted in log if at > now - 60_000)
        assert window.sum(now / 1000) == true_sum
        wait = window.wait_secs(now / 1000, amount, limit)
        if true_sum + amount <= limit:
            assert wait == 0
            window.add(now / 1000, amount)
            log.append((now, amount))
        elif amount > limit:
            assert wait is None
        else:
            assert wait is not None
            assert wait > 0
            then = now + wait * 1000
            assert sum(counted for at, counted in log if at > then - 60_000 + 1e-6) + amount <= limit


@given(STEPS, st.integers(-3, 3))
def test_a_correction_counts_as_long_as_what_it_corrects(steps: list[tuple[int, int]], by: int) -> None:
    window, now = SlidingWindow(), 0
    entries = []
    for pause, amount in steps:
        now += pause
        entries.append((now, amount + by, window.add(now / 1000, amount)))
        window.correct(entries[0][2], 0)
    for _, _, entry in entries:
        window.correct(entry, by)
    live = [amount for at, amount, _ in entries if at > now - 60_000]
    before = [amount - by for at, amount, entry in entries if at <= now - 60_000 and not entry.expired]
    assert window.sum(now / 1000) == sum(live), before


def test_ever_so_many_entries_take_bounded_memory_and_never_exceed_the_limit() -> None:
    window = SlidingWindow()
    for number in range(200_000):
        window.add(number / 2000, 1)  # 100 seconds
    assert len(window._entries) <= 2 * EXACT_MAX
    exact = 60 * 2000
    assert exact <= window.sum(100.0) <= exact + 2000 * windows.COARSE_SECS + 1


@pytest.mark.parametrize(
    ("period", "now", "end"),
    [
        ("daily", (2026, 2, 28, 23, 59, 59), (2026, 3, 1)),
        ("daily", (2026, 3, 1), (2026, 3, 2)),
        ("monthly", (2026, 2, 1), (2026, 3, 1)),
        ("monthly", (2028, 2, 29, 12), (2028, 3, 1)),
        ("monthly", (2026, 12, 31, 23, 59), (2027, 1, 1)),
        ("total", (2026, 12, 31), None),
    ],
)
def test_windows_end_with_the_day_and_the_month_of_utc(
    period: BudgetPeriod, now: tuple[int, ...], end: tuple[int, ...] | None
) -> None:
    assert resets_at(period, day_of(unix(*now))) == (None if end is None else unix(*end))


@given(st.integers(0, 60_000))
def test_the_first_of_the_month_is_the_first_of_the_month(day: int) -> None:
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    assert first_of_month(day) * SECS_PER_DAY == unix(date.year, date.month, 1)
    assert utc(day * SECS_PER_DAY) == date.strftime("%Y-%m-%dT00:00:00Z")


@given(st.lists(st.tuples(st.integers(19_000, 19_400), st.integers(0, 10**15)), max_size=60))
def test_what_is_spent_is_in_the_windows_of_its_day(amounts: list[tuple[int, int]]) -> None:
    amounts.sort()  # further back than `DAYS_KEPT` windows, only the total is known
    spending = Spending()
    for day, amount in amounts:
        spending.add(day, amount)
    last = amounts[-1][0] if amounts else 19_400
    assert spending.within("total", last) == sum(amount for _, amount in amounts)
    assert spending.within("daily", last) == sum(amount for day, amount in amounts if day == last)
    month = first_of_month(last)
    assert spending.within("monthly", last) == sum(amount for day, amount in amounts if day >= month)
    assert max(len(spending._days), len(spending._months)) <= Spending.DAYS_KEPT
