"""The assembly: a configuration in, a running gateway out. The only place where the three rooms meet.

async with BusbarGateway(config) as gateway:
    print(gateway.url)
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from msgspec.structs import replace

from busbar.actors.credentials.wallet import CredentialPlan
from busbar.actors.faults import FaultBoard, Faults, Members
from busbar.actors.gateway import Gateway, GatewayPolicy, PolicyUnusable, SinkPlan
from busbar.actors.governance.messages import WhenReady
from busbar.actors.messages import Directory, Drain, Reload, Resolve
from busbar.actors.runtime import ActorSystem, InlineDispatcher, LoopClock, LoopRef
from busbar.actors.supervision import EscalatePolicy
from busbar.actors.traces import Traces
from busbar.config import Config
from busbar.config.reach import Reach
from busbar.credentials.assembly import credential_plans, wallets_of
from busbar.generation import Generation, Lanes, Lasting, Past
from busbar.http.config_admin import NotReloaded
from busbar.http.dispatch import Dispatch
from busbar.http.front import Front
from busbar.http.lanes import build_lanes
from busbar.http.lean import AutoUpstream, LeanUpstream
from busbar.http.ports import Upstream
from busbar.http.routes import Routes
from busbar.http.screen import Screen
from busbar.http.tracing import Tracing
from busbar.http.upstream_aiohttp import AiohttpUpstream
from busbar.plan import plan_of
from busbar.protocols.registry import PROTOCOLS
from busbar.reloading import Reloader
from busbar.telemetry.audit_log import AuditLog, open_audit_log
from busbar.telemetry.otel import OtlpExport, open_traces, places_of
from busbar.telemetry.request_logs import RequestLogs, open_request_logs

logger = logging.getLogger("busbar")

TRACES = "traces"
"""How the actor is called that exports them."""

READY_SECS = 60.0
"""How long the start waits for the governance database; a million rows of usage take about four seconds."""

if TYPE_CHECKING:
    from busbar.governance.assembly import Governed

_ENGINES: Mapping[str, Callable[..., Upstream]] = {
    "lean": LeanUpstream,
    "aiohttp": AiohttpUpstream,
    "auto": AutoUpstream,
}
"""By the configuration's `upstream_engine`."""


