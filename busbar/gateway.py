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

from busbar.actors.gateway import Gateway, GatewayPlan, PoolLine, PoolPlan
from busbar.actors.governance.messages import WhenReady
from busbar.actors.member import MemberSpec
from busbar.actors.messages import Directory, Drain, Resolve, Terms, Timeouts
from busbar.actors.runtime import ActorSystem, InlineDispatcher, LoopClock, LoopRef
from busbar.actors.selection import Price
from busbar.actors.supervision import EscalatePolicy
from busbar.config import Config, PoolConfig
from busbar.config.prices import price_of
from busbar.config.schema import MemberConfig, ModelConfig
from busbar.http.admin import Admin
from busbar.http.administration import Administration
from busbar.http.admissions import Admissions
from busbar.http.auth import Doorkeeper, Keys
from busbar.http.control import Control
from busbar.http.destinations import Destinations
from busbar.http.dispatch import Dispatch
from busbar.http.front import Front
from busbar.http.keys_admin import KeysAdmin
from busbar.http.lanes import build_lanes
from busbar.http.lean import AutoUpstream, LeanUpstream
from busbar.http.ports import Upstream
from busbar.http.prober import Probed, Prober
from busbar.http.relay import Relay
from busbar.http.routes import Routes
from busbar.http.travel import Means
from busbar.http.upstream_aiohttp import AiohttpUpstream
from busbar.protocols.registry import PROTOCOLS
from busbar.supervision import breaker_settings, find_policy

logger = logging.getLogger("busbar")

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

    def __init__(self, config: Config) -> None:
        """Raises `MalformedCredential` when a provider's key cannot be sent as the provider wants it."""
        self._config = config
        self._lanes = build_lanes(config)
        self.system = ActorSystem(
            clock=LoopClock(),
            random=random.SystemRandom(),
            dispatcher=InlineDispatcher(),
            policy=EscalatePolicy(),
        )
        self._root: LoopRef | None = None
        self._dispatch: Dispatch | None = None
        self._front: Front | None = None
        self._upstream: Upstream | None = None
        self._prober: Prober | None = None
        self._governed: Governed | None = None
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
        plan = plan_of(config) if governed is None else replace(plan_of(config), governance=governed.plan)
        self._root = self.system.spawn(Gateway, plan, name="gateway")
        directory: Directory = await self._root.ask(Resolve())
        if governed is not None:
            await _ready(directory.governance["governance"])
        destinations = Destinations(config, directory)
        doorkeeper = self._doorkeeper(governed)
        self._upstream = _UPSTREAMS[config.upstream_engine](
            connect_timeout_secs=limits.connect_timeout_secs, connections_max=limits.upstream_connections_max
        )
        means = Means(
            destinations=destinations,
            lanes=self._lanes,
            doorkeeper=doorkeeper,
            upstream=self._upstream,
            continuity=directory.continuity,
            clock=self.system.clock,
            limits=limits,
            admissions=None if governed is None else self._admissions(directory, destinations),
        )
        relay = Relay(means, directory.metrics)
        control = Control(
            system=self.system,
            gateway=self._root,
            directory=directory,
            destinations=destinations,
            doorkeeper=doorkeeper,
            open_telemetry_routes=config.auth.open_telemetry_routes,
        )
        admin = Admin(config.governance.admin_token, directory, limits.body_timeout_secs)
        keys_admin = KeysAdmin(
            config.governance.admin_token,
            None if governed is None else self._administration(governed, directory, destinations),
            limits.body_timeout_secs,
        )
        pages = {**control.pages, **admin.pages, **keys_admin.pages}
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
        if self._front is not None:
            await self._front.drain(self._config.limits.drain_timeout_secs)
        if self._upstream is not None:
            await self._upstream.close()
        await self.system.stop()
        if self._governed is not None:
            await asyncio.to_thread(self._governed.store.close)

    def _doorkeeper(self, governed: Governed | None) -> Doorkeeper:
        auth, clock = self._config.auth, self.system.clock
        keys = None if governed is None else Keys(governed.keyring, clock, governed.pairs.secret)
        tokens = [token.reveal() for token in auth.client_tokens]
        return Doorkeeper(auth.mode, tokens, keys, self._config.governance.admin_token)

    def _admissions(self, directory: Directory, destinations: Destinations) -> Admissions:
        return Admissions(
            directory.governance["governance"],
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


def plan_of(config: Config) -> GatewayPlan:
    """The tree of actors that a configuration describes. Raises `busbar.supervision.PolicyRejected`, which no
    configuration does that was loaded with `check_pools`."""
    return GatewayPlan(
        members=tuple(
            MemberSpec(
                model=model.name,
                provider=model.provider,
                protocol=config.providers[model.provider].protocol,
                max_concurrent=model.max_concurrent,
                max_requests=model.max_requests,
            )
            for model in config.models.values()
        ),
        pools=tuple(_pool_plan(pool, config) for pool in config.pools.values()),
        direct={model.name: Terms(timeouts=_timeouts(model)) for model in config.models.values()},
    )


def _pool_plan(pool: PoolConfig, config: Config) -> PoolPlan:
    return PoolPlan(
        name=pool.name,
        members=tuple(
            PoolLine(
                model=member.target,
                weight=member.weight,
                excluded=member.target in pool.failover.exclusions,
                terms=Terms(
                    context_max=member.context_max,
                    timeouts=_timeouts(config.models[member.target], member),
                ),
                price=_price(config, member.target) if pool.strategy == "cheapest" else None,
            )
            for member in pool.members
        ),
        breaker=breaker_settings(pool.breaker),
        policy=find_policy(pool),
        strategy=pool.strategy,
        least_bad=pool.on_exhausted.action == "least_bad",
        queue_secs=pool.on_exhausted.queue_secs,
    )


def _timeouts(model: ModelConfig, member: MemberConfig | None = None) -> Timeouts:
    """The model's, each of which a pool's member may override."""

    def limit(name: str) -> int | None:
        own: int | None = getattr(member, name, None)
        return getattr(model, name) if own is None else own

    return Timeouts(
        attempt_ms=limit("attempt_timeout_ms"),
        first_token_ms=limit("first_token_timeout_ms"),
        stall_ms=limit("stall_timeout_ms"),
    )


def _price(config: Config, model: str) -> Price | None:
    """By which `cheapest` picks."""
    own = config.models[model]
    priced = price_of(own, config.providers[own.provider], config.governance.prices)
    return None if priced is None else Price(input=priced.input, output=priced.output)
