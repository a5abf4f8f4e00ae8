"""What Governance and its Ledger understand.

    ingress ── Admit ──► Governance ── Admitted | Denied ──► ingress
    ingress ── Settle ─► Governance ── Record ──► Ledger ── Settled | NotRecorded ──► ingress
    admin ── CreateKey … ► Governance ── Record ──► Ledger ── what there is now ──► admin

    Governance ── Attach ──► Ledger ── Ready ──► Governance          (at the start, and after a restart)
                             Ledger ── Health ──► Governance

The ledger's answers come once a commit made them true; with `durability: relaxed` Governance answers at once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from busbar.actors.governance.batch import Job, Loaded, RateCount, RateKey, Result, Tokens, UsageKey
from busbar.actors.governance.money import Tariff
from busbar.actors.governance.scopes import BudgetPeriod, Group, VirtualKey
from busbar.actors.runtime import LoopRef
from busbar.protocols.usage import Usage

# To Governance, from the ingress ----------------------------------------------------------------------------------


class Admit(Struct, frozen=True, kw_only=True):
    """May this request be served? Answered with `Admitted`, after which one `Settle` is owed, or `Denied`."""

    key: str
    """The key's id."""
    pool: str
    """What the caller asked for, as configured: a pool, or a model."""
    models: tuple[str, ...] = ()
    """Those that may answer; the dearest is reserved for."""
    input_tokens: int = 0
    output_tokens: int = 0
    """The most that it may use, as far as one can know."""
    billed: bool = True
    """Whether it costs anything (counting tokens does not)."""


class Charge(Struct, frozen=True, kw_only=True):
    """What one model did for the caller."""

    model: str
    usage: Usage
    estimated: bool = False


class Settle(Struct, frozen=True, kw_only=True):
    """The request is over, or about to be. What was reserved is given back, and what was used is charged. Says all
    that is needed even when the reservation is not known any more. Answered with `Settled` or `NotRecorded`."""

    ticket: int
    key: str
    day: int
    charges: tuple[Charge, ...] = ()


class Admitted(Struct, frozen=True, kw_only=True):
    ticket: int
    day: int
    requests: Quota | None = None
    """The tightest of the limits that hold for it; None: there is none."""
    tokens: Quota | None = None


class Quota(Struct, frozen=True):
    """How a rate limit stands."""

    limit: int
    remaining: int
    reset_secs: float
    """Until nothing counts any more."""


class Denial(enum.Enum):
    KEY = "key"
    """It was revoked meanwhile."""
    POOL = "pool"
    BUDGET = "budget"
    RATE = "rate"
    STORE = "store"
    """What was spent cannot be recorded at the moment, so nothing more may be."""


class Denied(Struct, frozen=True, kw_only=True):
    """Why not, as far as the caller may know."""

    reason: Denial
    level: str = ""
    """Who refuses: `key "dev"`, `group "research"`."""
    budget: Budget | None = None
    rate: Rate | None = None


class Budget(Struct, frozen=True, kw_only=True):
    """A budget that a request does not fit into, in pico-dollars."""

    period: BudgetPeriod
    limit: int
    spent: int
    reserved: int
    """For requests that are running."""
    needed: int
    """The most that this request may cost."""
    resets_at: int | None
    """Unix seconds; None: never."""


class Rate(Struct, frozen=True, kw_only=True):
    """A rate limit that a request does not fit into."""

    unit: Literal["requests", "tokens"]
    limit: int
    used: int
    asked: int
    retry_after_secs: float | None
    """None: never, as it asks for more than the limit."""
    reset_secs: float
    """Until nothing counts any more."""


class Settled(Struct, frozen=True):
    picodollars: int


class NotRecorded(Struct, frozen=True):
    """The store did not do it in time. It goes on trying."""


# To Governance, from an operator ----------------------------------------------------------------------------------


