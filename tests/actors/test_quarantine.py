"""Quarantine: a key that keeps being refused waits for an operator, by messages on the virtual clock."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from routing_actors import CONSECUTIVE, DOWN, World, two_stage

from busbar.actors.messages import Examination, Examine, Exhausted, Refusal, Reinstate, Report
from busbar.actors.policies.quarantine import Quarantine
from busbar.actors.supervision import BreakerSettings, Outcome, PoolContext
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit

AUTH = FailureClass.AUTH
YEAR_SECS = 365 * 86_400.0


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


def world_of(kit: Kit, **options: Any) -> World:
    """A member `a` alone in the pool `p`."""
    world = World(kit, a={"max_concurrent": 3})
    world.pool("p", "a", policy=Quarantine(two_stage(CONSECUTIVE), **options))
    return world


def refuse_key(world: World, times: int, wait_secs: float = 60.0) -> None:
    """One request after the other, each as soon as the cell lets it through."""
    for _ in range(times):
        world.send("p", AUTH)
        world.kit.advance(wait_secs)


def test_below_the_limit_the_key_is_tried_again_after_retry_secs(kit: Kit) -> None:
    world = world_of(kit)
    world.send("p", AUTH)
    assert world.refused("p") == Exhausted(reasons={"a": Refusal.BREAKER_OPEN}, retry_after_secs=60.0)
    kit.advance(60.0)
    assert world.take("p").probe


def test_so_many_refused_keys_drain_the_member_past_any_time(kit: Kit) -> None:
    world = world_of(kit)
    refuse_key(world, 3)
    assert world.show("a")["availability"] == "draining"
    kit.advance(YEAR_SECS)
    assert world.refused("p").reasons == {"a": Refusal.DRAINING}
    assert world.cell("a", "p")["drained"] is True


def test_an_operator_brings_it_back_and_the_count_begins_anew(kit: Kit) -> None:
    world = world_of(kit, failures=2)
    refuse_key(world, 2)
    assert kit.ask(world.members["a"], Reinstate("p")) is True
    assert world.show("a")["availability"] == "available"
    world.send("p", AUTH)
    assert (world.cell("a", "p")["state"], world.cell("a", "p")["drained"]) == ("open", False)


def test_a_success_resets_the_count(kit: Kit) -> None:
    world = world_of(kit)
    refuse_key(world, 2)
    world.send("p")
    refuse_key(world, 2)
    assert world.cell("a", "p")["drained"] is False
    refuse_key(world, 1)
    assert world.cell("a", "p")["drained"] is True


def test_other_failures_between_neither_count_nor_reset(kit: Kit) -> None:
    world = world_of(kit, failures=2)
    refuse_key(world, 1)
    world.send("p", DOWN)
    kit.advance(60.0)
    world.send("p", FailureClass.CLIENT_ERROR)
    assert world.cell("a", "p")["drained"] is False
    refuse_key(world, 1)
    assert world.cell("a", "p")["drained"] is True


def test_one_failure_may_be_enough(kit: Kit) -> None:
    world = world_of(kit, failures=1)
    inflight = world.take("p")
    world.send("p", AUTH)
    world.report(inflight)
    assert world.refused("p").reasons == {"a": Refusal.DRAINING}, "an answer under way ends as it would"


def test_retry_secs_is_as_configured_unless_the_provider_asks_for_longer(kit: Kit) -> None:
    world = world_of(kit, retry_secs=5.0)
    world.send("p", AUTH)
    assert world.cell("a", "p")["cooldown_remaining_s"] == 5.0
    kit.advance(5.0)
    world.send("p", AUTH, retry_after_secs=70.0)
    assert world.cell("a", "p")["cooldown_remaining_s"] == 70.0


def test_members_are_counted_apart_and_siblings_go_on(kit: Kit) -> None:
    world = World(kit, a={}, b={})
    world.pool("p", "a", "b", policy=Quarantine(two_stage(), failures=2))
    world.send("p", AUTH, times=2)
    assert (world.cell("a", "p")["drained"], world.cell("b", "p")["drained"]) == (False, False)
    kit.advance(60.0)
    probes = {probe.member: probe for probe in (world.take("p"), world.take("p"))}
    world.report(probes["a"], AUTH)
    world.report(probes["b"])
    assert [world.cell(model, "p")["drained"] for model in ("a", "b")] == [True, False]
    assert {world.take("p").member for _ in range(3)} == {"b"}


def test_the_member_goes_on_in_other_pools(kit: Kit) -> None:
    world = world_of(kit, failures=1)
    world.pool("q", "a", policy=two_stage())
    world.send("p", AUTH)
    assert world.take("q").member == "a"
    assert world.show("a")["usable"] is True


def test_neither_an_active_probe_nor_the_last_resort_ends_a_quarantine(kit: Kit) -> None:
    world = World(kit, a={})
    world.pool("p", "a", policy=Quarantine(two_stage(), failures=2), least_bad=True)
    refuse_key(world, 2)
    granted = kit.ask(world.members["a"], Examine())
    assert isinstance(granted, Examination)
    granted.ref.tell(Report(permit=granted.permit, outcome=Outcome(None)))
    assert world.refused("p").reasons == {"a": Refusal.DRAINING}


def test_a_server_error_benches_and_trips_as_ever(kit: Kit) -> None:
    world = world_of(kit)
    world.send("p", DOWN)
    assert world.cell("a", "p")["benched_remaining_s"] == 1.0
    world.send("p", DOWN, times=2)
    assert world.cell("a", "p")["cooldown_remaining_s"] == 15.0


def test_an_empty_account_is_down_for_half_an_hour_as_ever(kit: Kit) -> None:
    world = world_of(kit, failures=1)
    world.send("p", FailureClass.BILLING)
    assert (world.cell("a", "p")["cooldown_remaining_s"], world.cell("a", "p")["drained"]) == (1800.0, False)


def test_a_pools_breaker_section_is_the_one_that_trips(kit: Kit) -> None:
    context = PoolContext(
        pool="p", breaker=BreakerSettings(mode="consecutive", consecutive_n=1), random=random.Random()
    )
    world = World(kit, a={})
    world.pool("p", "a", policy=Quarantine.create(context, failures=7))
    world.send("p", DOWN)
    assert world.cell("a", "p")["state"] == "open"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"failures": 0}, "failures has to be at least 1"),
        ({"retry_secs": 0.0}, "retry_secs has to be above 0 and at most 86400"),
        ({"retry_secs": 86_401.0}, "retry_secs has to be above 0 and at most 86400"),
        ({"retry_secs": float("nan")}, "retry_secs has to be above 0 and at most 86400"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        Quarantine(two_stage(), **options)
