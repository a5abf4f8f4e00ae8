"""Quarantine: a key that a provider keeps refusing is not tried again until somebody has looked at it.

outcome                  count     directive
-----------------------  --------  ------------------------------------------
auth, below `failures`   + 1       Trip for `retry_secs`; the probe is next
auth, the last of them   0         Drain: hard down until an operator says so
success                  0         as the breaker says
anything else            as it is  as the breaker says
"""

from __future__ import annotations

from typing import Any, Self

from busbar.actors.supervision import (
    CellView,
    Directive,
    Drain,
    Outcome,
    PoolContext,
    SupervisionPolicy,
    Trip,
)
from busbar.actors.two_stage import RETRY_AFTER_SECS_MAX, TwoStagePolicy
from busbar.protocols.failures import FailureClass


class Quarantine(SupervisionPolicy):
    """The two-stage breaker, but for `auth`: `failures` of them without a success between them drain the member.

    State: a count for each member of the pool. A member that crashed and was made anew is out of quarantine, like
    everything else that was held against it, with the count at 0.
    """

    def __init__(self, breaker: SupervisionPolicy, *, failures: int = 3, retry_secs: float = 60.0) -> None:
        """`breaker` decides on everything else.

        Args:
            failures: refused keys in a row until quarantine, at least 1.
            retry_secs: how long the cell stays open after each one before the last, in seconds, above 0 and at most
                a day. A provider that asks for longer gets longer.

        Raises:
            ValueError: an option is out of its range.
        """
        if failures < 1:
            raise ValueError("failures has to be at least 1")
        if not 0 < retry_secs <= RETRY_AFTER_SECS_MAX:
            raise ValueError(f"retry_secs has to be above 0 and at most {RETRY_AFTER_SECS_MAX:g}")
        self._breaker = breaker
        self._failures = failures
        self._retry_secs = retry_secs
        self._refused: dict[str, int] = {}  # as many entries at most as the pool has members

    @classmethod
    def create(cls, context: PoolContext, **options: Any) -> Self:
        return cls(TwoStagePolicy.create(context), **options)

    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        if outcome.failure is FailureClass.AUTH:
            return self._on_refusal(cell.member, outcome.retry_after_secs or 0.0)
        if outcome.failure is None:
            self._refused.pop(cell.member, None)
        return self._breaker.on_outcome(cell, outcome, now)

    def _on_refusal(self, member: str, retry_after_secs: float) -> Directive:
        count = self._refused.pop(member, 0) + 1
        if count >= self._failures:
            return Drain()
        self._refused[member] = count
        return Trip(max(self._retry_secs, min(retry_after_secs, RETRY_AFTER_SECS_MAX)))
