"""What is told of requests that are over, and what may be asked about them.

ingress ── RequestDone ──► Metrics ── RequestsDone ──► Journal, and the other sinks
                              │                            │
a page ── Find | Recent ──────┴────────────────────────────┴──► the page

A thousand requests are kept, and nothing that is told of one can refer back to it: so the garbage collector does not
look at them (`gc=False`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from msgspec import Struct

from busbar.actors.messages import Refusal
from busbar.protocols.usage import Usage


class Line(Struct, frozen=True, kw_only=True, gc=False):
    """A member in a pool's list, as far as that explains whom the pool picks."""

    member: str
    protocol: str
    excluded: bool = False
    context_max: int | None = None


class Listing(Struct, frozen=True):
    """Whom a pool can pick from, and how. Made with the configuration, and shared by all that refer to it."""

    strategy: str = "weighted"
    lines: tuple[Line, ...] = ()


class Decision(Struct, frozen=True, kw_only=True, gc=False):
    """One decision on a request's way: which pool was asked, whom it gave, and why not the others."""

    pool: str
    member: str | None
    """None: nobody."""
    passed_over: Mapping[str, Refusal]
    """Those that could not take the request. Others of the listing were not asked, or it was not their turn."""
    listing: Listing = Listing()
    again: bool = False
    """Only the member that had just failed was asked for."""
    probe: bool = False
    last_resort: bool = False
    at: float


SAMPLED = 0x01
"""Of `TraceContext.flags`: the spans of this trace are wanted."""


class TraceContext(Struct, frozen=True, kw_only=True, gc=False):
    """The trace that a request belongs to (https://www.w3.org/TR/trace-context/), and its own span there."""

    trace_id: int
    """128 bits, not 0."""
    span_id: int
    """64 bits, not 0."""
    parent_id: int | None = None
    """The caller's span; None: the trace begins here."""
    flags: int = SAMPLED
    state: str = ""
    """The caller's `tracestate`."""

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)


class AttemptDone(Struct, frozen=True, gc=False):
    """One attempt at one member."""

    member: str
    disposition: str
    """`ok`, the class of the failure, `cancelled`, or `diverged`: asked to go on with an answer, it gave another."""
    latency_ms: float
    provider: str = ""
    protocol: str = ""
    at: float = 0.0
    """When it began."""
    first_byte_at: float | None = None
    """When the caller got its first byte."""
    status: int | None = None
    """The HTTP status of a failure, where there was one."""
    code: str | None = None
    """The provider's own word for the failure: its code, else its type. Never its message, which may quote the
    request."""
    retry_after_secs: float | None = None
    span_id: int = 0
    """Where the request has a trace: the attempt's span there."""
    pool: str = ""
    """That gave the member: a configured one, or the member's own."""
    waited_ms: float = 0.0
    """For the provider: from when it was asked, connecting included, until its whole answer, its failure, or a
    stream's first content was there."""
    gap_mean_ms: float | None = None
    """Between two chunks of a stream, after its first content; None: there were no two."""
    gap_longest_ms: float | None = None
    usage: Usage | None = None
    """As far as the provider stated it."""
    refused_keys: Sequence[tuple[int, str]] = ()
    """(number, class of the refusal) of the provider's keys that were tried in this attempt, and not wanted."""


class RequestDone(Struct, frozen=True, gc=False):
    """One request, answered or not. The only telemetry message of a request, so it holds all that is known of it but
    what was said: no prompt, no answer, no key. What came last in `decisions` and `attempts` came last in time."""

    request_id: str
    ingress: str
    pool: str
    outcome: str
    """`ok`, `client_error`, `exhausted`, `error` or `cancelled`."""
    status: int
    latency_ms: float
    ttft_ms: float | None = None
    overhead_ms: float | None = None
    """The gateway's own part of the time: `latency_ms`, of a stream `ttft_ms`, without what its attempts waited for
    providers until then. So it holds admission, translation, waiting in a pool's queue and waiting out a provider's
    `Retry-After`."""
    attempts: Sequence[AttemptDone] = ()
    translated_to: str | None = None
    usage: Usage | None = None
    key_id: str | None = None
    """Of the virtual key that it was made with."""
    picodollars: int | None = None
    """What its answer cost; of a cut one what was seen of it; None: nobody is charged."""
    dropped_fields: tuple[str, ...] = ()
    unix_secs: float = 0.0
    """When it came."""
    started_at: float = 0.0
    """The same on the clock that `Decision.at` and `AttemptDone.at` are told by."""
    routed_at: float = 0.0
    """When its first pool was asked; 0: none was."""
    operation: str = "chat"
    stream: bool = False
    by_session: Set[str] = frozenset()
    """Pools that were asked for the member of the request's session."""
    decisions: Sequence[Decision] = ()
    failed_over: Sequence[tuple[str, str]] = ()
    """(pool, class of the failure) of each attempt that another one followed."""
    trace: TraceContext | None = None
    """None: nobody collects traces."""


class Find(Struct, frozen=True):
    """To Metrics: the request of this id. Answered by the Journal, with the `RequestDone`, or None when it is not, or
    no longer, known."""

    request_id: str


class Recent(Struct, frozen=True):
    """To Metrics: the latest requests. Answered by the Journal, with a list, newest first, of at most `limit`."""

    limit: int


class Tally(Struct, frozen=True):
    """To Metrics: everything that it has counted, for a scrape. Answered with `Tallied`."""


class HandOn(Struct, frozen=True):
    """From Metrics to itself: what was told has waited long enough."""


# To the Journal --------------------------------------------------------------------------------------------------


class RequestsDone(Struct, frozen=True):
    """From Metrics, to the journal and every other sink: what it was told, oldest first."""

    requests: Sequence[RequestDone]


# To Traces -------------------------------------------------------------------------------------------------------


class Piece(Struct, frozen=True):
    """The beginning of what was asked or answered, as bytes of HTTP."""

    data: bytes = b""
    whole: bool = True
    """Nothing was left out."""


class Said(Struct, frozen=True, kw_only=True):
    """From ingress, before its RequestDone, and only where the operator wants it known: what the request whose span
    this is asked, and what it was answered."""

    span_id: int
    asked: Piece = Piece()
    answered: Piece = Piece()
