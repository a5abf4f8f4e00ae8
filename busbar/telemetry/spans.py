"""Requests as spans, in the words of OpenTelemetry's conventions for generative AI and HTTP
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/). What they have no word for begins with `busbar.`.

A request is a SERVER span; each attempt is a CLIENT span beneath it; each decision of a pool is an event of the
request's. This imports the SDK, which takes a while: see `otel`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AttributeValue

from busbar import __version__
from busbar.actors.governance.money import nanodollars
from busbar.actors.telemetry import AttemptDone, Decision, Piece, RequestDone, Said, TraceContext
from busbar.actors.traces import Traced
from busbar.protocols.usage import Usage

DROPPED_FIELDS_MAX: Final = 128
"""Paths that one span lists."""

_SCOPE: Final = InstrumentationScope("busbar", __version__)
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)

_PROVIDERS: Final = {
    "anthropic": "anthropic",
    "openai": "openai",
    "responses": "openai",
    "gemini": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "cohere": "cohere",
}
"""By dialect, what the conventions call the provider whose dialect it is."""

_NOT_THE_PROVIDERS_FAULT: Final = frozenset({"ok", "cancelled", "diverged"})

_OURS_OR_THE_PROVIDERS: Final = frozenset({"error", "exhausted"})
"""Outcomes that are errors of a server."""


class Place(Struct, frozen=True):
    """Where a member is: the model's name upstream, and the server's."""

    upstream_model: str
    address: str | None = None
    port: int | None = None

    @classmethod
    def at(cls, upstream_model: str, base_url: str) -> Place:
        url = urlsplit(base_url)
        return cls(upstream_model, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme))


_Attributes = dict[str, AttributeValue]


class Spans:
    """Makes the spans of requests. `places`: of each member, the upstream model and the base URL."""

    def __init__(self, resource: Resource, places: Mapping[str, tuple[str, str]]) -> None:
        self._resource = resource
        self.learn(places)

    def learn(self, places: Mapping[str, tuple[str, str]]) -> None:
        """The members are these from now on."""
        self._places = {member: Place.at(model, url) for member, (model, url) in places.items()}

    def of(self, traced: Traced) -> list[ReadableSpan]:
        """The request's, then those of its attempts. It has a trace."""
        request, trace = traced.request, traced.request.trace
        assert trace is not None, "only such are collected"
        pools = (decision.pool for decision in request.decisions if decision.member is not None)
        spans = [self._request(request, trace, traced.said)]
        spans += [self._attempt(request, trace, attempt, next(pools, request.pool)) for attempt in request.attempts]
        return spans

    def _request(self, request: RequestDone, trace: TraceContext, said: Said | None) -> ReadableSpan:
        parent = trace.parent_id
        named = request.pool != "unresolved"
        attributes = _request_attributes(request)
        if named:
            attributes["gen_ai.request.model"] = request.pool
        if said is not None:
            attributes.update(_content(said, request))
        return ReadableSpan(
            f"{request.operation} {request.pool}" if named else request.operation,
            context=_context(trace, trace.span_id, remote=False),
            parent=None if parent is None else _context(trace, parent, remote=True),
            resource=self._resource,
            attributes=attributes,
            events=[_event(decision, request) for decision in request.decisions],
            kind=SpanKind.SERVER,
            status=_ERROR if request.outcome in _OURS_OR_THE_PROVIDERS else _UNSET,
            start_time=_nanoseconds(request, request.started_at),
            end_time=_nanoseconds(request, request.started_at + request.latency_ms / 1000),
            instrumentation_scope=_SCOPE,
        )

    def _attempt(self, request: RequestDone, trace: TraceContext, attempt: AttemptDone, pool: str) -> ReadableSpan:
        place = self._places.get(attempt.member, Place(attempt.member))
        failed = attempt.disposition not in _NOT_THE_PROVIDERS_FAULT
        return ReadableSpan(
            f"{request.operation} {place.upstream_model}",
            context=_context(trace, attempt.span_id, remote=False),
            parent=_context(trace, trace.span_id, remote=False),
            resource=self._resource,
            attributes=_attempt_attributes(request, attempt, place, pool),
            kind=SpanKind.CLIENT,
            status=_ERROR if failed else _UNSET,
            start_time=_nanoseconds(request, attempt.at),
            end_time=_nanoseconds(request, attempt.at + attempt.latency_ms / 1000),
            instrumentation_scope=_SCOPE,
        )


