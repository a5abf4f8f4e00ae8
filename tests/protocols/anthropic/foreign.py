"""Requests of another dialect, and what is written for them."""

from __future__ import annotations

from typing import Any

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.ir import (
    FunctionTool,
    Message,
    Request,
    Text,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Entry, Receipt

HOP = Hop(model="claude", default_max_tokens=4096, nonce="n1")
USER = Message(role="user", parts=[Text(text="Hi")])
TOOL = FunctionTool(name="look", parameters={"type": "object", "properties": {}})


def foreign(*messages: Message, **settings: Any) -> Request:
    settings.setdefault("max_tokens", 1000)
    settings.setdefault("native", Native("openai", {}, "own"))
    return Request(model="gpt", messages=list(messages or [USER]), **settings)


def write(request: Request, hop: Hop = HOP) -> tuple[dict[str, Any], tuple[Entry, ...]]:
    receipt = Receipt()
    return PROTOCOL.write_request(request, hop, receipt), receipt.entries


def settings_of(request: Request) -> dict[str, Any]:
    document, _ = write(request)
    return {key: value for key, value in document.items() if key not in ("model", "messages", "max_tokens")}


def reported(request: Request) -> set[tuple[str, str]]:
    return {(entry.change, entry.path) for entry in write(request)[1]}


def turns(*messages: Message) -> list[tuple[str, list[Any]]]:
    document, _ = write(foreign(*messages))
    return [(turn["role"], turn["content"]) for turn in document["messages"]]


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}
