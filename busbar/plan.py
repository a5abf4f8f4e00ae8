"""From a configuration to the tree of actors that it describes."""

from __future__ import annotations

from msgspec.structs import replace

from busbar.actors.gateway import GatewayPlan, PoolLine, PoolPlan
from busbar.actors.member import MemberSpec
from busbar.actors.messages import Terms, Timeouts
from busbar.actors.selection import Price
from busbar.config import Config, PoolConfig, Secret
from busbar.config.prices import price_of
from busbar.config.schema import HealthConfig, MemberConfig, ModelConfig, ProviderConfig
from busbar.protocols.registry import PROTOCOLS
from busbar.supervision import breaker_settings, find_policy


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
                identity=(_reached_by(config.providers[model.provider]), model.upstream_model),
            )
            for model in config.models.values()
        ),
        pools=tuple(_pool_plan(pool, config) for pool in config.pools.values()),
        direct={model.name: Terms(timeouts=_timeouts(model)) for model in config.models.values()},
        protocols=tuple(PROTOCOLS),
    )


def _reached_by(provider: ProviderConfig) -> ProviderConfig:
    """The account, its address and its credential: without what may change under a member that knows it."""
    return replace(
        provider,
        body={},
        health=HealthConfig(),
        error_map={},
        error_status={},
        error_texts={},
        headers={name: value for name, value in provider.headers.items() if isinstance(value, Secret)},
        display_name="",
        docs=None,
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
