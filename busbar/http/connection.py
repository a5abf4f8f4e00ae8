"""One caller's connection: aiohttp's protocol, guarded against callers that hold it open and send nothing whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from busbar.http.ports import CallerGone

HEADER_FIELD_BYTES_MAX = 32 * 1024
"""Of one header field; agents send long ones."""

LINGERING_SECS = 1.0
"""For the rest of a body that was refused, so that the caller gets to read why before the connection closes."""


class Connection(web.RequestHandler):
    """Closes itself when a request's header is not complete in time: the clock runs from the connection's start, and
    from the first byte after an answer. A body has its own clock (see `AiohttpExchange.body`).

    `has_room` says whether one more connection is within the bound; else it is closed as soon as it is made.
    """

    __slots__ = ("_guard", "_has_room", "_header_timeout_secs", "_serving", "_writers")

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        *,
        header_timeout_secs: float,
        has_room: Callable[[], bool],
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is documented as: no access log
            lingering_time=LINGERING_SECS,
            max_line_size=HEADER_FIELD_BYTES_MAX,
            max_field_size=HEADER_FIELD_BYTES_MAX,
        )
        self._header_timeout_secs = header_timeout_secs
        self._has_room = has_room
        self._guard: asyncio.TimerHandle | None = None
        self._serving = False
        self._writers: list[asyncio.Future[None]] = []
        """Wait until what was written has gone out, as far as the transport wants it to."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._has_room():
            self._watch()
        else:
            self.force_close()

    def data_received(self, data: bytes) -> None:
        if self._guard is None and not self._serving:
            self._watch()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._unwatch()
        self._wake_writers()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wake_writers()

    async def drained(self) -> None:
        """Until more may be written: who reads slowly slows down whoever writes to it. Raises `CallerGone`."""
        while self.writing_paused and self.transport is not None:
            waiter = asyncio.get_running_loop().create_future()
            self._writers.append(waiter)
            await waiter
        if self.transport is None:
            raise CallerGone

    def _wake_writers(self) -> None:
        while self._writers:
            waiter = self._writers.pop()
            if not waiter.done():
                waiter.set_result(None)

    def request_began(self) -> None:
        """A request's header is complete."""
        self._serving = True
        self._unwatch()

    def request_ended(self) -> None:
        self._serving = False

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._guard = loop.call_later(self._header_timeout_secs, self.force_close)

    def _unwatch(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
