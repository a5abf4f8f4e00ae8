"""What is made to last, and how: values between the Ledger actor and its store.

Usage is kept as tokens, never as money, in sums per scope, day, model and tier; what is written is always what was
added since, never a total, so that a batch that is written once counts once whoever else wrote meanwhile.
"""

from __future__ import annotations

import typing
from collections.abc import Callable

from msgspec import Struct

from busbar.actors.governance.scopes import Group, VirtualKey


class UsageKey(typing.NamedTuple):
    """What one sum of tokens is the sum of."""

    scope: str
    """The id of a key or a group. A request counts once for its key and once for each group above."""
    day: int
    """UTC days since 1970 began: the day on which the request was admitted."""
    model: str
    """As configured."""
    context_tier: int
    """Requests whose prompt was above so many tokens have prices of their own; 0: the usual ones."""
    estimated: bool
    """The provider did not say, or not all: a stream was cut."""


class Tokens(Struct, kw_only=True):
    """A sum of tokens. The kinds do not overlap, but for those that say `part of`."""

    requests: int = 0
    input: int = 0
    """Fresh input, that is without what was read from or written to a cache."""
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    """Part of `cache_write`: what is kept for an hour, and costs more."""
    reasoning: int = 0
    """Part of `output`."""

    def add(self, other: Tokens) -> None:
        self.requests += other.requests
        self.input += other.input
        self.output += other.output
        self.cache_read += other.cache_read
        self.cache_write += other.cache_write
        self.cache_write_1h += other.cache_write_1h
        self.reasoning += other.reasoning

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_write

    @property
    def total(self) -> int:
        return self.prompt + self.output


class RateKey(typing.NamedTuple):
    """One second of one scope's rate windows."""

    scope: str
    second: int
    """The Unix time at its end."""


class RateCount(Struct):
    """What counted against the limits in that second."""

    requests: int = 0
    tokens: int = 0


class Batch(Struct, kw_only=True):
    """What one transaction writes. Written twice under the same number it counts once."""

    number: int = 0
    """From 1 on, in order."""
    keys: dict[str, VirtualKey | None] = {}
    """By id, as they are from now on; None: deleted, though its usage stays."""
    groups: dict[str, Group | None] = {}
    usage: dict[UsageKey, Tokens] = {}
    """To be added."""
    rates: dict[RateKey, RateCount] = {}
    """To be added. Older than two minutes, they may be forgotten."""

    def __bool__(self) -> bool:
        return bool(self.keys or self.groups or self.usage or self.rates)


# What a store is asked for ----------------------------------------------------------------------------------------


class Commit(Struct, frozen=True):
    """Write this batch in one transaction, durably. Answered with `Committed`. The batch is the store's from then on:
    it may be read on another thread. After `StoreFailed` it may have been written all the same, so that it is given
    again as it is, under its number, and newer things under the next one."""

    batch: Batch


class Load(Struct, frozen=True):
    """Read everything back. Answered with `Loaded`."""

    price: Callable[[UsageKey, Tokens], int]
    """Pico-dollars of one sum of tokens. Called on the store's thread: it must be pure."""
    since_day: int
    """Days before it need not be told apart."""


class ReadUsage(Struct, frozen=True):
    """The usage of one scope from a day on. Answered with `UsageRead`."""

    scope: str
    since_day: int = 0


class Committed(Struct, frozen=True):
    number: int


class Loaded(Struct, frozen=True, kw_only=True):
    """The store's whole content, as far as it has to be in memory."""

    last_number: int
    """Of the last batch that was written."""
    keys: tuple[VirtualKey, ...]
    groups: tuple[Group, ...]
    spent: dict[tuple[str, int], int]
    """(scope, day) → pico-dollars, by `Load.price`; all that was before `Load.since_day` is under day -1."""
    rates: dict[RateKey, RateCount]


class UsageRead(Struct, frozen=True):
    rows: tuple[tuple[UsageKey, Tokens], ...]


class StoreFailed(Struct, frozen=True):
    """It could not be done, now. The reason is for operators."""

    reason: str


class StoreUnusable(Exception):
    """The store cannot be used as it is. The text names it, and what an operator can do about it."""


class StoreInUse(StoreUnusable):
    """Another process has it."""


Job = Commit | Load | ReadUsage
Result = Committed | Loaded | UsageRead | StoreFailed


class Store(typing.Protocol):
    """The port to what lasts. Jobs are done one after the other, in the order in which they were submitted."""

    def submit(self, job: Job, done: Callable[[Result], None]) -> None:
        """Does not block. `done` is called on the loop, later, exactly once unless the store is closed before."""
        ...
