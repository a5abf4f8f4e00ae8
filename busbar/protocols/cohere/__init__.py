"""Cohere's Chat API, version 2.

    request_read, request_write   a caller's request, both ways; `fit_*` makes other dialects' requests acceptable
    response                      a whole answer, both ways; answer.py: the message, which a request's history has too
    stream_read, stream_write     the streamed answer, both ways; stream_form.py says how an event finds its way back,
                                  `stream_tap` watches one that passes by
    errors, models                what errors mean, and how they are told; the list of models
    abilities, schema             what Cohere's models and structured output cannot do
    content, calls, citations,    what requests and answers are made of
    tools, usage, words

Facts are from the API reference and its page of errors, the official SDK's types, and recorded traffic.
"""

from __future__ import annotations

from busbar.protocols.asked import asked_at_top
from busbar.protocols.cohere.calls import tool_name
from busbar.protocols.cohere.errors import KNOWLEDGE, MONTHLY_LIMIT_HEADERS, read_error, write_error
from busbar.protocols.cohere.models import write_models
from busbar.protocols.cohere.receipt_paths import spell
from busbar.protocols.cohere.request_read import read_request
from busbar.protocols.cohere.request_write import write_request
from busbar.protocols.cohere.response import inspect_response, read_response, write_response
from busbar.protocols.cohere.stream_read import CohereStreamReader
from busbar.protocols.cohere.stream_tap import MARKS, stream_tap
from busbar.protocols.cohere.stream_write import CohereStreamWriter
from busbar.protocols.cohere.words import DIALECT, TOOL_CALL_ID
from busbar.protocols.protocol import Protocol, Route
from busbar.protocols.rate_limits import ACCOUNT_HEADERS
from busbar.protocols.receipt import Receipt

_PATH = "/v2/chat"

PROTOCOL = Protocol(
    name=DIALECT,
    routes=(Route(path=_PATH),),
    knowledge=KNOWLEDGE,
    egress_path=lambda model, stream: _PATH,
    fit_tool_name=lambda name: tool_name(name, "", Receipt()),
    signer=DIALECT,
    tool_call_ids=TOOL_CALL_ID,
    forwarded_headers=frozenset({"x-request-id", "traceparent", "tracestate"}),
    required_headers={},
    stream_content_type="text/event-stream",
    request_id_header="x-request-id",
    read_request=read_request,
    asked=asked_at_top(("max_tokens",)),
    write_request=write_request,
    read_response=read_response,
    write_response=write_response,
    inspect_response=inspect_response,
    stream_reader=CohereStreamReader,
    stream_writer=CohereStreamWriter,
    stream_tap=stream_tap,
    marks=MARKS,
    read_error=read_error,
    write_error=write_error,
    account_header_prefixes=(*ACCOUNT_HEADERS, *MONTHLY_LIMIT_HEADERS),
    spell=spell,
    write_models=write_models,
    telltale_header="x-fern-sdk-name",
)
