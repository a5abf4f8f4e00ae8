"""Google's Gemini API, as the Generative Language API and Vertex AI speak it.

    request_read, request_write     a caller's request, both ways; `fit_*` makes other dialects' requests acceptable
    response, answer_write          a whole answer, both ways
    stream_read, stream_write       the streamed answer, both ways; `stream_tap` watches one that passes by
    errors, knowledge, models       how errors are told, and what they mean; the list of models
    parts_*, media, tools, usage,   what requests and answers are made of
    settings_read, schema_*, grounding
    spelling                        camel case and snake case, and how a document finds back to its own

Facts are from the API reference, from the official SDKs, and from recorded traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from busbar.protocols.asked import asked_inside
from busbar.protocols.gemini.errors import read_error, write_error
from busbar.protocols.gemini.fit_tools import fit_tool_name
from busbar.protocols.gemini.knowledge import KNOWLEDGE
from busbar.protocols.gemini.models import write_models
from busbar.protocols.gemini.receipt_paths import spell
from busbar.protocols.gemini.request_read import read_request
from busbar.protocols.gemini.request_write import write_request
from busbar.protocols.gemini.response import inspect_response, read_response, write_response
from busbar.protocols.gemini.stream_frames import stream_as_values
from busbar.protocols.gemini.stream_read import GeminiStreamReader
from busbar.protocols.gemini.stream_tap import MARKS, stream_tap
from busbar.protocols.gemini.stream_write import ARRAY, GeminiStreamWriter
from busbar.protocols.gemini.words import DIALECT, TOOL_CALL_ID
from busbar.protocols.protocol import Protocol, Route
from busbar.protocols.receipt import Receipt


def _path(model: str, call: str) -> str:
    """The path of `call`. Some callers name a model as the list of models does: `models/x`."""
    return f"/v1beta/models/{quote(model.removeprefix('models/'), safe='')}:{call}"


def _egress_path(model: str, stream: bool) -> str:
    return _path(model, "streamGenerateContent?alt=sse" if stream else "generateContent")


def _count_path(model: str) -> str:
    return _path(model, "countTokens")


def _framing_of(query: Mapping[str, str]) -> str:
    return "" if query.get("alt") == "sse" else ARRAY


def _routes(version: str) -> tuple[Route, ...]:
    path = f"/{version}/models/{{name}}"
    return (
        Route(path=f"{path}:generateContent", target_in="path", stream=False),
        Route(path=f"{path}:streamGenerateContent", target_in="path", stream=True),
        Route(path=f"{path}:countTokens", target_in="path", stream=False, operation="count_tokens"),
    )


PROTOCOL = Protocol(
    name=DIALECT,
    routes=(*_routes("v1beta"), *_routes("v1")),
    knowledge=KNOWLEDGE,
    egress_path=_egress_path,
    count_path=_count_path,
    model_in="path",
    fit_tool_name=lambda name: fit_tool_name(name, "", Receipt()),
    signer=DIALECT,
    tool_call_ids=TOOL_CALL_ID,
    forwarded_headers=frozenset({"x-request-id", "traceparent", "tracestate"}),
    required_headers={},
    stream_content_type="text/event-stream",
    request_id_header="x-request-id",
    read_request=read_request,
    asked=asked_inside(
        ("generationConfig", "generation_config"),
        ("maxOutputTokens", "max_output_tokens"),
        ("candidateCount", "candidate_count"),
    ),
    write_request=write_request,
    read_response=read_response,
    write_response=write_response,
    inspect_response=inspect_response,
    stream_reader=GeminiStreamReader,
    stream_writer=GeminiStreamWriter,
    stream_tap=stream_tap,
    marks=MARKS,
    stream_as_values=stream_as_values,
    framing_of=_framing_of,
    framing_content_types={ARRAY: "application/json"},
    read_error=read_error,
    write_error=write_error,
    spell=spell,
    write_models=write_models,
    models_path="/v1beta/models",
    telltale_header="x-goog-api-key",
)