class BusbarGateway:
    """One gateway in one process. `start` and `stop` may be used instead of `async with`."""

    def __init__(self, config: Config, *, load: Callable[[], Config] | None = None, breakable: bool = False) -> None:
        """`load` reads the configuration again, for a reload; it runs in a thread, and raises what is wrong.

        Raises `MalformedCredential` when a provider's key cannot be sent as the provider wants it.
        """
        self._config = config
        self._breakable = breakable
        self._credentials = credential_plans(config)
        self._lanes = build_lanes(config, wallets_of(self._credentials))
        self.system = ActorSystem(
            clock=LoopClock(),
            random=random.SystemRandom(),
            dispatcher=InlineDispatcher(),
            policy=EscalatePolicy(),
        )
        self.reloader = Reloader(lambda: self.config, self._apply, load)
        self._root: LoopRef | None = None
        self._faults: LoopRef | None = None
        self._dispatch: Dispatch | None = None
        self._front: Front | None = None
        self._engine: Upstream | None = None
        self._governed: Governed | None = None
        self._request_logs: RequestLogs | None = None
        self._audit_log: AuditLog | None = None
        self._spans: OtlpExport | None = None
        self._lasting: Lasting | None = None
        self._generation: Generation | None = None
        self._past = Past()
        self._stopping = False
        self.host = config.listen_host
        self.port = config.listen_port

    @property
    def config(self) -> Config:
        """What is in effect."""
        return self._config

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._config.tls else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        """Makes the actors, then opens the door. Raises OSError when the address cannot be had, `StoreUnusable` when
        the governance database cannot, `AuditLogUnusable`, and what `plan_of` raises."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config, limits = self._config, self._config.limits
        reach = Reach(config.security.allow_private)
        self._audit_log = open_audit_log(config.observability.audit_log_file)
        self._governed = governed = _open_governance(config)
        self._request_logs = open_request_logs(config.observability, reach)
        self._spans = open_traces(config)
        traces = () if self._spans is None else (SinkPlan(name=TRACES, actor=Traces, arguments=(self._spans,)),)
        plan = replace(
            plan_of(config),
            governance=None if governed is None else governed.plan,
            credentials=tuple(self._credentials.values()),
            sinks=(*self._request_logs.sinks, *traces),
        )
        self._root = root = self.system.spawn(Gateway, plan, name="gateway", policy=GatewayPolicy())
        directory: Directory = await root.ask(Resolve())
        if governed is not None:
            await _ready(directory.governance["governance"])
        board = FaultBoard()
        self._faults = self.system.spawn(Faults, board, frozenset(self._lanes), name="faults", parent=root)
        self._engine = _ENGINES[config.upstream_engine](
            connect_timeout_secs=limits.connect_timeout_secs,
            connections_max=limits.upstream_connections_max,
            reach=reach,
        )
        self._lasting = lasting = Lasting(
            system=self.system,
            root=root,
            faults=self._faults,
            board=board,
            engine=self._engine,
            tracing=self._tracing(),
            reloading=self.reloader,
            breakable=self._breakable,
            started_at=time.monotonic(),
        )
        lanes = Lanes(self._lanes, plan.members)
        self._generation = generation = Generation(config, lanes, directory, governed, lasting)
        generation.prober.start()
        self._dispatch = Dispatch(generation.shift, Routes(PROTOCOLS.values()))
        self._front = Front(Screen(self._dispatch.handle, lambda: self.config).handle, limits, self._dispatch)
        shared = config.worker is not None
        self.host, self.port = await self._front.listen(self.host, self.port, config.tls, shared=shared)
        if config.worker is not None and config.workers_control is not None:
            host, first_port = config.workers_control
            try:
                await self._front.listen(host, first_port + config.worker - 1, config.tls)
            except OSError as error:
                what = f"workers_control of worker {config.worker}: {error.strerror or error}"
                raise OSError(error.errno, what) from None

    async def _apply(self, config: Config) -> int:
        """Makes `config` what is in effect; gives its number. Raises before anything has changed, or not at all:
        `MalformedCredential`, `PolicyRejected`, `PolicyUnusable`, `NotReloaded`."""
        if self._stopping or self._generation is None:
            raise NotReloaded(["the gateway is stopping" if self._stopping else "the gateway has not started yet"])
        lasting, before = self._lasting, self._generation
        assert lasting is not None, "it has started"
        assert self._dispatch is not None, "so it serves"
        assert self._front is not None, "whoever comes"
        credentials = credential_plans(config, self._credentials_of_same_accounts(config))
        made, plan = build_lanes(config, wallets_of(credentials)), plan_of(config)
        governed = None if self._governed is None else _with_prices_of(self._governed, config)
        plan = replace(
            plan,
            governance=None if governed is None else governed.plan,
            credentials=tuple(credentials.values()),
        )
        # From the moment that a pool knows a new member, requests of before may get it.
        before.lanes.later = lanes = Lanes(made, plan.members)
        try:
            directory: Directory = await lasting.root.ask(Reload(plan))
        except PolicyUnusable:
            before.lanes.later = None
            raise
        lasting.faults.tell(Members(frozenset(made)))
        if self._spans is not None:
            self._spans.learn(places_of(config))
        self._config, self._governed, self._credentials = config, governed, credentials
        self._generation = generation = Generation(config, lanes, directory, governed, lasting)
        self._dispatch.shift = generation.shift
        self._front.limits = config.limits
        before.live.end()  # pages that look come back, and see the new one
        if not self._stopping:
            generation.prober.start()
        await before.prober.stop()
        self._past.add(before, directory)
        return directory.generation

    def _credentials_of_same_accounts(self, config: Config) -> dict[str, CredentialPlan]:
        """What another address thought of a key, this one need not."""
        before = self._config.providers
        return {
            name: plan
            for name, plan in self._credentials.items()
            if name in config.providers and config.providers[name].base_url == before[name].base_url
        }

    async def stop(self) -> None:
        """Takes no more requests, lets running ones finish up to `limits.drain_timeout_secs` (meanwhile `/healthz`
        says 503), then stops the actors, children before their parents."""
        self._stopping = True
        if self._root is not None:
            self._root.tell(Drain())
        if self._dispatch is not None:
            self._dispatch.draining = True
        if self._generation is not None:
            await self._generation.prober.stop()
        if self._faults is not None:
            await self._faults.stop()  # lifts what is in force: nothing frozen is waited for
        if self._generation is not None:
            self._generation.live.close()  # an operator's page must not hold the stop up
        if self._front is not None:
            await self._front.drain(self._config.limits.drain_timeout_secs)
        if self._engine is not None:
            await self._engine.close()
        await self.system.stop()
        if self._governed is not None:  # first what must not be lost
            await asyncio.to_thread(self._governed.store.close)
        closing = [] if self._request_logs is None else [self._request_logs.close()]
        if self._spans is not None:
            closing.append(asyncio.to_thread(self._spans.close))
        if self._audit_log is not None:
            closing.append(asyncio.to_thread(self._audit_log.close))
        await asyncio.gather(*closing)

    def _tracing(self) -> Tracing | None:
        if self._spans is None:
            return None
        traces = next(ref for ref in self.system.children(self._root) if ref.name == TRACES)
        source = random.Random()  # noqa: S311  # ids are no secrets
        return Tracing(source, traces if self._config.observability.capture_content else None)

    async def __aenter__(self) -> BusbarGateway:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _open_governance(config: Config) -> Governed | None:
    if not config.governance.enabled:
        return None
    from busbar.governance.assembly import open_governance  # SQLite is imported only where it is used

    return open_governance(config)


def _with_prices_of(governed: Governed, config: Config) -> Governed:
    from busbar.governance.tariff import tariff_of

    return replace(governed, tariff=tariff_of(config))


async def _ready(governance: LoopRef) -> None:
    """Waits for the keys to be read. A store that does not give them in time must not keep the door shut: until it
    does, callers are told so."""
    try:
        async with asyncio.timeout(READY_SECS):
            await governance.ask(WhenReady())
    except TimeoutError:
        logger.warning("the governance database has not been read yet: nobody is admitted until it is")
