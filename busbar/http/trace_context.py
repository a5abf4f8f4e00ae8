"""W3C trace context (https://www.w3.org/TR/trace-context/): which trace a caller's request belongs to, as two headers
say it. What is malformed counts as absent, and says nothing: a new trace begins.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from busbar.actors.telemetry import SAMPLED, TraceContext

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

MEMBERS_MAX = 32
"""Of a `tracestate` (§3.3.1.1)."""

RANDOM = 0x02
"""Flag of a trace whose id is a random number, as level 2 of the standard wants it told."""

_KNOWN_FLAGS = SAMPLED | RANDOM

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_MEMBER = re.compile(
    r"([a-z][_0-9a-z*/-]{0,255}|[a-z0-9][_0-9a-z*/-]{0,240}@[a-z][_0-9a-z*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


class Parent(Struct, frozen=True):
    """What a `traceparent` says: the caller's span, in its trace."""

    trace_id: int
    span_id: int
    flags: int


def begin(headers: Mapping[str, str], source: random.Random) -> TraceContext:
    """The context of a request with these headers: its own span, in the caller's trace if it names one. Whether the
    trace is sampled is the caller's decision; a new one is."""
    parent = parse_traceparent(_values(headers, TRACEPARENT))
    if parent is None:
        return TraceContext(trace_id=_id(source, 128), span_id=new_span_id(source), flags=SAMPLED | RANDOM)
    return TraceContext(
        trace_id=parent.trace_id,
        span_id=new_span_id(source),
        parent_id=parent.span_id,
        flags=parent.flags,
        state=parse_tracestate(_values(headers, TRACESTATE)),
    )


def new_span_id(source: random.Random) -> int:
    return _id(source, 64)


def outgoing(context: TraceContext, span_id: int) -> dict[str, str]:
    """The headers of a request whose span, in the same trace, is `span_id`."""
    headers = {TRACEPARENT: f"00-{context.trace_id:032x}-{span_id:016x}-{context.flags:02x}"}
    if context.state:
        headers[TRACESTATE] = context.state
    return headers


def parse_traceparent(values: Sequence[str]) -> Parent | None:
    """None unless there is exactly one, of version 00, or of a later one that begins like it (§4.3)."""
    if len(values) != 1:
        return None
    found = _TRACEPARENT.fullmatch(values[0].strip(" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), int(flags, 16) & _KNOWN_FLAGS)
    return parent if parent.trace_id and parent.span_id else None


def parse_tracestate(values: Sequence[str]) -> str:
    """The members of all these headers as one, in their order; empty when any of them is malformed or there are too
    many. What they mean is between those who wrote them."""
    members = [member for value in values for part in value.split(",") if (member := part.strip(" \t"))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {found[1] for found in matches if found is not None}
    return ",".join(members) if len(keys) == len(members) <= MEMBERS_MAX else ""


def _values(headers: Mapping[str, str], name: str) -> list[str]:
    """A header may come more than once."""
    return [value for key, value in headers.items() if key.lower() == name]


def _id(source: random.Random, bits: int) -> int:
    return source.getrandbits(bits) or 1  # 0 means: none
