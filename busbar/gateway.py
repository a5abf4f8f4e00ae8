"""The assembly: a configuration in, a running gateway out. The only place where the three rooms meet.

async with BusbarGateway(config) as gateway:
    print(gateway.url)
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from msgspec.structs import replace

from busbar.actors.faults import FaultBoard, Faults
from busbar.actors.gateway import Gateway, GatewayPolicy, SinkPlan
from busbar.actors.governance.messages import WhenReady
from busbar.actors.messages import Directory, Drain, Resolve
from busbar.actors.runtime import ActorSystem, InlineDispatcher, LoopClock, LoopRef
from busbar.actors.supervision import EscalatePolicy
from busbar.actors.traces import Traces
from busbar.config import Config
from busbar.http.admin import Admin
from busbar.http.administration import Administration
from busbar.http.admissions import Admissions
from busbar.http.auth import Doorkeeper, Keys
from busbar.http.control import Control
from busbar.http.destinations import Destinations
from busbar.http.dispatch import Controls, Dispatch
from busbar.http.faults import FaultyUpstream
from busbar.http.faults_admin import FaultsAdmin
from busbar.http.front import Front
from busbar.http.keys_admin import KeysAdmin
from busbar.http.lanes import build_lanes
from busbar.http.lean import AutoUpstream, LeanUpstream
from busbar.http.live import Live
from busbar.http.live_picture import Painter
from busbar.http.metrics_page import MetricsPage
from busbar.http.ports import Upstream
from busbar.http.prober import Probed, Prober
from busbar.http.relay import Relay
from busbar.http.routes import Routes
from busbar.http.tracing import Tracing
from busbar.http.travel import Means
from busbar.http.ui import Ui
from busbar.http.upstream_aiohttp import AiohttpUpstream
from busbar.plan import plan_of
from busbar.protocols.registry import PROTOCOLS
from busbar.telemetry.otel import OtlpExport, open_traces
from busbar.telemetry.request_logs import RequestLogs, open_request_logs

logger = logging.getLogger("busbar")

TRACES = "traces"
"""How the actor is called that exports them."""

READY_SECS = 60.0
"""How long the start waits for the governance database; a million rows of usage take about four seconds."""

if TYPE_CHECKING:
    from busbar.governance.assembly import Governed

_UPSTREAMS: Mapping[str, Callable[..., Upstream]] = {
    "lean": LeanUpstream,
    "aiohttp": AiohttpUpstream,
    "auto": AutoUpstream,
}
"""By the configuration's `upstream_engine`."""


