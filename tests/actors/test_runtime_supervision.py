"""Crashes: who decides, and what becomes of the actor, its mailbox and its children."""

from __future__ import annotations

import logging
from typing import ClassVar

import pykka
import pytest
from runtime_actors import Boom, Boss, Count, Fail, Says, Wait, Worker

from busbar.actors.runtime import ActorInfo, ActorSystem, Crash, LoopRef, handles
from busbar.actors.supervision import (
    Bench,
    CellView,
    ChildView,
    Directive,
    Escalate,
    Outcome,
    Restart,
    RestartPolicy,
    Resume,
    Stop,
    SupervisionPolicy,
)
from busbar.testing import VirtualClock


@pytest.fixture
def trace() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "busbar.actors")


def new_system(policy: SupervisionPolicy | None = None) -> ActorSystem:
    return ActorSystem(clock=VirtualClock(now=100.0), policy=policy, register=False)


def test_exception_reaches_the_asker_and_the_actor_starts_afresh(trace: list[str]) -> None:
    system = new_system()
    worker = system.spawn(Worker, trace, name="w")
    assert worker.ask(Count()).get() == 1
    with pytest.raises(Boom, match="w"):
        worker.ask(Fail()).get()
    assert worker.is_alive()
    assert worker.ask(Count()).get() == 1
    assert trace == ["w starts", "w counts 1", "w fails", "w starts", "w counts 1"]
    assert system.snapshot() == [ActorInfo("w", "Worker", True, 0, 3, 1, 0)]
    [crash] = system.crashes()
    assert (crash.at, crash.actor, repr(crash.error), crash.directive) == (100.0, "w", "Boom('w')", Restart())


def test_restart_keeps_what_waits_in_the_mailbox(trace: list[str]) -> None:
    class Busy(Worker):
        @handles(Wait)
        def wait(self, _message: Wait) -> None:
            self.ref.tell(Count())
            self.ref.tell(Fail())
            futures.extend([self.ref.ask(Count()), self.ref.ask(Count())])

    futures: list[pykka.Future[int]] = []
    new_system().spawn(Busy, trace, name="w").tell(Wait())
    assert [future.get() for future in futures] == [1, 2]
    assert trace == ["w starts", "w counts 1", "w fails", "w starts", "w counts 1", "w counts 2"]


def test_restart_ends_timers_and_answers_what_the_old_instance_owed() -> None:
    class Timed(Worker):
        def on_start(self) -> None:
            self.schedule(5.0, Count())

    trace: list[str] = []
    clock = VirtualClock()
    system = ActorSystem(clock=clock, register=False)
    worker = system.spawn(Timed, trace, name="w")
    owed = worker.ask(Wait())
    clock.advance(3.0)
    worker.tell(Fail())
    with pytest.raises(pykka.ActorDeadError, match="w was restarted before it answered"):
        owed.get()
    clock.advance(4.0)
    assert trace == ["w fails"]  # the first instance's timer is gone
    clock.advance(1.0)
    assert trace == ["w fails", "w counts 1"]


def test_resume_keeps_the_instance_and_what_waits(trace: list[str]) -> None:
    worker = new_system(Says(Resume())).spawn(Worker, trace, name="w")
    owed = worker.ask(Wait())
    worker.tell(Count())
    worker.tell(Fail())
    assert worker.ask(Count()).get() == 2
    assert not owed.done()
    assert trace == ["w starts", "w counts 1", "w counts 2"]


def test_stop_ends_the_actor_and_shows_it_among_the_dead(trace: list[str]) -> None:
    system = new_system(Says(Stop()))
    worker = system.spawn(Worker, trace, name="w")
    owed = worker.ask(Wait())
    worker.tell(Fail())
    for future in (owed, worker.ask(Count())):
        with pytest.raises(pykka.ActorDeadError):
            future.get()
    worker.tell(Count())
    assert (worker.is_alive(), system.dead_letters) == (False, 1)
    assert system.snapshot() == [ActorInfo("w", "Worker", False, 0, 2, 0, 0)]
    system.spawn(Worker, trace, name="w")
    assert [info.alive for info in system.snapshot()] == [True]
    assert trace == ["w starts", "w fails", "w starts"]


def test_policy_sees_the_child_and_its_recent_restarts(trace: list[str]) -> None:
    policy = Says(Restart())
    clock = VirtualClock(now=100.0)
    worker = ActorSystem(clock=clock, policy=policy, register=False).spawn(Worker, trace, name="w")
    for _ in range(2):
        clock.advance(20.0)
        worker.tell(Fail())
    clock.advance(20.0)
    worker.tell(Fail())  # the restart at 120 is out of the window of 30 s
    assert policy.seen == [
        (ChildView("w", "Worker", restarts=0, started_at=100.0), "Boom('w')"),
        (ChildView("w", "Worker", restarts=1, started_at=120.0), "Boom('w')"),
        (ChildView("w", "Worker", restarts=1, started_at=140.0), "Boom('w')"),
    ]


