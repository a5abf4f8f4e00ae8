"""Documents and wire bytes of this dialect, as its tests need them."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.framing.sse import SseDecoder
from busbar.protocols.ir import Chunk, Event, Message, Request
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses import PROTOCOL

HOP = Hop(model="there", now=1_700_000_000, nonce="n")


def read_input(*items: Any, **settings: Any) -> Request:
    return PROTOCOL.read_request({"model": "m", "input": list(items), **settings})


def written(request: Request) -> tuple[dict[str, Any], Receipt]:
    """A request of another dialect, in this one."""
    receipt = Receipt()
    return PROTOCOL.write_request(request, HOP, receipt), receipt


def written_turns(*messages: Message) -> tuple[list[Any], Receipt]:
    document, receipt = written(Request(model="m", messages=list(messages)))
    return document["input"], receipt


def frame(kind: str, **facts: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **facts}))


def read_stream(*frames: bytes) -> list[Event]:
    reader = PROTOCOL.stream_reader()
    return [event for chunk in reader.feed(b"".join(frames)) + reader.close() for event in chunk.events]


def write_stream(*events: Event, hop: Hop = HOP, receipt: Receipt | None = None) -> bytes:
    writer = PROTOCOL.stream_writer(hop, Receipt() if receipt is None else receipt)
    return b"".join(writer.write(Chunk(events=[event])) for event in events)


def frames_of(wire: bytes) -> list[Any]:
    return [msgspec.json.decode(event.data) for event in SseDecoder().feed(wire)]
