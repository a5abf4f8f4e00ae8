"""What a hop has left in a conversation, taken out again.

Thinking that another dialect's model did reaches a caller of this dialect as a reasoning item whose
`encrypted_content` is empty: there is no state to give. When the caller sends its history back and the next turn goes
to a provider of this dialect, that provider would look for an item that it never made ("Item with id 'rs_…' not
found"), and the request is not translated, so nobody else looks.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.protocol import Document
from busbar.protocols.receipt import Receipt

HOP_TRACES = (b'"encrypted_content":""', b'"encrypted_content": ""')
"""Bytes that every body with such an item holds (inside of a JSON text the quotes would be escaped)."""


def mend_request(document: Document, receipt: Receipt) -> Document | None:
    """The document without another provider's thinking, or None when there is none in it."""
    items = document.get("input")
    if not isinstance(items, list):
        return None
    kept = []
    for at, item in enumerate(items):
        if _is_unsigned(item):
            receipt.dropped(f"input[{at}]", "thinking of another provider, without its state")
        else:
            kept.append(item)
    return {**document, "input": kept} if len(kept) < len(items) else None


def _is_unsigned(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "reasoning" and item.get("encrypted_content") == ""
