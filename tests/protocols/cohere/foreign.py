"""Requests of another dialect, and what is written for them."""

from __future__ import annotations

from typing import Any

from busbar.protocols.cohere import PROTOCOL
from busbar.protocols.ir import FunctionTool, Message, Request, Text
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Entry, Receipt

THINKER = Hop(model="command-a-plus-05-2026", nonce="n1")
"""A model that can do everything."""

PLAIN = Hop(model="command-r-08-2024", nonce="n1")
"""One that neither sees nor thinks."""

USER = Message(role="user", parts=[Text(text="Hi")])
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
TOOL = FunctionTool(name="look", parameters=SCHEMA)


def foreign(*messages: Message, **settings: Any) -> Request:
    settings.setdefault("native", Native("openai", {}, "own"))
    return Request(model="gpt", messages=list(messages or [USER]), **settings)


def write(request: Request, hop: Hop = THINKER) -> tuple[dict[str, Any], tuple[Entry, ...]]:
    receipt = Receipt()
    return PROTOCOL.write_request(request, hop, receipt), receipt.entries


def settings_of(hop: Hop = THINKER, **settings: Any) -> dict[str, Any]:
    document, _ = write(foreign(**settings), hop)
    return {key: value for key, value in document.items() if key not in ("model", "messages")}


def reported(request: Request, hop: Hop = THINKER) -> set[tuple[str, str]]:
    return {(entry.change, entry.path) for entry in write(request, hop)[1]}


def turns(*messages: Message, hop: Hop = THINKER, **settings: Any) -> list[dict[str, Any]]:
    document, _ = write(foreign(*messages, **settings), hop)
    messages_written: list[dict[str, Any]] = document["messages"]
    return messages_written
