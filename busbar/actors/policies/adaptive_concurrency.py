"""Adaptive concurrency: how many requests a member gets at once is found out, not configured.

Additive increase, multiplicative decrease (AIMD), the rule by which TCP shares a line that nobody measured: V.
Jacobson, "Congestion Avoidance and Control", SIGCOMM 1988. Between `min_slots` and the member's `max_concurrent`:

outcome, in a closed cell                          slots                        otherwise
-------------------------------------------------  ---------------------------  ------------------
success, with every slot in use, `slots` times     + `increase`                 as the breaker says
rate limit                                         × `backoff`                  siblings are preferred
rate limit, with `min_slots` left                  as they are                  as the breaker says
success, but latency is above the tolerance        × `backoff`                  as the breaker says
of requests that were under way at a decrease      as they are                  a rate limit benches
anything else; the half-open probe                 as they are                  as the breaker says

Requests that were under way when the slots were cut do not cut them again: they met the same crowd. A rate limit
trips no breaker while there are slots to give up, because fewer requests at once is the better answer to it.
"""

from __future__ import annotations

from typing import Any, Self

from msgspec import Struct

from busbar.actors.supervision import (
    Bench,
    CellView,
    Directive,
    Outcome,
    PoolContext,
    SupervisionPolicy,
    Throttle,
)
from busbar.actors.two_stage import TwoStagePolicy, bench_secs
from busbar.protocols.failures import FailureClass

RECENT_SHARE = 0.2
"""The share of the newest latency in the recent average: about five answers speak."""

USUAL_SHARE = 0.02
"""… and in the usual one: a provider that has become slower for good is the new normal after about fifty answers."""

RECENT_ANSWERS_MIN = 5
"""So many answers since the last decrease, before latency can cause another."""


class AdaptiveConcurrency(SupervisionPolicy):
    """The two-stage breaker, with slots that follow what the provider bears. State: a gauge for each member."""

    def __init__(
        self,
        breaker: SupervisionPolicy,
        *,
        min_slots: int = 1,
        increase: int = 1,
        backoff: float = 0.5,
        latency_tolerance: float | None = 3.0,
    ) -> None:
        """`breaker` decides on everything that is not about slots.

        Args:
            min_slots: never fewer, at least 1. (Where a member's `max_concurrent` is smaller, that counts.)
            increase: slots to add after a round of successes, at least 1.
            backoff: what remains of the slots after a decrease, above 0 and below 1.
            latency_tolerance: how many times its usual a member's recent time to the first byte may be, above 1.
                None: latency does not matter.

        Raises:
            ValueError: an option is out of its range.
        """
        if min_slots < 1:
            raise ValueError("min_slots has to be at least 1")
        if increase < 1:
            raise ValueError("increase has to be at least 1")
        if not 0 < backoff < 1:
            raise ValueError("backoff has to be above 0 and below 1")
        if latency_tolerance is not None and not latency_tolerance > 1:
            raise ValueError("latency_tolerance has to be above 1")
        self._breaker = breaker
        self._min_slots = min_slots
        self._increase = increase
        self._backoff = backoff
        self._tolerance = latency_tolerance
        self._gauges: dict[str, _Gauge] = {}  # as many entries at most as the pool has members

    @classmethod
    def create(cls, context: PoolContext, **options: Any) -> Self:
        return cls(TwoStagePolicy.create(context), **options)

    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        verdict = self._breaker.on_outcome(cell, outcome, now)
        gauge = self._gauges.setdefault(cell.member, _Gauge())
        settled = gauge.settle(cell.busy)
        if cell.probe:
            return verdict  # one request alone says nothing about how many are too many
        if outcome.failure is FailureClass.RATE_LIMIT:
            return self._on_rate_limit(gauge, cell, outcome, verdict, settled=settled)
        if outcome.failure is None and settled:
            return self._on_success(gauge, cell, outcome, verdict)
        return verdict

    def _on_rate_limit(
        self, gauge: _Gauge, cell: CellView, outcome: Outcome, verdict: Directive, *, settled: bool
    ) -> Directive:
        if not settled:
            return Bench(bench_secs(outcome))
        if cell.slots <= self._floor(cell):
            return verdict
        return Throttle(self._decrease(gauge, cell), bench_secs=bench_secs(outcome))

    def _on_success(self, gauge: _Gauge, cell: CellView, outcome: Outcome, verdict: Directive) -> Directive:
        if outcome.latency_ms is not None:
            gauge.observe(outcome.latency_ms)
        in_use = cell.busy + 1
        if gauge.is_slow(self._tolerance):
            # With less than half of its slots in use, it is not our crowd that slows it down.
            if 2 * in_use < cell.slots or cell.slots <= self._floor(cell):
                return verdict
            return Throttle(self._decrease(gauge, cell))
        if in_use < cell.slots or cell.slots >= cell.max_concurrent:
            return verdict
        gauge.successes += 1
        if gauge.successes < cell.slots:
            return verdict
        gauge.successes = 0
        return Throttle(min(cell.slots + self._increase, cell.max_concurrent))

    def _decrease(self, gauge: _Gauge, cell: CellView) -> int:
        gauge.begin_anew(cell.busy)
        return max(int(cell.slots * self._backoff), self._floor(cell))

    def _floor(self, cell: CellView) -> int:
        return min(self._min_slots, cell.max_concurrent)


class _Gauge(Struct):
    """What is known of one member. Its slots are not: the cell tells them, so that an operator's word counts."""

    successes: int = 0
    """With every slot in use, since the slots last changed."""
    settling: int = 0
    """Requests still out that were under way at the last decrease."""
    usual_ms: float = 0.0
    answers: int = 0
    recent_ms: float = 0.0
    recent_answers: int = 0
    """Since the last decrease."""

    def settle(self, busy: int) -> bool:
        """Whether the outcome is that of a request sent since the last decrease; at most `busy` others are out."""
        settled = self.settling == 0
        self.settling = min(max(0, self.settling - 1), busy)
        return settled

    def observe(self, latency_ms: float) -> None:
        self.answers += 1
        self.usual_ms += max(USUAL_SHARE, 1 / self.answers) * (latency_ms - self.usual_ms)
        self.recent_answers += 1
        self.recent_ms += max(RECENT_SHARE, 1 / self.recent_answers) * (latency_ms - self.recent_ms)

    def is_slow(self, tolerance: float | None) -> bool:
        if tolerance is None or self.recent_answers < RECENT_ANSWERS_MIN:
            return False
        return self.recent_ms > tolerance * self.usual_ms

    def begin_anew(self, busy: int) -> None:
        """The slots are being cut while `busy` others are out."""
        self.successes = 0
        self.settling = busy
        self.recent_ms, self.recent_answers = 0.0, 0
