"""When the caller gets what the provider said: in the same turn, unless somebody has to be waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from busbar.http.stream_relay import InBandError, StreamRelay
from busbar.protocols.registry import PROTOCOLS
from tests.http.test_streams import DONE, ERROR, FINISH, HELLO, ROLE, RecordingExchange


class Caller(RecordingExchange):
    """A recording caller, who may have to be waited for before its answer begins."""

    def __init__(self, *, ready: bool) -> None:
        super().__init__()
        self.ready = asyncio.Event()
        if ready:
            self.ready.set()

    async def begin(self) -> None:
        self.log.append("begin")
        try:
            await self.ready.wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            await asyncio.sleep(0)
            self.log.append("cleaned up")
            raise
        self.log.append("begun")


def relay_to(caller: Caller, ending: Callable[[], Awaitable[None]] | None = None) -> StreamRelay:
    return StreamRelay(
        PROTOCOLS["openai"].stream_tap(),
        caller,
        begin=caller.begin,
        content=lambda: None,
        finished=lambda: caller.log.append("finished"),
        ending=ending,
    )


async def test_the_first_content_and_the_end_are_out_before_the_sink_returns() -> None:
    caller = Caller(ready=True)
    relay = relay_to(caller)
    assert [relay.sink(chunk) for chunk in (ROLE, HELLO, FINISH, DONE)] == [None] * 4
    assert caller.log == ["begin", "begun", ROLE + HELLO, FINISH, DONE, "finished", "ended"]


async def test_an_answer_that_cannot_begin_yet_is_waited_for() -> None:
    caller = Caller(ready=False)
    waiting = relay_to(caller).sink(ROLE + HELLO)
    assert waiting is not None
    assert caller.log == ["begin"]
    going_on = asyncio.ensure_future(waiting)
    await asyncio.sleep(0)
    caller.ready.set()
    await going_on
    assert caller.log == ["begin", "begun", ROLE + HELLO]


async def test_what_was_waited_for_may_be_there_before_anybody_waits() -> None:
    caller = Caller(ready=False)
    waiting = relay_to(caller).sink(ROLE + HELLO + FINISH + DONE)
    assert waiting is not None
    caller.ready.set()
    await asyncio.sleep(0)
    await waiting
    assert caller.log == ["begin", "begun", ROLE + HELLO + FINISH + DONE, "finished", "ended"]


async def test_who_waits_is_cancelled_where_it_waits() -> None:
    caller = Caller(ready=False)
    waiting = relay_to(caller).sink(ROLE + HELLO)
    assert waiting is not None
    going_on = asyncio.ensure_future(waiting)
    await asyncio.sleep(0)
    going_on.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going_on
    assert caller.log == ["begin", "cancelled", "cleaned up"]


async def test_an_error_that_came_with_the_end_is_raised_once_the_caller_has_the_content() -> None:
    caller = Caller(ready=True)
    relay = relay_to(caller)
    relay.sink(ROLE + HELLO)
    with pytest.raises(InBandError):
        relay.sink(HELLO + ERROR)
    assert caller.log == ["begin", "begun", ROLE + HELLO, HELLO]


async def test_what_is_awaited_before_the_end_runs_in_the_task_that_awaits_it() -> None:
    tasks: list[asyncio.Task[object] | None] = []

    async def settle() -> None:
        tasks.append(asyncio.current_task())

    caller = Caller(ready=True)
    relay = relay_to(caller, settle)
    waiting = relay.sink(ROLE + HELLO + FINISH + DONE)
    assert (waiting is not None, tasks, caller.log) == (True, [], [])
    assert waiting is not None
    await waiting
    assert tasks == [asyncio.current_task()]
    assert caller.log == ["begin", "begun", ROLE + HELLO + FINISH + DONE, "finished", "ended"]
