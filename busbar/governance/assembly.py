"""Governance put together from a configuration: its store, its tariff, its keys."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from busbar.actors.gateway import GovernancePlan
from busbar.actors.governance.keyring import Keyring
from busbar.actors.governance.money import Tariff
from busbar.config import Config
from busbar.governance.pairs import AwsPairs
from busbar.governance.tariff import tariff_of
from busbar.store import SqliteStore


class Governed(Struct, frozen=True, kw_only=True):
    """The parts of a gateway that only one with governance has."""

    store: SqliteStore
    tariff: Tariff
    keyring: Keyring
    pairs: AwsPairs
    strict: bool

    @property
    def plan(self) -> GovernancePlan:
        return GovernancePlan(store=self.store, tariff=self.tariff, keyring=self.keyring, strict=self.strict)


def open_governance(config: Config) -> Governed:
    """Opens the store, for which it blocks. Raises `StoreUnusable`."""
    path = Path(config.governance.db_path)
    strict = config.governance.durability == "strict"
    return Governed(
        store=SqliteStore.open(path, durable=strict),
        tariff=tariff_of(config),
        keyring=Keyring(),
        pairs=AwsPairs(path),
        strict=strict,
    )
