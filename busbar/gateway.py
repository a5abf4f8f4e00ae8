"""The assembly: a configuration in, a running gateway out. The only place where the three rooms meet.

async with BusbarGateway(config) as gateway:
    print(gateway.url)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import TracebackType

from busbar.actors.gateway import Gateway, GatewayPlan, PoolLine, PoolPlan
from busbar.actors.member import MemberSpec
from busbar.actors.messages import Directory, Drain, Resolve, Terms, Timeouts
from busbar.actors.runtime import ActorSystem, InlineDispatcher, LoopClock, LoopRef
from busbar.actors.selection import Price
from busbar.actors.supervision import EscalatePolicy
from busbar.config import Config, PoolConfig
from busbar.config.schema import MemberConfig, ModelConfig
from busbar.http.admin import Admin
from busbar.http.auth import Doorkeeper
from busbar.http.control import Control
from busbar.http.destinations import Destinations
from busbar.http.dispatch import Dispatch
from busbar.http.front import Front
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
        self.host = config.listen_host
        self.port = config.listen_port

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Makes the actors, then opens the door. Raises OSError when the address cannot be had, and what `plan_of`
        raises."""
        config, limits = self._config, self._config.limits
        self._root = self.system.spawn(Gateway, plan_of(config), name="gateway")
        directory: Directory = await self._root.ask(Resolve())
        destinations = Destinations(config, directory)
        doorkeeper = Doorkeeper(config.auth.mode, [token.reveal() for token in config.auth.client_tokens])
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
        pages = {**control.pages, **admin.pages}
        self._dispatch = dispatch = Dispatch(relay, Routes(PROTOCOLS.values()), pages, limits)
        self._front = Front(dispatch.handle, limits)
        try:
            self.host, self.port = await self._front.listen(self.host, self.port)
        except OSError:
            await self.stop()
            raise
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
                price=_price(config, member.target),
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
    priced = config.governance.prices.get(model)
    return None if priced is None else Price(input=priced.input, output=priced.output)
