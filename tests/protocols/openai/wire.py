"""Wire bytes of this dialect, as its stream tests need them."""

from __future__ import annotations

from typing import Any

import msgspec

DONE = b"data: [DONE]\n\n"


def frame(**document: Any) -> bytes:
    return b"data: " + msgspec.json.encode({"id": "chatcmpl-1", "model": "m", "created": 1, **document}) + b"\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    return frame(choices=[{"index": index, "delta": delta, "finish_reason": finish}])


def frames_of(wire: bytes) -> list[Any]:
    return [
        data if data == b"[DONE]" else msgspec.json.decode(data)
        for line in wire.split(b"\n")
        if line.startswith(b"data: ") and (data := line.removeprefix(b"data: "))
    ]
