"""The lean upstream: the `Upstream` port over kept connections, for plain http and https without a proxy."""

from __future__ import annotations

import asyncio

from busbar.config.reach import Reach
from busbar.http.lean.dial import Dialer, SessionContext
from busbar.http.lean.pool import ConnectionPool
from busbar.http.lean.target import METHODS, Origin, Targets, Unusual, opening, whole_head
from busbar.http.ports import UpstreamAnswer, UpstreamBroken, UpstreamRequest
from busbar.reached import Lookup

_KEPT = "lean"
"""Under this name a request's origin and the opening of its head are kept."""

STALE_TRIES = 3
"""How often a request is sent at most, when it meets connections that the provider has just closed."""


class LeanUpstream:
    """No cookies, no redirects, no proxies; identity bodies are asked for by whoever asks, gzip and deflate read."""

    def __init__(
        self,
        *,
        connect_timeout_secs: float,
        connections_max: int,
        reach: Reach | None = None,
        context: SessionContext | None = None,
    ) -> None:
        """`reach`: whom it may call. `context`: TLS with other roots than the system's."""
        self._targets = Targets()
        dialer = Dialer(connect_timeout_secs, Lookup(reach or Reach(), "provider"), context)
        self._pool = ConnectionPool(dialer, connections_max)

    def takes(self, request: UpstreamRequest) -> bool:
        """Whether it is one that `send` does not refuse as `Unusual`."""
        try:
            self._targets.of(request.url)
        except Unusual:
            return False
        return request.method in METHODS

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Raises `UpstreamBroken`, `Unusual`, and ValueError when a header has a line break in it."""
        kept = request.kept
        origin, opened = (kept and kept.get(_KEPT)) or self._prepare(request)
        head = whole_head(opened, request)
        tries = 1
        while True:
            connection = self._pool.take(origin) or await self._pool.open(origin)
            if request.on_connected is not None:
                request.on_connected()
            asked = connection.ask(head, request.body)
            try:
                return await asked
            except UpstreamBroken:
                # The provider closed an idle connection just as it was used again. Not one byte of an answer came,
                # so the request is sent once more (RFC 9112 §9.3.1); a new connection is never given a second try.
                if connection.answered or connection.requests == 1 or tries == STALE_TRIES:
                    raise
                tries += 1
            except asyncio.CancelledError:
                if asked.cancelled():
                    connection.abort()
                elif asked.exception() is None:
                    asked.result().close()  # it came just now; if whole, the connection may be another's already
                raise

    def _prepare(self, request: UpstreamRequest) -> tuple[Origin, bytes]:
        target = self._targets.of(request.url)
        if request.method not in METHODS:
            raise Unusual(request.method)
        prepared = target.origin, opening(request, target)
        if request.kept is not None:
            request.kept[_KEPT] = prepared
        return prepared

    async def close(self) -> None:
        self._pool.close()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn
