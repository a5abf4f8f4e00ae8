"""The one table of paths: control pages by method and path, the data plane by the dialects' own routes.

This is the boundary: whatever goes wrong inside reaches a caller as a native error, never as a traceback.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from aiohttp import web

from busbar.config.schema import LimitsConfig
from busbar.http.exchange import AiohttpExchange, PlainExchange
from busbar.http.plain import Head
from busbar.http.ports import CallerGone
from busbar.http.relay import Relay
from busbar.http.reports import NOTHING_HERE, SHUTTING_DOWN
from busbar.http.routes import Routes, Target
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.protocol import Hop
from busbar.protocols.registry import by_headers

logger = logging.getLogger("busbar.http")

AnyExchange: TypeAlias = AiohttpExchange | PlainExchange
Control: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Controls: TypeAlias = Mapping[tuple[str, str], Control]
"""Control pages by method and path. A path that ends in a slash stands for everything beneath it; of several that
fit, the longest answers. What is beneath, the page gets from `beneath`."""


def beneath(request: web.BaseRequest, prefix: str) -> str:
    """The part of the request's path after `prefix`, with percent-escapes as they were sent."""
    return request.raw_path.partition("?")[0].removeprefix(prefix)


class Shift:
    """What answers requests from one reload to the next: the `relay`, and `controls`."""

    def __init__(self, relay: Relay, controls: Controls, limits: LimitsConfig) -> None:
        self.relay = relay
        self.controls = controls
        self.limits = limits
        self.running = 0
        """Requests that came in it and are not over."""
        prefixes = [page for page in controls.items() if page[0][1].endswith("/")]
        self._prefixes = sorted(prefixes, key=lambda page: len(page[0][1]), reverse=True)
        self._on_idle: Callable[[], None] | None = None

    def end(self, on_idle: Callable[[], None]) -> None:
        """No more requests come in it. `on_idle` is called when none is left, be it now."""
        self._on_idle = on_idle
        self._look()

    def left(self) -> None:
        """A request is over."""
        self.running -= 1
        self._look()

    def control(self, method: str, path: str) -> Control | None:
        if (exact := self.controls.get((method, path))) is not None:
            return exact
        return next((page for (verb, known), page in self._prefixes if verb == method and _fits(known, path)), None)

    def _look(self) -> None:
        if self._on_idle is not None and not self.running:
            self._on_idle()


class Dispatch:
    """Answers any request that the front accepts."""

    def __init__(self, shift: Shift, routes: Routes) -> None:
        self._routes = routes
        self.shift = shift
        """This one answers every request that comes from now on."""
        self.draining = False
        """Whether the process is about to go: requests are turned away, control pages still answer."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        shift = self.shift
        shift.running += 1
        try:
            return await self._handle(shift, request)
        finally:
            shift.left()

    async def _handle(self, shift: Shift, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        control = shift.control(request.method, path)
        if control is not None:
            return await control(request)
        target = self._routes.match(path)
        if target is None or request.method != "POST":
            return self._unrouted(shift, request, path, target)
        exchange = AiohttpExchange(
            request,
            body_max_bytes=shift.limits.body_max_bytes,
            body_timeout_secs=shift.limits.body_timeout_secs,
        )
        try:
            await self._serve(shift, exchange, target)
        except CallerGone:
            # aiohttp knows cancellation as the sign that there is nobody left to answer.
            raise asyncio.CancelledError from None
        return exchange.response

    def takes(self, head: Head, body_bytes: int) -> bool:
        shift = self.shift
        if head.shift is not shift:
            head.shift, head.memo = shift, {}
            head.target = None if shift.control("POST", head.path) is not None else self._routes.match(head.path)
        return head.target is not None and body_bytes <= shift.limits.body_max_bytes and not self.draining

    async def answer(self, exchange: PlainExchange) -> None:
        shift, target = self.shift, exchange.head.target
        assert target is not None, "takes() has said so"
        shift.running += 1
        try:
            await self._serve(shift, exchange, target)
        except CallerGone:
            pass
        finally:
            shift.left()

    async def _serve(self, shift: Shift, exchange: AnyExchange, target: Target) -> None:
        """Raises `CallerGone`."""
        relay = shift.relay
        request_id = relay.next_id()
        try:
            if self.draining:
                await relay.refuse(exchange, target.ingress, SHUTTING_DOWN, request_id)
                await exchange.end(close=True)
            else:
                await relay.serve(exchange, target, request_id)
        except CallerGone:
            raise
        except Exception:
            logger.exception("%s failed unexpectedly", request_id)
            await _apologise(relay, exchange, target, request_id)

    def _unrouted(
        self, shift: Shift, request: web.BaseRequest, path: str, target: Target | None
    ) -> web.StreamResponse:
        """No such path, or not by this method: told in the dialect that the path or the headers show."""
        if request.headers.get("upgrade", "").lower() == "websocket":
            # Clients that try a socket first fall back to POST at once when they are told so.
            return web.Response(status=426, headers={"connection": "close"})
        allowed = ["POST"] if target is not None else [verb for verb, known in shift.controls if _fits(known, path)]
        if allowed:
            report = ErrorReport(
                kind=ErrorKind.BAD_REQUEST, status=405, message=f"{request.method} is not allowed here."
            )
        else:
            report = NOTHING_HERE
        dialect = by_headers(request.headers) if target is None else target.ingress
        answer = dialect.write_error(report, Hop())
        headers = {**answer.headers, "allow": ", ".join(allowed)} if allowed else answer.headers
        return web.Response(status=answer.status, headers=headers, body=answer.body)


async def _apologise(relay: Relay, exchange: AnyExchange, target: Target, request_id: str) -> None:
    """For a mistake of ours. Raises `CallerGone`."""
    if exchange.answered:
        await exchange.end(close=True)
        return
    report = ErrorReport(kind=ErrorKind.UPSTREAM, status=500, message="An internal error occurred.")
    await relay.refuse(exchange, target.ingress, report, request_id)


def _fits(known: str, path: str) -> bool:
    """Whether the page at `known` answers `path`."""
    return known == path if not known.endswith("/") else path.startswith(known)