@pytest.mark.parametrize("policy", [RestartPolicy(), Says(Restart())], ids=["default", "always-restart"])
def test_too_many_restarts_in_the_window_escalate(policy: SupervisionPolicy, trace: list[str]) -> None:
    system = new_system(policy)
    worker = system.spawn(Worker, trace, name="w")
    for _ in range(5):
        worker.tell(Fail())
    assert worker.is_alive()
    worker.tell(Fail())
    assert not worker.is_alive()
    assert repr(system.failure) == "Boom('w')"


def test_restarts_spread_over_time_do_not_escalate(trace: list[str]) -> None:
    clock = VirtualClock()
    system = ActorSystem(clock=clock, register=False)
    worker = system.spawn(Worker, trace, name="w")
    for _ in range(20):
        worker.tell(Fail())
        clock.advance(7.0)
    assert worker.is_alive()


def test_escalation_fails_the_parent_whose_restart_makes_the_children_anew(trace: list[str]) -> None:
    system = new_system()
    boss = system.spawn(Boss, trace, name="boss", policy=Says(Escalate()))
    first, second = system.children(boss)
    second.tell(Fail())
    assert trace == [
        "boss starts", "first starts", "second starts",
        "second fails", "first stops", "boss fails",
        "boss starts", "first starts", "second starts",
    ]  # fmt: skip
    assert (boss.is_alive(), first.is_alive(), second.is_alive()) == (True, False, False)
    assert [ref.name for ref in system.children(boss)] == ["first", "second"]
    assert [crash.directive for crash in system.crashes()] == [Escalate(), Restart()]
    assert system.failure is None


def test_escalation_past_the_root_stops_the_system_and_records_the_error(trace: list[str]) -> None:
    system = new_system(Says(Escalate()))
    system.spawn(Worker, trace, name="bystander")
    system.spawn(Boss, trace, name="boss", policy=Says(Escalate()))
    system.children(system.children()[1])[0].tell(Fail())
    assert trace[4:] == ["first fails", "second stops", "boss fails", "bystander stops"]
    assert repr(system.failure) == "Boom('first')"
    with pytest.raises(Boom):
        system.terminated.get()
    with pytest.raises(pykka.ActorDeadError, match="the system is stopping"):
        system.spawn(Worker, trace, name="late")


@pytest.mark.parametrize("directive", [Bench(1.0), None])
def test_nonsense_from_a_policy_escalates(directive: Directive, trace: list[str]) -> None:
    system = new_system(Says(directive))
    system.spawn(Worker, trace, name="w").tell(Fail())
    assert repr(system.failure) == "Boom('w')"


def test_policy_that_raises_escalates(trace: list[str]) -> None:
    class Broken(RestartPolicy):
        def on_crash(self, child: ChildView, error: BaseException) -> Directive:
            raise ZeroDivisionError

    system = new_system(Broken())
    system.spawn(Worker, trace, name="w").tell(Fail())
    assert repr(system.failure) == "Boom('w')"


def test_crash_of_a_child_in_the_parents_turn_waits_for_the_parents_handler(trace: list[str]) -> None:
    class Driver(Boss):
        @handles(Wait)
        def wait(self, _message: Wait) -> None:
            self.system.children(self.ref)[0].tell(Fail())
            self.trace.append("handler goes on")

    system = new_system()
    system.spawn(Driver, trace, name="boss", policy=Says(Escalate())).tell(Wait())
    assert trace[3:6] == ["handler goes on", "first fails", "second stops"]


def test_parent_that_crashed_in_the_same_turn_died_of_its_own_error(trace: list[str]) -> None:
    class Driver(Boss):
        @handles(Wait)
        def wait(self, message: Wait) -> None:
            self.system.children(self.ref)[0].tell(Fail())
            raise Boom("own")

    system = new_system()
    system.spawn(Driver, trace, name="boss", policy=Says(Escalate())).tell(Wait())
    assert [(crash.actor, repr(crash.error)) for crash in system.crashes()] == [
        ("first", "Boom('first')"),
        ("boss", "Boom('own')"),
    ]


