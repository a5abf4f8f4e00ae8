"""The control plane's pages: health, state, and the list of models."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from busbar import __version__
from busbar.actors.journal import REQUESTS_KEPT
from busbar.actors.messages import Directory, Snapshot
from busbar.actors.runtime import ActorSystem, LoopRef
from busbar.actors.telemetry import Find, Recent
from busbar.http import traces
from busbar.http.auth import Doorkeeper, NotReady, Refused
from busbar.http.denials import STORE_FAILS
from busbar.http.destinations import Destinations
from busbar.http.dispatch import Controls, beneath
from busbar.http.exchange import AiohttpExchange
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.protocol import Hop, Protocol
from busbar.protocols.registry import by_headers, own_model_lists

REQUESTS = "/stats/requests/"
REQUESTS_SHOWN = 50
"""Of the latest, when nobody says how many."""

_encode = msgspec.json.Encoder().encode


class Control:
    """Asks actors, shows answers. Reading changes nothing: a page can be scraped a thousand times a second."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        gateway: LoopRef,
        directory: Directory,
        destinations: Destinations,
        doorkeeper: Doorkeeper,
        open_telemetry_routes: bool,
        faults: LoopRef,
        started_at: float,
        worker: str | None = None,
    ) -> None:
        """`started_at`: of the process, by the monotonic clock. `worker`: which of several it is."""
        self._system = system
        self._gateway = gateway
        self._directory = directory
        self._destinations = destinations
        self._doorkeeper = doorkeeper
        self._open = open_telemetry_routes
        self._faults = faults
        self._started_at = started_at
        self._worker = worker

    @property
    def pages(self) -> Controls:
        return {
            ("GET", "/healthz"): self.healthz,
            ("HEAD", "/healthz"): self.healthz,
            ("GET", "/stats"): self.stats,
            ("GET", "/stats/requests"): self.requests,
            ("GET", REQUESTS): self.request,
            ("GET", "/v1/models"): self.models,
            ("HEAD", "/api/hello"): self.hello,
            **{("GET", path): partial(self._models, dialect) for path, dialect in own_model_lists().items()},
        }

    async def healthz(self, _request: web.BaseRequest) -> web.Response:
        """200 while any member could take a request and the process is not about to go. Open to everybody."""
        gateway = await self._gateway.ask(Snapshot())
        if gateway["draining"]:
            return web.Response(status=503, text="draining\n")
        if any(member["usable"] for member in await self._members()):
            return web.Response(text="ok\n")
        return web.Response(status=503, text="no member is usable\n")

    async def hello(self, _request: web.BaseRequest) -> web.Response:
        """A coding agent's start-up probe."""
        return web.Response()

    async def stats(self, request: web.BaseRequest) -> web.Response:
        return self.refusal(request) or _json(await self.snapshot())

    async def requests(self, request: web.BaseRequest) -> web.Response:
        """The latest requests, newest first; `?limit=` says how many."""
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        limit = request.query.get("limit", str(REQUESTS_SHOWN))
        if not re.fullmatch(r"[0-9]{1,4}", limit):
            return _error(f"limit: expected a number from 0 to {REQUESTS_KEPT}", status=400)
        return _json(traces.recent(await self._directory.metrics.ask(Recent(int(limit)))))

    async def request(self, request: web.BaseRequest) -> web.Response:
        """Why one request went where it went, by its `x-busbar-request-id`."""
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        found = await self._directory.metrics.ask(Find(beneath(request, REQUESTS)))
        if found is None:
            return _error(f"There is no such request among the latest {REQUESTS_KEPT}.", status=404)
        return _json(traces.trace(found))

    def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a caller who may not see what concerns operators only."""
        if self._open:
            return None
        # Passthrough knows no key of its own, so nobody could be told from anybody.
        if self._doorkeeper.passthrough:
            return _error("Set auth.open_telemetry_routes to see this.", status=403)
        if self._doorkeeper.governed:  # a virtual key is a caller's, not an operator's
            allowed = self._doorkeeper.is_operator(request.headers, request.query)
            return None if allowed else _error("The admin token is missing or not valid.", status=401)
        try:
            self._doorkeeper.admit(request.headers, request.query)
        except Refused as refused:
            return _error(str(refused), status=401)
        return None

    def refusal_of_keys(self, request: web.BaseRequest) -> web.Response | None:
        """The same where virtual keys are named: those are shown to operators only, however open the rest is."""
        if self._doorkeeper.governed and not self._doorkeeper.is_operator(request.headers, request.query):
            return _error("The admin token is missing or not valid.", status=401)
        return self.refusal(request)

    async def snapshot(self) -> dict[str, Any]:
        """The whole state, as `/stats` shows it."""
        directory = self._directory
        return {
            "version": __version__,
            **({} if self._worker is None else {"worker": self._worker}),
            "uptime_s": round(time.monotonic() - self._started_at, 3),
            "gateway": await self._gateway.ask(Snapshot()),
            "pools": {name: await ref.ask(Snapshot()) for name, ref in directory.pools.items()},
            "members": await self._members(),
            "actors": [msgspec.to_builtins(actor) for actor in self._system.snapshot()],
            "process": {"tasks": len(asyncio.all_tasks())},
            "metrics": await directory.metrics.ask(Snapshot()),
            "continuity": await directory.continuity.ask(Snapshot()),
            "sinks": {ref.name: await ref.ask(Snapshot()) for ref in directory.sinks if ref.is_alive()},
            "faults": await self._faults.ask(Snapshot()) if self._faults.is_alive() else None,
            "credentials": {
                name: await ref.ask(Snapshot()) for name, ref in directory.credentials.items() if ref.is_alive()
            },
            **{name: await ref.ask(Snapshot()) for name, ref in directory.governance.items() if ref.is_alive()},
        }

    async def _members(self) -> list[dict[str, Any]]:
        """Each member's own words; of one that is no more, that it is."""
        return [
            await ref.ask(Snapshot()) if ref.is_alive() else {"model": name, "usable": False, "availability": "dead"}
            for name, ref in self._directory.members.items()
        ]

    async def models(self, request: web.BaseRequest) -> web.Response:
        """On the shared path: in the shape of the dialect that the headers show."""
        return await self._models(by_headers(request.headers), request)

    async def _models(self, dialect: Protocol, request: web.BaseRequest) -> web.Response:
        """The names that may be asked for, pools first."""
        hop = Hop(now=int(time.time()))
        report: ErrorReport | None = None
        names: Sequence[str] = self._destinations.names
        try:
            caller = self._doorkeeper.admit(request.headers, request.query)
            self._doorkeeper.verify(caller, AiohttpExchange(request, body_max_bytes=0, body_timeout_secs=1), b"")
            if caller.virtual is not None and caller.virtual.allowed_pools is not None:
                names = [name for name in names if name in caller.virtual.allowed_pools]
        except NotReady:
            report = STORE_FAILS
        except Refused as refused:
            report = ErrorReport(kind=ErrorKind.UNAUTHENTICATED, message=str(refused), should_retry=False)
        if report is not None:
            error = dialect.write_error(report, hop)
            return web.Response(status=error.status, headers=error.headers, body=error.body)
        return _json(dialect.write_models(names, hop))


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_encode(value), content_type="application/json")


def _error(message: str, *, status: int) -> web.Response:
    return _json({"error": {"message": message}}, status=status)
