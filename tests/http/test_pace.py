"""How a stream's chunks came: measured on the way, at the price of a look at the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from busbar.http import stream_relay
from busbar.http.stream_relay import Pace, StreamRelay
from busbar.protocols.registry import PROTOCOLS
from tests.http.test_streams import DONE, FINISH, HELLO, ROLE, RecordingExchange


class Clock:
    """Seconds as the test tells them."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stream_relay, "monotonic", clock)
    return clock


class SlowCaller(RecordingExchange):
    """Takes `secs` for each chunk, once it is told to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.secs = 0.0

    def write(self, data: bytes) -> Awaitable[None] | None:
        return self._take() if self.secs else super().write(data)

    async def _take(self) -> None:
        self._clock.now += self.secs


def relay_to(caller: RecordingExchange) -> StreamRelay:
    return StreamRelay(
        PROTOCOLS["openai"].stream_tap(),
        caller,
        begin=lambda: caller.start(200, {}),
        content=lambda: None,
        finished=lambda: None,
    )


async def feed(relay: StreamRelay, clock: Clock, *chunks: tuple[float, bytes]) -> None:
    """Each after so many seconds."""
    for secs, chunk in chunks:
        clock.now += secs
        waiting = relay.sink(chunk)
        if waiting is not None:
            await waiting


async def test_gaps_count_from_the_first_content_to_the_terminal_event(clock: Clock) -> None:
    relay = relay_to(RecordingExchange())
    await feed(relay, clock, (5, ROLE), (5, HELLO), (1, HELLO), (4, HELLO), (2, FINISH), (1, DONE), (9, HELLO))
    assert relay.pace() == Pace(gaps=4, mean_secs=2.0, longest_secs=4.0)


async def test_a_stream_of_one_chunk_has_no_pace(clock: Clock) -> None:
    relay = relay_to(RecordingExchange())
    await feed(relay, clock, (5, ROLE + HELLO + FINISH + DONE))
    assert (relay.finished, relay.pace()) == (True, None)


async def test_time_in_which_the_caller_took_no_more_is_not_the_providers(clock: Clock) -> None:
    caller = SlowCaller(clock)
    relay = relay_to(caller)
    await feed(relay, clock, (5, ROLE + HELLO), (1, HELLO))
    caller.secs = 30.0
    await feed(relay, clock, (2, HELLO))
    assert relay.pace() == Pace(gaps=2, mean_secs=1.5, longest_secs=2.0)
    caller.secs = 0.0
    await feed(relay, clock, (0.5, HELLO), (3, HELLO))
    assert relay.pace() == Pace(gaps=3, mean_secs=2.0, longest_secs=3.0)


async def test_what_is_held_back_is_no_gap_yet(clock: Clock) -> None:
    caller = RecordingExchange()
    relay = StreamRelay(
        PROTOCOLS["openai"].stream_tap(),
        caller,
        begin=lambda: caller.start(200, {}),
        content=lambda: None,
        finished=lambda: None,
        hold_secs=0.001,
    )
    await feed(relay, clock, (0, ROLE + HELLO), (7, HELLO))
    while not relay.started:
        await asyncio.sleep(0)
    await feed(relay, clock, (1, HELLO))
    assert relay.pace() == Pace(gaps=1, mean_secs=1.0, longest_secs=1.0)
    await relay.stop()
