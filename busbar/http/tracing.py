"""The trace of each request: made when it comes, told to each provider that is asked, over when the request is."""

from __future__ import annotations

import random
from collections.abc import Mapping

from busbar.actors.runtime import LoopRef
from busbar.actors.telemetry import Said, TraceContext
from busbar.http.capture import CapturedExchange
from busbar.http.ports import Exchange
from busbar.http.trace_context import TRACESTATE, begin, new_span_id, outgoing


class Tracing:
    """Where traces are collected. `source`: of ids, which are no secrets. `content_to`: the actor `Traces`, where it
    wants to know what was said; None: nobody looks at it."""

    def __init__(self, source: random.Random, content_to: LoopRef | None = None) -> None:
        self._source = source
        self._content_to = content_to

    def begin(self, headers: Mapping[str, str]) -> RequestTrace:
        return RequestTrace(headers, self._source, self._content_to)


class RequestTrace:
    """One request's. Whoever got it owes it a `close`."""

    __slots__ = ("_attempt", "_captured", "_content_to", "_discarded", "_source", "context")

    context: TraceContext

    def __init__(self, headers: Mapping[str, str], source: random.Random, content_to: LoopRef | None) -> None:
        self.context = begin(headers, source)
        self._source = source
        self._content_to = content_to if self.context.sampled else None
        # What a caller says there and we do not believe must not go on, as its headers otherwise do in its dialect.
        self._discarded = {TRACESTATE: ""} if TRACESTATE in headers and not self.context.state else {}
        self._attempt = 0
        self._captured: CapturedExchange | None = None

    def watch(self, exchange: Exchange) -> Exchange:
        """The exchange to go on with: what is said in it is noted where that is wanted."""
        if self._content_to is None:
            return exchange
        self._captured = CapturedExchange(exchange)
        return self._captured

    def outgoing(self) -> Mapping[str, str]:
        """Begins the span of an attempt: the headers that tell its provider of it."""
        self._attempt = new_span_id(self._source)
        return {**self._discarded, **outgoing(self.context, self._attempt)}

    def attempt_over(self) -> int:
        """The id of the attempt's span. There is one even if its provider was never asked."""
        span_id, self._attempt = self._attempt or new_span_id(self._source), 0
        return span_id

    def close(self) -> None:
        """The request is over. What was said goes ahead of what is told of it."""
        captured = self._captured
        if captured is not None and self._content_to is not None:
            self._content_to.tell(
                Said(span_id=self.context.span_id, asked=captured.asked, answered=captured.answered)
            )
