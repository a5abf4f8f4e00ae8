"""What is said to the `Credentials` actor of a provider account, and what it answers.

    ingress ── Obtain ──► Credentials ── Held | Withheld ──► ingress     (only when the wallet had nothing)
    ingress ── KeyRefused ──► Credentials                                (the provider said no)
    a source ── Answered ──► Credentials ── Due ──► itself

Credentials are opaque here: what a source gave is what the ingress gets. Times are the system clock's `now()`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.protocols.failures import FailureClass


class Held(Struct, frozen=True, kw_only=True):
    """A credential that can be used now."""

    number: int
    """Of the account's keys, as the configuration lists them: the first is 1."""
    serial: int
    """Another value has another serial."""
    credential: Any
    expires_at: float

    def __repr__(self) -> str:
        return f"Held(key {self.number}, serial {self.serial})"


class Given(Struct, frozen=True):
    """From a source: this is it. The very same object again says that nothing has changed. `lifetime_secs` is counted
    from when this came; None: until it is refused."""

    credential: Any
    lifetime_secs: float | None = None

    def __repr__(self) -> str:
        return f"Given(lifetime_secs={self.lifetime_secs})"


class NotGiven(Struct, frozen=True):
    """From a source: there is none now. `why` is for the log, and holds no secret."""

    kind: FailureClass
    why: str
    retry_after_secs: float | None = None


# To Credentials --------------------------------------------------------------------------------------------------


class Obtain(Struct, frozen=True):
    """A credential for a request to `model`. Answered with `Held`, or with `Withheld`; the answer waits while one is
    being minted. `tried`: serials that this request was refused with."""

    model: str
    tried: frozenset[int] = frozenset()


class Withheld(Struct, frozen=True):
    """There is none, or none that was not tried. `kind`: what ails the one that is back the soonest, which is in
    `retry_after_secs`; of several, AUTH and BILLING only when nothing else ails any of them."""

    kind: FailureClass
    retry_after_secs: float


class KeyRefused(Struct, frozen=True, kw_only=True):
    """The provider refused this credential. Says nothing when another has taken its place meanwhile."""

    number: int
    serial: int
    model: str
    kind: FailureClass
    retry_after_secs: float | None = None


class Answered(Struct, frozen=True, kw_only=True):
    """A source answered. `errand`: to which question."""

    number: int
    errand: int
    answer: Given | NotGiven


class Due(Struct, frozen=True):
    """From the actor to itself: time to ask this key's source again."""

    number: int
