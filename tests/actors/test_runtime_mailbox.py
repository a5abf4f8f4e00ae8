"""What is bounded, and what the system's ports do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pykka
import pytest

from busbar.actors.runtime import (
    ActorInfo,
    ActorSystem,
    LoopActor,
    MailboxFull,
    Overflow,
    TapEntry,
    handles,
)
from busbar.testing import Kit, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable


class Add(msgspec.Struct, frozen=True):
    amount: int


class Total(msgspec.Struct, frozen=True):
    pass


class Stuff(msgspec.Struct, frozen=True):
    tells: int


@pytest.fixture
def system() -> ActorSystem:
    return ActorSystem(clock=VirtualClock(now=10.0), register=False)


class Stuffed(LoopActor):
    """Sends `tells` and one ask to itself while it is busy, and shows what came of the ask."""

    mailbox_limit = 2

    def __init__(self) -> None:
        super().__init__()
        self.got = 0

    @handles(Stuff)
    def stuff(self, message: Stuff) -> Exception | None:
        for _ in range(message.tells):
            self.ref.tell(Add(1))
        refused = self.ref.ask(Total())
        try:
            refused.get()
        except (MailboxFull, pykka.Timeout) as error:
            return error
        return None

    @handles(Add)
    def add(self, message: Add) -> None:
        self.got += message.amount

    @handles(Total)
    def total(self, _message: Total) -> int:
        return self.got


class Lossy(Stuffed):
    overflow = Overflow.DROP


def test_refusing_mailbox_takes_every_tell_and_refuses_asks_over_the_limit(system: ActorSystem) -> None:
    core = system.spawn(Stuffed, name="core")
    assert isinstance(core.ask(Stuff(1)).get(), pykka.Timeout)  # one waits: the ask is taken
    assert isinstance(core.ask(Stuff(3)).get(), MailboxFull)
    assert core.ask(Total()).get() == 4
    assert system.snapshot() == [ActorInfo("core", "Stuffed", True, 0, 8, 0, dropped=1)]


def test_dropping_mailbox_drops_tells_over_the_limit_and_counts_them(system: ActorSystem) -> None:
    telemetry = system.spawn(Lossy, name="telemetry")
    assert isinstance(telemetry.ask(Stuff(5)).get(), MailboxFull)
    assert telemetry.ask(Total()).get() == 2
    assert system.snapshot() == [ActorInfo("telemetry", "Lossy", True, 0, 4, 0, dropped=4)]


def test_tap_remembers_the_latest_messages_only() -> None:
    system = ActorSystem(clock=VirtualClock(now=10.0), tap_size=2, register=False)
    stuffed = system.spawn(Stuffed, name="stuffed")
    for amount in range(4):
        stuffed.tell(Add(amount))
    assert system.tap.entries() == [
        TapEntry(10.0, "stuffed", "Add", Add(2)),
        TapEntry(10.0, "stuffed", "Add", Add(3)),
    ]
    assert system.sent == 4


def test_tap_is_bounded_by_default(system: ActorSystem) -> None:
    stuffed = system.spawn(Stuffed, name="stuffed")
    for _ in range(300):
        stuffed.tell(Add(1))
    assert len(system.tap) == 256


def test_stop_is_never_refused() -> None:
    with Kit() as kit:
        core = kit.spawn(Lossy)
        for _ in range(3):
            core.tell(Add(1))
        stops = [core.stop(), core.stop()]
        kit.run()
        assert [stop.get() for stop in stops] == [True, True]
        assert not core.is_alive()


async def test_timer_of_the_loop_clock_can_be_cancelled() -> None:
    clock = ActorSystem(register=False).clock
    fired: list[str] = []
    cancelled = clock.call_later(0.0, lambda: fired.append("cancelled"))
    clock.call_later(0.0, lambda: fired.append("fired"))
    cancelled.cancel()
    await asyncio.sleep(0.005)
    assert fired == ["fired"]


async def test_timer_of_the_loop_clock_is_never_early(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    punctual = loop.call_later

    def early(_delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return punctual(0.0, callback)

    monkeypatch.setattr(loop, "call_later", early)
    clock = ActorSystem(register=False).clock
    done: asyncio.Future[float] = loop.create_future()
    due = clock.now() + 0.002
    clock.call_at(due, lambda: done.set_result(clock.now()))
    assert await done >= due
