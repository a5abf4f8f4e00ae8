"""Which of the usable members each strategy calls the best: as pure functions, and by messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_actors import DOWN, World

from busbar.actors.messages import Assignment
from busbar.actors.selection import (
    EXPLORE_EVERY,
    STRATEGIES,
    Candidate,
    Currents,
    Demand,
    Price,
    StrategyName,
    pick,
)
from busbar.testing import Kit

LONG_ANSWER = Demand(input_tokens=1_000, output_tokens=1_000)
LONG_QUESTION = Demand(input_tokens=100_000, output_tokens=10)


def best(strategy: StrategyName, usable: Sequence[Candidate], demand: Demand | None = None, picks: int = 0) -> str:
    return "".join(candidate.member for candidate in STRATEGIES[strategy](usable, demand or Demand(), picks))


def order(strategy: StrategyName, usable: Sequence[Candidate], count: int, demand: Demand | None = None) -> str:
    """The picks of `count` requests that change nothing in the candidates."""
    currents: Currents = {}
    chosen = ""
    for picks in range(count):
        choice, currents = pick(STRATEGIES[strategy], currents, usable, demand or Demand(), picks)
        chosen += choice
    return chosen


@given(currents=st.dictionaries(st.sampled_from("abc"), st.integers(-50, 50)), weight=st.integers(1, 50))
def test_one_that_is_alone_keeps_its_credit(currents: dict[str, int], weight: int) -> None:
    expected = {"a": 0} | currents
    for strategy in STRATEGIES.values():
        assert pick(strategy, currents, [Candidate("a", weight)], Demand(), 0) == ("a", expected)


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        member=st.sampled_from("abcdef"),
        weight=st.integers(1, 9),
        busy=st.integers(0, 5),
        slots=st.integers(1, 5),
        ttft_ms=st.none() | st.floats(0, 1e6),
        price=st.none() | st.builds(Price, input=st.floats(0, 100), output=st.floats(0, 100)),
    ),
    min_size=1,
    unique_by=lambda candidate: candidate.member,
)


@settings(max_examples=40)
@given(CANDIDATES, st.sampled_from(list(STRATEGIES)), st.integers(0, 40), st.integers(0, 10**6))
def test_every_strategy_finds_somebody_and_keeps_the_order(
    usable: list[Candidate], strategy: StrategyName, picks: int, tokens: int
) -> None:
    found = STRATEGIES[strategy](usable, Demand(input_tokens=tokens), picks)
    assert found
    assert list(found) == [candidate for candidate in usable if candidate in found]


@settings(max_examples=40)
@given(CANDIDATES, st.sampled_from(list(STRATEGIES)))
def test_a_pick_leaves_the_credits_of_those_who_were_not_among_the_best(
    usable: list[Candidate], strategy: StrategyName
) -> None:
    before = {candidate.member: 7 for candidate in usable}
    among = best(strategy, usable, LONG_ANSWER)
    choice, after = pick(STRATEGIES[strategy], before, usable, LONG_ANSWER, 0)
    assert choice in among
    assert {member: credit for member, credit in after.items() if member not in among} == {
        member: 7 for member in before if member not in among
    }
    assert sum(after.values()) == sum(before.values())


# --- weighted


def test_weighted_looks_at_nothing_but_weights() -> None:
    usable = [Candidate("a", 5, busy=4, slots=5), Candidate("b", 1, ttft_ms=1.0), Candidate("c", 1)]
    assert order("weighted", usable, 14) == "aabacaaaabacaa"


# --- least busy


def test_least_busy_goes_by_the_share_of_the_slots_and_not_by_their_number() -> None:
    assert best("least_busy", [Candidate("a", busy=3, slots=4), Candidate("b", busy=7, slots=10)]) == "b"
    assert best("least_busy", [Candidate("a", busy=0, slots=1), Candidate("b", busy=1, slots=100)]) == "a"


def test_least_busy_ties_go_by_weight() -> None:
    tied = [
        Candidate("a", 2, busy=1, slots=4),
        Candidate("b", 9, busy=2, slots=4),
        Candidate("c", 1, busy=2, slots=8),
    ]
    assert best("least_busy", tied) == "ac"
    assert order("least_busy", tied, 6) == "acaaca"


def test_least_busy_fills_members_in_proportion_to_their_slots(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 2}, b={"max_concurrent": 4})
    world.pool("p", "a", "b", strategy="least_busy")
    taken = [world.take("p") for _ in range(6)]
    assert "".join(each.member for each in taken) == "abbbab", "a tie goes to whom the last one did not"
    world.release(taken[4])
    assert world.take("p").member == "a"


def test_least_busy_sees_what_other_pools_do_at_a_shared_member(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 4}, b={"max_concurrent": 4})
    world.pool("p", "a*9", "b*1", strategy="least_busy")
    world.pool("other", "a")
    busy = [world.take("other") for _ in range(3)]
    assert [world.take("p").member for _ in range(3)] == ["b", "b", "b"]
    for each in busy:
        world.release(each)
    assert [world.take("p").member for _ in range(3)] == ["a", "a", "a"]


# --- fastest


def test_fastest_takes_those_within_five_percent_of_the_shortest_time() -> None:
    usable = [Candidate("a", ttft_ms=100.0), Candidate("b", ttft_ms=105.0), Candidate("c", ttft_ms=105.1)]
    assert best("fastest", usable) == "ab"
    assert order("fastest", usable[:2], 4) == "abab"


def test_fastest_goes_by_weight_every_sixteenth_time() -> None:
    usable = [Candidate("a", ttft_ms=900.0), Candidate("b", ttft_ms=100.0), Candidate("c", ttft_ms=900.0)]
    assert order("fastest", usable, 64) == ("b" * 15 + "a" + "b" * 15 + "b" + "b" * 15 + "c" + "b" * 15 + "a")
    assert EXPLORE_EVERY == 16


def test_fastest_asks_first_whom_it_does_not_know_but_one_request_at_a_time() -> None:
    known = Candidate("a", 9, ttft_ms=1.0)
    assert best("fastest", [known, Candidate("b", slots=9)]) == "b"
    assert best("fastest", [known, Candidate("b", busy=1, slots=9)]) == "a"
    assert best("fastest", [known, Candidate("b", busy=1, slots=9)], picks=15) == "ab"
    nobody_known = [Candidate("a", busy=1, slots=9), Candidate("b", busy=2, slots=9)]
    assert best("fastest", nobody_known) == "ab"


def test_fastest_learns_from_answers_and_forgets_slowly(kit: Kit) -> None:
    world = World(kit, a={}, b={})
    world.pool("p", "a", "b", strategy="fastest")
    first, second = world.take("p"), world.take("p")
    assert (first.member, second.member) == ("a", "b")
    world.report(first, latency_ms=500.0)
    world.report(second, latency_ms=200.0)
    assert answers(world, 4, latency_ms=900.0) == ["b", "b", "b", "a"], "b is at 558 ms after three"
    assert world.show("b")["ttft_ms"] == pytest.approx(541.6, abs=0.1)


def test_a_member_that_hangs_does_not_draw_the_traffic_because_it_is_unknown(kit: Kit) -> None:
    world = World(kit, a={}, b={})
    world.pool("p", "a", "b", strategy="fastest")
    hanging = world.take("p")
    assert hanging.member == "a"
    assert Counter(answers(world, 14, latency_ms=50.0)) == {"b": 14}


def test_failures_have_no_say_about_speed(kit: Kit) -> None:
    world = World(kit, a={}, b={})
    world.pool("p", "a", "b", strategy="fastest")
    world.report(world.take("p"), latency_ms=500.0)
    world.report(world.take("p"), DOWN, latency_ms=1.0)
    assert world.show("b")["ttft_ms"] is None


def answers(world: World, count: int, latency_ms: float) -> list[str]:
    """The members of `count` requests, answered one after the other."""
    members = []
    for _ in range(count):
        taken = world.take("p")
        members.append(taken.member)
        world.report(taken, latency_ms=latency_ms)
    return members


# --- cheapest


CHEAP_TO_ASK = Candidate("q", price=Price(input=1, output=30))
CHEAP_TO_HEAR = Candidate("h", price=Price(input=3, output=9))


def test_cheapest_depends_on_what_the_request_needs() -> None:
    assert best("cheapest", [CHEAP_TO_ASK, CHEAP_TO_HEAR], LONG_QUESTION) == "q"
    assert best("cheapest", [CHEAP_TO_ASK, CHEAP_TO_HEAR], LONG_ANSWER) == "h"


def test_cheapest_takes_a_member_without_a_price_last() -> None:
    unknown = Candidate("u", 100)
    assert best("cheapest", [unknown, CHEAP_TO_ASK], LONG_ANSWER) == "q"
    assert best("cheapest", [unknown, Candidate("v")], LONG_ANSWER) == "uv"


def test_cheapest_prefers_what_is_free_and_equal_prices_go_by_weight() -> None:
    free = Candidate("f", price=Price(input=0, output=0))
    assert best("cheapest", [CHEAP_TO_ASK, free], LONG_ANSWER) == "f"
    equal = [Candidate("a", 2, price=Price(1, 2)), Candidate("b", 1, price=Price(1, 2))]
    assert order("cheapest", equal, 6, LONG_ANSWER) == "abaaba"


def test_cheapest_goes_by_the_demand_of_the_route_and_spills_when_it_is_full(kit: Kit) -> None:
    world = World(kit, q={"max_concurrent": 1}, h={}, u={})
    world.pool(
        "p",
        world.line("u*9"),
        world.line("q", price=CHEAP_TO_ASK.price),
        world.line("h", price=CHEAP_TO_HEAR.price),
        strategy="cheapest",
    )
    assert world.take("p", demand=LONG_ANSWER).member == "h"
    assert world.take("p", demand=LONG_QUESTION).member == "q"
    assert world.take("p", demand=LONG_QUESTION).member == "h", "the cheapest has no slot left"
    assert world.take("p", demand=LONG_ANSWER, tried=frozenset("qh")).member == "u"


# --- what comes before any strategy


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_affinity_wins_over_the_strategy(kit: Kit, strategy: StrategyName) -> None:
    world = World(kit, a={}, b={})
    world.pool("p", world.line("a", price=Price(1, 1)), world.line("b", price=Price(9, 9)), strategy=strategy)
    sticky = [world.take("p", session="s0", demand=LONG_ANSWER) for _ in range(3)]
    assert [taken.member for taken in sticky] == ["b", "b", "b"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_wakes_a_drained_or_a_benched_member(kit: Kit, strategy: StrategyName) -> None:
    world = World(kit, a={}, b={}, c={})
    world.pool("p", world.line("a*0", price=Price(0, 0)), "b", "c", strategy=strategy)
    first = world.take("p")
    world.report(first, DOWN)
    others: list[Assignment] = [world.take("p") for _ in range(5)]
    assert {taken.member for taken in others} == {"b", "c"} - {first.member}
