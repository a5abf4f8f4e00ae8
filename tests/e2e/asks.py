"""Raw requests of both dialects, the shortest that are whole."""

from __future__ import annotations

from typing import Any

import msgspec

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
INGRESSES = sorted(PATHS)
DIALECT_OF = {"claude": "anthropic", "gpt": "openai"}


def ask(ingress: str, model: str, text: str = "Hello", **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return {"max_tokens": 200, **body} if ingress == "anthropic" else body


def error_of(ingress: str, body: bytes) -> tuple[str | None, str | None, str]:
    """(type, code, message) of a native error; fails when the envelope is not the dialect's."""
    document = msgspec.json.decode(body)
    error = document["error"]
    if ingress == "anthropic":
        assert document["type"] == "error"
        assert set(error) <= {"type", "message", "details"}
        return error["type"], None, error["message"]
    assert set(document) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    return error["type"], error["code"], error["message"]


def events(body: bytes) -> list[tuple[str, Any]]:
    """The frames of a stream, each whole: (event name, data)."""
    assert body.endswith(b"\n\n")
    frames = []
    for frame in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
        if "data" in fields:
            data = fields["data"]
            frames.append((fields.get("event", ""), data if data == "[DONE]" else msgspec.json.decode(data)))
    return frames
