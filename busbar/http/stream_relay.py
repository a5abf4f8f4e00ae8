"""One stream on its way from a provider to a caller.

waiting   there is no content yet: preamble only, which is held back. An error here may still fail over.
holding   there is content, and it is held back too (`hold_secs`): an error here may still fail over.
started   the first content is out; from now on a break can only be told, never hidden.
finished  the terminal event is out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from time import monotonic
from typing import Any

from msgspec import Struct

from busbar.http.ports import Exchange
from busbar.protocols.errors import ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.protocol import StreamPipe

PAUSED = float("-inf")
"""When the last chunk came, if it is not known how long the caller kept the stream waiting after it."""

HELD_BYTES_MAX = 1 << 20
"""A stream that gives more than this while it is held back is let go early."""


class InBandError(Exception):
    """The provider said inside of its 200 stream that it failed."""

    def __init__(self, signal: FailureSignal) -> None:
        super().__init__("error event in the stream")
        self.signal = signal


class Pace(Struct, frozen=True):
    """How a stream's chunks came, from its first content on. Time in which the caller took no more is not counted."""

    gaps: int
    """Between two chunks; at least one."""
    mean_secs: float
    longest_secs: float


class StreamRelay:
    """`sink` takes the provider's chunks. `content` is called at the first content, `begin` starts the caller's
    answer, `ending` is awaited before the terminal event goes out, `finished` is called after it: from then on the
    provider is only waited for shortly."""

    __slots__ = (
        "_begin",
        "_content",
        "_ending",
        "_exchange",
        "_finished",
        "_gaps",
        "_held",
        "_held_bytes",
        "_hold_secs",
        "_last_at",
        "_let_go",
        "_letting_go",
        "_longest",
        "_paced_from",
        "_paused_at",
        "_pipe",
        "begun",
        "finished",
        "started",
    )

    def __init__(
        self,
        pipe: StreamPipe,
        exchange: Exchange,
        *,
        begin: Callable[[], Awaitable[None]],
        content: Callable[[], None],
        finished: Callable[[], None],
        ending: Callable[[], Awaitable[None]] | None = None,
        hold_secs: float = 0.0,
    ) -> None:
        self._pipe = pipe
        self._exchange = exchange
        self._begin = begin
        self._content = content
        self._ending = ending
        self._finished = finished
        self._hold_secs = hold_secs
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._letting_go: asyncio.Task[None] | None = None
        """Ends the hold at its time."""
        self._let_go = False
        """It did, and begins the caller's answer."""
        self._gaps = 0
        self._paced_from = self._last_at = self._paused_at = 0.0
        self._longest = 0.0
        self.begun = False
        """The caller's answer begins: there is no way back."""
        self.started = False
        self.finished = False

    def sink(self, data: bytes) -> Awaitable[None] | None:
        """Raises `InBandError`, `CallerGone`, `BrokenFraming`."""
        if self.finished:
            return None
        pipe = self._pipe
        out = pipe.feed(data)
        if not self.started:
            return self._on_change(out)
        now = monotonic()
        gap = now - self._last_at
        self._last_at = now
        self._gaps += 1
        if gap > self._longest:
            self._note_long(gap, now)
        if pipe.error is None and not pipe.ended:
            waiting = self._exchange.write(out) if out else None
            if waiting is not None:
                self._paused_at, self._last_at = now, PAUSED
            return waiting
        return self._on_change(out)

    async def close(self) -> bool:
        """The provider's connection ended. Says whether the answer is whole. Raises like `sink`."""
        if not self.finished:
            waiting = self._on_change(self._pipe.close())
            if waiting is not None:
                await waiting
        return self.finished

    async def stop(self) -> None:
        """No more is coming: what is still held back stays so. From now on `begun` does not change."""
        task = self._letting_go
        if task is not None:
            if not self._let_go:
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # a caller that is gone is noticed elsewhere

    async def finish(self, end: bytes) -> None:
        """The end of a started answer whose provider broke before it said so."""
        waiting = self._exchange.write(end)
        if waiting is not None:
            await waiting
        await self._exchange.end()

    async def break_off(self, report: ErrorReport) -> None:
        """Tells the caller, in its dialect, that the started answer stays incomplete; closes the connection."""
        waiting = self._exchange.write(self._pipe.break_off(report))
        if waiting is not None:
            await waiting
        await self._exchange.end(close=True)

    def pace(self) -> Pace | None:
        """None: there were no two chunks."""
        if not self._gaps:
            return None
        last_at = self._paused_at if self._last_at == PAUSED else self._last_at
        return Pace(self._gaps, (last_at - self._paced_from) / self._gaps, self._longest)

    def _note_long(self, gap: float, now: float) -> None:
        """The longest gap so far, or none at all: a pause."""
        if gap < float("inf"):
            self._longest = gap
            return
        self._gaps -= 1
        self._paced_from += now - self._paused_at

    def _on_change(self, out: bytes) -> Awaitable[None] | None:
        """All that happens only a few times in a stream: the start, the end, an error."""
        pipe = self._pipe
        if pipe.ended and pipe.error is None:
            return self._go_on(out)
        if not self.started:
            self._held.append(out)
            self._held_bytes += len(out)
            if pipe.error is not None and not self.begun:
                raise InBandError(pipe.error)
            if not pipe.content:
                return None
            if not self.begun and self._holds():
                return None
            out = b""
        return self._go_on(out)

    def _go_on(self, out: bytes) -> Awaitable[None] | None:
        steps = self._write_change(out)
        # What is awaited before the end may need the task that serves the caller.
        return steps if self._pipe.ended and self._ending is not None else _run(steps)

    def _holds(self) -> bool:
        """Whether the content goes on being held back; begins to at the first."""
        if self._letting_go is None:
            self._content()
            if self._hold_secs > 0:
                self._letting_go = asyncio.create_task(self._let_go_later())
        return self._letting_go is not None and self._held_bytes < HELD_BYTES_MAX

    async def _let_go_later(self) -> None:
        await asyncio.sleep(self._hold_secs)
        if not self.begun:
            self._let_go = True
            await self._start()

    async def _start(self) -> None:
        """The caller's answer begins, with all that was held back until now and comes meanwhile."""
        self.begun = True
        await self._begin()
        while self._held:
            out = b"".join(self._held)
            self._held.clear()
            waiting = self._exchange.write(out) if out else None
            if waiting is not None:
                await waiting
        self.started = True
        self._paced_from = self._last_at = monotonic()

    async def _write_change(self, out: bytes) -> None:
        if self._pipe.ended and self._ending is not None:
            await self._ending()
        if not self.started:
            self._held.append(out)
        if not self.begun:
            await self._start()
        elif not self.started and self._letting_go is not None:
            await self._letting_go
        elif out:
            waiting = self._exchange.write(out)
            if waiting is not None:
                await waiting
        if self._pipe.error is not None:
            raise InBandError(self._pipe.error)
        if self._pipe.ended:
            self.finished = True
            self._finished()
            await self._exchange.end()


def _run(steps: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Runs `steps` at once, as far as they need not wait: the caller gets its first byte in the turn in which the
    provider's came. None: to their end; else their rest is to be awaited."""
    try:
        waited = steps.send(None)
    except StopIteration:
        return None
    return _Rest(steps, waited)


class _Rest:
    """What is left of a coroutine that came to wait."""

    __slots__ = ("_steps", "_waited")

    def __init__(self, steps: Coroutine[Any, Any, None], waited: object) -> None:
        self._steps = steps
        self._waited = waited

    def __await__(self) -> Generator[Any, Any, None]:
        waited = self._waited
        while True:
            step: Callable[[Any], object] = self._steps.send
            try:
                given = yield waited
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is for who waits in there
                step, given = self._steps.throw, error
            try:
                waited = step(given)
            except StopIteration:
                return
