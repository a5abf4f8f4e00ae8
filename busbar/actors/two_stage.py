"""The built-in supervision policy: the second stage of judging failures, and when a breaker trips.

disposition      closed cell                          half-open probe
---------------  -----------------------------------  ---------------
(success)        Resume                               Resume (closes)
transient        Trip when the trip point is reached  Trip
                 else Bench, in favour of siblings
hard down        Trip, half an hour                   Trip, half an hour
client fault     Resume                               Resume
context length   Resume                               Resume
"""

from __future__ import annotations

import random
from typing import Any, Self

from busbar.actors.supervision import (
    Bench,
    BreakerSettings,
    CellView,
    Directive,
    Outcome,
    PoolContext,
    Resume,
    SupervisionPolicy,
    Trip,
)
from busbar.protocols.failures import Disposition, disposition

HARD_DOWN_SECS = 1800.0
"""A bad key or an empty account does not mend itself; somebody has to look."""

BENCH_SECS = 1.0
"""How long siblings are preferred after a failure that did not trip, when the provider asked for nothing."""

RETRY_AFTER_SECS_MAX = 86_400.0
JITTER = 0.1


class TwoStagePolicy(SupervisionPolicy):
    """The default. `rng` is where the cooldown's jitter comes from."""

    passes_success = True

    def __init__(self, settings: BreakerSettings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng

    @classmethod
    def create(cls, context: PoolContext, **options: Any) -> Self:
        return cls(context.breaker, context.random, **options)

    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        del now
        if outcome.failure is None:
            return Resume()
        match disposition(outcome.failure):
            case Disposition.TRANSIENT:
                return self._on_transient(cell, outcome)
            case Disposition.HARD_DOWN:
                return Trip(max(HARD_DOWN_SECS, min(outcome.retry_after_secs or 0.0, RETRY_AFTER_SECS_MAX)))
            case Disposition.CLIENT_FAULT | Disposition.CONTEXT_LENGTH:
                return Resume()

    def _on_transient(self, cell: CellView, outcome: Outcome) -> Directive:
        if cell.probe or self._reached(cell):
            return Trip(cooldown_secs(self._settings, cell.streak, outcome.retry_after_secs or 0.0, self._rng))
        return Bench(bench_secs(outcome))

    def _reached(self, cell: CellView) -> bool:
        settings = self._settings
        match settings.mode:
            case "consecutive":
                return cell.consecutive_failures >= settings.consecutive_n
            case "error_rate":
                enough = cell.outcomes >= settings.min_requests
                return enough and cell.failures / cell.outcomes >= settings.threshold


def bench_secs(outcome: Outcome) -> float:
    """For how long siblings are preferred after a failure that did not trip: as the provider asked, up to a day."""
    return max(BENCH_SECS, min(outcome.retry_after_secs or 0.0, RETRY_AFTER_SECS_MAX))


def cooldown_secs(settings: BreakerSettings, streak: int, retry_after_secs: float, rng: random.Random) -> float:
    """How long a cell stays open: doubled with each opening in a row, jittered by 10 % to both sides, kept within
    [max(target / 2, 1 s), max]; and then at least what the provider asked for, which may exceed max, up to a day.
    """
    ceiling = settings.max_cooldown_secs
    target = min(settings.base_cooldown_secs * 2.0 ** min(streak, 32), ceiling)
    jittered = target * (1 + rng.uniform(-JITTER, JITTER))
    bounded = min(max(jittered, target / 2, 1.0), ceiling)
    return max(bounded, min(retry_after_secs, RETRY_AFTER_SECS_MAX))
