"""The front: aiohttp's low-level server, and past it the way of plain requests. It accepts, counts, and drains; what
to answer is the business of its handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web

from busbar.config.schema import LimitsConfig, TlsConfig
from busbar.http.connection import Connection
from busbar.http.exchange import PlainExchange
from busbar.http.outbox import Outbox
from busbar.http.plain import Head
from busbar.http.tls import server_context

BACKLOG = 1024
GRACE_SECS = 0.1
"""For connections to close at the end of a drain, before they are cut. (0 would mean for ever.)"""

FAREWELL_SECS = 5.0
"""For a caller to answer the end of TLS; most do not care to."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class PlainHandler(Protocol):
    """Answers plain requests."""

    def takes(self, head: Head, body_bytes: int) -> bool:
        """Whether it answers such a one now."""
        ...

    async def answer(self, exchange: PlainExchange) -> None:
        """Whatever happens, but for the caller that goes away: then it is cancelled."""
        ...


class Front(web.Server):
    """A factory of connections. A handler is cancelled when its caller goes away. `plain`: answers plain requests;
    None: `handler` answers them, too."""

    def __init__(self, handler: Handler, limits: LimitsConfig, plain: PlainHandler | None = None) -> None:
        super().__init__(self._serve, handler_cancellation=True)
        self._answer = handler
        self._plain = plain
        self.limits = limits
        """Connections that are made from now on are held to these."""
        self._outbox = Outbox(asyncio.get_running_loop())
        self._inflight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._listeners: list[asyncio.Server] = []

    @property
    def inflight(self) -> int:
        """Requests being answered."""
        return self._inflight

    def __call__(self) -> Connection:
        outbox = self._outbox
        return Connection(self, outbox.loop, limits=self.limits, has_room=self._has_room, door=self, outbox=outbox)

    async def listen(
        self, host: str, port: int, tls: TlsConfig | None = None, *, shared: bool = False
    ) -> tuple[str, int]:
        """Gives the address that it got (`port` 0: any). `shared`: other processes listen there, too. May be called
        again, for another address. Raises OSError, `TlsUnusable` among them."""
        listener = await self._outbox.loop.create_server(
            self,
            host,
            port,
            backlog=BACKLOG,
            reuse_port=shared or None,
            **_tls_arguments(tls, self.limits.header_timeout_secs),
        )
        self._listeners.append(listener)
        address: tuple[str, int] = listener.sockets[0].getsockname()[:2]
        return address

    async def drain(self, timeout_secs: float) -> None:
        """Closes idle connections, lets running requests finish for so long, then closes the door and cancels what
        still runs. Meanwhile there are answers to whoever asks about the process's health: the handler turns
        everybody else away."""
        self.pre_shutdown()
        await asyncio.sleep(0)  # what has just come begins to be answered
        try:
            async with asyncio.timeout(timeout_secs):
                await self._idle.wait()
        except TimeoutError:
            pass
        for listener in self._listeners:
            listener.close()
        await self.shutdown(GRACE_SECS)

    def begin(self, connection: Connection, head: Head, first: bytes, missing_bytes: int) -> PlainExchange | None:
        """A plain request has come; see `connection.Door`."""
        plain = self._plain
        if plain is None or not plain.takes(head, len(first) + missing_bytes):
            return None
        exchange = PlainExchange(connection, head, first, missing_bytes, self.limits.body_timeout_secs)
        exchange.task = self._outbox.loop.create_task(self._serve_plain(plain, connection, exchange))
        return exchange

    def _has_room(self) -> bool:
        return len(self._connections) <= self.limits.connections_max

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection), "made by __call__"
        connection.request_began()
        self._began()
        try:
            return await self._answer(request)
        finally:
            connection.request_ended()
            self._ended()

    async def _serve_plain(self, plain: PlainHandler, connection: Connection, exchange: PlainExchange) -> None:
        self._began()
        try:
            await plain.answer(exchange)
        finally:
            self._ended()
            connection.plain_over(exchange)

    def _began(self) -> None:
        if not self._inflight:
            self._idle.clear()
        self._inflight += 1

    def _ended(self) -> None:
        self._inflight -= 1
        if not self._inflight:
            self._idle.set()


def _tls_arguments(tls: TlsConfig | None, handshake_timeout_secs: float) -> dict[str, Any]:
    if tls is None:
        return {}
    return {
        "ssl": server_context(tls),
        "ssl_handshake_timeout": handshake_timeout_secs,
        "ssl_shutdown_timeout": FAREWELL_SECS,
    }
