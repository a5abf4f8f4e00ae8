"""Streams of this dialect, made and taken apart by hand and by the official SDK's own parsers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
import msgspec
from botocore.eventstream import EventStream
from botocore.model import OperationModel
from botocore.parsers import EventStreamJSONParser, create_parser
from botocore.validate import ParamValidator

from busbar.protocols.bedrock import PROTOCOL
from busbar.protocols.framing.eventstream import EventStreamDecoder, encode_message
from busbar.protocols.ir import Chunk, Event, Started
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from tests.recordings import Recording

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
HOP = Hop(model=CLAUDE, default_max_tokens=8192, nonce="n1")
STARTED = Started(id="chatcmpl-7", model="gpt", native=Native("openai", {}, "own"))


@cache
def operation(name: str) -> OperationModel:
    return botocore.session.get_session().get_service_model("bedrock-runtime").operation_model(name)


def sdk_refuses(document: dict[str, Any]) -> str:
    """What the official SDK finds wrong with a request; empty when it would send it."""
    report = ParamValidator().validate({"modelId": "m", **document}, operation("Converse").input_shape)
    return str(report.generate_report()) if report.has_errors() else ""


def sdk_answer(document: dict[str, Any]) -> dict[str, Any]:
    """What the official SDK makes of a whole answer."""
    answer = {"status_code": 200, "headers": {}, "body": msgspec.json.encode(document)}
    parsed: dict[str, Any] = create_parser("rest-json").parse(answer, operation("Converse").output_shape)
    parsed.pop("ResponseMetadata")
    return parsed


def sdk_events(data: bytes) -> list[dict[str, Any]]:
    """What the official SDK makes of a stream. Raises `EventStreamError` for an error in it."""

    class Raw:
        def stream(self) -> Iterator[bytes]:
            yield data

        def close(self) -> None: ...

    shape = operation("ConverseStream").output_shape.members["stream"]
    return list(EventStream(Raw(), shape, EventStreamJSONParser(), "ConverseStream"))


def stream_of(recording: Recording) -> bytes:
    """The recorded stream. One recording holds it as hexadecimal text in its body."""
    body = recording.response.body
    if isinstance(body, dict) and body.get("type") == "binary":
        return bytes.fromhex(body["content"])
    return base64.b64decode(recording.response.body_base64 or "")


def with_stream(recording: Recording) -> bool:
    return recording.response.status < 400 and bool(stream_of(recording))


def with_answer(recording: Recording) -> bool:
    return isinstance(recording.response.body, dict) and "output" in recording.response.body


def frame(kind: str, **value: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode_message(headers, msgspec.json.encode(value))


def exception(kind: str, **value: Any) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return encode_message(headers, msgspec.json.encode(value))


def delta(index: int, **said: Any) -> bytes:
    return frame("contentBlockDelta", contentBlockIndex=index, delta=said)


START = frame("messageStart", role="assistant")
STOP = frame("messageStop", stopReason="end_turn")
END = frame("metadata", usage={"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, metrics={"latencyMs": 7})


def block_stop(index: int) -> bytes:
    return frame("contentBlockStop", contentBlockIndex=index)


def read_chunks(pieces: list[bytes]) -> list[Chunk]:
    reader = PROTOCOL.stream_reader()
    return [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.close()


def read(data: bytes) -> list[Event]:
    return [event for chunk in read_chunks([data]) for event in chunk.events]


def bare(events: list[Event]) -> list[Event]:
    """The events without what only their dialect says."""
    return [msgspec.structs.replace(event, native=None) if hasattr(event, "native") else event for event in events]


def write(*chunks: list[Event]) -> tuple[bytes, list[tuple[str, str]]]:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(HOP, receipt)
    data = b"".join(writer.write(Chunk(events=events, native=None)) for events in chunks)
    return data, [(entry.change, entry.path) for entry in receipt.entries]


def wire(data: bytes) -> list[tuple[Any, Any]]:
    """The messages of a stream: their headers and JSON values."""
    return [(message.headers, json.loads(message.payload)) for message in EventStreamDecoder().feed(data)]


def events(data: bytes) -> list[tuple[Any, Any]]:
    """The same with the event's name for headers that are the usual three."""
    found = []
    for headers, value in wire(data):
        assert headers.keys() == {":event-type", ":content-type", ":message-type"}
        found.append((headers[":event-type"], value))
    return found
