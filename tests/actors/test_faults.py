"""Faults on purpose: in force from one message on, over by themselves, one for a member at most, all logged."""

from __future__ import annotations

import asyncio
import logging

import pytest

from busbar.actors.faults import FAULT_SECS_MAX, Fault, FaultBoard, FaultKind, Faults, Inject, Lift
from busbar.actors.messages import Snapshot
from busbar.actors.runtime import LoopRef, handles
from busbar.testing import Kit

NOTHING = {"in_force": [], "injected": 0, "lifted": 0, "expired": 0}


def inject(member: str = "a", kind: FaultKind = "429", secs: float = 60) -> Inject:
    return Inject(member=member, kind=kind, secs=secs, by="admin")


def world(kit: Kit) -> tuple[LoopRef, FaultBoard]:
    board = FaultBoard()
    return kit.spawn(Faults, board, ("a", "b")), board


@pytest.fixture
def audit(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "busbar.audit")
    return caplog


def test_a_fault_is_on_the_board_until_its_time_is_over(audit: pytest.LogCaptureFixture) -> None:
    with Kit() as kit:
        faults, board = world(kit)
        shown = kit.ask(faults, inject())
        assert shown == {"member": "a", "kind": "429", "secs": 60, "remaining_s": 60, "by": "admin"}
        assert dict(board.in_force) == {"a": Fault(member="a", kind="429", secs=60, ends_at=1060, by="admin")}
        kit.advance(59.5)
        assert kit.ask(faults, Snapshot()) == {**NOTHING, "in_force": [{**shown, "remaining_s": 0.5}], "injected": 1}
        kit.advance(0.5)
        assert dict(board.in_force) == {}
        assert kit.ask(faults, Snapshot()) == {**NOTHING, "injected": 1, "expired": 1}
    assert audit.messages == [
        "who=admin action=inject member=a fault=429 secs=60",
        "who=busbar action=expire member=a fault=429",
    ]


def test_a_fault_can_be_lifted_once_and_its_expiry_does_not_touch_the_next(audit: pytest.LogCaptureFixture) -> None:
    with Kit() as kit:
        faults, board = world(kit)
        kit.ask(faults, inject(secs=10))
        assert [kit.ask(faults, Lift(member="a", by="demo")) for _ in range(2)] == [True, False]
        assert dict(board.in_force) == {}
        kit.advance(9)
        kit.ask(faults, inject(kind="cut", secs=10))
        kit.advance(9)
        assert [fault.kind for fault in board.in_force.values()] == ["cut"]
    assert audit.messages == [
        "who=admin action=inject member=a fault=429 secs=10",
        "who=demo action=lift member=a fault=429",
        "who=admin action=inject member=a fault=cut secs=10",
        "who=busbar action=lift member=a fault=cut",
    ]


def test_a_member_has_one_fault_at_most_and_others_have_their_own(audit: pytest.LogCaptureFixture) -> None:
    with Kit() as kit:
        faults, board = world(kit)
        kit.ask(faults, inject(kind="freeze", secs=5))
        kit.ask(faults, inject("b", "500", secs=8))
        kit.advance(4)
        kit.ask(faults, inject(kind="cut", secs=5))
        kit.advance(3)
        assert {name: fault.kind for name, fault in board.in_force.items()} == {"a": "cut", "b": "500"}
        kit.advance(2)
        assert dict(board.in_force) == {}
    assert audit.messages == [
        "who=admin action=inject member=a fault=freeze secs=5",
        "who=admin action=inject member=b fault=500 secs=8",
        "who=admin action=inject member=a fault=cut secs=5 instead_of=freeze",
        "who=busbar action=expire member=b fault=500",
        "who=busbar action=expire member=a fault=cut",
    ]


def test_an_expiry_that_waits_while_its_fault_is_replaced_ends_nothing() -> None:
    with Kit() as kit:
        faults, board = world(kit)
        kit.ask(faults, inject(secs=1))
        faults.tell(inject(kind="cut", secs=100))  # it waits in the mailbox, and the timer fires behind it
        kit.clock.advance(1)
        kit.run()
        assert [fault.kind for fault in board.in_force.values()] == ["cut"]


def test_a_fault_that_is_over_leaves_no_timer_behind() -> None:
    with Kit() as kit:
        faults, _ = world(kit)
        for _ in range(3):
            kit.ask(faults, inject())
            kit.ask(faults, inject(kind="cut"))
            kit.ask(faults, Lift(member="a", by="admin"))
        sent = kit.system.sent
        kit.advance(FAULT_SECS_MAX)
        assert kit.system.sent == sent


def test_an_unknown_member_has_no_faults(audit: pytest.LogCaptureFixture) -> None:
    with Kit() as kit:
        faults, board = world(kit)
        assert kit.ask(faults, inject("nobody")) is None
        assert kit.ask(faults, Lift(member="nobody", by="admin")) is False
        assert dict(board.in_force) == {}
    assert audit.messages == []


@pytest.mark.parametrize("secs", [0, 0.99, FAULT_SECS_MAX + 1, float("inf"), float("nan"), -5])
def test_no_fault_is_shorter_than_a_second_or_longer_than_an_hour(secs: float) -> None:
    with pytest.raises(ValueError, match="from 1 to 3600 seconds"):
        inject(secs=secs)


def test_what_was_read_from_the_board_does_not_change() -> None:
    with Kit() as kit:
        faults, board = world(kit)
        before = board.in_force
        kit.ask(faults, inject())
        assert dict(before) == {}
        with pytest.raises(TypeError):
            board.in_force["b"] = board.in_force["a"]  # type: ignore[index]


class Fragile(Faults):
    """Dies of a text."""

    @handles(str)
    def break_down(self, message: str) -> None:
        raise RuntimeError(message)


def test_faults_end_with_an_actor_that_crashes_and_its_successor_goes_on(audit: pytest.LogCaptureFixture) -> None:
    with Kit() as kit:
        board = FaultBoard()
        faults = kit.spawn(Fragile, board, ("a",), name="faults")
        kit.ask(faults, inject())
        faults.tell("broken")
        kit.run()
        kit.expect_crash(RuntimeError)
        assert dict(board.in_force) == {}
        assert audit.messages[-1] == "who=busbar action=lift member=a fault=429"
        kit.ask(faults, inject(kind="500", secs=100))
        kit.advance(60)  # when the first would have expired
        assert [fault.kind for fault in board.in_force.values()] == ["500"]


async def test_whoever_waits_hears_of_each_change_of_its_member() -> None:
    with Kit() as kit:
        faults, board = world(kit)
        waiting = [asyncio.ensure_future(board.changed(name)) for name in ("a", "a", "b")]
        await asyncio.sleep(0)
        kit.ask(faults, inject())
        await asyncio.wait(waiting[:2], timeout=1)
        assert [waiter.done() for waiter in waiting] == [True, True, False]
        kit.ask(faults, inject("b"))
        await asyncio.wait(waiting, timeout=1)
        assert waiting[2].done()
