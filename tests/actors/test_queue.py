"""`queue:<ms>`: a pool's bounded line of requests that wait for a slot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pykka
import pytest
from routing_actors import CONSECUTIVE, DOWN, Says, World, two_stage

from busbar.actors.messages import Assignment, Exhausted, MemberStarted, Refusal, Release, Route, Withdraw
from busbar.actors.runtime import LoopFuture
from busbar.actors.supervision import Restart, Resume
from busbar.actors.waiting import WAITING_MAX
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit

FULL = {"a": Refusal.AT_CAPACITY}


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


@pytest.fixture
def world(kit: Kit) -> World:
    """One member with one slot, in a pool where requests wait up to two seconds."""
    world = World(kit, a={"max_concurrent": 1})
    world.pool("p", "a", queue_secs=2.0, policy=two_stage(CONSECUTIVE))
    return world


def served(*futures: LoopFuture) -> list[bool | None]:
    """None for those who wait, else whether they were taken."""
    return [isinstance(future.get(), Assignment) if future.done() else None for future in futures]


# --- the line


def test_first_come_first_served_one_waiter_for_each_slot(world: World) -> None:
    holder = world.take("p")
    first, second, third = (world.ask("p") for _ in range(3))
    assert (served(first, second, third), world.waiting("p")) == ([None] * 3, 3)
    world.report(holder)
    assert served(first, second, third) == [True, None, None]
    world.release(first.get())
    assert served(first, second, third) == [True, True, None]
    assert world.waiting("p") == 1


def test_as_many_are_woken_as_slots_come_free(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 3}, b={"max_concurrent": 1})
    world.pool("p", "a", "b", queue_secs=2.0)
    held = [world.take("p") for _ in range(4)]
    waiting = [world.ask("p") for _ in range(6)]
    for taken in held:
        world.release(taken)
    assert served(*waiting) == [True] * 4 + [None] * 2
    assert sorted(future.get().member for future in waiting[:4]) == ["a", "a", "a", "b"]
    assert "Refused" not in {entry.type for entry in kit.system.tap.entries()}, "nobody was woken for nothing"


def released(taken: Assignment) -> Release:
    return Release(permit=taken.permit)


@pytest.mark.parametrize("steps", range(5))
def test_a_newcomer_does_not_overtake_whenever_it_comes(world: World, steps: int) -> None:
    holder = world.take("p")
    early = world.ask("p")
    holder.ref.tell(released(holder))
    for _ in range(steps):
        world.kit.step()
    late = world.pools["p"].ask(Route())
    world.kit.run()
    assert served(early, late) == [True, None]


def test_a_pool_with_a_free_slot_does_not_queue(world: World) -> None:
    assert isinstance(world.route("p"), Assignment)
    assert world.waiting("p") == 0


def test_the_line_is_bounded_and_further_requests_are_shed_at_once(world: World) -> None:
    world.take("p")
    for _ in range(WAITING_MAX):
        world.ask("p")
    assert world.refused("p") == Exhausted(reasons=FULL, retry_after_secs=2.0)
    assert world.waiting("p") == WAITING_MAX == 1024


# --- for how long


def test_waiting_ends_after_its_time_with_an_honest_answer(world: World) -> None:
    world.take("p")
    first = world.ask("p")
    world.kit.advance(1.0)
    second = world.ask("p")
    world.kit.advance(0.999)
    assert served(first, second) == [None, None]
    world.kit.advance(0.001)
    assert served(first, second) == [False, None]
    assert first.get() == Exhausted(reasons=FULL, retry_after_secs=2.0)
    world.kit.advance(1.0)
    assert served(second) == [False]
    assert world.kit.clock.pending == 0, "no timer is left"


def test_the_deadline_of_the_request_ends_it_earlier(world: World) -> None:
    world.take("p")
    waiting = world.ask("p", wait_until=world.kit.clock.now() + 0.5)
    world.kit.advance(0.5)
    assert served(waiting) == [False]


def test_only_requests_that_nobody_tried_wait(world: World) -> None:
    world.take("p")
    assert world.refused("p", fresh=False) == Exhausted(reasons=FULL, retry_after_secs=2.0)


def test_what_a_slot_would_not_help_is_refused_at_once(world: World) -> None:
    world.report(world.take("p"), FailureClass.AUTH)
    assert world.refused("p").reasons == {"a": Refusal.BREAKER_OPEN}
    assert world.refused("p", only=frozenset()) == Exhausted(reasons={}, retry_after_secs=60.0)


def test_a_saturated_pool_without_a_queue_sheds_at_once(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1})
    world.pool("p", "a")
    world.take("p")
    before = kit.clock.now()
    assert world.refused("p") == Exhausted(reasons=FULL, retry_after_secs=2.0)
    assert (kit.clock.now(), kit.clock.pending) == (before, 0)


# --- the breaker, again


def test_the_breaker_is_asked_again_when_a_slot_comes_free(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1})
    world.pool("p", "a", queue_secs=60.0, policy=two_stage(CONSECUTIVE))
    world.send("p", DOWN, times=2)
    holder = world.take("p")
    waiting = world.ask("p")
    world.report(holder, DOWN)
    assert (world.cell("a", "p")["state"], served(waiting)) == ("open", [None])
    kit.advance(14.999)
    assert served(waiting) == [None]
    kit.advance(0.001)
    assert served(waiting) == [True], "a cell opens its door by time, and nobody tells"
    assert waiting.get().probe


def test_a_half_open_cell_takes_one_waiter_and_the_rest_when_it_closes(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 3})
    world.pool("p", "a", queue_secs=60.0, policy=two_stage(CONSECUTIVE))
    probe = world.probe("a", "p")
    waiting = [world.ask("p") for _ in range(4)]
    world.release(probe)
    assert served(*waiting) == [True, None, None, None]
    assert waiting[0].get().probe
    world.report(waiting[0].get())
    assert served(*waiting) == [True, True, True, True]
    assert "Refused" not in {entry.type for entry in kit.system.tap.entries()}


def test_a_benched_member_is_better_than_waiting(world: World) -> None:
    holder = world.take("p")
    waiting = world.ask("p")
    world.report(holder, DOWN, retry_after_secs=60.0)
    assert served(waiting) == [True]


# --- those who cannot be served after all


def test_a_refused_wake_up_keeps_its_place(kit: Kit) -> None:
    """A pool that shares the member takes the slot while the waiter is on its way."""
    world = World(kit, a={"max_concurrent": 1})
    world.pool("p", "a", queue_secs=9.0)
    world.pool("q", "a")
    holder = world.take("p")
    first, second = world.ask("p"), world.ask("p")
    holder.ref.tell(released(holder))
    kit.step()  # the member has told both pools
    thief = world.pools["q"].ask(Route())
    while not thief.done():
        for name in ("pool:q", "member:a"):
            step_of(kit, name)
    kit.run()
    assert (served(thief), served(first, second)) == ([True], [None, None])
    assert [entry.actor for entry in kit.system.tap.entries() if entry.type == "Refused"] == ["pool:p"]
    world.release(thief.get())
    assert served(first, second) == [True, None]


def step_of(kit: Kit, name: str) -> None:
    """Has one message of this actor handled, whoever's turn it would be."""
    for mailbox in kit.dispatcher.waiting():
        if mailbox.name == name:
            kit.dispatcher._turns.pop(mailbox)(mailbox)
            return


