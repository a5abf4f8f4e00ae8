"""Streams of this dialect, made and taken apart by hand and by the official SDK."""

from __future__ import annotations

from typing import Any

import cohere
import httpx
import msgspec

from busbar.protocols.cohere import PROTOCOL
from busbar.protocols.framing.sse import SseDecoder
from busbar.protocols.ir import Chunk, Event
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt

HOP = Hop(model="command-a-plus-05-2026", now=1_700_000_000, nonce="n1")
DONE = b"data: [DONE]\n\n"


def frame(kind: str, **value: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **value}))


START = frame("message-start", id="1", delta={"message": {"role": "assistant", "content": []}})


def message(**fields: Any) -> dict[str, Any]:
    return {"message": fields}


def end(reason: str = "COMPLETE", **more: Any) -> bytes:
    return frame("message-end", delta={"finish_reason": reason, **more})


def wire_events(wire: bytes) -> list[tuple[str, Any]]:
    decoder = SseDecoder()
    events = decoder.feed(wire) + decoder.close()
    return [(each.event, "[DONE]" if each.data == b"[DONE]" else msgspec.json.decode(each.data)) for each in events]


def documents(wire: bytes) -> list[Any]:
    return [value for _, value in wire_events(wire)]


def read(*pieces: bytes) -> list[Chunk]:
    reader = PROTOCOL.stream_reader()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.close()
    assert reader.malformed == 0
    return chunks


def events_of(chunks: list[Chunk]) -> list[Event]:
    return [event for chunk in chunks for event in chunk.events]


def bare(events: list[Event]) -> list[Event]:
    """The events without what only their dialect says."""
    return [msgspec.structs.replace(event, native=None) if hasattr(event, "native") else event for event in events]


def foreign(*events: Event) -> list[Chunk]:
    return [Chunk(events=[event], native=Native("openai")) for event in events]


def write(chunks: list[Chunk], hop: Hop = HOP) -> tuple[bytes, Receipt]:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(hop, receipt)
    return b"".join(writer.write(chunk) for chunk in chunks), receipt


def sdk_stream(wire: bytes) -> list[Any]:
    """What Cohere's own SDK makes of `wire`."""
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=wire)
    transport = httpx.MockTransport(lambda request: answer)
    client = cohere.ClientV2(api_key="k", base_url="http://host", httpx_client=httpx.Client(transport=transport))
    return list(client.chat_stream(model="m", messages=[{"role": "user", "content": "x"}]))
