"""Writing a request's messages.

An own message goes back as it came. Another dialect's turns are brought into this dialect's order: the tool results
of a turn become `tool` messages, which must stand directly after the calls they answer; what they hold beyond text,
and what else the turn says, follows in a `user` message. So does an assistant's turn that goes on after its calls: it
is one with them. Thinking of earlier turns has no place here.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.fitting.as_text import ERROR_PREFIX, instruction_texts
from busbar.protocols.fitting.turns import SAYS_NOTHING
from busbar.protocols.ir import (
    Message,
    Part,
    RedactedThinking,
    Refusal,
    Request,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    is_plain_text,
)
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import is_own, own_fields, own_form
from busbar.protocols.openai.answer import MessageForm
from busbar.protocols.openai.answer_write import call_id, write_call, write_own_answer
from busbar.protocols.openai.content_write import report_cache, write_part
from busbar.protocols.openai.words import DIALECT
from busbar.protocols.receipt import Receipt


def write_messages(request: Request, receipt: Receipt) -> list[dict[str, Any]]:
    """The messages of `request`; instructions that another dialect keeps apart are the first of them, one text. A
    request must have a message: of another dialect, it may have none that can be written."""
    text = _instructions(request.system, "system", receipt)
    written: list[dict[str, Any]] = [{"role": "system", "content": text}] if text else []
    for at, message in enumerate(request.messages):
        messages = _write_message(message, f"messages[{at}]", receipt)
        if messages and written and not is_own(message, DIALECT) and _goes_on(written[-1], messages[0]):
            written[-1] = _joined(written[-1], messages.pop(0))
        written += messages
    if not written and not is_own(request, DIALECT):
        receipt.added("messages[0]", "a request says something")
        written.append({"role": "user", "content": SAYS_NOTHING})
    return written


def _goes_on(turn: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the assistant's `turn` calls tools, and goes on `after` that before they are answered."""
    return after["role"] == "assistant" and turn["role"] == "assistant" and bool(turn.get("tool_calls"))


def _joined(turn: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    texts = [each["content"] for each in (turn, after) if each["content"]]
    calls = [*turn["tool_calls"], *after.get("tool_calls", ())]
    return {**turn, **after, "content": "\n\n".join(texts) or None, "tool_calls": calls}


def _write_message(message: Message, path: str, receipt: Receipt) -> list[dict[str, Any]]:
    """The messages that say what `message` says: none, one or several."""
    form = own_form(message, DIALECT)
    if isinstance(form, MessageForm):
        return [_write_own(message, form, path, receipt)]
    report_leftovers(message, DIALECT, path, receipt)
    match message.role:
        case "assistant":
            return _write_assistant(message, path, receipt)
        case "system" | "developer":
            text = _instructions(message.parts, f"{path}.content", receipt)
            return [{"role": message.role, "content": text}] if text else []
        case "user" | "tool":
            return _write_user(message, path, receipt)


def _write_own(message: Message, form: MessageForm, path: str, receipt: Receipt) -> dict[str, Any]:
    parts = message.parts
    document: dict[str, Any] = {"role": form.role or message.role}
    if message.name is not None:
        document["name"] = message.name
    if parts and isinstance(parts[0], ToolResult):
        if form.role is None:
            document["tool_call_id"] = parts[0].tool_use_id
        parts = parts[0].content
    return document | write_own_answer(parts, own_fields(message, DIALECT), form, receipt)


def _write_assistant(message: Message, path: str, receipt: Receipt) -> list[dict[str, Any]]:
    texts: list[str] = []
    document: dict[str, Any] = {"role": "assistant", "content": None}
    calls: list[dict[str, Any]] = []
    for at, part in enumerate(message.parts):
        where = f"{path}.content[{at}]"
        match part:
            case Text():
                if not is_plain_text(part):
                    _report_text(part, where, receipt)
                texts.append(part.text)
            case ToolUse():
                _report_signature(part, where, receipt)
                calls.append(write_call(part, where, receipt, at, path))
            case Refusal():
                document["refusal"] = part.text
            case Thinking() | RedactedThinking():
                receipt.dropped(where, "thinking of earlier turns has no place in this dialect")
            case _:
                receipt.dropped(where, "no place in an assistant's message of this dialect")
    if text := "".join(texts):
        document["content"] = text
    if calls:
        document["tool_calls"] = calls
    says_something = text or calls or "refusal" in document
    return [document] if says_something else []


def _write_user(message: Message, path: str, receipt: Receipt) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    """What results hold that only a user may say."""
    said: list[dict[str, Any]] = []
    for at, part in enumerate(message.parts):
        where = f"{path}.content[{at}]"
        if isinstance(part, ToolResult):
            results.append(_write_result(part, where, beside, receipt))
        elif (written := _written(part, where, receipt)) is not None:
            said.append(written)
    content = beside + said
    if not content:
        return results
    user: dict[str, Any] = {"role": "user"}
    if message.name is not None:
        user["name"] = message.name
    user["content"] = content[0]["text"] if len(content) == 1 and content[0]["type"] == "text" else content
    return [*results, user]


def _write_result(result: ToolResult, path: str, beside: list[dict[str, Any]], receipt: Receipt) -> dict[str, Any]:
    """A `tool` message holds only text; what else the result holds is put `beside` it."""
    texts = []
    for at, part in enumerate(result.content):
        where = f"{path}.content[{at}]"
        written = _written(part, where, receipt)
        if written is None:
            continue
        if written["type"] == "text":
            texts.append(written["text"])
        else:
            receipt.changed(where, "stands in a user message after the tool's result")
            beside.append(written)
    text = "\n".join(texts)
    if result.is_error:
        receipt.changed(f"{path}.is_error", "said in the text of the result")
        text = ERROR_PREFIX + text
    report_cache(result.cache, path, receipt)
    report_leftovers(result, DIALECT, path, receipt)
    return {"role": "tool", "tool_call_id": call_id(result.tool_use_id, 0, path), "content": text}


def _written(part: Part, path: str, receipt: Receipt) -> dict[str, Any] | None:
    """A part of a user's turn; an empty text says nothing and is refused by some."""
    if is_plain_text(part):
        return {"type": "text", "text": part.text} if part.text else None
    if isinstance(part, Refusal):
        return {"type": "text", "text": part.text}
    if isinstance(part, Text):
        _report_signature(part, path, receipt)
        if part.citations:
            receipt.dropped(f"{path}.citations", "no place in a message of this dialect")
    written = write_part(part, path, receipt)
    return None if written is not None and written.get("text") == "" else written


def _instructions(parts: list[Part], path: str, receipt: Receipt) -> str:
    return "\n\n".join(text for text in instruction_texts(parts, path, _report_text, receipt) if text)


def _report_signature(part: Text | ToolUse, path: str, receipt: Receipt) -> None:
    if part.signature is not None:
        receipt.dropped(f"{path}.signature", "nothing is signed in this dialect")


def _report_text(part: Text, path: str, receipt: Receipt) -> None:
    _report_signature(part, path, receipt)
    if part.citations:
        receipt.dropped(f"{path}.citations", "no place in a message of this dialect")
    report_cache(part.cache, path, receipt)
    report_leftovers(part, DIALECT, path, receipt)
