"""Writing an assistant message back into the fields of its dialect, and another dialect's into ours."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.ids import TOOL_CALL_PREFIXES, mint_id, translate_id
from busbar.protocols.ir import Citation, Opaque, Part, RedactedThinking, Refusal, Text, Thinking, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import own_fields, own_form
from busbar.protocols.openai.answer import (
    DETAIL_TEXTS,
    DETAILS,
    THINKING_FIELDS,
    TOOL_CALLS,
    MessageForm,
    write_own_citation,
)
from busbar.protocols.openai.content_write import report_cache, write_part
from busbar.protocols.openai.tools import tool_name
from busbar.protocols.openai.words import DIALECT, TOOL_CALL_ID
from busbar.protocols.receipt import Receipt


def write_own_answer(parts: list[Part], left: dict[str, Any], form: MessageForm, receipt: Receipt) -> dict[str, Any]:
    """The message as it was: every part goes back to the field that it came from."""
    message: dict[str, Any] = {}
    content: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case Thinking() | RedactedThinking() if _is_detail(part):
                message.setdefault(DETAILS, []).append(_own_detail(part))
            case Thinking() if own_form(part, DIALECT) in THINKING_FIELDS:
                message[own_form(part, DIALECT)] = part.text
            case Refusal() if own_form(part, DIALECT) == "field":
                message["refusal"] = part.text
            case ToolUse() if "legacy" in (own_form(part, DIALECT) or ()):
                message["function_call"] = _own_call(part)["function"]
            case ToolUse():
                message.setdefault(TOOL_CALLS, []).append(_own_call(part))
            case Opaque() if part.dialect == DIALECT and part.kind in (DETAILS, TOOL_CALLS):
                message.setdefault(part.kind, []).append(part.value)
            case _ if (written := write_part(part, "content", receipt)) is not None:
                content.append(written)
    _put_own_content(message, content, form)
    for field in form.echoes:
        message[field] = _first_thinking(parts)
    return _put_own_annotations({**left, **message}, parts)


def write_call(use: ToolUse, path: str, receipt: Receipt, ordinal: int = 0, nonce: str = "0") -> dict[str, Any]:
    """Another dialect's tool call in our words. A call without an id (or arguments) gets one."""
    report_cache(use.cache, path, receipt)
    report_leftovers(use, DIALECT, path, receipt)
    return {
        "id": call_id(use.id, ordinal, nonce),
        "type": "function",
        "function": {"name": tool_name(use.name, f"{path}.name", receipt), "arguments": use.arguments or "{}"},
    }


def call_id(foreign: str, ordinal: int, nonce: str) -> str:
    return translate_id(foreign, TOOL_CALL_ID, TOOL_CALL_PREFIXES) or mint_id(TOOL_CALL_ID, nonce, ordinal)


def write_citation(citation: Citation, at: int, length: int, path: str, receipt: Receipt) -> dict[str, Any] | None:
    """Another dialect's citation as `url_citation`: of the text that begins at `at` in the answer. A citation of a
    document that the caller sent has no place."""
    if citation.url is None:
        receipt.dropped(path, "this dialect cites only URLs")
        return None
    start, end = (citation.start, citation.end) if citation.of_answer else (None, None)
    return {
        "type": "url_citation",
        "url_citation": {
            "url": citation.url,
            "title": citation.title or citation.url,
            "start_index": at + (start or 0),
            "end_index": at + (length if end is None else end),
        },
    }


def _is_detail(part: Thinking | RedactedThinking) -> bool:
    form = own_form(part, DIALECT)
    return isinstance(form, str) and form.startswith("reasoning.")


def _own_detail(part: Thinking | RedactedThinking) -> dict[str, Any]:
    kind = own_form(part, DIALECT)
    detail = {**own_fields(part, DIALECT), "type": kind}
    if isinstance(part, RedactedThinking):
        detail["data"] = part.data
        return detail
    detail[DETAIL_TEXTS[kind]] = part.text
    if part.signature is not None:
        detail["signature"] = part.signature
    return detail


def _own_call(use: ToolUse) -> dict[str, Any]:
    flags = own_form(use, DIALECT) or ()
    left = own_fields(use, DIALECT)
    function = {**left.get("function", {}), "name": use.name}
    if "no_arguments" not in flags:
        function["arguments"] = msgspec.json.decode(use.arguments) if "object" in flags else use.arguments
    call = {**left, "function": function}
    if "untyped" not in flags:
        call.setdefault("type", "function")
    if "no_id" not in flags:
        call["id"] = use.id
    return call


def _put_own_content(message: dict[str, Any], content: list[dict[str, Any]], form: MessageForm) -> None:
    match form.content:
        case "text":
            message["content"] = "".join(part["text"] for part in content)
        case "empty":
            message["content"] = ""
        case "parts":
            message["content"] = content
        case None:
            pass


def _first_thinking(parts: list[Part]) -> str:
    thoughts = [part for part in parts if isinstance(part, Thinking)]
    details = "".join(part.text for part in thoughts if _is_detail(part))
    return details or next((part.text for part in thoughts if own_form(part, DIALECT) in THINKING_FIELDS), "")


def _put_own_annotations(message: dict[str, Any], parts: list[Part]) -> dict[str, Any]:
    citations = [
        write_own_citation(citation, own_fields(citation, DIALECT))
        for part in parts
        if isinstance(part, Text)
        for citation in part.citations
    ]
    if citations:
        others = message.get("annotations")
        waiting = iter(citations)
        message["annotations"] = (
            [next(waiting) if other is None else other for other in others] if others else citations
        )
    return message
