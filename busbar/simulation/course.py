"""How one attempt at a scripted provider goes: the script, met with the gateway's patience.

What `http/attempt.py` does with sockets and timers is here one pure function, because a script knows its whole
future: `course(answer, ...)` says when the attempt ends and how, by the table of `http/patience.py`.
"""

from __future__ import annotations

import math

from msgspec import Struct

from busbar.actors.messages import Timeouts
from busbar.http.travel import FAIR_TRIAL_SECS
from busbar.protocols.failures import FailureClass

NEVER = math.inf
_ROUNDING = 1e-6


class Answer(Struct, frozen=True, kw_only=True):
    """What a provider does with one request. Times in seconds from the beginning of the attempt."""

    headers: float
    """Of the answer, or of the refusal; with a network failure: when the connection is refused."""
    failure: FailureClass | None = None
    """Instead of an answer."""
    retry_after_secs: float | None = None
    first: float = NEVER
    """First content of a stream."""
    end: float = NEVER
    """The terminal event of a stream; a whole answer's last byte."""
    quiet_from: float = NEVER
    """From here on nothing comes any more."""
    breaks: float = NEVER
    """The connection breaks, unless `end` was before."""
    chunk_secs: float = 0.0
    """Between two chunks of a stream."""
    tokens: int = 0


class Course(Struct, frozen=True, kw_only=True):
    """How the attempt goes. Times in seconds from its beginning."""

    ends: float
    failure: FailureClass | None = None
    """None: the answer is whole."""
    retry_after_secs: float | None = None
    begins: float | None = None
    """The caller's first byte; None: the caller sees nothing of this attempt, and another one may follow."""
    refund: bool = False
    verdict: bool = True
    """Whether the member is told; not when the request's deadline left it no fair time."""

    def tokens_until(self, answer: Answer, secs: float) -> int:
        """How many of the answer's tokens have come by then, for what was paid."""
        if secs >= answer.end:
            return answer.tokens
        if secs <= answer.first or answer.end == answer.first:
            return 0
        share = (min(secs, answer.quiet_from) - answer.first) / (answer.end - answer.first)
        return int(answer.tokens * share + _ROUNDING)


def course(answer: Answer, timeouts: Timeouts, available_secs: float, *, stream: bool, hold_secs: float) -> Course:
    """`available_secs`: until the request's deadline. `hold_secs`: how long a stream's first content is held back."""
    attempt, first_token = _secs(timeouts.attempt_ms), _secs(timeouts.first_token_ms) if stream else NEVER
    limit = min(attempt, first_token, available_secs)
    if answer.headers > limit:
        return _too_slow(limit, available_secs)
    if answer.failure is not None:
        return Course(ends=answer.headers, failure=answer.failure, retry_after_secs=answer.retry_after_secs)
    if not stream:
        return _whole(answer, available_secs)
    limit = min(first_token, available_secs)
    if min(answer.first, answer.breaks) > limit:
        return _too_slow(limit, available_secs)
    return _streamed(answer, _secs(timeouts.stall_ms), available_secs, hold_secs)


def _whole(answer: Answer, available_secs: float) -> Course:
    if min(answer.end, answer.breaks) > available_secs:
        return _too_slow(available_secs, available_secs)
    if answer.breaks < answer.end:
        return Course(ends=answer.breaks, failure=FailureClass.NETWORK, refund=True)
    return Course(ends=answer.end, begins=answer.end)


def _streamed(answer: Answer, stall_secs: float, available_secs: float, hold_secs: float) -> Course:
    stalls = NEVER
    if answer.first < NEVER:
        stalls = (answer.first if answer.chunk_secs > stall_secs else answer.quiet_from) + stall_secs
    ends = min(answer.end, answer.breaks, stalls)
    failure = None
    if ends < answer.end:
        failure = FailureClass.TIMEOUT if stalls < answer.breaks else FailureClass.NETWORK
    begins = min(answer.first + hold_secs, answer.end)
    if min(begins, ends) > available_secs:
        return _too_slow(available_secs, available_secs)
    if failure is not None and ends <= begins:
        return Course(ends=ends, failure=failure, refund=True)
    return Course(ends=ends, failure=failure, begins=begins)


def _too_slow(limit: float, available_secs: float) -> Course:
    hurried = limit == available_secs and available_secs < FAIR_TRIAL_SECS
    return Course(ends=limit, failure=FailureClass.TIMEOUT, verdict=not hurried)


def _secs(limit_ms: int | None) -> float:
    return NEVER if limit_ms is None else limit_ms / 1000