def _request_attributes(request: RequestDone) -> _Attributes:
    told: dict[str, AttributeValue | None] = {
        "gen_ai.operation.name": request.operation,
        "gen_ai.request.stream": request.stream,
        "http.request.method": "POST",
        "http.response.status_code": request.status,
        "error.type": None if request.outcome == "ok" else _error_type(request),
        "busbar.request_id": request.request_id,
        "busbar.outcome": request.outcome,
        "busbar.pool": request.pool,
        "busbar.ingress_protocol": request.ingress,
        "busbar.translated_to": request.translated_to,
        "busbar.failovers": len(request.failed_over),
        "busbar.ttft_ms": request.ttft_ms,
        "busbar.key_id": request.key_id,
        "busbar.cost_nanodollars": None if request.picodollars is None else nanodollars(request.picodollars),
        "busbar.dropped_fields": request.dropped_fields[:DROPPED_FIELDS_MAX] or None,
    }
    return _known({**told, **_usage(request.usage)})


def _attempt_attributes(request: RequestDone, attempt: AttemptDone, place: Place, pool: str) -> _Attributes:
    first = attempt.first_byte_at
    return _known(
        {
            "gen_ai.operation.name": request.operation,
            "gen_ai.provider.name": _PROVIDERS.get(attempt.protocol, attempt.provider),
            "gen_ai.request.model": place.upstream_model,
            "gen_ai.request.stream": request.stream,
            "gen_ai.response.time_to_first_chunk": None if first is None else first - attempt.at,
            "server.address": place.address,
            "server.port": place.port,
            "http.request.method": "POST",
            "http.response.status_code": attempt.status,
            "error.type": None if attempt.disposition == "ok" else attempt.disposition,
            "busbar.member": attempt.member,
            "busbar.pool": pool,
            "busbar.provider": attempt.provider,
            "busbar.protocol": attempt.protocol,
        }
    )


def _error_type(request: RequestDone) -> str:
    """The class of the failure that the caller was told of, or else the outcome."""
    last = request.attempts[-1].disposition if request.attempts else "ok"
    return last if request.outcome == "error" and last not in _NOT_THE_PROVIDERS_FAULT else request.outcome


def _usage(usage: Usage | None) -> Mapping[str, int | None]:
    if usage is None:
        return {}
    return {
        # The convention's number has the cached part of the prompt in it.
        "gen_ai.usage.input_tokens": None if usage.input_tokens is None else usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }


def _event(decision: Decision, request: RequestDone) -> Event:
    """Whom a pool gave the request, and why not those that it could not give it to."""
    attributes = _known(
        {
            "busbar.pool": decision.pool,
            "busbar.member": decision.member,
            "busbar.passed_over": [f"{member}: {why.value}" for member, why in decision.passed_over.items()] or None,
            "busbar.retry": decision.again or None,
            "busbar.probe": decision.probe or None,
            "busbar.last_resort": decision.last_resort or None,
        }
    )
    return Event("busbar.decision", attributes, _nanoseconds(request, decision.at))


def _content(said: Said, request: RequestDone) -> Iterator[tuple[str, str]]:
    """The bodies as they were, each as one part of one message: its type is none of those that the conventions'
    schema describes, but one that it allows for."""
    asked = {"role": "user", "parts": [_body(said.asked)]}
    finish = "unknown" if request.outcome == "ok" else "error"
    answered = {"role": "assistant", "parts": [_body(said.answered)], "finish_reason": finish}
    yield "gen_ai.input.messages", json.dumps([asked], ensure_ascii=False)
    yield "gen_ai.output.messages", json.dumps([answered], ensure_ascii=False)


def _body(piece: Piece) -> dict[str, str | bool]:
    return {"type": "http_body", "content": piece.data.decode("utf-8", "replace"), "truncated": not piece.whole}


def _context(trace: TraceContext, span_id: int, *, remote: bool) -> SpanContext:
    return SpanContext(trace.trace_id, span_id, remote, TraceFlags(trace.flags), _state(trace.state))


def _state(state: str) -> TraceState | None:
    return (
        TraceState([(key, value) for key, _, value in (it.partition("=") for it in state.split(","))])
        if state
        else None
    )


def _nanoseconds(request: RequestDone, at: float) -> int:
    """Unix time of something on the clock that the request's times are told by."""
    return int(request.unix_secs * 1e9) + int((at - request.started_at) * 1e9)


def _known(attributes: Mapping[str, AttributeValue | None]) -> _Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
