"""The built-in policy: what each failure means for the cell, and how long a cooldown is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_actors import World, two_stage

from busbar.actors.messages import Assignment, Snapshot
from busbar.actors.supervision import Bench, BreakerSettings, CellView, Directive, Outcome, Resume, Trip
from busbar.actors.two_stage import TwoStagePolicy, cooldown_secs
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit

TRANSIENT = [
    FailureClass.RATE_LIMIT,
    FailureClass.OVERLOADED,
    FailureClass.SERVER_ERROR,
    FailureClass.TIMEOUT,
    FailureClass.NETWORK,
]


class Kept(TwoStagePolicy):
    pass


class Own(TwoStagePolicy):
    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        return super().on_outcome(cell, outcome, now)


class BelowOwn(Own):
    pass


class SaysSo(Own):
    passes_success = True


class Mixin:
    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        return Resume()


class Mixed(Mixin, TwoStagePolicy):
    pass


def view(
    *, outcomes: int = 1, failures: int = 1, consecutive: int = 1, streak: int = 0, probe: bool = False
) -> CellView:
    return CellView(
        member="m",
        pool="p",
        state="half_open" if probe else "closed",
        streak=streak,
        consecutive_failures=consecutive,
        outcomes=outcomes,
        failures=failures,
        probe=probe,
    )


def decide(cell: CellView, failure: FailureClass | None, wait: float | None = None, **settings: object) -> Directive:
    policy = two_stage(BreakerSettings(**settings))  # type: ignore[arg-type]
    return policy.on_outcome(cell, Outcome(failure=failure, retry_after_secs=wait), 0.0)


@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize("failure", [None, FailureClass.CLIENT_ERROR, FailureClass.CONTEXT_LENGTH])
def test_what_is_not_the_members_fault_resumes(failure: FailureClass | None, probe: bool) -> None:
    assert decide(view(outcomes=9, failures=9, consecutive=9, probe=probe), failure) == Resume()


@pytest.mark.parametrize("failure", TRANSIENT)
def test_transient_below_the_trip_point_benches(failure: FailureClass) -> None:
    assert decide(view(outcomes=4, failures=4), failure) == Bench(1.0)
    assert decide(view(outcomes=4, failures=4), failure, wait=7.0) == Bench(7.0)
    assert decide(view(outcomes=4, failures=4), failure, wait=1e9) == Bench(86_400.0)


@pytest.mark.parametrize("failure", TRANSIENT)
def test_transient_at_the_trip_point_trips(failure: FailureClass) -> None:
    assert decide(view(outcomes=5, failures=3), failure) == Trip(15.0)


@pytest.mark.parametrize("failure", TRANSIENT)
def test_transient_probe_trips_again_whatever_the_window_says(failure: FailureClass) -> None:
    assert decide(view(outcomes=1, failures=1, streak=1, probe=True), failure) == Trip(30.0)


@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize("failure", [FailureClass.AUTH, FailureClass.BILLING])
def test_hard_down_trips_at_once_for_half_an_hour(failure: FailureClass, probe: bool) -> None:
    assert decide(view(probe=probe), failure) == Trip(1800.0)
    assert decide(view(probe=probe), failure, wait=60.0) == Trip(1800.0)
    assert decide(view(probe=probe), failure, wait=7200.0) == Trip(7200.0)
    assert decide(view(probe=probe), failure, wait=1e9) == Trip(86_400.0)


@pytest.mark.parametrize(
    ("outcomes", "failures", "trips"), [(4, 4, False), (5, 2, False), (5, 3, True), (6, 3, True), (100, 49, False)]
)
def test_error_rate_needs_enough_outcomes_and_enough_failures(outcomes: int, failures: int, trips: bool) -> None:
    assert isinstance(decide(view(outcomes=outcomes, failures=failures), TRANSIENT[0]), Trip) is trips


def test_error_rate_settings_have_effect() -> None:
    assert isinstance(decide(view(outcomes=2, failures=1), TRANSIENT[0], min_requests=2), Trip)
    assert isinstance(decide(view(outcomes=9, failures=8), TRANSIENT[0], threshold=0.95), Bench)


def test_consecutive_mode_looks_at_the_row_only() -> None:
    calm = view(outcomes=100, failures=100, consecutive=2)
    assert decide(calm, TRANSIENT[0], mode="consecutive") == Bench(1.0)
    assert decide(view(consecutive=3), TRANSIENT[0], mode="consecutive") == Trip(15.0)
    assert decide(view(consecutive=3), TRANSIENT[0], mode="consecutive", consecutive_n=4) == Bench(1.0)


# --- the cooldown


def draws(settings: BreakerSettings, streak: int, retry_after_secs: float = 0.0, count: int = 10_000) -> list[float]:
    rng = random.Random(7)
    return [cooldown_secs(settings, streak, retry_after_secs, rng) for _ in range(count)]


def test_jitter_goes_both_ways_and_stays_within_ten_percent() -> None:
    cooldowns = draws(BreakerSettings(), streak=0)
    assert 13.5 <= min(cooldowns) < 13.6
    assert 16.4 < max(cooldowns) <= 16.5
    assert 0.48 < sum(cooldown < 15.0 for cooldown in cooldowns) / 10_000 < 0.52
    assert sum(cooldowns) / 10_000 == pytest.approx(15.0, abs=0.05)


def test_jitter_never_exceeds_the_maximum() -> None:
    cooldowns = draws(BreakerSettings(), streak=3)
    assert max(cooldowns) == 120.0
    assert 108.0 <= min(cooldowns) < 109.0


def test_cooldown_doubles_with_each_opening_up_to_the_maximum() -> None:
    middles = [round(sum(draws(BreakerSettings(), streak, count=2000)) / 2000) for streak in range(3)]
    assert middles == [15, 30, 60]
    policy = two_stage()
    cells = [view(streak=streak, probe=True) for streak in (0, 1, 2, 3, 4, 999)]
    trips = [policy.on_outcome(cell, Outcome(TRANSIENT[0]), 0.0) for cell in cells]
    assert trips == [Trip(15.0), Trip(30.0), Trip(60.0), Trip(120.0), Trip(120.0), Trip(120.0)]


def test_cooldown_is_at_least_a_second() -> None:
    assert set(draws(BreakerSettings(base_cooldown_secs=0.1), streak=0, count=50)) == {1.0}


def test_retry_after_lengthens_beyond_the_maximum_up_to_a_day_and_never_shortens() -> None:
    assert set(draws(BreakerSettings(), 0, retry_after_secs=600.0, count=50)) == {600.0}
    assert set(draws(BreakerSettings(), 0, retry_after_secs=1e7, count=50)) == {86_400.0}
    assert min(draws(BreakerSettings(), 0, retry_after_secs=1.0)) >= 13.5


@given(
    base=st.floats(0.001, 3600),
    ceiling=st.floats(1.0, 7200),
    streak=st.integers(0, 10_000),
    wait=st.floats(0, 1e6),
    seed=st.integers(0, 99),
)
def test_cooldown_is_always_within_bounds(base: float, ceiling: float, streak: int, wait: float, seed: int) -> None:
    settings = BreakerSettings(base_cooldown_secs=base, max_cooldown_secs=ceiling)
    target = min(base * 2.0 ** min(streak, 64), ceiling)
    asked = min(wait, 86_400.0)
    cooldown = cooldown_secs(settings, streak, wait, random.Random(seed))
    assert max(min(max(target / 2, 1.0), ceiling), asked) <= cooldown <= max(ceiling, asked)
    assert cooldown <= max(target * 1.1, 1.0, asked) + 1e-9


@pytest.mark.parametrize(
    ("policy", "passes"),
    [(TwoStagePolicy, True), (Kept, True), (Own, False), (BelowOwn, False), (SaysSo, True), (Mixed, False)],
)
def test_what_passes_success_is_said_of_one_on_outcome_only(policy: type[TwoStagePolicy], passes: bool) -> None:
    assert policy.passes_success is passes


@pytest.mark.parametrize("seed", range(20))
def test_it_makes_no_difference_whether_the_policy_is_asked_about_successes(seed: int) -> None:
    chance = random.Random(seed)
    failures = [None, None, None, *TRANSIENT, FailureClass.AUTH, FailureClass.CLIENT_ERROR]
    acts = [(chance.choice("pq"), chance.choice(failures), chance.choice([0.0, 0.1, 20.0])) for _ in range(80)]

    def told(policy: type[TwoStagePolicy]) -> list[object]:
        with Kit() as kit:
            world = World(kit, a={"max_concurrent": 2}, b={"max_requests": 60})
            for pool in "pq":
                world.pool(pool, "a", "b*2", policy=policy(BreakerSettings(), random.Random(seed)))
            seen: list[object] = []
            for pool, failure, secs in acts:
                reply = world.route(pool)
                if isinstance(reply, Assignment):
                    world.report(reply, failure, latency_ms=secs)
                kit.advance(secs)
                seen += [world.show("a"), world.show("b"), kit.ask(world.pools[pool], Snapshot())]
            return seen

    assert told(TwoStagePolicy) == told(Own)