def test_who_waits_for_one_member_does_not_hold_up_who_may_go_to_another(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1}, b={"max_concurrent": 1})
    world.pool("p", "a", "b", queue_secs=9.0)
    _on_a, on_b = world.take("p"), world.take("p")
    picky, easy = world.ask("p", only=frozenset("a")), world.ask("p")
    world.release(on_b)
    assert served(picky, easy) == [None, True]


def test_withdraw_ends_the_waiting_of_one_request(world: World) -> None:
    world.take("p")
    gone, stays = world.ask("p", request_id="r1"), world.ask("p", request_id="r2")
    world.pools["p"].tell(Withdraw("r1"))
    world.pools["p"].tell(Withdraw("never heard of"))
    world.kit.run()
    assert (gone.get(), served(stays)) == (Exhausted(reasons={}, retry_after_secs=2.0), [None])
    assert world.waiting("p") == 1


async def test_a_caller_that_stopped_waiting_is_given_nothing(world: World) -> None:
    """Without a Withdraw, too: whoever awaited the answer was cancelled."""
    holder = world.take("p")
    gone, next_one = world.ask("p"), world.ask("p")
    task = asyncio.ensure_future(_wait(gone))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    world.release(holder)
    assert (gone.done(), served(next_one), world.waiting("p")) == (False, [True], 0)
    assert world.show("a")["inflight"] == 1


async def _wait(future: LoopFuture) -> Any:
    return await future


# --- crashes


def test_waiters_of_a_pool_that_is_restarted_are_told(world: World) -> None:
    holder = world.take("p")
    waiting = world.ask("p")
    world.pools["p"].tell(Route(tried=None))  # type: ignore[arg-type]
    world.kit.run()
    world.kit.expect_crash(TypeError)
    with pytest.raises(pykka.ActorDeadError):
        waiting.get()
    again = world.ask("p")
    assert served(again) == [None], "the new instance knows that the slot is taken"
    world.report(holder)
    assert served(again) == [True]
    assert world.kit.clock.pending == 0, "the timer of the old instance died with it"


def test_waiters_outlive_a_crash_of_the_member(kit: Kit) -> None:
    world = World(kit, a={"max_concurrent": 1})
    restarts = Says(lambda cell, outcome: Restart() if outcome.failure else Resume())
    world.pool("p", "a", queue_secs=5.0, policy=restarts)
    holder = world.take("p")
    waiting = world.ask("p")
    world.report(holder, DOWN)
    kit.expect_crash()
    world.pools["p"].tell(MemberStarted("a"))
    kit.run()
    assert served(waiting) == [True]


def test_a_member_that_died_is_not_waited_for(world: World) -> None:
    world.take("p")
    waiting = world.ask("p")
    world.members["a"].stop()
    world.kit.advance(2.0)
    assert waiting.get() == Exhausted(reasons={"a": Refusal.DEAD}, retry_after_secs=60.0)
    assert world.refused("p").reasons == {"a": Refusal.DEAD}


async def test_an_answer_that_was_on_its_way_reaches_who_left_a_note(world: World) -> None:
    """The caller goes away after its slot was taken and before it heard of it."""
    on_its_way = world.pools["p"].ask(Route())
    task = asyncio.ensure_future(_wait(on_its_way))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    late: list[Assignment] = []
    on_its_way.when_done(lambda future: late.append(future.get()))
    world.pools["p"].tell(Withdraw(""))
    world.kit.run()
    await asyncio.sleep(0)
    assert [taken.member for taken in late] == ["a"]
    on_its_way.when_done(lambda future: late.append(future.get()))
    assert len(late) == 2, "at once when the answer is there"
