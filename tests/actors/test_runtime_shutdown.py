"""Stopping: in order, with the mailboxes emptied, and nobody left waiting."""

from __future__ import annotations

import asyncio
import logging

import pykka
import pytest
from runtime_actors import Boom, Boss, Count, Fail, Wait, Worker

from busbar.actors.runtime import ActorSystem, handles
from busbar.testing import Kit, VirtualClock


@pytest.fixture
def trace() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "busbar.actors")


def new_system() -> ActorSystem:
    return ActorSystem(clock=VirtualClock(now=100.0), register=False)


def test_children_stop_before_parents_and_siblings_in_reverse_order(trace: list[str]) -> None:
    system = new_system()
    system.spawn(Boss, trace, name="boss")
    system.spawn(Worker, trace, name="last")
    trace.clear()
    system.stop_now()
    assert trace == ["last stops", "second stops", "first stops", "boss stops"]
    assert system.terminated.get() is None
    assert system.snapshot() == []


def test_each_actor_handles_what_is_in_its_mailbox_before_it_stops(trace: list[str]) -> None:
    class Closing(Boss):
        @handles(Count)
        def counted(self, message: Count) -> int:
            late.append(self.ref.ask(Count()))  # comes while it stops: nobody will handle it
            return super().counted(message)

    late: list[pykka.Future[int]] = []
    with Kit() as kit:
        boss = kit.spawn(Closing, trace)
        for ref in (boss, *kit.system.children(boss)):
            ref.tell(Count())
        answer = boss.ask(Count())
        kit.system.stop_now()
    assert trace[3:] == [
        "second counts 1", "second stops", "first counts 1", "first stops",
        "closing counts 1", "closing counts 2", "closing stops",
    ]  # fmt: skip
    assert answer.get() == 2
    for future in late:
        with pytest.raises(pykka.ActorDeadError):
            future.get()


async def test_stop_goes_one_actor_per_turn_of_the_loop_in_the_same_order(trace: list[str]) -> None:
    system = new_system()
    boss = system.spawn(Boss, trace, name="boss")
    owed = boss.ask(Wait())
    trace.clear()
    await system.stop()
    assert trace == ["second stops", "first stops", "boss stops"]
    for future in (owed, boss.ask(Count())):
        with pytest.raises(pykka.ActorDeadError):
            await future
    assert await system.terminated is None
    await system.stop()


async def test_stopping_one_actor_takes_its_children_along(trace: list[str]) -> None:
    system = new_system()
    boss = system.spawn(Boss, trace, name="boss")
    trace.clear()
    assert await boss.stop() is True
    assert trace == ["second stops", "first stops", "boss stops"]
    assert await boss.stop() is False
    assert boss.stop(block=True) is False
    assert system.snapshot() == []


def test_messages_sent_after_a_stop_are_not_handled(trace: list[str]) -> None:
    class Quitter(Worker):
        @handles(Wait)
        def wait(self, _message: Wait) -> None:
            self.ref.tell(Count())
            self.stop()
            asked.append(self.ref.ask(Count()))

    asked: list[pykka.Future[int]] = []
    new_system().spawn(Quitter, trace, name="w").tell(Wait())
    assert trace == ["w starts", "w counts 1", "w stops"]
    with pytest.raises(pykka.ActorDeadError):
        asked[0].get()


def test_crash_while_stopping_ends_the_actor_without_a_restart(trace: list[str]) -> None:
    class Sour(Worker):
        @handles(Wait)
        def wait(self, _message: Wait) -> None:
            self.ref.tell(Fail())
            self.system.stop_now()

        def on_stop(self) -> None:
            raise Boom("on_stop")

    system = new_system()
    system.spawn(Worker, trace, name="other")
    system.spawn(Sour, trace, name="sour").tell(Wait())
    assert trace == ["other starts", "sour starts", "sour fails", "other stops"]
    assert system.terminated.get() is None


def test_failing_on_stop_does_not_keep_others_from_stopping(trace: list[str]) -> None:
    class Sour(Worker):
        def on_stop(self) -> None:
            raise Boom("on_stop")

    system = new_system()
    system.spawn(Worker, trace, name="other")
    system.spawn(Sour, trace, name="sour")
    system.stop_now()
    assert trace == ["other starts", "sour starts", "other stops"]


async def test_actor_that_crashes_while_others_stop_is_not_restarted(trace: list[str]) -> None:
    system = new_system()
    worker = system.spawn(Worker, trace, name="w")
    system.spawn(Boss, trace, name="boss")
    trace.clear()
    stopping = asyncio.create_task(system.stop())
    await asyncio.sleep(0)
    worker.tell(Fail())
    await stopping
    assert trace == ["second stops", "w fails", "first stops", "boss stops"]


def test_actor_that_crashed_before_its_stop_handles_nothing_more(trace: list[str]) -> None:
    class Closing(Boss):
        @handles(Wait)
        def wait(self, _message: Wait) -> None:
            first = self.system.children(self.ref)[0]
            self.system.stop_now()
            first.tell(Fail())
            first.tell(Count())

    system = new_system()
    system.spawn(Closing, trace, name="boss").tell(Wait())
    assert trace[3:] == ["second stops", "first fails", "boss stops"]
    assert system.dead_letters == 1


def test_everybody_who_asked_for_a_stop_hears_of_it(trace: list[str]) -> None:
    with Kit() as kit:
        worker = kit.spawn(Worker, trace)
        answers = [worker.stop(), worker.ask(Count()), worker.stop()]
        kit.run()
        assert (answers[0].get(), answers[2].get()) == (True, True)
        with pytest.raises(pykka.ActorDeadError):
            answers[1].get()
