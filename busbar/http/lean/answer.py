"""One answer's body, on its way to a sink.

While `stream` waits for more, chunks go to the sink straight from the connection, without a task switch. When the
sink asks to wait, when nobody streams yet, and for compressed bodies they are set aside, reading pauses at a bound,
and `stream` takes them up in its own turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Protocol

from busbar.http.lean.content import Decoder, NotDecodable
from busbar.http.ports import Sink, UpstreamBroken
from busbar.protocols.failures import FailureClass

ASIDE_BYTES_MAX = 64 << 10
"""Reading pauses when more is set aside. What one read had brought already comes on top (256 KiB at most)."""


class Source(Protocol):
    """Where the chunks come from."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None: ...


class LeanAnswer:
    """A provider's answer. `feed`, `end` and `fail` are its connection's to call."""

    __slots__ = (
        "_aside",
        "_aside_bytes",
        "_decoder",
        "_ended",
        "_error",
        "_sink",
        "_source",
        "_waiting",
        "_wake",
        "headers",
        "status",
    )

    def __init__(self, status: int, headers: Mapping[str, str], source: Source, decoder: Decoder | None) -> None:
        self.status = status
        self.headers = headers
        self._source: Source | None = source
        self._decoder = decoder
        self._aside: list[bytes] = []  # a few at the most; an empty deque takes more than all else here
        self._aside_bytes = 0
        self._ended = False
        self._error: BaseException | None = None
        self._sink: Sink | None = None
        self._waiting: Awaitable[None] | None = None
        self._wake: asyncio.Future[None] | None = None

    async def stream(self, sink: Sink) -> None:
        """Feeds `sink` until the body has ended as its framing says. Raises `UpstreamBroken`, and what `sink`
        raises."""
        while True:
            if self._aside:
                await self._take_up(sink)
            if self._error is not None:
                raise self._error
            if self._ended:
                return self._close_decoder()
            assert self._source is not None, "neither ended nor failed"
            self._source.resume()
            await self._more(sink)

    def close(self) -> None:
        """Done with it. An answer that was not read to its end closes its connection: the provider stops working."""
        source, self._source = self._source, None
        if source is not None:
            source.abort()

    # --- the connection's side

    def feed(self, data: bytes) -> None:
        if self._sink is None:
            self._set_aside(data)
            return
        try:
            waiting = self._sink(data)
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to whoever streams
            self.close()
            self.fail(error)
            return
        if waiting is not None:
            self._sink = None
            self._waiting = waiting
            if self._source is not None:
                self._source.pause()
            self._wake_up()

    def end(self) -> None:
        """The body is whole; the connection serves another from here on."""
        self._ended = True
        self._source = None
        self._wake_up()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._source = None
        self._wake_up()

    def _set_aside(self, data: bytes) -> None:
        self._aside.append(data)
        self._aside_bytes += len(data)
        if self._aside_bytes > ASIDE_BYTES_MAX and self._source is not None:
            self._source.pause()
        self._wake_up()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # --- the reader's side

    async def _take_up(self, sink: Sink) -> None:
        """All that was set aside. More may be, meanwhile."""
        while self._aside:
            data = self._aside.pop(0)
            self._aside_bytes -= len(data)
            if self._decoder is not None:
                await self._open(self._decoder, data, sink)
                continue
            waiting = sink(data)
            if waiting is not None:
                await waiting

    async def _open(self, decoder: Decoder, data: bytes, sink: Sink) -> None:
        pieces = decoder.feed(data)
        while True:
            try:
                piece = next(pieces, None)
            except NotDecodable as error:
                raise UpstreamBroken(FailureClass.NETWORK, f"NotDecodable: {error}") from None
            if piece is None:
                return
            waiting = sink(piece)
            if waiting is not None:
                await waiting
            else:
                await asyncio.sleep(0)  # one read may open to a thousand times its size

    def _close_decoder(self) -> None:
        if self._decoder is not None:
            try:
                self._decoder.close()
            except NotDecodable as error:
                raise UpstreamBroken(FailureClass.NETWORK, f"NotDecodable: {error}") from None

    async def _more(self, sink: Sink) -> None:
        """Until the stream's own turn is needed."""
        self._wake = asyncio.get_running_loop().create_future()
        self._sink = sink if self._decoder is None else None
        try:
            await self._wake
        except asyncio.CancelledError:
            if isinstance(self._waiting, Coroutine):
                self._waiting.close()  # nobody is going to await it
            raise
        finally:
            self._sink = self._wake = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await waiting
