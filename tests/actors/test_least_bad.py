"""`least_bad`: with no usable member, the one whose breaker ends soonest gets the request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from routing_actors import CONSECUTIVE, DOWN, World, two_stage

from busbar.actors.messages import Acquire, Availability, Exhausted, MemberChanged, Refusal, Refused, Route
from busbar.actors.runtime import Forward
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


@pytest.fixture
def world(kit: Kit) -> World:
    """Two open cells: `a` recovers 300 seconds before `b`."""
    world = World(kit, a={"max_concurrent": 2}, b={"max_concurrent": 2})
    world.pool("p", "a", "b", least_bad=True, policy=two_stage(CONSECUTIVE))
    world.report(world.take("p"), FailureClass.AUTH)
    kit.advance(300.0)
    world.report(world.take("p"), FailureClass.AUTH)
    return world


def test_the_soonest_to_recover_is_tried_whatever_its_breaker_says(world: World) -> None:
    taken = world.take("p")
    assert (taken.member, taken.last_resort, taken.probe) == ("a", True, False)
    assert taken.passed_over == {"a": Refusal.BREAKER_OPEN, "b": Refusal.BREAKER_OPEN}


def test_it_has_to_have_a_free_slot(world: World) -> None:
    assert [world.take("p").member for _ in range(4)] == ["a", "a", "b", "b"]
    reasons = {"a": Refusal.BREAKER_OPEN, "b": Refusal.BREAKER_OPEN}
    assert world.refused("p") == Exhausted(reasons=reasons, retry_after_secs=1500.0)
    assert "Refused" not in {entry.type for entry in world.kit.system.tap.entries()}, "nobody was asked in vain"


def test_only_who_was_not_tried_and_only_when_nobody_was(world: World) -> None:
    assert world.refused("p", fresh=False).reasons == {"a": Refusal.BREAKER_OPEN, "b": Refusal.BREAKER_OPEN}
    assert world.take("p", tried=frozenset("a")).member == "b"
    assert world.refused("p", only=frozenset()).reasons == {}


@pytest.mark.parametrize("failure", [None, DOWN, FailureClass.BILLING, FailureClass.CLIENT_ERROR])
def test_whatever_comes_of_it_changes_nothing_in_the_open_cell(world: World, failure: FailureClass | None) -> None:
    before, counted = world.cell("a", "p"), world.show("a")
    world.report(world.take("p"), failure, retry_after_secs=9_000.0)
    assert world.cell("a", "p") == before
    assert world.show("a")["free_slots"] == 2
    told = ("ok", "err", "client_fault")
    assert sum(world.show("a")[word] for word in told) == sum(counted[word] for word in told) + 1


def test_after_the_cooldown_it_is_a_probe_and_no_last_resort(world: World) -> None:
    world.kit.advance(1500.0)
    taken = world.take("p")
    assert (taken.member, taken.last_resort, taken.probe) == ("a", False, True)


def test_beside_a_probe_in_flight_there_is_room_for_a_last_resort(world: World) -> None:
    world.kit.advance(1500.0)
    probe, resort = world.take("p"), world.take("p")
    assert (resort.member, resort.last_resort, resort.probe) == ("a", True, False), "it may be well any time"
    world.report(resort)
    assert world.cell("a", "p")["state"] == "half_open", "the probe decides"
    world.report(probe, DOWN)
    assert world.cell("a", "p")["state"] == "open"


def test_drained_used_up_and_saturated_members_are_no_last_resort(kit: Kit) -> None:
    world = World(kit, a={}, b={"max_requests": 1}, c={"max_concurrent": 1})
    world.pool("p", "a*0", "b", "c", least_bad=True)
    world.release(world.take("p", only=frozenset("b")))
    world.take("p")
    reasons = {"a": Refusal.DRAINING, "b": Refusal.BUDGET_EXHAUSTED, "c": Refusal.AT_CAPACITY}
    assert world.refused("p") == Exhausted(reasons=reasons, retry_after_secs=2.0)


def test_a_refused_last_resort_goes_to_the_next(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1}, b={})
    world.pool("p", "a", "b", least_bad=True)
    world.pool("q", "a")
    for model in "ab":
        world.report(world.take("p", only=frozenset(model)), FailureClass.AUTH)
        kit.advance(1.0)
    thief = world.pools["q"].ask(Route())
    resort = world.pools["p"].ask(Route())
    kit.run()
    assert (thief.get().pool, resort.get().member, resort.get().last_resort) == ("q", "b", True)


def test_a_member_that_refuses_though_it_looks_free_is_not_asked_for_ever(kit: Kit) -> None:
    liar = kit.probe("liar")
    world = World(kit, b={})
    world.members["a"] = liar.ref
    pool = world.pool("p", "a", least_bad=True)
    pool.tell(MemberChanged(member="a", availability=Availability(usable_from=kit.clock.now() + 9.0)))
    liar.answer(Acquire, lambda message: Forward(message.ref, Refused(route=message.route, member="a")))
    assert world.refused("p").reasons == {"a": Refusal.BREAKER_OPEN}
    assert [message.last_resort for message in liar.take() if isinstance(message, Acquire)] == [True]
