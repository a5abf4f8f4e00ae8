"""The Chat Completions dialect, as OpenAI and its many clones speak it.

request.py    messages*.py, tools.py, reasoning.py, content*.py hold its parts
response.py   answer*.py: the assistant's message, which a request's history has too
stream_*.py   reading, writing and tapping streams; stream_form.py says how a chunk finds its way back,
              stream_alike.py how those are read that only go on with a text
errors.py     envelopes; knowledge.py: what they mean
"""

from __future__ import annotations

from busbar.protocols.asked import asked_at_top
from busbar.protocols.model_list import write_openai_models
from busbar.protocols.openai.errors import read_error, write_error
from busbar.protocols.openai.knowledge import KNOWLEDGE
from busbar.protocols.openai.receipt_paths import spell
from busbar.protocols.openai.request import read_request, write_request
from busbar.protocols.openai.response import inspect_response, read_response, write_response
from busbar.protocols.openai.stream_read import OpenaiStreamReader
from busbar.protocols.openai.stream_tap import MARKS, stream_tap
from busbar.protocols.openai.stream_write import OpenaiStreamWriter
from busbar.protocols.openai.words import DIALECT, TOOL_CALL_ID
from busbar.protocols.protocol import Protocol, Route

PROTOCOL = Protocol(
    name=DIALECT,
    routes=(Route(path="/v1/chat/completions"), Route(path="/chat/completions")),
    knowledge=KNOWLEDGE,
    egress_path=lambda model, stream: "/v1/chat/completions",
    signer=DIALECT,
    tool_call_ids=TOOL_CALL_ID,
    forwarded_headers=frozenset({"openai-beta", "x-request-id", "traceparent", "tracestate"}),
    required_headers={},
    stream_content_type="text/event-stream",
    request_id_header="x-request-id",
    read_request=read_request,
    asked=asked_at_top(("max_completion_tokens", "max_tokens"), choices="n"),
    write_request=write_request,
    read_response=read_response,
    write_response=write_response,
    inspect_response=inspect_response,
    stream_reader=OpenaiStreamReader,
    stream_writer=OpenaiStreamWriter,
    stream_tap=stream_tap,
    marks=MARKS,
    read_error=read_error,
    write_error=write_error,
    spell=spell,
    write_models=write_openai_models,
)