def test_failing_on_start_is_for_the_parents_policy_and_cannot_loop(trace: list[str]) -> None:
    class Stillborn(Worker):
        starts: ClassVar[int] = 0

        def on_start(self) -> None:
            Stillborn.starts += 1
            raise Boom("on_start")

    system = new_system()
    ref = system.spawn(Stillborn, trace, name="w")
    assert (Stillborn.starts, ref.is_alive(), repr(system.failure)) == (6, False, "Boom('on_start')")


def test_failing_init_is_for_the_spawner_and_on_restart_for_the_policy(trace: list[str]) -> None:
    class Fragile(Worker):
        def __init__(self, trace: list[str], healthy: list[bool]) -> None:
            super().__init__(trace)
            if not healthy:
                raise Boom("init")

    system = new_system()
    with pytest.raises(Boom):
        system.spawn(Fragile, trace, [], name="w")
    assert system.snapshot() == []
    healthy = [True]
    worker = system.spawn(Fragile, trace, healthy, name="w")
    healthy.clear()
    worker.tell(Fail())
    assert trace == ["w starts", "w fails"]  # on_failure once; then five attempts that never lived
    assert repr(system.failure) == "Boom('init')"


def test_timers_die_with_the_actor() -> None:
    clock = VirtualClock()
    system = ActorSystem(clock=clock, register=False)

    class Timed(Worker):
        def on_start(self) -> None:
            self.schedule(1.0, Count())
            self.schedule(2.0, Count()).cancel()
            self.schedule(3.0, Count())

    trace: list[str] = []
    worker = system.spawn(Timed, trace, name="w")
    clock.advance(2.0)
    assert (trace, clock.pending, len(worker.node.timers)) == (["w counts 1"], 1, 1)
    system.stop_now()
    assert clock.pending == 0
    clock.advance(2.0)
    assert trace == ["w counts 1", "w stops"]


def test_actor_knows_its_place(trace: list[str]) -> None:
    places: list[tuple[str, LoopRef | None, bool]] = []

    class Aware(Worker):
        def __init__(self, trace: list[str]) -> None:
            super().__init__(trace)
            same = (self.clock, self.random, self.system) == (system.clock, system.random, system)
            places.append((self.name, self.parent, same))

    system = new_system()
    root = system.spawn(Aware, trace, name="root")
    system.spawn(Aware, trace, name="leaf", parent=root)
    assert places == [("root", None, True), ("leaf", root, True)]
    assert str(root) == "Aware root"


def test_names_are_unique_among_the_living(trace: list[str]) -> None:
    system = new_system()
    worker = system.spawn(Worker, trace, name="w")
    with pytest.raises(ValueError, match="there is an actor called w already"):
        system.spawn(Worker, trace, name="w")
    worker.stop()
    assert system.spawn(Worker, trace, name="w").is_alive()


def test_nothing_starts_below_a_dead_parent(trace: list[str]) -> None:
    system = new_system()
    worker = system.spawn(Worker, trace, name="w")
    worker.stop()
    with pytest.raises(pykka.ActorDeadError):
        system.spawn(Worker, trace, name="child", parent=worker)


def test_pykkas_registry_knows_the_living_and_nobody_else(trace: list[str]) -> None:
    before = pykka.ActorRegistry.get_all()
    system = ActorSystem(clock=VirtualClock())
    boss = system.spawn(Boss, trace, name="boss", policy=Says(Stop()))
    first, second = system.children(boss)
    boss.tell(Fail())  # restarted: the ref is the same, the children are others
    first_again, second_again = system.children(boss)
    assert pykka.ActorRegistry.get_by_class(Boss) == [boss]
    assert pykka.ActorRegistry.get_by_urn(boss.actor_urn) is boss
    first_again.tell(Fail())
    assert pykka.ActorRegistry.get_all() == [*before, boss, second_again]
    assert pykka.ActorRegistry.get_by_urn(first.actor_urn) is None
    assert pykka.ActorRegistry.get_by_urn(second.actor_urn) is None
    system.stop_now()
    assert pykka.ActorRegistry.get_all() == before


def test_default_policy_leaves_members_alone() -> None:
    cell = CellView("m", "p", "closed", 0, 1, 1, 1, probe=False)
    assert RestartPolicy().on_outcome(cell, Outcome(None), now=0.0) == Resume()


def test_only_the_latest_crashes_and_dead_are_remembered(trace: list[str]) -> None:
    system = new_system(Says(Stop()))
    for number in range(80):
        system.spawn(Worker, trace, name=f"w{number}").tell(Fail())
    assert [crash.actor for crash in system.crashes()] == [f"w{number}" for number in range(64, 80)]
    assert [info.name for info in system.snapshot()] == [f"w{number}" for number in range(16, 80)]
    assert all(isinstance(crash, Crash) for crash in system.crashes())
