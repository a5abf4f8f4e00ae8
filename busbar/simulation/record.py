"""What is noted while a simulation runs: counts, histograms, and the same per slice of time. Nothing is kept of a
single request, so that a simulated day costs no more memory than a minute.
"""

from __future__ import annotations

from typing import Literal

from busbar.config import Config
from busbar.config.schema import PriceConfig
from busbar.simulation.histogram import Histogram

SLICES = 180
"""Into so many the duration is cut for what is shown over time."""

CHANGES_MAX = 4096
"""Changes of one cell's state that are remembered; the report says when there were more."""

Outcome = Literal["ok", "broken", "failed", "exhausted", "deadline", "client_error", "cancelled"]

OUTCOMES: tuple[Outcome, ...] = ("ok", "broken", "failed", "exhausted", "deadline", "client_error", "cancelled")
"""How a request ends, each exactly once:

ok            the caller has a whole answer
broken        the answer began, and broke off
failed        the last attempt's failure was what the caller was told
exhausted     no member could be tried
deadline      the request's time was up before an answer began
client_error  the caller's own fault
cancelled     the caller went away
"""

BLAMELESS = frozenset({"client_error", "cancelled"})
"""Outcomes that say nothing about the gateway: they do not count for availability."""


class PoolRecord:
    """Requests to one destination, by the name that the caller used."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.outcomes_over_time = {outcome: [0] * (SLICES + 1) for outcome in OUTCOMES}
        self.failovers = 0
        self.failover_reasons: dict[str, int] = {}
        self.fell_back = 0
        self.queued = 0
        self.resumed = 0
        """Streams that broke, and that another member was asked to go on with."""
        self.probes = 0
        self.last_resorts = 0
        self.latency_ms = Histogram()
        self.ttft_ms = Histogram()
        self.latency_over_time = [Histogram() for _ in range(SLICES + 1)]

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    @property
    def availability(self) -> float | None:
        """The share of whole answers among the requests that were neither wrong nor given up by their callers."""
        counted = sum(count for outcome, count in self.outcomes.items() if outcome not in BLAMELESS)
        return self.outcomes["ok"] / counted if counted else None


class MemberRecord:
    """Attempts at one member, from whichever pool."""

    def __init__(self, name: str, provider: str, price: PriceConfig | None) -> None:
        self.name = name
        self.provider = provider
        self.price = price
        self.attempts = 0
        self.words: dict[str, int] = {}
        """`ok`, a class of failure, or `cancelled` → attempts that ended so."""
        self.input_tokens = 0
        self.output_tokens = 0
        self.attempts_over_time = [0] * (SLICES + 1)

    @property
    def spend_dollars(self) -> float | None:
        """None: the model has no price."""
        if self.price is None:
            return None
        return (self.input_tokens * self.price.input + self.output_tokens * self.price.output) / 1e6


class CellRecord:
    """The breaker cell of one member in one pool."""

    def __init__(self, pool: str, member: str) -> None:
        self.pool = pool
        self.member = member
        self.attempts = 0
        self.trips = 0
        self.attempts_over_time = [0] * (SLICES + 1)
        self.changes: list[tuple[float, str]] = []
        """(when, the state from then on); closed at first."""
        self.changes_left_out = 0

    def changed(self, at: float, state: str) -> None:
        if len(self.changes) < CHANGES_MAX:
            self.changes.append((at, state))
        else:
            self.changes_left_out += 1


class Record:
    """Of one run. Times in seconds since the start."""

    def __init__(self, config: Config, duration_secs: float) -> None:
        prices = config.governance.prices
        self.duration_secs = duration_secs
        self.pools: dict[str, PoolRecord] = {}
        self.members = {
            model.name: MemberRecord(model.name, model.provider, prices.get(model.name))
            for model in config.models.values()
        }
        self.cells: dict[tuple[str, str], CellRecord] = {}
        self.ended_at = 0.0
        """When the last request was over."""

    def slice_of(self, at: float) -> int:
        """What happens after the end, when only the rest is waited for, is in a slice of its own, the last."""
        return min(SLICES, int(at / self.duration_secs * SLICES))

    def pool(self, name: str) -> PoolRecord:
        record = self.pools.get(name)
        if record is None:
            record = self.pools[name] = PoolRecord(name)
        return record

    def cell(self, pool: str, member: str) -> CellRecord:
        record = self.cells.get((pool, member))
        if record is None:
            record = self.cells[pool, member] = CellRecord(pool, member)
        return record
