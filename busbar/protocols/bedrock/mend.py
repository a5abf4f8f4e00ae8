"""What a hop has left in a conversation, taken out again.

Thinking that another dialect's model did reaches a caller of this one with an empty signature: there is none to give.
When the caller sends its history back and the next turn goes to a Bedrock model, Claude would refuse the block, and
the request is not translated, so nobody else looks. Thinking without any signature is left alone: models that do not
sign make it.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.bedrock.places import look_at, take_from
from busbar.protocols.bedrock.reasoning import THINKING
from busbar.protocols.protocol import Document
from busbar.protocols.receipt import Receipt

HOP_TRACES = (b'"signature":""', b'"signature": ""')
"""Bytes that every body with such a block holds (inside of a JSON text the quotes would be escaped)."""

_SIGNATURE = ("reasoningContent", "reasoningText", "signature")


def mend_request(document: Document, receipt: Receipt) -> Document | None:
    """The document without thinking whose signature is empty, or None when there is none in it.

    Where the last assistant turn is left with a tool call in front, Claude cannot go on with thinking on. Then the
    ask for thinking is dropped too, for this turn.
    """
    messages = document.get("messages")
    if not isinstance(messages, list):
        return None
    before = len(receipt)
    turns = [_mended_turn(turn, at, receipt) for at, turn in enumerate(messages)]
    if len(receipt) == before:
        return None
    mended = {**document, "messages": [turn for turn in turns if turn is not None]}
    if look_at(document, (*THINKING, "type")) in ("enabled", "adaptive") and _begins_with_a_call(mended["messages"]):
        receipt.dropped(".".join(THINKING), "the turn that goes on was made by another provider")
        take_from(mended, THINKING)
    return mended


def _mended_turn(turn: Any, at: int, receipt: Receipt) -> Any:
    """The turn without such blocks; None when nothing else was in it."""
    if not isinstance(turn, dict) or turn.get("role") != "assistant" or not isinstance(turn.get("content"), list):
        return turn
    kept = []
    for index, block in enumerate(turn["content"]):
        if isinstance(block, dict) and look_at(block, _SIGNATURE) == "":
            receipt.dropped(f"messages[{at}].content[{index}]", "thinking of another provider, without a signature")
        else:
            kept.append(block)
    return {**turn, "content": kept} if kept else None


def _begins_with_a_call(messages: list[Any]) -> bool:
    turns = [turn for turn in messages if isinstance(turn, dict) and turn.get("role") == "assistant"]
    blocks = turns[-1].get("content") if turns else None
    if not isinstance(blocks, list):
        return False
    kinds = [next(iter(block), None) for block in blocks if isinstance(block, dict)]
    return "toolUse" in kinds and kinds[0] != "reasoningContent"
