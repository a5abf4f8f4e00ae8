"""Streams of this dialect, made and taken apart by hand and by the official SDK."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import msgspec

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.framing.sse import SseDecoder
from busbar.protocols.ir import (
    Chunk,
    Event,
    Started,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt

HOP = Hop(model="claude", nonce="n1")
STARTED = Started(id="chatcmpl-7", model="gpt", native=Native("openai", {}, "own"))


def frame(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), msgspec.json.encode(value))


START = frame({"type": "message_start", "message": {"id": "msg_1", "model": "m", "content": []}})
STOP = frame({"type": "message_stop"})


def read(data: bytes) -> list[Event]:
    reader = PROTOCOL.stream_reader()
    chunks = reader.feed(data) + reader.close()
    return [event for chunk in chunks for event in chunk.events]


def bare(events: list[Event]) -> list[Event]:
    """The events without what only their dialect says."""
    return [msgspec.structs.replace(event, native=None) if hasattr(event, "native") else event for event in events]


def block(kind: str, index: int = 0, **fields: Any) -> bytes:
    return frame({"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}})


def delta(kind: str, index: int = 0, **fields: Any) -> bytes:
    return frame({"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}})


def block_stop(index: int = 0) -> bytes:
    return frame({"type": "content_block_stop", "index": index})


def write(*chunks: list[Event]) -> tuple[bytes, list[tuple[str, str]]]:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(HOP, receipt)
    data = b"".join(writer.write(Chunk(events=events, native=None)) for events in chunks)
    return data, [(entry.change, entry.path) for entry in receipt.entries]


def wire(data: bytes) -> list[dict[str, Any]]:
    events = SseDecoder().feed(data)
    values = [json.loads(event.data) for event in events]
    assert [event.event for event in events] == [value["type"] for value in values]
    return values


def accumulated(data: bytes) -> anthropic.types.Message:
    """What the official SDK makes of a stream."""
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)
    transport = httpx2.MockTransport(lambda request: answer)
    client = anthropic.Anthropic(api_key="k", base_url="http://x", http_client=httpx2.Client(transport=transport))
    with client.messages.stream(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]) as stream:
        return stream.get_final_message()
