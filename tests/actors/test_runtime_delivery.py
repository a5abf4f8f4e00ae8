"""Messages: who handles what, when, and who answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pykka
import pytest

from busbar.actors.runtime import (
    ActorInfo,
    ActorSystem,
    Forward,
    InlineDispatcher,
    LoopActor,
    LoopRef,
    Reply,
    UnhandledMessage,
    handles,
)
from busbar.testing import VirtualClock


class Add(msgspec.Struct, frozen=True):
    amount: int


class Total(msgspec.Struct, frozen=True):
    pass


class Bounce(msgspec.Struct, frozen=True):
    left: int


class Counter(LoopActor):
    def __init__(self, start: int = 0) -> None:
        super().__init__()
        self.total = start

    @handles(Add)
    def add(self, message: Add) -> None:
        self.total += message.amount

    @handles(Total)
    def tell_total(self, _message: Total) -> int:
        return self.total


class Log(LoopActor):
    """Tells itself what it is told, and keeps the order in which handlers begin and end."""

    def __init__(self, trace: list[str]) -> None:
        super().__init__()
        self.trace = trace

    @handles(Bounce)
    def bounce(self, message: Bounce) -> None:
        self.trace.append(f"begin {message.left}")
        if message.left:
            self.ref.tell(Bounce(message.left - 1))
        self.trace.append(f"end {message.left}")


class Player(LoopActor):
    """Plays ball with another until nothing is left."""

    def __init__(self, trace: list[str], players: list[LoopRef]) -> None:
        super().__init__()
        self.trace = trace
        self.players = players

    @handles(Bounce)
    def bounce(self, message: Bounce) -> None:
        self.trace.append(f"{self.name} begin {message.left}")
        if message.left:
            other = next(player for player in self.players if player is not self.ref)
            other.tell(Bounce(message.left - 1))
        self.trace.append(f"{self.name} end {message.left}")


class Desk(LoopActor):
    """Hands every question on."""

    def __init__(self, behind: LoopRef) -> None:
        super().__init__()
        self.behind = behind

    @handles(Total)
    def total(self, message: Total) -> Forward:
        return Forward(self.behind, message)

    @handles(Add)
    def add(self, message: Add) -> Forward:
        return Forward(self.behind, message)


class Later(LoopActor):
    """Answers the oldest open Total when it is told an amount; a negative one hands it to somebody else."""

    def __init__(self, other: LoopRef | None = None) -> None:
        super().__init__()
        self.other = other
        self.open: list[Reply] = []

    @handles(Total)
    def total(self, _message: Total) -> str:
        self.open.append(self.defer())
        return "ignored"

    @handles(Add)
    def add(self, message: Add) -> bool:
        reply = self.open.pop(0)
        if message.amount < 0:
            assert self.other is not None
            return reply.forward(self.other, Total())
        return reply.set(message.amount)


@pytest.fixture
def system() -> ActorSystem:
    return ActorSystem(clock=VirtualClock(now=10.0), register=False)


async def next_turn() -> None:
    await asyncio.sleep(0)


def test_message_to_an_idle_actor_is_handled_before_tell_returns(system: ActorSystem) -> None:
    counter = system.spawn(Counter, 40, name="counter")
    counter.tell(Add(2))
    assert counter.ask(Total()).get() == 42
    assert counter.ask(Total(), block=True) == 42


def test_actor_is_never_reentered_by_its_own_messages(system: ActorSystem) -> None:
    trace: list[str] = []
    system.spawn(Log, trace, name="log").tell(Bounce(2))
    assert trace == ["begin 2", "end 2", "begin 1", "end 1", "begin 0", "end 0"]


def test_actor_is_never_reentered_through_another(system: ActorSystem) -> None:
    trace: list[str] = []
    players: list[LoopRef] = []
    players += [system.spawn(Player, trace, players, name=name) for name in ("a", "b")]
    players[0].tell(Bounce(2))
    assert trace == ["a begin 2", "b begin 1", "b end 1", "a end 2", "a begin 0", "a end 0"]


async def test_turn_ends_at_the_budget_and_the_rest_waits_for_the_loop() -> None:
    system = ActorSystem(dispatcher=InlineDispatcher(budget=4), register=False)
    trace: list[str] = []
    log = system.spawn(Log, trace, name="log")
    log.tell(Bounce(5))
    assert [line for line in trace if "begin" in line] == ["begin 5", "begin 4", "begin 3", "begin 2"]
    assert system.snapshot()[0].mailbox == 1
    log.tell(Bounce(0))  # waits its turn behind what is queued
    await next_turn()
    assert trace[8:] == ["begin 1", "end 1", "begin 0", "end 0", "begin 0", "end 0"]


async def test_budget_is_one_for_all_actors_of_a_turn() -> None:
    system = ActorSystem(dispatcher=InlineDispatcher(budget=3), register=False)
    trace: list[str] = []
    players: list[LoopRef] = []
    players += [system.spawn(Player, trace, players, name=name) for name in ("a", "b")]
    players[0].tell(Bounce(7))
    assert [line for line in trace if "begin" in line] == ["a begin 7", "b begin 6", "a begin 5"]
    await next_turn()  # b was idle, and waited all the same
    assert [line for line in trace if "begin" in line][3:] == ["b begin 4", "a begin 3", "b begin 2"]


async def test_deep_chain_of_actors_goes_on_in_the_next_turn() -> None:
    class Link(LoopActor):
        @handles(Total)
        def total(self, message: Total) -> int | Forward:
            return Forward(refs[int(self.name) + 1], message) if self.name != "39" else 39

    system = ActorSystem(register=False)
    refs = [system.spawn(Link, name=str(i)) for i in range(40)]
    future = refs[0].ask(Total())
    assert not future.done()  # 40 nested actors are more than one turn nests
    assert await future == 39


def test_messages_of_one_sender_arrive_in_order(system: ActorSystem) -> None:
    class Sender(LoopActor):
        @handles(Add)
        def add(self, message: Add) -> None:
            for amount in range(message.amount):
                busy.tell(Add(amount))

    class Busy(LoopActor):
        def __init__(self) -> None:
            super().__init__()
            self.got: list[int] = []

        @handles(Bounce)
        def bounce(self, message: Bounce) -> None:
            sender.tell(Add(message.left))  # its answers find this actor busy

        @handles(Add)
        def add(self, message: Add) -> None:
            self.got.append(message.amount)

        @handles(Total)
        def total(self, _message: Total) -> list[int]:
            return self.got

    sender = system.spawn(Sender, name="sender")
    busy = system.spawn(Busy, name="busy")
    busy.tell(Bounce(5))
    assert busy.ask(Total()).get() == [0, 1, 2, 3, 4]


def test_forwarded_question_is_answered_by_the_one_behind(system: ActorSystem) -> None:
    counter = system.spawn(Counter, 7, name="counter")
    desk = system.spawn(Desk, counter, name="desk")
    outer = system.spawn(Desk, desk, name="outer")
    outer.tell(Add(1))
    assert outer.ask(Total()).get() == 8


def test_deferred_reply_is_answered_later_and_the_return_value_ignored(system: ActorSystem) -> None:
    later = system.spawn(Later, name="later")
    first, second = later.ask(Total()), later.ask(Total())
    with pytest.raises(pykka.Timeout):
        first.get()
    assert later.ask(Add(1)).get() is True
    assert (first.get(), second.done()) == (1, False)


def test_forward_after_a_deferred_reply_is_ignored_too(system: ActorSystem) -> None:
    class Both(Later):
        @handles(Total)
        def total(self, message: Total) -> Forward:
            super().total(message)
            assert self.other is not None
            return Forward(self.other, Add(1))

    counter = system.spawn(Counter, name="counter")
    future = system.spawn(Both, counter, name="both").ask(Total())
    assert not future.done()
    assert counter.ask(Total()).get() == 0


def test_deferred_reply_can_be_handed_on(system: ActorSystem) -> None:
    later = system.spawn(Later, system.spawn(Counter, 5, name="counter"), name="later")
    future = later.ask(Total())
    later.tell(Add(-1))
    assert future.get() == 5


async def test_reply_tells_when_the_asker_has_gone(system: ActorSystem) -> None:
    later = system.spawn(Later, name="later")

    async def asks() -> Any:
        return await later.ask(Total())

    asker = asyncio.create_task(asks())
    await next_turn()
    asker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    assert later.ask(Add(1)).get() is False


async def test_several_coroutines_wait_for_one_reply_and_one_may_leave(system: ActorSystem) -> None:
    later = system.spawn(Later, name="later")
    future = later.ask(Total())

    async def reads() -> Any:
        return await future

    stays, leaves = asyncio.create_task(reads()), asyncio.create_task(reads())
    await next_turn()
    leaves.cancel()
    await next_turn()
    assert later.ask(Add(3)).get() is True
    assert await stays == 3
    assert await future == 3  # after the reply too


async def test_reply_that_comes_after_the_await_wakes_it_on_a_real_loop() -> None:
    system = ActorSystem(register=False)

    class Slow(LoopActor):
        @handles(Total)
        def total(self, _message: Total) -> None:
            self.reply = self.defer()
            self.schedule(0.001, Add(9))

        @handles(Add)
        def add(self, message: Add) -> None:
            self.reply.set(message.amount)

    slow = system.spawn(Slow, name="slow")
    before = system.clock.now()
    assert await slow.ask(Total()) == 9
    assert system.clock.now() - before >= 0.001
    assert abs(system.clock.time() - time.time()) < 60


def test_future_keeps_its_first_answer(system: ActorSystem) -> None:
    future = system.spawn(Later, name="later").ask(Total())
    future.set(1)
    future.set(2)
    future.set_exception(ValueError())
    assert future.get() == 1
    assert future.map(lambda value: value + 1).get() == 2


def test_message_without_a_handler_is_the_senders_mistake(system: ActorSystem) -> None:
    counter = system.spawn(Counter, name="counter")
    counter.tell("what?")
    with pytest.raises(UnhandledMessage, match="Counter counter has no handler for Bounce"):
        counter.ask(Bounce(1)).get()
    assert system.snapshot() == [ActorInfo("counter", "Counter", True, 0, 2, 0, 0)]


def test_handlers_are_inherited_overridden_and_replaced() -> None:
    class Polite(Counter):
        def tell_total(self, _message: Total) -> int:
            return -self.total

    class Replaced(Polite):
        @handles(Add)
        def add_twice(self, message: Add) -> None:
            self.total += 2 * message.amount

    system = ActorSystem(register=False)
    ref = system.spawn(Replaced, name="replaced")
    ref.tell(Add(2))
    assert ref.ask(Total()).get() == -4


def test_class_with_two_handlers_for_a_type_is_refused() -> None:
    with pytest.raises(TypeError, match="Double handles Add twice: one and two"):

        class Double(LoopActor):
            @handles(Add)
            def one(self, message: Add) -> None: ...

            @handles(Add)
            def two(self, message: Add) -> None: ...


def test_coroutine_handler_is_refused() -> None:
    with pytest.raises(TypeError, match="never awaits"):

        @handles(Add)
        async def add(self: LoopActor, message: Add) -> None: ...


def test_actor_outside_of_a_system_is_refused() -> None:
    with pytest.raises(TypeError, match=r"system\.spawn"):
        Counter()
    with pytest.raises(TypeError, match=r"system\.spawn"):
        Counter.start()
