"""One request's way, as a pure unit: every row of its step table, without an actor at work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from busbar.actors.journey import Ask, Decision, Destination, Failing, GiveUp, Journey, Step, Try, Verdict, Wait
from busbar.actors.messages import Assignment, Exhausted, Refusal, Route, Terms
from busbar.actors.runtime import LoopRef
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit

DOWN = Failing(FailureClass.SERVER_ERROR)
LOST = Failing(FailureClass.NETWORK)
TOO_LONG = Failing(FailureClass.CONTEXT_LENGTH)
START = 1000.0


def throttled(secs: float) -> Failing:
    return Failing(FailureClass.RATE_LIMIT, secs)


def nobody(retry_after_secs: float = 5.0, **reasons: Refusal) -> Exhausted:
    return Exhausted(reasons=reasons, retry_after_secs=retry_after_secs)


class Trip:
    """A journey to pool `p`, its clock, and the routes of its asks."""

    def __init__(self, ref: LoopRef, *, fallbacks: dict[str, dict[str, Any]] | None = None, **fields: Any) -> None:
        self._ref = ref
        self.now = START
        self.base = Route(request_id="r1", session="s")
        others = {name: Destination(name=name, ref=ref, **more) for name, more in (fallbacks or {}).items()}
        self.destination = Destination(name="p", ref=ref, **fields)
        self.journey = Journey(self.destination, {"p": self.destination, **others}, self.base, START)
        self.step: Step = self.journey.begin()

    @property
    def asked(self) -> Route:
        assert isinstance(self.step, Ask), self.step
        return self.step.route

    @property
    def pool(self) -> str:
        assert isinstance(self.step, Ask), self.step
        return self.step.destination.name

    def gets(self, member: str, *, context_max: int | None = None, **fields: Any) -> Try:
        assert isinstance(self.step, Ask), self.step
        assignment = Assignment(
            member=member, ref=self._ref, pool=self.pool, permit=1, terms=Terms(context_max=context_max), **fields
        )
        step = self.journey.assigned(assignment, self.now)
        assert step.assignment is assignment
        self.step = step
        return step

    def gets_nobody(self, reply: Exhausted | None = None) -> Step:
        assert isinstance(self.step, Ask), self.step
        self.step = self.journey.exhausted(reply or nobody(), self.now)
        return self.step

    def fails(self, failing: Failing, after_secs: float = 0.0) -> Step:
        assert isinstance(self.step, Try), self.step
        self.now += after_secs
        self.step = self.journey.failed(failing, self.now)
        return self.step

    def waits(self) -> float:
        assert isinstance(self.step, Wait), self.step
        secs = self.step.secs
        self.now += secs
        self.step = self.journey.waited()
        return secs


@pytest.fixture
def ref() -> Iterator[LoopRef]:
    with Kit() as kit:
        yield kit.probe("pool").ref


# --- the way out


def test_the_first_ask_carries_what_the_request_is_and_when_its_time_is_up(ref: LoopRef) -> None:
    trip = Trip(ref, deadline_secs=60.0)
    assert trip.step == Ask(
        trip.destination, Route(request_id="r1", session="s", fresh=True, wait_until=START + 60.0)
    )


def test_a_try_says_how_much_time_is_left(ref: LoopRef) -> None:
    trip = Trip(ref, deadline_secs=60.0)
    trip.now += 13.0
    assert trip.gets("a").available_secs == 47.0
    trip.fails(DOWN, after_secs=7.0)
    assert trip.gets("b").available_secs == 40.0


@pytest.mark.parametrize(
    "kind", ["rate_limit", "overloaded", "server_error", "timeout", "network", "auth", "billing"]
)
def test_transient_and_hard_down_fail_over_to_members_not_tried_yet(ref: LoopRef, kind: str) -> None:
    trip = Trip(ref)
    trip.gets("a")
    trip.fails(Failing(FailureClass(kind)))
    assert (trip.asked.tried, trip.asked.only, trip.asked.fresh) == (frozenset("a"), None, False)
    trip.gets("b")
    trip.fails(Failing(FailureClass(kind)))
    assert trip.asked.tried == frozenset("ab")


@pytest.mark.parametrize("kind", ["auth", "billing"])
def test_an_account_in_trouble_is_never_tried_again_whatever_the_settings(ref: LoopRef, kind: str) -> None:
    trip = Trip(ref, same_member=5, retry_after_max_secs=60.0)
    trip.gets("a")
    trip.fails(Failing(FailureClass(kind), 1.0))
    assert (trip.asked.tried, trip.asked.only) == (frozenset("a"), None)


def test_a_clients_fault_is_never_tried_again(ref: LoopRef) -> None:
    trip = Trip(ref, same_member=5, retry_after_max_secs=60.0)
    trip.gets("a")
    assert trip.fails(Failing(FailureClass.CLIENT_ERROR)) == GiveUp(Verdict.FAILED)


def test_a_request_of_our_own_making_that_is_refused_may_suit_another_member(ref: LoopRef) -> None:
    """One that was to go on with a broken stream. The same member is not asked again."""
    trip = Trip(ref, same_member=5, retry_after_max_secs=60.0)
    trip.gets("a")
    step = trip.fails(Failing(FailureClass.CLIENT_ERROR, ours=True))
    assert isinstance(step, Ask)
    assert step.route.tried == {"a"}


# --- how far


@pytest.mark.parametrize("cap", [0, 1, 3])
def test_the_cap_counts_attempts_after_the_first(ref: LoopRef, cap: int) -> None:
    trip = Trip(ref, cap=cap)
    for number in range(cap):
        trip.gets(f"m{number}")
        assert isinstance(trip.fails(DOWN), Ask)
    trip.gets("last")
    assert trip.fails(DOWN) == GiveUp(Verdict.FAILED)
    assert trip.journey.attempts == cap + 1


def test_the_cap_counts_attempts_at_the_same_member_too(ref: LoopRef) -> None:
    trip = Trip(ref, cap=2, same_member=9)
    for _ in range(2):
        trip.gets("a")
        trip.fails(DOWN)
        assert trip.asked.only == frozenset("a")
    trip.gets("a")
    assert trip.fails(DOWN) == GiveUp(Verdict.FAILED)


def test_the_deadline_ends_it_with_attempts_to_spare(ref: LoopRef) -> None:
    trip = Trip(ref, deadline_secs=10.0)
    trip.gets("a")
    assert isinstance(trip.fails(DOWN, after_secs=9.0), Ask)
    trip.gets("b")
    assert trip.fails(Failing(FailureClass.TIMEOUT), after_secs=1.0) == GiveUp(Verdict.DEADLINE)


def test_a_clients_fault_at_the_deadline_is_still_what_the_client_is_told(ref: LoopRef) -> None:
    trip = Trip(ref, deadline_secs=10.0)
    trip.gets("a")
    assert trip.fails(Failing(FailureClass.CLIENT_ERROR), after_secs=10.0) == GiveUp(Verdict.FAILED)


def test_a_deadline_that_passes_in_the_queue_is_no_exhaustion(ref: LoopRef) -> None:
    trip = Trip(ref, deadline_secs=10.0, fallback="q", fallbacks={"q": {}})
    trip.now += 10.0
    assert trip.gets_nobody() == GiveUp(Verdict.DEADLINE)


def test_with_nobody_left_the_last_failure_is_told(ref: LoopRef) -> None:
    trip = Trip(ref, fallback="q", fallbacks={"q": {}})
    trip.gets("a")
    trip.fails(DOWN)
    assert trip.gets_nobody() == GiveUp(Verdict.FAILED), "a fallback pool is for requests that nobody could try"


def test_nobody_at_all_is_exhaustion(ref: LoopRef) -> None:
    trip = Trip(ref)
    reply = nobody(a=Refusal.BREAKER_OPEN)
    assert trip.gets_nobody(reply) == GiveUp(Verdict.EXHAUSTED, reply)
    assert trip.journey.attempts == 0


def test_a_last_resort_is_one_attempt(ref: LoopRef) -> None:
    trip = Trip(ref, same_member=3, retry_after_max_secs=60.0)
    trip.gets("a", last_resort=True)
    assert trip.fails(throttled(1.0)) == GiveUp(Verdict.FAILED)


# --- the same member


@pytest.mark.parametrize("failing", [DOWN, LOST])
def test_same_member_is_tried_again_at_once_so_often_and_then_others(ref: LoopRef, failing: Failing) -> None:
    trip = Trip(ref, cap=9, same_member=2)
    for _ in range(2):
        trip.gets("a")
        trip.fails(failing)
        assert (trip.asked.only, trip.asked.tried, trip.asked.fresh) == (frozenset("a"), frozenset(), False)
    trip.gets("a")
    trip.fails(failing)
    assert (trip.asked.only, trip.asked.tried) == (None, frozenset("a"))
    trip.gets("b")
    trip.fails(failing)
    assert trip.asked.only == frozenset("b"), "the next member has tries of its own"


@pytest.mark.parametrize("kind", ["rate_limit", "overloaded", "timeout"])
def test_what_would_not_help_is_not_tried_again_at_the_same_member(ref: LoopRef, kind: str) -> None:
    trip = Trip(ref, same_member=2)
    trip.gets("a")
    trip.fails(Failing(FailureClass(kind)))
    assert trip.asked.tried == frozenset("a")


def test_a_member_that_says_when_is_not_asked_earlier(ref: LoopRef) -> None:
    trip = Trip(ref, same_member=2)
    trip.gets("a")
    trip.fails(Failing(FailureClass.SERVER_ERROR, 30.0))
    assert trip.asked.tried == frozenset("a")


def test_a_member_that_no_longer_takes_it_is_left_for_the_others(ref: LoopRef) -> None:
    trip = Trip(ref, same_member=2)
    trip.gets("a")
    trip.fails(DOWN)
    assert trip.asked.only == frozenset("a")
    trip.gets_nobody(nobody(a=Refusal.BREAKER_OPEN))
    assert (trip.asked.only, trip.asked.tried) == (None, frozenset("a"))
    assert trip.gets_nobody() == GiveUp(Verdict.FAILED)


def test_staying_keeps_to_those_who_can_do_it(ref: LoopRef) -> None:
    journey = Journey(Destination(name="p", ref=ref, same_member=1), {}, Route(only=frozenset("ab")), START)
    journey.begin()
    journey.assigned(Assignment(member="a", ref=ref, pool="p", permit=1), START)
    again = journey.failed(DOWN, START)
    assert isinstance(again, Ask)
    assert again.route.only == frozenset("a")
    others = journey.exhausted(nobody(), START)
    assert isinstance(others, Ask)
    assert others.route.only == frozenset("ab")


# --- waiting out a Retry-After


def test_a_short_retry_after_is_waited_out_once_for_the_same_member(ref: LoopRef) -> None:
    trip = Trip(ref, retry_after_max_secs=5.0)
    trip.gets("a")
    assert trip.fails(throttled(5.0)) == Wait(5.0)
    trip.waits()
    assert (trip.asked.only, trip.asked.tried) == (frozenset("a"), frozenset())
    trip.gets("a")
    trip.fails(throttled(1.0))
    assert (trip.asked.only, trip.asked.tried) == (None, frozenset("a")), "once for each member"
    trip.gets("b")
    assert trip.fails(throttled(2.0)) == Wait(2.0)


def test_a_long_retry_after_fails_over(ref: LoopRef) -> None:
    trip = Trip(ref, retry_after_max_secs=5.0)
    trip.gets("a")
    trip.fails(throttled(5.1))
    assert trip.asked.tried == frozenset("a")


@pytest.mark.parametrize("asked", [0.0, 0.001, 1.0])
def test_by_default_no_retry_after_is_waited_for(ref: LoopRef, asked: float) -> None:
    trip = Trip(ref)
    trip.gets("a")
    trip.fails(throttled(asked))
    assert (trip.asked.tried, trip.asked.only) == (frozenset("a"), None)


@pytest.mark.parametrize(("spent", "waits"), [(94.9, True), (95.0, False)])
def test_a_wait_that_would_pass_the_deadline_fails_over_at_once(ref: LoopRef, spent: float, waits: bool) -> None:
    trip = Trip(ref, deadline_secs=100.0, retry_after_max_secs=60.0)
    trip.gets("a")
    step = trip.fails(throttled(5.0), after_secs=spent)
    assert isinstance(step, Wait) is waits
    assert waits or trip.asked.tried == frozenset("a")


def test_waiting_and_trying_again_at_once_are_counted_apart(ref: LoopRef) -> None:
    trip = Trip(ref, cap=9, same_member=1, retry_after_max_secs=5.0)
    trip.gets("a")
    trip.fails(DOWN)
    trip.gets("a")
    assert trip.fails(throttled(1.0)) == Wait(1.0)
    trip.waits()
    trip.gets("a")
    trip.fails(DOWN)
    assert trip.asked.tried == frozenset("a")


# --- a context that is too small


def test_context_length_goes_on_to_larger_members(ref: LoopRef) -> None:
    trip = Trip(ref, same_member=5)
    trip.gets("small", context_max=8_000)
    trip.fails(TOO_LONG)
    assert (trip.asked.context_above, trip.asked.tried) == (8_000, frozenset({"small"}))
    trip.gets("large", context_max=200_000)
    trip.fails(TOO_LONG)
    assert trip.asked.context_above == 200_000
    assert trip.gets_nobody() == GiveUp(Verdict.FAILED)


def test_a_member_of_unknown_size_does_not_bring_the_small_ones_back(ref: LoopRef) -> None:
    trip = Trip(ref)
    trip.gets("large", context_max=200_000)
    trip.fails(TOO_LONG)
    trip.gets("unknown")
    trip.fails(TOO_LONG)
    assert trip.asked.context_above == 200_000


def test_sizes_are_learned_in_any_order(ref: LoopRef) -> None:
    trip = Trip(ref)
    bars = []
    for member, context_max in (("unknown", None), ("large", 200_000), ("small", 8_000)):
        trip.gets(member, context_max=context_max)
        trip.fails(TOO_LONG)
        bars.append(trip.asked.context_above)
    assert bars == [None, 200_000, 200_000]


# --- the pool to fall back on


def test_a_fallback_pool_has_its_own_rules(ref: LoopRef) -> None:
    trip = Trip(
        ref,
        cap=0,
        deadline_secs=5.0,
        fallback="q",
        fallbacks={"q": {"cap": 1, "deadline_secs": 50.0, "same_member": 1}},
    )
    trip.gets_nobody()
    assert (trip.pool, trip.asked.fresh, trip.asked.wait_until) == ("q", True, START + 50.0)
    assert trip.gets("x").available_secs == 50.0
    trip.fails(DOWN, after_secs=10.0)
    assert (trip.pool, trip.asked.only) == ("q", frozenset("x"))
    trip.gets("x")
    assert trip.fails(DOWN) == GiveUp(Verdict.FAILED)


@pytest.mark.parametrize("back", ["p", "q", "r"])
def test_fallbacks_are_followed_one_after_the_other_and_none_twice(ref: LoopRef, back: str) -> None:
    trip = Trip(ref, fallback="q", fallbacks={"q": {"fallback": "r"}, "r": {"fallback": back}})
    visited = [trip.pool]
    while isinstance(trip.gets_nobody(), Ask) and len(visited) < 9:
        visited.append(trip.pool)
    assert visited == ["p", "q", "r"]
    assert isinstance(trip.step, GiveUp)
    assert trip.step.verdict is Verdict.EXHAUSTED


def test_exhaustion_tells_the_soonest_of_all_pools(ref: LoopRef) -> None:
    trip = Trip(ref, fallback="q", fallbacks={"q": {}})
    trip.gets_nobody(nobody(7.0, a=Refusal.BREAKER_OPEN))
    assert trip.gets_nobody(nobody(60.0, b=Refusal.DEAD)) == GiveUp(
        Verdict.EXHAUSTED, nobody(7.0, a=Refusal.BREAKER_OPEN, b=Refusal.DEAD)
    )


# --- what is remembered


def test_every_decision_is_kept_with_its_reasons(ref: LoopRef) -> None:
    trip = Trip(ref, fallback="q", fallbacks={"q": {}})
    trip.gets_nobody(nobody(a=Refusal.AT_CAPACITY))
    trip.now += 1.0
    trip.gets("b", probe=True, passed_over={"c": Refusal.DRAINING})
    assert trip.journey.decisions == [
        Decision(pool="p", member=None, passed_over={"a": Refusal.AT_CAPACITY}, at=START),
        Decision(pool="q", member="b", passed_over={"c": Refusal.DRAINING}, probe=True, at=START + 1.0),
    ]


def test_a_failover_is_an_attempt_that_one_at_another_member_followed(ref: LoopRef) -> None:
    trip = Trip(ref, same_member=1)
    trip.gets("a")
    trip.fails(LOST)
    trip.gets("a")
    trip.fails(DOWN)
    assert list(trip.journey.failed_over) == []
    trip.gets("b")
    assert list(trip.journey.failed_over) == [("p", "server_error")]
    trip.fails(throttled(9.0))
    assert trip.gets_nobody() == GiveUp(Verdict.FAILED)
    assert list(trip.journey.failed_over) == [("p", "server_error")], "nobody followed the second"
