"""The record of a request: what the request log writes of it, one JSON object.

It says where a request went, what came of it and what it cost; it holds no prompt, no answer and no credential, as
`RequestDone` holds none.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

import msgspec
from msgspec import Struct

from busbar.actors.governance.money import nanodollars
from busbar.actors.telemetry import AttemptDone, RequestDone
from busbar.protocols.usage import Usage

_WORD = re.compile(r"[\w.:-]{1,64}\Z", re.ASCII)
"""What a provider's code looks like. Anything else might be a message, or part of one."""

_NANODOLLARS_PER_DOLLAR = 10**9


class AttemptRecord(Struct, frozen=True, gc=False):
    """One attempt at one member, in the order in which they were made."""

    lane: str
    """The model, as configured."""
    disposition: str
    """`ok`, the class of the failure, `cancelled` or `diverged`."""
    ms: float
    pool: str
    """Which gave the member; a request may go on to a fallback pool."""
    provider: str
    protocol: str
    status: int | None
    """The HTTP status of a failure, where there was one."""
    code: str | None
    """The provider's own word for the failure."""


class UsageRecord(Struct, frozen=True, gc=False):
    """Tokens by kind. Null: the provider did not say. The kinds of input do not overlap; see `Usage`."""

    input: int | None
    output: int | None
    cache_read: int | None
    cache_write: int | None
    cache_write_1h: int | None
    """Part of `cache_write`."""
    reasoning: int | None
    """Part of `output`."""


class CostRecord(Struct, frozen=True, gc=False):
    """Money, twice: the whole number for sums, the other for people."""

    nanodollars: int
    usd: float


class RequestRecord(Struct, frozen=True, gc=False):
    """One request. Its fields are written in this order, and each is always there."""

    ts: str
    """When it came: RFC 3339, UTC, to the millisecond."""
    request_id: str
    ingress_protocol: str
    operation: str
    stream: bool
    pool: str
    """As configured, or `unresolved`."""
    outcome: str
    """`ok`, `client_error`, `exhausted`, `error` or `cancelled`."""
    status: int
    latency_ms: float
    ttft_ms: float | None
    """To the caller's first byte."""
    overhead_ms: float | None
    """The gateway's own part, waiting in its queues included; of a stream until its first byte."""
    key_id: str | None
    """Of the virtual key."""
    translated_to: str | None
    failovers: int
    attempts: list[AttemptRecord]
    usage: UsageRecord | None
    """Of all attempts together."""
    cost: CostRecord | None
    """Null: nobody is charged."""
    dropped_fields: tuple[str, ...]
    """Paths of what the one side said, and the other's dialect cannot."""
    trace_id: str | None
    """As in the W3C's `traceparent`; null: nobody collects traces."""


_encode = msgspec.json.Encoder().encode


def encode(request: RequestDone) -> bytes:
    """The record as JSON, on one line without its end. Raises nothing: what cannot be encoded is replaced."""
    record = record_of(request)
    try:
        return _encode(record)
    except UnicodeEncodeError:  # half a surrogate pair, in a name that somebody outside chose
        return _encode(_without_surrogates(msgspec.to_builtins(record)))


def record_of(request: RequestDone) -> RequestRecord:
    """What there is to say of `request`."""
    return RequestRecord(
        timestamp(request.unix_secs),
        request.request_id,
        request.ingress,
        request.operation,
        request.stream,
        request.pool,
        request.outcome,
        request.status,
        round(request.latency_ms * 10) / 10,  # `round(it, 1)` does it by way of a text, and takes twice as long
        None if request.ttft_ms is None else round(request.ttft_ms * 10) / 10,
        None if request.overhead_ms is None else round(request.overhead_ms * 100) / 100,
        request.key_id,
        request.translated_to,
        len(request.failed_over),
        [_attempt(attempt) for attempt in request.attempts],
        None if request.usage is None else _usage(request.usage),
        _cost(request),
        request.dropped_fields,
        None if request.trace is None else f"{request.trace.trace_id:032x}",
    )


def timestamp(unix_secs: float) -> str:
    """RFC 3339 in UTC, to the millisecond: `2026-01-01T00:00:00.000Z`."""
    second, ms = divmod(round(unix_secs * 1000), 1000)
    return f"{_to_the_second(second)}.{ms:03}Z"


@lru_cache(maxsize=4)
def _to_the_second(second: int) -> str:
    """Worked out once: a busy gateway writes thousands of lines in one."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


def cost_nanodollars(request: RequestDone) -> int | None:
    """What the request cost; None: nobody is charged."""
    return None if request.picodollars is None else nanodollars(request.picodollars)


def provider_code(attempt: AttemptDone) -> str | None:
    """The provider's own word for the failure, if it is one word."""
    code = attempt.code
    return code if code is not None and _WORD.match(code) else None


def _attempt(attempt: AttemptDone) -> AttemptRecord:
    return AttemptRecord(
        attempt.member,
        attempt.disposition,
        round(attempt.latency_ms * 10) / 10,
        attempt.pool,
        attempt.provider,
        attempt.protocol,
        attempt.status,
        provider_code(attempt),
    )


def _usage(usage: Usage) -> UsageRecord:
    return UsageRecord(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.reasoning_tokens,
    )


def _cost(request: RequestDone) -> CostRecord | None:
    cost = cost_nanodollars(request)
    return None if cost is None else CostRecord(cost, cost / _NANODOLLARS_PER_DOLLAR)


def _without_surrogates(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {key: _without_surrogates(item) for key, item in value.items()}
        case list() | tuple():
            return [_without_surrogates(item) for item in value]
        case _:
            return value
