"""From a name to the actor that routes it: a pool first, then a model. Read-only; made from the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from busbar.actors.journey import Destination
from busbar.actors.messages import Directory
from busbar.actors.runtime import LoopRef
from busbar.actors.telemetry import Line, Listing
from busbar.config import Config, PoolConfig
from busbar.config.schema import FailoverConfig


class UnknownName(Exception):
    """There is no pool, model or provider of that name."""


class NotOwned(Exception):
    """The provider that the path names does not serve the model that it names."""


class Destinations:
    """All of them, by name."""

    def __init__(self, config: Config, directory: Directory) -> None:
        direct = FailoverConfig()
        self._owners = {model.name: model.provider for model in config.models.values()}
        self._providers = set(config.providers)
        self._models = {
            name: Destination(
                name=name,
                ref=ref,
                deadline_secs=direct.deadline_secs,
                cap=direct.cap,
                listing=Listing(lines=(Line(member=name, protocol=_protocol(config, name)),)),
            )
            for name, ref in directory.direct.items()
        }
        self._pools = {name: _pool(config, config.pools[name], ref) for name, ref in directory.pools.items()}

    @property
    def pools(self) -> Mapping[str, Destination]:
        """The configured ones, by name."""
        return self._pools

    @property
    def every(self) -> Sequence[Destination]:
        """Pools, and each model's own."""
        return [*self._pools.values(), *self._models.values()]

    @property
    def names(self) -> Sequence[str]:
        """Every name that a caller may use, pools first, each once."""
        return list(dict.fromkeys((*self._pools, *self._models)))

    def find(self, name: str) -> Destination:
        """Raises `UnknownName`."""
        found = self._pools.get(name) or self._models.get(name)
        if found is None:
            raise UnknownName(name)
        return found

    def find_direct(self, provider: str, model: str) -> Destination:
        """The ad-hoc direct route. Raises `UnknownName`, `NotOwned`."""
        if provider not in self._providers or model not in self._models:
            raise UnknownName(model if provider in self._providers else provider)
        if self._owners[model] != provider:
            raise NotOwned(model)
        return self._models[model]


def _pool(config: Config, pool: PoolConfig, ref: LoopRef) -> Destination:
    return Destination(
        name=pool.name,
        ref=ref,
        deadline_secs=pool.failover.deadline_secs,
        cap=pool.failover.cap,
        same_member=pool.retry.same_member,
        retry_after_max_secs=pool.retry.retry_after_max_secs,
        fallback=pool.on_exhausted.fallback_pool,
        session_header=pool.affinity.header_name if pool.affinity is not None else None,
        estimates=pool.strategy == "cheapest",
        hold_secs=pool.hold_secs,
        continues=pool.stream_recovery == "continue",
        listing=_listing(config, pool),
    )


def _listing(config: Config, pool: PoolConfig) -> Listing:
    return Listing(
        strategy=pool.strategy,
        lines=tuple(
            Line(
                member=member.target,
                protocol=_protocol(config, member.target),
                excluded=member.target in pool.failover.exclusions,
                context_max=member.context_max,
            )
            for member in pool.members
        ),
    )


def _protocol(config: Config, model: str) -> str:
    return config.providers[config.models[model].provider].protocol
