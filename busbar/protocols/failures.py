"""Whose fault was it? The vocabulary of failures and the two stages that judge them.

Stage 1 turns what a provider said into one of nine words (`FailureClass`). Each dialect pulls a
`FailureSignal` out of its own envelope; `classify` then asks, in this order, the first that has an answer:

    1. texts      a provider's `error_texts`, then what the dialect knows by heart (context length, billing)
    2. status     a provider's `error_status`
    3. words      a provider's `error_map`, looked up by code, then by type
    4. dialect    codes, types and statuses that the dialect itself defines
    5. status     the generic HTTP table below

Texts come first because a code alone is not enough: one provider's `insufficient_quota` is a throttle, and
another's 402 carries `invalid_request_error`.

Stage 2 is agnostic of any protocol: `disposition` says what a class means for the member and for the request.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct


class FailureClass(enum.Enum):
    """The nine words. Nothing else is legal in an `error_map`."""

    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    NETWORK = "network"
    AUTH = "auth"
    BILLING = "billing"
    CLIENT_ERROR = "client_error"
    CONTEXT_LENGTH = "context_length"


class Disposition(enum.Enum):
    """What a failure means: for the member that had it, and for the request."""

    TRANSIENT = "transient"
    """Counted against the member and may trip its cell; the request fails over."""
    HARD_DOWN = "hard_down"
    """The cell opens at once and for long; the request fails over; the caller never sees the provider's text."""
    CLIENT_FAULT = "client_fault"
    """The caller's own; relayed, no failover, the member is only counted."""
    CONTEXT_LENGTH = "context_length"
    """Too long for this member; fails over to a larger one; no verdict on the member."""


_DISPOSITIONS: Mapping[FailureClass, Disposition] = {
    FailureClass.RATE_LIMIT: Disposition.TRANSIENT,
    FailureClass.OVERLOADED: Disposition.TRANSIENT,
    FailureClass.SERVER_ERROR: Disposition.TRANSIENT,
    FailureClass.TIMEOUT: Disposition.TRANSIENT,
    FailureClass.NETWORK: Disposition.TRANSIENT,
    FailureClass.AUTH: Disposition.HARD_DOWN,
    FailureClass.BILLING: Disposition.HARD_DOWN,
    FailureClass.CLIENT_ERROR: Disposition.CLIENT_FAULT,
    FailureClass.CONTEXT_LENGTH: Disposition.CONTEXT_LENGTH,
}


def disposition(failure: FailureClass) -> Disposition:
    """Stage 2: what `failure` means. Total over the nine classes."""
    return _DISPOSITIONS[failure]


class FailureSignal(Struct, frozen=True, kw_only=True):
    """What a provider's answer said about its failure, before anybody judged it.

    `status` is the HTTP status, or None for an error event inside a 200 stream. `code` and `type` are the
    envelope's own words, numbers spelled as text. `retry_after_secs` is what the provider asked for, already
    bounded (see `retry_after`).
    """

    status: int | None = None
    code: str | None = None
    type: str | None = None
    message: str = ""
    param: str | None = None
    retry_after_secs: float | None = None


class Failure(Struct, frozen=True, kw_only=True):
    """A judged failure: the class, and the signal it was read from."""

    kind: FailureClass
    signal: FailureSignal = FailureSignal()

    @property
    def disposition(self) -> Disposition:
        return _DISPOSITIONS[self.kind]


class ErrorRules(Struct, frozen=True, kw_only=True):
    """A provider's own deviations, as its configuration names them (catalog and operator merged)."""

    words: Mapping[str, FailureClass] = {}
    """`error_map`: code or type → class; compared as text."""
    statuses: Mapping[int, FailureClass] = {}
    texts: Mapping[str, FailureClass] = {}
    """Case-insensitive substrings of the message → class."""


class TextRule(Struct, frozen=True):
    """One thing a dialect knows by heart: a message that flips the meaning of a status."""

    pattern: re.Pattern[str]
    kind: FailureClass
    statuses: frozenset[int] = frozenset()
    """The rule speaks only for these statuses, and for errors inside of a stream, which have none; empty: for all."""
    words: frozenset[str] = frozenset()
    """The rule speaks only when code or type is one of these; empty: always."""


class DialectKnowledge(Struct, frozen=True, kw_only=True):
    """What a dialect's documentation says about its errors, as data."""

    texts: Sequence[TextRule] = ()
    words: Mapping[str, FailureClass] = {}
    statuses: Mapping[int, FailureClass] = {}
    """Where the dialect's statuses differ from the generic table."""


