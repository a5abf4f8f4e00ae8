"""Governance and its Ledger over a store in memory, in three lines.

with Kit() as kit:
    bank = Bank(kit, key("k", max_budget_cents=100))
    ticket = bank.admit("k", input_tokens=10)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from busbar.actors.governance.batch import Tokens
from busbar.actors.governance.desk import Desk
from busbar.actors.governance.governance import Governance
from busbar.actors.governance.keyring import Keyring
from busbar.actors.governance.ledger import Ledger
from busbar.actors.governance.messages import (
    Admit,
    Admitted,
    Charge,
    CreateGroup,
    CreateKey,
    Denied,
    Settle,
    Show,
    Standing,
)
from busbar.actors.governance.money import DatedRates, Rates, Tariff
from busbar.actors.governance.outbox import Outbox
from busbar.actors.governance.scopes import Group, VirtualKey
from busbar.actors.runtime import LoopFuture
from busbar.protocols.usage import Usage
from busbar.testing import Kit
from busbar.testing.store import MemoryStore

CENT = 10**10
"""In pico-dollars."""

TARIFF = Tariff(
    {"m": (DatedRates(base=Rates(input=CENT, output=CENT, cache_read=CENT, cache_write=CENT, reasoning=CENT)),)},
    Rates(per_request=CENT),
)
"""A token of `m` costs a cent; any other model a cent for the request."""


def key(name: str, **fields: Any) -> VirtualKey:
    secret_hash = hashlib.sha256(f"secret of {name}".encode()).digest()
    return VirtualKey(**{"id": f"vk_{name}", "name": name, "created_at": 0, "secret_hash": secret_hash, **fields})


def group(name: str, **fields: Any) -> Group:
    return Group(id=f"grp_{name}", name=name, created_at=0, **fields)


class Bank:
    """The two actors, ready, with groups and keys in them."""

    def __init__(
        self,
        kit: Kit,
        *scopes: VirtualKey | Group,
        strict: bool = True,
        store: MemoryStore | None = None,
        tariff: Tariff = TARIFF,
    ) -> None:
        self.kit = kit
        self.store = MemoryStore(kit.clock) if store is None else store
        self.keyring = Keyring()
        self.ledger = kit.spawn(Ledger, self.store, Outbox(), name="ledger")
        self.governance = kit.spawn(
            Governance, self.ledger, tariff, self.keyring, Desk(), strict=strict, name="governance"
        )
        kit.advance(self.store.latency_secs)
        for scope in scopes:
            message = CreateKey(scope) if isinstance(scope, VirtualKey) else CreateGroup(scope)
            assert self.told(message) == scope

    def told(self, message: Any) -> Any:
        """The answer, once the store has done its part."""
        future = self.ask(message)
        self.kit.advance(self.store.latency_secs)
        self.kit.advance(0)
        return future.get()

    def ask(self, message: Any) -> LoopFuture:
        future: LoopFuture = self.governance.ask(message)
        self.kit.run()
        return future

    def admit(
        self, name: str, *, pool: str = "p", models: tuple[str, ...] = ("m",), **fields: Any
    ) -> Admitted | Denied:
        reply: Admitted | Denied = self.ask(Admit(key=f"vk_{name}", pool=pool, models=models, **fields)).get()
        return reply

    def admitted(self, name: str, **fields: Any) -> Admitted:
        reply = self.admit(name, **fields)
        assert isinstance(reply, Admitted), reply
        return reply

    def denied(self, name: str, **fields: Any) -> Denied:
        reply = self.admit(name, **fields)
        assert isinstance(reply, Denied), reply
        return reply

    def settle(self, name: str, admitted: Admitted, *charges: Charge) -> Any:
        return self.told(settlement(name, admitted, *charges))

    def spend(self, name: str, tokens: int) -> None:
        """A request that used so many tokens of `m`."""
        self.settle(name, self.admitted(name), charge(tokens))

    def standing(self, scope_id: str) -> Standing:
        reply = self.ask(Show(scope_id)).get()
        assert isinstance(reply, Standing), reply
        return reply

    def ledger_of(self, scope_id: str) -> Mapping[tuple[int, str, bool], Tokens]:
        """(day, model, estimated) → tokens, as the store has them."""
        return {
            (usage.day, usage.model, usage.estimated): tokens
            for usage, tokens in self.store.usage().items()
            if usage.scope == scope_id
        }


def settlement(name: str, admitted: Admitted, *charges: Charge) -> Settle:
    return Settle(ticket=admitted.ticket, key=f"vk_{name}", day=admitted.day, charges=charges)


def charge(output_tokens: int, model: str = "m", *, estimated: bool = False, **kinds: int) -> Charge:
    return Charge(model=model, usage=Usage(output_tokens=output_tokens, **kinds), estimated=estimated)
