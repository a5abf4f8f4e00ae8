"""The Responses dialect of OpenAI, as its SDKs and Codex speak it.

    request_read, request_write     a caller's request, both ways
    mend                            … and its own, where an earlier answer came over a hop
    response, answer_write          a whole answer, both ways
    stream_read, stream_write       the streamed answer, both ways; `stream_tap` watches one that passes by
    items_*, turns_write,           what requests and answers are made of: items, and the content parts of messages
      content_*, tools, settings
    errors, knowledge               what errors mean, and how they are told

Facts are from the API reference, from the official SDK's types, and from recorded traffic. Stored state
(`previous_response_id`, `conversation`, `store`) is this dialect's alone and never crosses.
"""

from __future__ import annotations

from busbar.protocols.asked import asked_at_top
from busbar.protocols.model_list import write_openai_models
from busbar.protocols.protocol import Protocol, Route
from busbar.protocols.responses.errors import read_error, write_error
from busbar.protocols.responses.knowledge import KNOWLEDGE
from busbar.protocols.responses.mend import HOP_TRACES, mend_request
from busbar.protocols.responses.receipt_paths import spell
from busbar.protocols.responses.request_read import read_request
from busbar.protocols.responses.request_write import write_request
from busbar.protocols.responses.response import inspect_response, read_response, write_response
from busbar.protocols.responses.stream_form import stream_trace
from busbar.protocols.responses.stream_read import ResponsesStreamReader
from busbar.protocols.responses.stream_tap import MARKS, stream_tap
from busbar.protocols.responses.stream_write import ResponsesStreamWriter
from busbar.protocols.responses.words import DIALECT, TOOL_CALL_ID

PROTOCOL = Protocol(
    name=DIALECT,
    routes=(Route(path="/v1/responses"), Route(path="/responses")),
    knowledge=KNOWLEDGE,
    egress_path=lambda model, stream: "/v1/responses",
    signer=DIALECT,
    tool_call_ids=TOOL_CALL_ID,
    forwarded_headers=frozenset({"openai-beta", "x-request-id", "traceparent", "tracestate"}),
    required_headers={},
    stream_content_type="text/event-stream",
    request_id_header="x-request-id",
    read_request=read_request,
    asked=asked_at_top(("max_output_tokens",)),
    write_request=write_request,
    hop_traces=HOP_TRACES,
    mend_request=mend_request,
    read_response=read_response,
    write_response=write_response,
    inspect_response=inspect_response,
    stream_reader=ResponsesStreamReader,
    stream_writer=ResponsesStreamWriter,
    stream_tap=stream_tap,
    marks=MARKS,
    stream_trace=stream_trace,
    read_error=read_error,
    write_error=write_error,
    spell=spell,
    write_models=write_openai_models,
)