CONTEXT_LENGTH_STATUSES = frozenset({400, 413, 422})

CONTEXT_LENGTH_TEXT = re.compile(
    r"prompt (is )?too long|prompt exceeds max length|request_too_large|input is too long for requested model"
    r"|exceeds the context window|exceeds (the )?(model'?s )?maximum context length|maximum context length is \d+"
    r"|context[_ ]length[_ ]exceeded|exceed context limit|input token count.*exceeds the maximum"
    r"|maximum prompt length is \d+|reduce the length of the messages|exceeds (the )?maximum allowed input length"
    r"|is longer than the model'?s context length|exceeds the available context size"
    r"|greater than the context length|context window exceeds limit|exceeded model token limit"
    r"|input token length too long|too large for model with \d+ maximum context length"
    r"|range of input length should be|current length is .* while limit is|exceed_context_size_error"
    r"|`inputs` tokens \+ `max_new_tokens` must be",
    re.IGNORECASE | re.DOTALL,
)
"""Texts by which providers say that a prompt does not fit; gathered from the providers' real answers."""

NOT_CONTEXT_LENGTH_TEXT = re.compile(
    r"rate limit|too many requests|per (min|minute|day)\b|\bTPM\b|string_above_max_length", re.IGNORECASE
)
"""Texts that talk about lengths and limits but mean a throttle or a field."""

_GENERIC: Mapping[int, FailureClass] = {
    401: FailureClass.AUTH,
    402: FailureClass.BILLING,
    403: FailureClass.AUTH,
    408: FailureClass.TIMEOUT,
    424: FailureClass.OVERLOADED,
    425: FailureClass.RATE_LIMIT,
    429: FailureClass.RATE_LIMIT,
    529: FailureClass.OVERLOADED,
}


def classify(signal: FailureSignal, knowledge: DialectKnowledge, rules: ErrorRules) -> FailureClass:
    """Stage 1: names the class of `signal`. See the module's text for the order.

    A context-length verdict is never taken for a 5xx: a server that breaks on a long prompt is still broken.
    """
    if signal.status is None and (stated := _status_in_code(signal.code)) is not None:
        signal = msgspec.structs.replace(signal, status=stated)
    for verdict in _opinions(signal, knowledge, rules):
        if verdict is None:
            continue
        if verdict is FailureClass.CONTEXT_LENGTH and signal.status is not None and signal.status >= 500:
            continue
        return verdict
    return _by_status(signal.status)


def _opinions(signal: FailureSignal, knowledge: DialectKnowledge, rules: ErrorRules) -> Sequence[FailureClass | None]:
    return (
        _by_provider_text(signal.message, rules.texts),
        _by_known_text(signal, knowledge.texts),
        rules.statuses.get(signal.status) if signal.status is not None else None,
        _by_word(signal, rules.words),
        _by_word(signal, knowledge.words),
        knowledge.statuses.get(signal.status) if signal.status is not None else None,
    )


def _by_provider_text(message: str, texts: Mapping[str, FailureClass]) -> FailureClass | None:
    if not texts or not message:
        return None
    lowered = message.lower()
    return next((kind for text, kind in texts.items() if text.lower() in lowered), None)


def _by_known_text(signal: FailureSignal, known: Sequence[TextRule]) -> FailureClass | None:
    for rule in known:
        if rule.statuses and signal.status is not None and signal.status not in rule.statuses:
            continue
        if rule.words and signal.code not in rule.words and signal.type not in rule.words:
            continue
        if rule.pattern.search(signal.message):
            return rule.kind
    if signal.status is not None and signal.status not in CONTEXT_LENGTH_STATUSES:
        return None
    if CONTEXT_LENGTH_TEXT.search(signal.message) and not NOT_CONTEXT_LENGTH_TEXT.search(signal.message):
        return FailureClass.CONTEXT_LENGTH
    return None


def _by_word(signal: FailureSignal, words: Mapping[str, FailureClass]) -> FailureClass | None:
    if signal.code is not None and signal.code in words:
        return words[signal.code]
    if signal.type is not None and signal.type in words:
        return words[signal.type]
    return None


def _status_in_code(code: str | None) -> int | None:
    """An error inside a 200 has no status of its own, but some providers give one as its code."""
    return int(code) if code is not None and re.fullmatch(r"[45]\d\d", code) else None


def _by_status(status: int | None) -> FailureClass:
    if status is None:
        return FailureClass.SERVER_ERROR
    if (known := _GENERIC.get(status)) is not None:
        return known
    return FailureClass.SERVER_ERROR if status >= 500 or status < 400 else FailureClass.CLIENT_ERROR
