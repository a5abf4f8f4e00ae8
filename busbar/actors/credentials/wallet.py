"""What an account can use now, for those who only look; and what an account is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from msgspec import Struct

from busbar.actors.credentials.messages import Given, Held, NotGiven
from busbar.actors.runtime import LoopRef


class Wallet:
    """Which credential a request to a model uses. Only the account's `Credentials` actor changes it, and a change
    holds from that moment. Looking costs no message."""

    def __init__(self, *, several: bool = False) -> None:
        self.several = several
        """Whether the account has more than one key."""
        self.ref: LoopRef | None = None
        """The actor, once it has started."""
        self._common: Held | None = None
        self._by_model: Mapping[str, Held | None] = MappingProxyType({})

    def find(self, model: str, now: float) -> Held | None:
        """None: the actor has to be asked."""
        held = self._by_model.get(model, self._common)
        return held if held is not None and now < held.expires_at else None

    def publish(self, common: Held | None, by_model: Mapping[str, Held | None]) -> None:
        """`by_model`: those that do not use what is common."""
        self._common = common
        self._by_model = MappingProxyType(dict(by_model))

    def __repr__(self) -> str:
        return f"Wallet({self._common!r})"


class Source(Protocol):
    """A port: where a credential comes from that is not known from the start."""

    def begin(self, done: Callable[[Given | NotGiven], None]) -> None:
        """Goes and gets one. `done` is called once, on the loop, in bounded time."""
        ...


class KeyPlan(Struct, frozen=True, kw_only=True):
    """One key of an account: a `credential` that stays as it is, or a `source` of it."""

    origin: str
    """Where it comes from, in a word for `/stats`."""
    credential: Any = None
    source: Source | None = None
    refresh_secs: float | None = None
    """The source is asked again after so long; None: shortly before what it gave expires."""
    renewal_secs: float = 60.0
    """What was given in place of a refused one, and is refused itself within this time, is not replaced once more:
    then it is not the credential that is wrong."""

    def __repr__(self) -> str:
        return f"KeyPlan({self.origin})"


class CredentialPlan(Struct, frozen=True, kw_only=True):
    """An account. `wallet` is where its credentials are published, `made_from` what they were configured as: an
    account whose configuration has not changed can keep its actor."""

    provider: str
    kind: str
    """`keys`, or the auth style that its tokens are minted for."""
    keys: tuple[KeyPlan, ...]
    wallet: Wallet
    made_from: object = None

    def __repr__(self) -> str:
        return f"CredentialPlan({self.provider}, {self.kind}, {len(self.keys)})"
