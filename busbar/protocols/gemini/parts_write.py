"""Writing this dialect's own parts back as they came."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.gemini.media import write_own_media
from busbar.protocols.gemini.parts_read import CallForm
from busbar.protocols.gemini.spelling import PLAIN, put
from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.ir import Audio, Document, Image, Opaque, Part, Text, Thinking, ToolResult, ToolUse
from busbar.protocols.native import own_fields, own_form

_decode = msgspec.json.Decoder().decode


def write_own_part(part: Part) -> Any:
    """A part that this dialect said itself."""
    match part:
        case Text() | Thinking():
            return _write_text(part)
        case ToolUse():
            return _write_call(part)
        case ToolResult():
            return _write_result(part)
        case Image() | Document() | Audio():
            return write_own_media(part)
        case Opaque():
            return part.value
        case _:
            raise AssertionError(f"this dialect has no {type(part).__name__}")


def own_signature(part: Text | Thinking | ToolUse) -> str | None:
    """The signature, when it is this dialect's."""
    return part.signature if part.signer == DIALECT else None


def _write_text(part: Text | Thinking) -> dict[str, Any]:
    marks = own_form(part, DIALECT) or PLAIN
    document = {**own_fields(part, DIALECT), "text": part.text}
    if isinstance(part, Thinking):
        document["thought"] = True
    elif "not a thought" in marks:
        document["thought"] = False
    put(document, "thoughtSignature", own_signature(part), marks)
    return document


def _write_call(use: ToolUse) -> dict[str, Any]:
    form = own_form(use, DIALECT) or CallForm()
    document = dict(own_fields(use, DIALECT))
    call = {**_inner(document, "functionCall", "function_call"), "name": use.name}
    if form.args:
        call["args"] = _decode(use.arguments)
    if form.stated_id:
        call["id"] = use.id
    put(document, "functionCall", call, form.outer)
    put(document, "thoughtSignature", own_signature(use), form.outer)
    return document


def _write_result(result: ToolResult) -> dict[str, Any]:
    form: CallForm = own_form(result, DIALECT) or CallForm()
    document = dict(own_fields(result, DIALECT))
    answer: dict[str, Any] = dict(_inner(document, "functionResponse", "function_response"))
    content = list(result.content)
    if content and isinstance(content[0], Text) and own_form(content[0], DIALECT) is None:
        text = content.pop(0).text  # type: ignore[union-attr]
        if form.key is None:
            answer["response"] = _decode(text)
        else:
            answer["response"] = {form.key: _decode(text) if form.is_json else text}
    if form.name:
        answer["name"] = form.name
    if form.stated_id:
        answer["id"] = result.tool_use_id
    if form.parts:
        put(answer, "parts", [write_own_part(part) for part in content], form.inner)
    put(document, "functionResponse", answer, form.outer)
    return document


def _inner(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """The leftovers of an inner object, taken out of those of its part."""
    for name in names:
        if name in document:
            inner: dict[str, Any] = document.pop(name)
            return inner
    return {}
