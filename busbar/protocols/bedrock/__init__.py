"""AWS Bedrock's Converse API.

    request_read, request_write     a caller's request, both ways; `fit_*` makes other dialects' requests acceptable
    mend                            … and its own, where an earlier answer came over a hop
    response                        a whole answer, both ways
    stream_read, stream_write       the streamed answer, both ways; `stream_tap` watches one that passes by
    errors, models                  what errors mean, and how they are told; families of models, and their list
    blocks_*, sources, citations,   what requests and answers are made of
    tools, reasoning, output, …

Facts are from the API reference, from the service model that botocore ships, and from recorded traffic.
"""

from __future__ import annotations

from urllib.parse import quote

from busbar.protocols.asked import asked_inside
from busbar.protocols.bedrock.errors import KNOWLEDGE, REQUEST_ID_HEADER, read_error, write_error
from busbar.protocols.bedrock.mend import HOP_TRACES, mend_request
from busbar.protocols.bedrock.models import write_models
from busbar.protocols.bedrock.receipt_paths import spell
from busbar.protocols.bedrock.request_read import read_request
from busbar.protocols.bedrock.request_write import write_request
from busbar.protocols.bedrock.response import inspect_response, read_response, write_response
from busbar.protocols.bedrock.stream_read import BedrockStreamReader
from busbar.protocols.bedrock.stream_tap import MARKS, stream_tap
from busbar.protocols.bedrock.stream_write import BedrockStreamWriter
from busbar.protocols.bedrock.words import DIALECT, SIGNER, TOOL_USE_ID
from busbar.protocols.framing.eventstream import messages_as_values
from busbar.protocols.protocol import Protocol, Route


def _egress_path(model: str, stream: bool) -> str:
    """The id is one segment, whatever it holds: ARNs have colons and slashes."""
    return f"/model/{quote(model, safe='')}/converse{'-stream' if stream else ''}"


PROTOCOL = Protocol(
    name=DIALECT,
    routes=(
        Route(path="/model/{name}/converse", target_in="path", stream=False),
        Route(path="/model/{name}/converse-stream", target_in="path", stream=True),
    ),
    knowledge=KNOWLEDGE,
    egress_path=_egress_path,
    model_in="path",
    signer=SIGNER,
    tool_call_ids=TOOL_USE_ID,
    forwarded_headers=frozenset({"x-request-id", "traceparent", "tracestate"}),
    required_headers={},
    stream_content_type="application/vnd.amazon.eventstream",
    request_id_header=REQUEST_ID_HEADER,
    read_request=read_request,
    asked=asked_inside(("inferenceConfig",), ("maxTokens",)),
    write_request=write_request,
    hop_traces=HOP_TRACES,
    mend_request=mend_request,
    read_response=read_response,
    write_response=write_response,
    inspect_response=inspect_response,
    stream_reader=BedrockStreamReader,
    stream_writer=BedrockStreamWriter,
    stream_tap=stream_tap,
    marks=MARKS,
    stream_as_values=messages_as_values,
    read_error=read_error,
    write_error=write_error,
    spell=spell,
    write_models=write_models,
)
