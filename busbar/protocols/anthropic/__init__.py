"""Anthropic's Messages API.

    request_read, request_write     a caller's request, both ways; `fit_*` makes other dialects' requests acceptable
    mend                            … and its own, where an earlier answer came over a hop
    response                        a whole answer, both ways
    stream_read, stream_write       the streamed answer, both ways; `stream_tap` watches one that passes by
    errors, models                  what errors mean, and how they are told; the list of models
    rate_limits                     how limits are told
    blocks_*, sources, citations,   what requests and answers are made of
    tools, usage, schema, words

Facts are from the API reference, from the official SDK's types, and from recorded traffic.
"""

from __future__ import annotations

from busbar.protocols.anthropic.errors import KNOWLEDGE, read_error, write_error
from busbar.protocols.anthropic.mend import HOP_TRACES, mend_request
from busbar.protocols.anthropic.models import write_models
from busbar.protocols.anthropic.rate_limits import ACCOUNT_HEADERS, rate_limit_headers
from busbar.protocols.anthropic.receipt_paths import spell
from busbar.protocols.anthropic.request_read import read_request
from busbar.protocols.anthropic.request_write import write_request
from busbar.protocols.anthropic.response import inspect_response, read_response, write_response
from busbar.protocols.anthropic.stream_read import AnthropicStreamReader
from busbar.protocols.anthropic.stream_tap import MARKS, stream_tap
from busbar.protocols.anthropic.stream_write import AnthropicStreamWriter
from busbar.protocols.anthropic.words import DIALECT, TOOL_NAME_CHARS_MAX, TOOL_USE_ID
from busbar.protocols.asked import asked_at_top
from busbar.protocols.ids import fit_name
from busbar.protocols.protocol import Protocol, Route

_PATH = "/v1/messages"
_COUNT_PATH = "/v1/messages/count_tokens"


def _egress_path(model: str, stream: bool) -> str:
    return _PATH


PROTOCOL = Protocol(
    name=DIALECT,
    routes=(
        Route(path=_PATH, target_in="body"),
        Route(path="/{name}/v1/messages", target_in="path"),
        Route(path="/{provider}/{model}/v1/messages", target_in="path"),
        Route(path=_COUNT_PATH, operation="count_tokens", stream=False),
        Route(path="/{name}/v1/messages/count_tokens", target_in="path", operation="count_tokens", stream=False),
    ),
    knowledge=KNOWLEDGE,
    egress_path=_egress_path,
    count_path=lambda model: _COUNT_PATH,
    signer=DIALECT,
    tool_call_ids=TOOL_USE_ID,
    fit_tool_name=lambda name: fit_name(name, TOOL_NAME_CHARS_MAX),
    forwarded_headers=frozenset(
        {"anthropic-beta", "anthropic-version", "x-request-id", "traceparent", "tracestate"},
    ),
    required_headers={"anthropic-version": "2023-06-01"},
    stream_content_type="text/event-stream; charset=utf-8",
    request_id_header="request-id",
    read_request=read_request,
    asked=asked_at_top(("max_tokens",)),
    write_request=write_request,
    hop_traces=HOP_TRACES,
    mend_request=mend_request,
    read_response=read_response,
    write_response=write_response,
    inspect_response=inspect_response,
    stream_reader=AnthropicStreamReader,
    stream_writer=AnthropicStreamWriter,
    stream_tap=stream_tap,
    marks=MARKS,
    read_error=read_error,
    write_error=write_error,
    rate_limit_headers=rate_limit_headers,
    account_header_prefixes=ACCOUNT_HEADERS,
    spell=spell,
    write_models=write_models,
    telltale_header="anthropic-version",
)
