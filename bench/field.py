"""Everybody who can be measured beside the gateway, and who of them is there."""

from __future__ import annotations

from collections.abc import Iterable

from bench.contenders import Busbar, Contender, Gateway, Logged, Nginx
from bench.peers import Envoy, LiteLLM, Portkey

GATEWAYS: tuple[type[Gateway], ...] = (Nginx, Envoy, LiteLLM, Portkey, Busbar, Logged)
USUAL = (Contender.name, *(each.name for each in GATEWAYS if each is not Logged))
"""Who takes part when nobody is named."""
NAMES = (*USUAL, Logged.name)


def absent(names: Iterable[str]) -> dict[str, str]:
    """Of those, who is not on this machine, and what to do about it."""
    notes = {kind.name: kind.absent() for kind in GATEWAYS if kind.name in set(names)}
    return {name: note for name, note in notes.items() if note is not None}


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of those who take part."""
    found = {kind.name: kind.version() for kind in GATEWAYS if kind.name in set(names)}
    return {name: version for name, version in found.items() if version is not None}
