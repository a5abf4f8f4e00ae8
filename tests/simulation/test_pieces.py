"""The small parts: distributions, arrivals, percentiles, rate windows, the course of one attempt."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.messages import Timeouts
from busbar.protocols.failures import FailureClass
from busbar.simulation.course import NEVER, Answer, Course, course
from busbar.simulation.draws import arrival_times, drawing
from busbar.simulation.histogram import Histogram
from busbar.simulation.providers import RateWindow
from busbar.simulation.scenario import Distribution, Phase, RateLimit, Traffic

# --- draws


@pytest.mark.parametrize(
    ("distribution", "median", "p95"),
    [
        (Distribution(constant=300), 300, 300),
        (Distribution(low=100, high=300), 200, 290),
        (Distribution(median=400, p95=1000), 400, 1000),
        (Distribution(mean=100), 69.3, 299.6),
        (Distribution(median=400, p95=1000, max=450), 400, 450),
    ],
)
def test_a_distribution_has_the_shape_that_its_keys_say(
    distribution: Distribution, median: float, p95: float
) -> None:
    draw = drawing(distribution, random.Random(1))
    drawn = sorted(draw() for _ in range(20_000))
    assert drawn[10_000] == pytest.approx(median, rel=0.03)
    assert drawn[19_000] == pytest.approx(p95, rel=0.03)


def times(**traffic: Any) -> list[float]:
    return list(arrival_times(Traffic(to="p", **traffic), 100, random.Random(1)))


def test_constant_arrivals_come_in_equal_distances() -> None:
    assert times(arrivals="constant", rate_per_sec=0.05) == [0, 20, 40, 60, 80]


def test_poisson_arrivals_come_at_the_rate_and_independently() -> None:
    came = times(rate_per_sec=100)
    gaps = [later - earlier for earlier, later in itertools.pairwise(came)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.01, rel=0.03)
    assert variance == pytest.approx(mean**2, rel=0.1)


def test_a_burst_comes_at_once_and_counts_for_the_rate() -> None:
    came = times(arrivals="constant", rate_per_sec=1, burst=25)
    assert came == [0.0] * 25 + [25.0] * 25 + [50.0] * 25 + [75.0] * 25


def test_phases_have_rates_of_their_own() -> None:
    came = times(
        arrivals="constant",
        rate_per_sec=1,
        from_secs=10,
        until_secs=90,
        phases=(
            Phase(from_secs=20, until_secs=40, rate_per_sec=0),
            Phase(from_secs=40, until_secs=50, rate_per_sec=9),
        ),
    )
    counts = [sum(low <= at < low + 10 for at in came) for low in range(0, 100, 10)]
    assert counts == [0, 10, 0, 0, 90, 10, 10, 10, 10, 0]


def test_a_ramp_changes_evenly() -> None:
    came = times(arrivals="constant", phases=(Phase(rate_per_sec=0, end_rate_per_sec=20),))
    counts = [sum(low <= at < low + 25 for at in came) for low in range(0, 100, 25)]
    assert counts == pytest.approx([62.5, 187.5, 312.5, 437.5], abs=1)


@given(
    rates=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), min_size=1, max_size=4),
    burst=st.sampled_from([1, 3]),
    kind=st.sampled_from(["poisson", "constant"]),
)
def test_arrivals_are_in_order_and_inside_of_the_time(
    rates: list[tuple[float, float]], burst: int, kind: Any
) -> None:
    phases = tuple(
        Phase(from_secs=10.0 * n, until_secs=10.0 * (n + 1), rate_per_sec=rate, end_rate_per_sec=end)
        for n, (rate, end) in enumerate(rates)
    )
    traffic = Traffic(to="p", arrivals=kind, burst=burst, rate_per_sec=1, phases=phases)
    came = list(arrival_times(traffic, 50, random.Random(1)))
    expected = sum(5 * (rate + end) for rate, end in rates) + 50 - 10 * len(rates)
    assert came == sorted(came)
    assert all(0 <= at <= 50 for at in came)
    if kind == "constant":
        assert abs(len(came) - expected) <= burst


# --- percentiles


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.95, 1.0]))
def test_a_percentile_is_right_within_a_percent(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, -(-int(share * 100) * len(values) // 100) - 1)]
    assert histogram.percentile(share) == pytest.approx(exact, rel=0.0101)
    assert Histogram.together([histogram, histogram]).percentile(share) == histogram.percentile(share)


def test_a_histogram_stays_small() -> None:
    histogram = Histogram()
    for exponent in range(100_000):
        histogram.add(10 ** (exponent % 900 / 100 - 3))
    assert (histogram.count, len(histogram._buckets) < 1100) == (100_000, True)
    assert Histogram().percentile(0.5) is None


# --- providers


def test_a_rate_window_says_when_the_next_one_begins() -> None:
    window = RateWindow(RateLimit(requests=2, window_secs=10))
    said = []
    for now in (1.0, 2.0, 3.2, 9.9, 10.0):
        said.append(window.refuses(now))
        if said[-1] is None:
            window.serve()
    assert said == [None, None, 7.0, 1.0, None]


# --- the course of one attempt

STREAM = Answer(headers=0.2, first=1.0, end=3.0, chunk_secs=0.02, tokens=100)
WHOLE = Answer(headers=3.0, first=1.0, end=3.0, tokens=100)
BREAKS = Answer(headers=0.2, first=1.0, end=3.0, quiet_from=2.0, breaks=2.0, tokens=100)
STALLS = Answer(headers=0.2, first=1.0, end=99.0, quiet_from=2.0, breaks=62.0, tokens=100)
SILENT = Answer(headers=NEVER)
ERROR = Answer(headers=0.1, failure=FailureClass.OVERLOADED, retry_after_secs=7)


def goes(answer: Answer, available: float = 120, hold: float = 0, *, stream: bool = True, **limits: int) -> Course:
    return course(answer, Timeouts(**limits), available, stream=stream, hold_secs=hold)


TIMEOUT, NETWORK = FailureClass.TIMEOUT, FailureClass.NETWORK


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (goes(STREAM), Course(ends=3, begins=1)),
        (goes(STREAM, hold=0.5), Course(ends=3, begins=1.5)),
        (goes(STREAM, hold=9), Course(ends=3, begins=3)),
        (goes(STREAM, 2), Course(ends=3, begins=1)),  # from the first byte on there is no deadline
        (goes(STREAM, 0.8), Course(ends=0.8, failure=TIMEOUT, verdict=False)),  # no fair time
        (goes(STREAM, 2, hold=9), Course(ends=2, failure=TIMEOUT, verdict=False)),
        (goes(STREAM, attempt_ms=100), Course(ends=0.1, failure=TIMEOUT)),
        (goes(STREAM, attempt_ms=500), Course(ends=3, begins=1)),
        (goes(STREAM, first_token_ms=500), Course(ends=0.5, failure=TIMEOUT)),
        (goes(STREAM, stall_ms=10), Course(ends=1.01, failure=TIMEOUT, begins=1)),
        (goes(WHOLE, stream=False), Course(ends=3, begins=3)),
        (goes(WHOLE, stream=False, first_token_ms=500, stall_ms=10), Course(ends=3, begins=3)),
        (goes(WHOLE, stream=False, attempt_ms=500), Course(ends=0.5, failure=TIMEOUT)),
        (goes(BREAKS), Course(ends=2, failure=NETWORK, begins=1)),
        (goes(BREAKS, hold=1.5), Course(ends=2, failure=NETWORK, refund=True)),
        (goes(BREAKS, stream=False), Course(ends=2, failure=NETWORK, refund=True)),
        (goes(STALLS), Course(ends=62, failure=NETWORK, begins=1)),
        (goes(STALLS, stall_ms=5000), Course(ends=7, failure=TIMEOUT, begins=1)),
        (goes(STALLS, hold=9, stall_ms=5000), Course(ends=7, failure=TIMEOUT, refund=True)),
        (goes(STALLS, 20, stream=False), Course(ends=20, failure=TIMEOUT)),
        (goes(SILENT), Course(ends=120, failure=TIMEOUT)),
        (goes(ERROR), Course(ends=0.1, failure=FailureClass.OVERLOADED, retry_after_secs=7)),
    ],
)
def test_an_attempt_goes_as_far_as_script_and_patience_let_it(got: Course, expected: Course) -> None:
    assert got == expected


def test_what_has_come_is_what_is_paid_for() -> None:
    whole, broken, stalled = goes(STREAM), goes(BREAKS), goes(STALLS)
    assert [whole.tokens_until(STREAM, secs) for secs in (0.5, 1.0, 2.0, 3.0)] == [0, 0, 50, 100]
    assert broken.tokens_until(BREAKS, broken.ends) == 50
    assert stalled.tokens_until(STALLS, stalled.ends) == 1
