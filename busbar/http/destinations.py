"""From a name to the actor that routes it: a pool first, then a model. Read-only; made from the configuration."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from busbar.actors.messages import Directory
from busbar.actors.runtime import LoopRef
from busbar.config import Config
from busbar.config.schema import FailoverConfig


class UnknownName(Exception):
    """There is no pool, model or provider of that name."""


class NotOwned(Exception):
    """The provider that the path names does not serve the model that it names."""


class Destination(Struct, frozen=True, kw_only=True):
    """A pool (a configured one, or a model's implicit one), and how far a request to it goes."""

    name: str
    ref: LoopRef
    deadline_secs: float
    cap: int
    session_header: str | None = None


class Destinations:
    """All of them, by name."""

    def __init__(self, config: Config, directory: Directory) -> None:
        direct = FailoverConfig()
        self._owners = {model.name: model.provider for model in config.models.values()}
        self._providers = set(config.providers)
        self._models = {
            name: Destination(name=name, ref=ref, deadline_secs=direct.deadline_secs, cap=direct.cap)
            for name, ref in directory.direct.items()
        }
        self._pools = {
            name: Destination(
                name=name,
                ref=ref,
                deadline_secs=config.pools[name].failover.deadline_secs,
                cap=config.pools[name].failover.cap,
                session_header=affinity.header_name if (affinity := config.pools[name].affinity) else None,
            )
            for name, ref in directory.pools.items()
        }

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
