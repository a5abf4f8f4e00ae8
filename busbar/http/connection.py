"""One caller's connection: aiohttp's protocol, guarded against callers that hold it open and send or take nothing
whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from aiohttp import web

from busbar.config.schema import LimitsConfig
from busbar.http.ports import CallerGone
from busbar.http.screen import HEADERS_MAX, answer_to_malformed

logger = logging.getLogger("busbar.http")

HEADER_FIELD_BYTES_MAX = 32 * 1024
"""Of one header field; agents send long ones."""

LINGERING_SECS = 1.0
"""For the rest of a body that was refused, so that the caller gets to read why before the connection closes."""

HEAD_SLACK_BYTES = 1 << 20
"""What may come besides a head before it is seen to be whole: the beginning of its body."""

OPENING_BYTES = 4096
"""Of a request that cannot be read, so much is looked at, for its path."""


class Connection(web.RequestHandler):
    """Closes itself when a request's header is not complete in time: the clock runs from the connection's start, and
    from the first byte after an answer. A body has its own clock (see `AiohttpExchange.body`). A connection on which
    nothing is asked is closed after `idle_timeout_secs`; one whose caller does not take what it was sent, after
    `write_timeout_secs`.

    `has_room` says whether one more connection is within the bound; else it is closed as soon as it is made.
    """

    __slots__ = (
        *("_guard", "_has_room", "_head_bytes", "_limits", "_opening", "_serving", "_stall", "_wire", "_writers"),
    )

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        *,
        limits: LimitsConfig,
        has_room: Callable[[], bool],
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is documented as: no access log
            keepalive_timeout=limits.idle_timeout_secs,
            lingering_time=LINGERING_SECS,
            max_headers=HEADERS_MAX,
            max_line_size=HEADER_FIELD_BYTES_MAX,
            max_field_size=HEADER_FIELD_BYTES_MAX,
            auto_decompress=False,  # a kilobyte may be a gigabyte
        )
        self._limits = limits
        self._has_room = has_room
        self._guard: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._serving = False
        self._head_bytes = 0
        self._opening = b""
        self._wire: asyncio.Transport | None = None
        """The transport until it is lost; aiohttp forgets it when it begins to close."""
        self._writers: list[asyncio.Future[None]] = []
        """Wait until what was written has gone out, as far as the transport wants it to."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's
        super().connection_made(transport)
        if self._has_room():
            self._watch()
        else:
            self.force_close()

    def data_received(self, data: bytes) -> None:
        if not self._serving:
            if self._guard is None:
                self._watch()
            if not self._head_bytes:
                self._opening = data[:OPENING_BYTES]
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.headers_max_bytes + HEAD_SLACK_BYTES:
                self.force_close()
                return
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._unwatch()
        self._taken()
        self._wire = None
        self._wake_writers()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._to_be_taken()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()
        self._wake_writers()

    async def drained(self) -> None:
        """Until more may be written: who reads slowly slows down whoever writes to it. Raises `CallerGone`."""
        while self.writing_paused and self.transport is not None:
            waiter = asyncio.get_running_loop().create_future()
            self._writers.append(waiter)
            await waiter
        if self.transport is None:
            raise CallerGone

    def force_close(self) -> None:
        super().force_close()  # what was written is still to go out
        self._to_be_taken()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """For aiohttp: the answer to what is no HTTP, or to a control page that failed. The connection ends."""
        if status >= 500:
            logger.error("a request failed unexpectedly", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        return answer_to_malformed(exc, status, self._opening or f"{request.method} {request.raw_path}".encode())

    def request_began(self) -> None:
        """A request's header is complete."""
        self._serving = True
        self._head_bytes = 0
        self._opening = b""
        self._unwatch()

    def request_ended(self) -> None:
        self._serving = False
        if self._wire is not None and self._wire.get_write_buffer_size():
            self._to_be_taken()

    # --- the clocks

    def _wake_writers(self) -> None:
        while self._writers:
            waiter = self._writers.pop()
            if not waiter.done():
                waiter.set_result(None)

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._guard = loop.call_later(self._limits.header_timeout_secs, self.force_close)

    def _unwatch(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None

    def _to_be_taken(self) -> None:
        """The caller has something to take, and not for ever."""
        if self._stall is None and self._wire is not None:
            loop = asyncio.get_running_loop()
            self._stall = loop.call_later(self._limits.write_timeout_secs, self._give_up)

    def _taken(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _give_up(self) -> None:
        self._stall = None
        if self._wire is not None and (self._wire.is_closing() or self._wire.get_write_buffer_size()):
            self._wire.abort()
