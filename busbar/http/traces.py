"""Why did this request go there? A request's record, told as steps: who could have taken it, who got it, what came
of it.

A pool notes only whom it could not ask; that costs nothing while all is well. Why it was not the others' turn is
worked out here, from the pool's listing and the steps before, when somebody wants to know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from busbar.actors.governance.money import nanodollars
from busbar.actors.telemetry import AttemptDone, Decision, Line, RequestDone
from busbar.protocols.failures import FailureClass

EXCLUDED = "excluded"
OTHER_DIALECT = "other_dialect"
"""The request cannot be translated (counting tokens), and the member speaks another dialect."""
TRIED_ALREADY = "tried_already"
CONTEXT_TOO_SMALL = "context_too_small"
SAME_MEMBER_FIRST = "same_member_first"
"""The member that had just failed was given another try before any other was asked."""
NOT_ITS_TURN = "not_its_turn"
"""It could have taken the request; the step's `chosen_by` says how the choice was made."""
NOT_ASKED = "not_asked"
"""It could not have been chosen, and nobody looked why: its pool did not answer."""

_WORD = re.compile(r"[\w.:-]{1,64}\Z", re.ASCII)
"""What a provider's code looks like. Anything else might be a message, or part of one."""


def brief(request: RequestDone) -> dict[str, Any]:
    """One line of the list of recent requests. JSON-ready, like all here."""
    charged = {} if request.key_id is None else {"key_id": request.key_id, "cost_nanodollars": _cost(request)}
    return {
        "request_id": request.request_id,
        "time": round(request.unix_secs, 3),
        "ingress_protocol": request.ingress,
        "pool": request.pool,
        "member": request.attempts[-1].member if request.attempts else None,
        "outcome": request.outcome,
        "status": request.status,
        "attempts": len(request.attempts),
        "failovers": len(request.failed_over),
        "latency_ms": round(request.latency_ms, 1),
        "ttft_ms": _rounded(request.ttft_ms),
        **charged,
    }


def trace(request: RequestDone) -> dict[str, Any]:
    """Everything about one request but what was said in it. Times in `_ms` are since it came, or how long it took."""
    return {
        **brief(request),
        "operation": request.operation,
        **({} if request.trace is None else {"trace_id": f"{request.trace.trace_id:032x}"}),
        "stream": request.stream,
        "session_affinity": bool(request.by_session),
        "translated_to": request.translated_to,
        "dropped_fields": list(request.dropped_fields),
        "steps": _Steps(request).all(),
    }


def _cost(request: RequestDone) -> int | None:
    return None if request.picodollars is None else nanodollars(request.picodollars)


class _Steps:
    """Goes along a request's decisions, and knows at each what had happened by then."""

    def __init__(self, request: RequestDone) -> None:
        self._request = request
        self._attempts = iter(request.attempts)
        self._tried: set[str] = set()
        self._context_above: int | None = None
        self._free_at = request.routed_at
        """Since when the request was waiting for this step."""

    def all(self) -> list[dict[str, Any]]:
        return [self._step(decision) for decision in self._request.decisions]

    def _step(self, decision: Decision) -> dict[str, Any]:
        step = {
            "pool": decision.pool,
            "at_ms": self._since_start(decision.at),
            "waited_ms": round(max(0.0, decision.at - self._free_at) * 1000, 1),
            "chosen": decision.member,
            "chosen_by": self._chosen_by(decision),
            "probe": decision.probe,
            "not_chosen": self._not_chosen(decision),
            "attempt": None,
        }
        self._free_at = decision.at
        attempt = next(self._attempts, None) if decision.member is not None else None
        if attempt is not None:
            step["attempt"] = self._told(attempt)
            self._went(decision, attempt)
        return step

    def _chosen_by(self, decision: Decision) -> str | None:
        if decision.member is None:
            return None
        if decision.again:
            return "retry"
        if decision.last_resort:
            return "least_bad"
        return "session" if decision.pool in self._request.by_session else decision.listing.strategy

    def _not_chosen(self, decision: Decision) -> dict[str, str]:
        """Each other member of the pool, and why it did not get the request, in configured order."""
        reasons = {line.member: self._reason(line, decision) for line in decision.listing.lines}
        reasons |= {member: refusal.value for member, refusal in decision.passed_over.items()}
        return {member: reason for member, reason in reasons.items() if member != decision.member}

    def _reason(self, line: Line, decision: Decision) -> str:
        if line.excluded:
            return EXCLUDED
        if self._request.operation != "chat" and line.protocol != self._request.ingress:
            return OTHER_DIALECT
        if line.member in self._tried:
            return TRIED_ALREADY
        if decision.again:
            return SAME_MEMBER_FIRST
        above = self._context_above
        if above is not None and line.context_max is not None and line.context_max <= above:
            return CONTEXT_TOO_SMALL
        return NOT_ITS_TURN if decision.member is not None else NOT_ASKED

    def _went(self, decision: Decision, attempt: AttemptDone) -> None:
        self._tried.add(attempt.member)
        self._free_at = attempt.at + attempt.latency_ms / 1000
        if attempt.disposition == FailureClass.CONTEXT_LENGTH.value:
            sizes = [line.context_max for line in decision.listing.lines if line.member == attempt.member]
            self._context_above = max(
                (size for size in (*sizes, self._context_above) if size is not None), default=None
            )

    def _told(self, attempt: AttemptDone) -> dict[str, Any]:
        code = attempt.code
        return {
            "member": attempt.member,
            "provider": attempt.provider,
            "protocol": attempt.protocol,
            "at_ms": self._since_start(attempt.at),
            "result": attempt.disposition,
            "status": attempt.status,
            "code": code if code is not None and _WORD.match(code) else None,
            "retry_after_s": attempt.retry_after_secs,
            "first_byte_ms": _rounded(
                None if attempt.first_byte_at is None else (attempt.first_byte_at - attempt.at) * 1000
            ),
            "latency_ms": round(attempt.latency_ms, 1),
            **({"refused_keys": [list(it) for it in attempt.refused_keys]} if attempt.refused_keys else {}),
        }

    def _since_start(self, at: float) -> float:
        return round((at - self._request.started_at) * 1000, 1)


def recent(requests: Sequence[RequestDone]) -> dict[str, Any]:
    """The list of recent requests."""
    return {"requests": [brief(request) for request in requests]}


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)