class CreateKey(Struct, frozen=True):
    """Answered with the key, or `NotDone`."""

    key: VirtualKey


class ChangeKey(Struct, frozen=True):
    """In force at once, and answered when it is recorded: with the key as it is now, or `NotDone`."""

    id: str
    changes: Mapping[str, Any]
    """Fields of `VirtualKey`, well-formed."""

    def __repr__(self) -> str:
        return f"ChangeKey({self.id}, {', '.join(self.changes)})"


class DeleteKey(Struct, frozen=True):
    """Answered with the key that was, or `NotDone`."""

    id: str


class CreateGroup(Struct, frozen=True):
    group: Group


class ChangeGroup(Struct, frozen=True):
    id: str
    changes: Mapping[str, Any]


class DeleteGroup(Struct, frozen=True):
    """Refused while keys or groups belong to it."""

    id: str


class ListKeys(Struct, frozen=True, kw_only=True):
    """Answered with a `Page` of keys, oldest first."""

    after: str | None = None
    """The id of the last one of the page before."""
    limit: int = 100
    group: str | None = None


class ListGroups(Struct, frozen=True, kw_only=True):
    after: str | None = None
    limit: int = 100


class Page(Struct, frozen=True):
    items: tuple[VirtualKey, ...] | tuple[Group, ...]
    more: bool


class Show(Struct, frozen=True):
    """How a key or a group stands. Answered with a `Standing`, or `NotDone`."""

    id: str


class Standing(Struct, frozen=True, kw_only=True):
    scope: VirtualKey | Group
    spent: int
    """Pico-dollars, in the budget's present window."""
    reserved: int
    resets_at: int | None
    requests: int
    """In the last 60 seconds."""
    tokens: int


class GiveUp(Struct, frozen=True):
    """From Governance to itself: settlements have waited long enough for it to be ready."""


class WhenReady(Struct, frozen=True):
    """Answered with None once it is known which keys there are."""


class UsageOf(Struct, frozen=True):
    """Answered by the Ledger, with `UsageRead` (the past included of keys that were deleted) or `NotRecorded`."""

    id: str
    since_day: int = 0


class Wrong(enum.Enum):
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"
    """The store fails: nothing was changed."""


class NotDone(Struct, frozen=True):
    why: Wrong
    text: str


# To Governance, from the Ledger -----------------------------------------------------------------------------------


class Ready(Struct, frozen=True):
    """This is what there was."""

    loaded: Loaded


class Health(Struct, frozen=True):
    """Whether the store works. `reason` is for operators."""

    ok: bool
    reason: str = ""


# To the Ledger ----------------------------------------------------------------------------------------------------


class Retariff(Struct, frozen=True):
    """To Governance: these are the prices from now on, for the past as well."""

    tariff: Tariff


class Attach(Struct, frozen=True):
    """From Governance when it starts: write what is still to be written, read everything back, and answer with a
    `Ready`."""

    ref: LoopRef
    price: Callable[[UsageKey, Tokens], int]
    since_day: int


class Record(Struct, frozen=True, kw_only=True):
    """Make this last. With `answer`, now: the asker gets it once it is committed, or `NotRecorded`; without, within
    `RELAXED_SECS`."""

    keys: Mapping[str, VirtualKey | None] = {}
    groups: Mapping[str, Group | None] = {}
    usage: tuple[tuple[UsageKey, Tokens], ...] = ()
    rates: tuple[tuple[RateKey, RateCount], ...] = ()
    answer: object = None


class Done(Struct, frozen=True):
    """From the Ledger to itself, when the store has answered."""

    job: Job
    result: Result


class LookAtTime(Struct, frozen=True):
    """From the Ledger to itself: somebody may have waited long enough."""


class Flush(Struct, frozen=True):
    """From the Ledger to itself: what nobody waits for is due."""


class Retry(Struct, frozen=True):
    """From the Ledger to itself: the pause after a failure is over."""
