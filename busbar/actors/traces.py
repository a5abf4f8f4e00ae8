"""Traces: requests that are over, on their way to a collector of spans.

Metrics ── RequestsDone ──► Traces ── submit(Parcel) ──► SpanExport, a port
ingress ── Said ──────────►        ◄── Exported ────────

It holds what is on its way, and so decides what there is no room for: a receiver that is slow or dead costs spans,
which are counted, and nothing else.
"""

from __future__ import annotations

import typing
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from busbar.actors.messages import Snapshot
from busbar.actors.runtime import LoopActor, Overflow, handles
from busbar.actors.telemetry import RequestDone, RequestsDone, Said

SPANS_WAITING_MAX = 8192
"""Spans that are being exported, or wait for it. More are dropped."""

CONTENT_BYTES_MAX = 32 << 20
"""Of what was said in requests that wait, or are being exported. The oldest that is not being exported gives way."""


class Traced(Struct, frozen=True):
    """A request with a trace. `said`: where it is known."""

    request: RequestDone
    said: Said | None = None

    @property
    def spans(self) -> int:
        """Its own, and one for each attempt."""
        return 1 + len(self.request.attempts)

    @property
    def content_bytes(self) -> int:
        return 0 if self.said is None else _bytes_of(self.said)


class Parcel(Struct, frozen=True, eq=False):
    """What goes to the port at once."""

    traced: tuple[Traced, ...]

    @property
    def spans(self) -> int:
        return sum(each.spans for each in self.traced)

    @property
    def content_bytes(self) -> int:
        return sum(each.content_bytes for each in self.traced)


class SpanExport(typing.Protocol):
    """The port to the collector."""

    def submit(self, parcel: Parcel, done: Callable[[bool], None]) -> None:
        """Does not block. `done` is called on the loop, later, at most once: whether the collector has the spans.
        Parcels are done in the order in which they were submitted."""
        ...


class Exported(Struct, frozen=True):
    """To Traces, from its port: what became of a parcel."""

    parcel: Parcel
    taken: bool


class Traces(LoopActor):
    """Understands RequestsDone, Said, Exported, Snapshot. Telemetry never slows serving: its mailbox drops."""

    overflow = Overflow.DROP
    mailbox_limit = 256

    def __init__(self, export: SpanExport) -> None:
        super().__init__()
        self._export = export
        self._said: OrderedDict[int, Said] = OrderedDict()
        """By the span of its request, oldest first: some may wait for one that was dropped on its way."""
        self._content_bytes = 0
        """In `_said` and `_on_their_way`; at most CONTENT_BYTES_MAX."""
        self._on_their_way: deque[Parcel] = deque()
        self._waiting = 0
        """Spans in them; at most SPANS_WAITING_MAX."""
        self._exported = 0
        self._dropped = 0
        self._failed = 0
        self._content_dropped = 0

    @handles(Said)
    def said(self, message: Said) -> None:
        size = _bytes_of(message)
        while self._said and self._content_bytes + size > CONTENT_BYTES_MAX:
            _, oldest = self._said.popitem(last=False)
            self._content_bytes -= _bytes_of(oldest)
            self._content_dropped += 1
        if self._content_bytes + size > CONTENT_BYTES_MAX:
            self._content_dropped += 1
            return
        self._said[message.span_id] = message
        self._content_bytes += size

    @handles(RequestsDone)
    def requests_done(self, message: RequestsDone) -> None:
        taken: list[Traced] = []
        for request in message.requests:
            if request.trace is None or not request.trace.sampled:
                continue
            traced = Traced(request, self._said.pop(request.trace.span_id, None))
            if self._waiting + traced.spans > SPANS_WAITING_MAX:
                self._dropped += traced.spans
                self._content_bytes -= traced.content_bytes
            else:
                self._waiting += traced.spans
                taken.append(traced)
        if taken:
            parcel = Parcel(tuple(taken))
            self._on_their_way.append(parcel)
            self._export.submit(parcel, partial(self._hear, parcel))

    @handles(Exported)
    def exported(self, message: Exported) -> None:
        if message.parcel not in self._on_their_way:
            return  # an instance that crashed had given it away
        while (parcel := self._on_their_way.popleft()) is not message.parcel:
            self._over(parcel, taken=False)  # the mailbox dropped what was said of it
        self._over(parcel, taken=message.taken)

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, int]:
        """In spans: what the collector has, what is on its way there, and what was lost: for want of room, or because
        the collector did not take it. In requests: whose content was left out."""
        return {
            "exported": self._exported,
            "waiting": self._waiting,
            "dropped": self._dropped,
            "failed": self._failed,
            "content_dropped": self._content_dropped,
        }

    def _over(self, parcel: Parcel, *, taken: bool) -> None:
        self._waiting -= parcel.spans
        self._content_bytes -= parcel.content_bytes
        if taken:
            self._exported += parcel.spans
        else:
            self._failed += parcel.spans

    def _hear(self, parcel: Parcel, taken: bool) -> None:
        """Called by the port."""
        self.ref.tell(Exported(parcel, taken))


def _bytes_of(said: Said) -> int:
    return len(said.asked.data) + len(said.answered.data)
