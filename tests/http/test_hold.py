"""A stream whose first content is held back: when it is let go, and that nothing is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from busbar.http.ports import CallerGone
from busbar.http.stream_relay import InBandError, StreamRelay
from busbar.protocols.protocol import StreamPipe
from busbar.protocols.registry import PROTOCOLS
from tests.http.test_streams import DONE, ERROR, FINISH, HELLO, ROLE, RecordingExchange

LONG_SECS = 3600.0
SHORT_SECS = 0.005


class Caller(RecordingExchange):
    """A recording caller whose answer begins only when `ready` says so; `gone`: it never will."""

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()
        self.ready = asyncio.Event()
        self.ready.set()
        self.gone = False

    async def start(self) -> None:
        self.log.append("start")
        self.started.set()
        await self.ready.wait()
        if self.gone:
            raise CallerGone


@asynccontextmanager
async def holding(hold_secs: float, caller: Caller) -> AsyncIterator[StreamRelay]:
    """A relay that is stopped at the end, at once, and leaves no task behind."""
    pipe: StreamPipe = PROTOCOLS["openai"].stream_tap()
    before = asyncio.all_tasks()
    relay = StreamRelay(
        pipe,
        caller,
        begin=caller.start,
        content=lambda: caller.log.append("content"),
        finished=lambda: caller.log.append("finished"),
        hold_secs=hold_secs,
    )
    yield relay
    async with asyncio.timeout(2):
        await relay.stop()
    assert asyncio.all_tasks() == before


async def feed(relay: StreamRelay, *chunks: bytes) -> None:
    for chunk in chunks:
        waiting = relay.sink(chunk)
        if waiting is not None:
            await waiting


async def test_an_error_within_the_hold_is_one_that_the_caller_has_seen_nothing_of() -> None:
    caller = Caller()
    async with holding(LONG_SECS, caller) as relay:
        await feed(relay, ROLE + HELLO, HELLO)
        with pytest.raises(InBandError):
            await feed(relay, ERROR)
        assert (relay.begun, caller.log) == (False, ["content"])


async def test_an_end_that_is_none_within_the_hold_is_one_too() -> None:
    caller = Caller()
    async with holding(LONG_SECS, caller) as relay:
        await feed(relay, ROLE + HELLO)
        assert not await relay.close()
        assert (relay.begun, caller.log) == (False, ["content"])


async def test_the_hold_ends_by_itself_though_no_further_chunk_comes() -> None:
    caller = Caller()
    async with holding(SHORT_SECS, caller) as relay:
        await feed(relay, ROLE, HELLO, HELLO)
        assert caller.log == ["content"]
        async with asyncio.timeout(2):
            await caller.started.wait()
        await feed(relay, FINISH)
        assert caller.log == ["content", "start", ROLE + HELLO + HELLO, FINISH]
        with pytest.raises(InBandError):
            await feed(relay, ERROR)


async def test_what_comes_while_the_answer_begins_keeps_its_order() -> None:
    caller = Caller()
    caller.ready.clear()
    async with holding(SHORT_SECS, caller) as relay:
        await feed(relay, ROLE + HELLO)
        async with asyncio.timeout(2):
            await caller.started.wait()
        rest = asyncio.ensure_future(feed(relay, FINISH, DONE))
        await asyncio.sleep(0)
        assert caller.log == ["content", "start"]
        caller.ready.set()
        await rest
        assert relay.finished
    assert caller.log == ["content", "start", ROLE + HELLO + FINISH, DONE, "finished", "ended"]


async def test_a_whole_answer_is_not_held_any_longer() -> None:
    caller = Caller()
    async with holding(LONG_SECS, caller) as relay:
        await feed(relay, ROLE + HELLO, FINISH + DONE)
        assert caller.log == ["content", "start", ROLE + HELLO + FINISH + DONE, "finished", "ended"]


async def test_so_much_is_held_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("busbar.http.stream_relay.HELD_BYTES_MAX", len(ROLE + HELLO) + 1)
    caller = Caller()
    async with holding(LONG_SECS, caller) as relay:
        await feed(relay, ROLE + HELLO)
        assert caller.log == ["content"]
        await feed(relay, HELLO)
        assert caller.log == ["content", "start", ROLE + HELLO + HELLO]
        await feed(relay, HELLO)
        assert caller.log[-1] == HELLO


async def test_a_caller_that_is_gone_when_the_hold_ends_ends_the_stream() -> None:
    caller = Caller()
    caller.gone = True
    caller.ready.clear()
    async with holding(SHORT_SECS, caller) as relay:
        await feed(relay, ROLE + HELLO)
        async with asyncio.timeout(2):
            await caller.started.wait()
        caller.ready.set()
        with pytest.raises(CallerGone):
            await feed(relay, HELLO)


async def test_a_caller_that_goes_away_within_the_hold_leaves_nothing_behind() -> None:
    caller = Caller()

    async def attempt() -> None:
        async with holding(LONG_SECS, caller) as relay:
            try:
                await feed(relay, ROLE + HELLO)
                await asyncio.Event().wait()
            finally:
                await relay.stop()

    task = asyncio.ensure_future(attempt())
    while "content" not in caller.log:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (caller.log, asyncio.all_tasks()) == (["content"], {asyncio.current_task()})
