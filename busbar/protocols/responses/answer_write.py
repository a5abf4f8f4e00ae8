"""What another dialect's answer is made of here: the frame of a response, and its output items.

Whole answers and streams make the same items: thoughts, tool calls and runs of text, in the order in which the model
made them. Their ids are minted from the hop's nonce and their place.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.ids import answer_id, mint_id
from busbar.protocols.ir import Opaque, Part, RedactedThinking, Refusal, Text, Thinking, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.content_read import CONTENT
from busbar.protocols.responses.content_write import write_citation
from busbar.protocols.responses.words import (
    ANSWER_ID,
    CALL_ITEM_ID,
    DIALECT,
    MESSAGE_ID,
    REASONING_ID,
    call_id,
    split_name,
)

UNSIGNED = ""
"""The `encrypted_content` of thinking that another dialect's model did: there is no state to give, and the empty one
tells a later turn so (see `mend`)."""


def response_frame(foreign_id: str, model: str, created: int | None, hop: Hop) -> dict[str, Any]:
    """A response with every field that its SDKs require, and no output."""
    return {
        "id": answer_id(foreign_id, ANSWER_ID, hop.nonce),
        "object": "response",
        "created_at": hop.now if created is None else created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": model or hop.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": None,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def message_item(place: int, content: list[dict[str, Any]], status: str, hop: Hop) -> dict[str, Any]:
    return {
        "id": mint_id(MESSAGE_ID, hop.nonce, place),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def text_part(text: str, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def refusal_part(text: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": text}


def reasoning_item(place: int, text: str, state: str | None, hop: Hop) -> dict[str, Any]:
    """`state` is what this dialect's providers go on from, or None for another's thinking."""
    return {
        "id": mint_id(REASONING_ID, hop.nonce, place),
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text}] if text else [],
        "encrypted_content": UNSIGNED if state is None else state,
    }


def call_item(use: ToolUse, place: int, path: str, status: str, hop: Hop, receipt: Receipt) -> dict[str, Any]:
    """A function call; a name that this dialect's caller made out of two is two again."""
    report_leftovers(use, DIALECT, path, receipt)
    if use.signature is not None:
        receipt.dropped(f"{path}.signature", "signature of another provider")
    namespace, name = split_name(use.name)
    return {
        "id": mint_id(CALL_ITEM_ID, hop.nonce, place),
        "type": "function_call",
        "status": status,
        "call_id": call_id(use.id, place, hop.nonce),
        "name": name,
        **({} if namespace is None else {"namespace": namespace}),
        "arguments": use.arguments or "{}",
    }


def state_of(part: Thinking | RedactedThinking) -> str | None:
    """The opaque state of a thought, if one of this dialect's providers issued it."""
    state = part.signature if isinstance(part, Thinking) else part.data
    return state if part.signer == DIALECT else None


def write_output(parts: list[Part], path: str, hop: Hop, receipt: Receipt) -> list[dict[str, Any]]:
    """Another dialect's answer as output items."""
    items: list[dict[str, Any]] = []
    content: list[dict[str, Any]] = []
    for at, part in enumerate(parts):
        where = f"{path}.content[{at}]"
        if isinstance(part, Text | Refusal):
            if not content:
                items.append(message_item(len(items), content, "completed", hop))
            content.append(_content_part(part, where, receipt))
            continue
        item = _item(part, len(items), where, hop, receipt)
        if item is not None:
            content = []
            items.append(item)
    return items


def _content_part(part: Text | Refusal, path: str, receipt: Receipt) -> dict[str, Any]:
    report_leftovers(part, DIALECT, path, receipt)
    if isinstance(part, Refusal):
        return refusal_part(part.text)
    if part.signature is not None:
        receipt.dropped(f"{path}.signature", "no place in this dialect")
    written = [
        write_citation(citation, len(part.text), f"{path}.citations[{nth}]", receipt)
        for nth, citation in enumerate(part.citations)
    ]
    return text_part(part.text, [annotation for annotation in written if annotation is not None])


def _item(part: Part, place: int, path: str, hop: Hop, receipt: Receipt) -> dict[str, Any] | None:
    match part:
        case ToolUse():
            return call_item(part, place, path, "completed", hop, receipt)
        case Thinking():
            report_leftovers(part, DIALECT, path, receipt)
            if part.signature and part.signer != DIALECT:
                receipt.dropped(f"{path}.signature", "signature of another provider")
            state = state_of(part)
            return reasoning_item(place, part.text, state, hop) if part.text or state else None
        case RedactedThinking() if part.signer == DIALECT:
            return reasoning_item(place, "", part.data, hop)
        case Opaque(dialect="responses", value=value) if not part.kind.startswith(CONTENT):
            whole: dict[str, Any] = value
            return whole
        case _:
            receipt.dropped(path, "no place in an answer of this dialect")
            return None
