"""Writing items: own ones as they came (`write_own_turn`), and the pieces that other dialects' turns and answers are
made of here."""

from __future__ import annotations

from typing import Any

from busbar.protocols.ir import Message, Opaque, Part, RedactedThinking, Thinking, ToolResult, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.content_write import report_cache, write_own_part
from busbar.protocols.responses.items_read import THOUGHT_SEPARATOR, PartForm, TurnForm
from busbar.protocols.responses.words import DIALECT, call_id, split_name, tool_name

_OTHERS_SIGNATURE = "signature of another provider"


def write_own_turn(parts: list[Part], native: Native, role: str) -> list[dict[str, Any]]:
    """The items of a turn that was read from this dialect."""
    form: TurnForm = native.form
    items = []
    begin = 0
    for item in form.items:
        inside = parts[begin : begin + item.parts]
        begin += item.parts
        if item.content is None:
            items.append(_own_item(inside[0]))
            continue
        document = {**item.tags, **{name: native.fields[name] for name in item.names}}
        if role == "tool":
            result = inside[0]
            assert isinstance(result, ToolResult)
            document["call_id"] = result.tool_use_id
            inside = result.content
        else:
            document["role"] = role
        document["output" if role == "tool" else "content"] = _own_content(inside, item.content)
        items.append(document)
    return items


def write_own_message(message: Message) -> list[dict[str, Any]]:
    assert message.native is not None
    return write_own_turn(message.parts, message.native, message.role)


def write_call(use: ToolUse, path: str, receipt: Receipt, ordinal: int, nonce: str) -> dict[str, Any]:
    """Another dialect's tool call. A call without an id (or arguments) gets one."""
    report_leftovers(use, DIALECT, path, receipt)
    report_cache(use.cache, path, receipt)
    if use.signature is not None:
        receipt.dropped(f"{path}.signature", _OTHERS_SIGNATURE)
    return {
        "type": "function_call",
        "call_id": call_id(use.id, ordinal, nonce),
        "name": tool_name(use.name, f"{path}.name", receipt),
        "arguments": use.arguments or "{}",
    }


def write_thought(part: Thinking | RedactedThinking) -> dict[str, Any] | None:
    """A reasoning item that an OpenAI model can go on from: one of this dialect's providers issued its state.

    Its id is left out unless it is known: the state names the one that it belongs to, and a wrong one is refused
    ("Encrypted content item_id did not match the target item id").
    """
    state = part.signature if isinstance(part, Thinking) else part.data
    if part.signer != DIALECT or not state:
        return None
    form = own_form(part, DIALECT)
    known = {"id": form.tags["id"]} if isinstance(form, PartForm) and "id" in form.tags else {}
    summary = [{"type": "summary_text", "text": part.text}] if isinstance(part, Thinking) and part.text else []
    return {**known, "type": "reasoning", "summary": summary, "encrypted_content": state}


def _own_item(part: Part) -> dict[str, Any]:
    match part:
        case Opaque():
            whole: dict[str, Any] = part.value
            return whole
        case ToolUse():
            return _own_call(part)
        case Thinking() | RedactedThinking():
            return _own_reasoning(part)
        case _:
            raise AssertionError(f"{type(part).__name__} is no item of this dialect")


def _own_content(parts: list[Part], spelled: str) -> Any:
    if spelled == "text":
        return "".join([getattr(part, "text", "") for part in parts])
    return [write_own_part(part) for part in parts]


def _own_call(use: ToolUse) -> dict[str, Any]:
    form: PartForm = own_form(use, DIALECT)
    document = {**own_fields(use, DIALECT), **form.tags, "arguments": use.arguments}
    if use.id:
        document["call_id"] = use.id
    if form.namespace:
        document["namespace"], document["name"] = split_name(use.name)
    else:
        document["name"] = use.name
    return document


def _own_reasoning(part: Thinking | RedactedThinking) -> dict[str, Any]:
    form: PartForm = own_form(part, DIALECT)
    document = {**own_fields(part, DIALECT), **form.tags}
    text, state = (part.text, part.signature) if isinstance(part, Thinking) else ("", part.data)
    begin = 0
    for key, kind, lengths in (
        ("summary", "summary_text", form.summary),
        ("content", "reasoning_text", form.content),
    ):
        if lengths is None:
            continue
        pieces = []
        for length in lengths:
            pieces.append({"type": kind, "text": text[begin : begin + length]})
            begin += length + len(THOUGHT_SEPARATOR)
        document[key] = pieces
    if state is not None:
        document["encrypted_content"] = state
    return document
