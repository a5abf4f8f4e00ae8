"""The front: aiohttp's low-level server. It accepts, counts, and drains; what to answer is the handler's business."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from busbar.config.schema import LimitsConfig
from busbar.http.connection import Connection

BACKLOG = 1024
GRACE_SECS = 0.1
"""For connections to close at the end of a drain, before they are cut. (0 would mean for ever.)"""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Front(web.Server):
    """A factory of connections. A handler is cancelled when its caller goes away."""

    def __init__(self, handler: Handler, limits: LimitsConfig) -> None:
        super().__init__(self._serve, handler_cancellation=True)
        self._answer = handler
        self._limits = limits
        self._inflight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._listener: asyncio.Server | None = None

    @property
    def inflight(self) -> int:
        """Requests being answered."""
        return self._inflight

    def __call__(self) -> Connection:
        return Connection(
            self,
            asyncio.get_running_loop(),
            header_timeout_secs=self._limits.header_timeout_secs,
            has_room=self._has_room,
        )

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Gives the address that it got (`port` 0: any). Raises OSError."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self, host, port, backlog=BACKLOG)
        address: tuple[str, int] = self._listener.sockets[0].getsockname()[:2]
        return address

    async def drain(self, timeout_secs: float) -> None:
        """Closes idle connections, lets running requests finish for so long, then closes the door and cancels what
        still runs. Meanwhile there are answers to whoever asks about the process's health: the handler turns
        everybody else away."""
        self.pre_shutdown()
        try:
            async with asyncio.timeout(timeout_secs):
                await self._idle.wait()
        except TimeoutError:
            pass
        if self._listener is not None:
            self._listener.close()
        await self.shutdown(GRACE_SECS)

    def _has_room(self) -> bool:
        return len(self._connections) <= self._limits.connections_max

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection), "made by __call__"
        connection.request_began()
        self._inflight += 1
        self._idle.clear()
        try:
            return await self._answer(request)
        finally:
            connection.request_ended()
            self._inflight -= 1
            if self._inflight == 0:
                self._idle.set()