class BusbarGateway:
    """One gateway in one process. `start` and `stop` may be used instead of `async with`."""

    def __init__(self, config: Config, *, breakable: bool = False) -> None:
        """Raises `MalformedCredential` when a provider's key cannot be sent as the provider wants it."""
        self._config = config
        self._breakable = breakable
        self._lanes = build_lanes(config)
        self.system = ActorSystem(
            clock=LoopClock(),
            random=random.SystemRandom(),
            dispatcher=InlineDispatcher(),
            policy=EscalatePolicy(),
        )
        self._root: LoopRef | None = None
        self._faults: LoopRef | None = None
        self._dispatch: Dispatch | None = None
        self._front: Front | None = None
        self._upstream: Upstream | None = None
        self._prober: Prober | None = None
        self._governed: Governed | None = None
        self._request_logs: RequestLogs | None = None
        self._spans: OtlpExport | None = None
        self._live: Live | None = None
        self.host = config.listen_host
        self.port = config.listen_port

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Makes the actors, then opens the door. Raises OSError when the address cannot be had, `StoreUnusable` when
        the governance database cannot, and what `plan_of` raises."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config, limits = self._config, self._config.limits
        self._governed = governed = _open_governance(config)
        self._request_logs = open_request_logs(config.observability)
        self._spans = open_traces(config)
        traces = () if self._spans is None else (SinkPlan(name=TRACES, actor=Traces, arguments=(self._spans,)),)
        plan = replace(
            plan_of(config),
            governance=None if governed is None else governed.plan,
            sinks=(*self._request_logs.sinks, *traces),
        )
        self._root = self.system.spawn(Gateway, plan, name="gateway", policy=GatewayPolicy())
        directory: Directory = await self._root.ask(Resolve())
        if governed is not None:
            await _ready(directory.governance["governance"])
        destinations = Destinations(config, directory)
        doorkeeper = self._doorkeeper(governed)
        board = FaultBoard()
        self._faults = self.system.spawn(Faults, board, tuple(self._lanes), name="faults", parent=self._root)
        self._upstream = FaultyUpstream(
            _UPSTREAMS[config.upstream_engine](
                connect_timeout_secs=limits.connect_timeout_secs, connections_max=limits.upstream_connections_max
            ),
            board,
            {model: lane.protocol for model, lane in self._lanes.items()},
            self.system.clock,
        )
        means = Means(
            destinations=destinations,
            lanes=self._lanes,
            doorkeeper=doorkeeper,
            upstream=self._upstream,
            continuity=directory.continuity,
            clock=self.system.clock,
            limits=limits,
            admissions=None if governed is None else self._admissions(governed, directory, destinations),
        )
        relay = Relay(means, directory.metrics, self._tracing())
        pages = self._pages(self._root, directory, destinations, doorkeeper, board)
        self._dispatch = dispatch = Dispatch(relay, Routes(PROTOCOLS.values()), pages, limits)
        self._front = Front(dispatch.handle, limits)
        self.host, self.port = await self._front.listen(self.host, self.port)
        self._prober = self._make_prober(directory, self._upstream)
        self._prober.start()

    async def stop(self) -> None:
        """Takes no more requests, lets running ones finish up to `limits.drain_timeout_secs` (meanwhile `/healthz`
        says 503), then stops the actors, children before their parents."""
        if self._root is not None:
            self._root.tell(Drain())
        if self._dispatch is not None:
            self._dispatch.draining = True
        if self._prober is not None:
            await self._prober.stop()
        if self._faults is not None:
            await self._faults.stop()  # lifts what is in force: nothing frozen is waited for
        if self._live is not None:
            self._live.close()  # an operator's page must not hold the stop up
        if self._front is not None:
            await self._front.drain(self._config.limits.drain_timeout_secs)
        if self._upstream is not None:
            await self._upstream.close()
        await self.system.stop()
        if self._governed is not None:  # first what must not be lost
            await asyncio.to_thread(self._governed.store.close)
        closing = [] if self._request_logs is None else [self._request_logs.close()]
        if self._spans is not None:
            closing.append(asyncio.to_thread(self._spans.close))
        await asyncio.gather(*closing)

    def _pages(
        self,
        root: LoopRef,
        directory: Directory,
        destinations: Destinations,
        doorkeeper: Doorkeeper,
        board: FaultBoard,
    ) -> Controls:
        """What is there besides the data plane."""
        config, system, governed = self._config, self.system, self._governed
        assert self._faults is not None, "it is started"
        control = Control(
            system=system,
            gateway=root,
            directory=directory,
            destinations=destinations,
            doorkeeper=doorkeeper,
            open_telemetry_routes=config.auth.open_telemetry_routes,
            faults=self._faults,
        )
        numbers = MetricsPage(system=system, gateway=root, directory=directory, refusal=control.refusal)
        painter = Painter(system=system, gateway=root, directory=directory, destinations=destinations, faults=board)
        self._live = live = Live(painter, control.refusal_of_keys)
        administration = None if governed is None else self._administration(governed, directory, destinations)
        token, patience_secs = config.governance.admin_token, config.limits.body_timeout_secs
        return {
            **control.pages,
            **numbers.pages,
            **live.pages,
            **Ui().pages,
            **Admin(token, directory, patience_secs).pages,
            **KeysAdmin(token, administration, patience_secs).pages,
            **FaultsAdmin(token, self._faults, patience_secs, open=self._breakable).pages,
        }

    def _tracing(self) -> Tracing | None:
        if self._spans is None:
            return None
        traces = next(ref for ref in self.system.children(self._root) if ref.name == TRACES)
        source = random.Random()  # noqa: S311  # ids are no secrets
        return Tracing(source, traces if self._config.observability.capture_content else None)

    def _doorkeeper(self, governed: Governed | None) -> Doorkeeper:
        auth, clock = self._config.auth, self.system.clock
        keys = None if governed is None else Keys(governed.keyring, clock, governed.pairs.secret)
        tokens = [token.reveal() for token in auth.client_tokens]
        return Doorkeeper(auth.mode, tokens, keys, self._config.governance.admin_token)

    def _admissions(self, governed: Governed, directory: Directory, destinations: Destinations) -> Admissions:
        return Admissions(
            directory.governance["governance"],
            governed.tariff,
            self.system.clock,
            self._lanes,
            destinations.pools,
            destinations.every,
        )

    def _administration(self, governed: Governed, directory: Directory, destinations: Destinations) -> Administration:
        return Administration(
            directory.governance["governance"],
            governed.tariff,
            self.system.clock,
            governed.pairs,
            destinations.names,
        )

    def _make_prober(self, directory: Directory, upstream: Upstream) -> Prober:
        providers = self._config.providers
        return Prober(
            [
                Probed(lane, directory.members[model], providers[lane.provider].health)
                for model, lane in self._lanes.items()
            ],
            upstream=upstream,
            continuity=directory.continuity,
            clock=self.system.clock,
            random=self.system.random,
            limits=self._config.limits,
        )

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


async def _ready(governance: LoopRef) -> None:
    """Waits for the keys to be read. A store that does not give them in time must not keep the door shut: until it
    does, callers are told so."""
    try:
        async with asyncio.timeout(READY_SECS):
            await governance.ask(WhenReady())
    except TimeoutError:
        logger.warning("the governance database has not been read yet: nobody is admitted until it is")
