"""One stream on its way from a provider to a caller.

holding   nothing of it has reached the caller; what there is, is held back: preamble only. An error here may
          still fail over.
started   the first content is out; from now on a break can only be told, never hidden.
finished  the terminal event is out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from busbar.http.ports import Exchange
from busbar.protocols.errors import ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.protocol import StreamPipe


class InBandError(Exception):
    """The provider said inside of its 200 stream that it failed."""

    def __init__(self, signal: FailureSignal) -> None:
        super().__init__("error event in the stream")
        self.signal = signal


class StreamRelay:
    """`sink` takes the provider's chunks. `begin` starts the caller's answer, `finished` is called at the terminal
    event, after which the provider is only waited for shortly."""

    __slots__ = ("_begin", "_exchange", "_finished", "_held", "_pipe", "finished", "started")

    def __init__(
        self,
        pipe: StreamPipe,
        exchange: Exchange,
        begin: Callable[[], Awaitable[None]],
        finished: Callable[[], None],
    ) -> None:
        self._pipe = pipe
        self._exchange = exchange
        self._begin = begin
        self._finished = finished
        self._held: list[bytes] = []
        self.started = False
        self.finished = False

    def sink(self, data: bytes) -> Awaitable[None] | None:
        """Raises `InBandError`, `CallerGone`, `BrokenFraming`."""
        if self.finished:
            return None
        pipe = self._pipe
        out = pipe.feed(data)
        if self.started and pipe.error is None and not pipe.ended:
            return self._exchange.write(out) if out else None
        return self._on_change(out)

    async def close(self) -> bool:
        """The provider's connection ended. Says whether the answer is whole. Raises like `sink`."""
        if not self.finished:
            waiting = self._on_change(self._pipe.close())
            if waiting is not None:
                await waiting
        return self.finished

    async def break_off(self, report: ErrorReport) -> None:
        """Tells the caller, in its dialect, that the started answer stays incomplete; closes the connection."""
        waiting = self._exchange.write(self._pipe.break_off(report))
        if waiting is not None:
            await waiting
        await self._exchange.end(close=True)

    def _on_change(self, out: bytes) -> Awaitable[None] | None:
        """All that happens only a few times in a stream: the start, the end, an error."""
        pipe = self._pipe
        if not self.started:
            self._held.append(out)
            if pipe.error is not None:
                raise InBandError(pipe.error)
            if not (pipe.content or pipe.ended):
                return None
        return self._write_change(out)

    async def _write_change(self, out: bytes) -> None:
        if not self.started:
            await self._begin()
            self.started = True
            out = b"".join(self._held)
            self._held.clear()
        waiting = self._exchange.write(out) if out else None
        if waiting is not None:
            await waiting
        if self._pipe.error is not None:
            raise InBandError(self._pipe.error)
        if self._pipe.ended:
            self.finished = True
            self._finished()
            await self._exchange.end()
