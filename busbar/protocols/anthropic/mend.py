"""What a hop has left in a conversation, taken out again.

Thinking that another dialect's model did reaches an Anthropic caller as a thinking block without a signature: there
is none to give. When the caller sends its history back and the next turn goes to an Anthropic provider, that provider
would refuse the block, and the request is not translated, so nobody else looks. Only then is a same-dialect request
more than passed through.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.protocol import Document
from busbar.protocols.receipt import Receipt

HOP_TRACES = (b'"signature":""', b'"signature": ""')
"""Bytes that every body with such a block holds (inside of a JSON text the quotes would be escaped)."""


def mend_request(document: Document, receipt: Receipt) -> Document | None:
    """The document without unsigned thinking, or None when there is none in it.

    A last assistant turn that is left with a tool call in front cannot go on with thinking on: Anthropic expects a
    thinking block there ("Expected `thinking` or `redacted_thinking`, but found `tool_use`"). Then the ask for
    thinking is dropped too, for this turn.
    """
    messages = document.get("messages")
    if not isinstance(messages, list):
        return None
    before = len(receipt)
    turns = [_mended_turn(turn, at, receipt) for at, turn in enumerate(messages)]
    if len(receipt) == before:
        return None
    mended = [turn for turn in turns if turn is not None]
    out = {**document, "messages": mended}
    if _thinks(out.get("thinking")) and _goes_on_from_a_bare_tool_call(mended):
        receipt.dropped("thinking", "the turn that goes on was made by another provider")
        del out["thinking"]
    return out


def _mended_turn(turn: Any, at: int, receipt: Receipt) -> Any:
    """The turn without its unsigned thinking; None when nothing else was in it."""
    if not isinstance(turn, dict) or turn.get("role") != "assistant" or not isinstance(turn.get("content"), list):
        return turn
    kept = []
    for index, block in enumerate(turn["content"]):
        if isinstance(block, dict) and block.get("type") == "thinking" and block.get("signature") == "":
            receipt.dropped(f"messages[{at}].content[{index}]", "thinking of another provider, without a signature")
        else:
            kept.append(block)
    return {**turn, "content": kept} if kept else None


def _thinks(asked: Any) -> bool:
    return isinstance(asked, dict) and asked.get("type") != "disabled"


def _goes_on_from_a_bare_tool_call(messages: list[Any]) -> bool:
    turns = [turn for turn in messages if isinstance(turn, dict) and turn.get("role") == "assistant"]
    blocks = turns[-1].get("content") if turns else None
    if not isinstance(blocks, list):
        return False
    kinds = [block.get("type") for block in blocks if isinstance(block, dict)]
    return "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking")
