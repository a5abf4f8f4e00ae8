"""Wire bytes of this dialect, as its stream tests need them."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.framing.sse import SseDecoder

ENVELOPE = {"modelVersion": "gemini-2.5-flash", "responseId": "r1"}


def frame(*parts: dict[str, Any], finish: Any = None, index: int = 0, **rest: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    if finish is not None:
        candidate["finishReason"] = finish
    return b"data: " + msgspec.json.encode({"candidates": [candidate], **ENVELOPE, **rest}) + b"\r\n\r\n"


def documents(wire: bytes) -> list[Any]:
    decoder = SseDecoder()
    return [msgspec.json.decode(event.data) for event in decoder.feed(wire) + decoder.close()]
