"""Parts → content blocks. Mechanical: what another dialect's part needs first is done in `fit_parts`."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.anthropic.citations import write_citation
from busbar.protocols.anthropic.sources import write_source
from busbar.protocols.anthropic.words import DIALECT
from busbar.protocols.ir import (
    Audio,
    Cache,
    Document,
    Image,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    is_plain_text,
)
from busbar.protocols.native import own_fields, own_form

_decode = msgspec.json.Decoder().decode


def write_content(parts: list[Part], form: Any) -> str | list[Any]:
    """A turn's `content`; a plain string when the form says so and one plain text is all there is."""
    if form == "text" and len(parts) == 1:
        only = parts[0]
        if isinstance(only, Text) and not only.citations and only.cache is None and only.native is None:
            return only.text
    return [write_block(part) for part in parts]


def write_block(part: Part) -> Any:
    """One content block; the whole value of an `Opaque`."""
    if is_plain_text(part):
        return {"type": "text", "text": part.text}
    match part:
        case Text():
            written = _text(part)
        case ToolUse():
            written = _tool_use(part)
        case ToolResult():
            written = _tool_result(part)
        case Thinking():
            written = {"type": "thinking", "thinking": part.text}
            if part.signature is not None:
                written["signature"] = part.signature
        case RedactedThinking():
            written = {"type": "redacted_thinking", "data": part.data}
        case Image():
            written = {"type": "image", "source": write_source(part.source)}
            add_cache(written, part.cache)
        case Document():
            written = _document(part)
        case Refusal():
            written = {"type": "text", "text": part.text}
        case Opaque():
            return part.value
        case Audio():
            raise AssertionError("audio is dropped before blocks are written")
    written.update(own_fields(part, DIALECT))
    return written


def add_cache(written: dict[str, Any], cache: Cache | None) -> None:
    if cache is None:
        return
    control: dict[str, Any] = {"type": "ephemeral"}
    if cache.ttl is not None:
        control["ttl"] = cache.ttl
    control.update(own_fields(cache, DIALECT))
    written["cache_control"] = control


def tool_input(arguments: str) -> Any:
    """The value of a tool call's JSON text; an empty text means no arguments.

    Raises `msgspec.DecodeError` when the text is no JSON.
    """
    return _decode(arguments) if arguments.strip() else {}


def _text(part: Text) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "text", "text": part.text}
    if part.citations:
        written["citations"] = [write_citation(citation) for citation in part.citations]
    elif own_form(part, DIALECT) == "citations":
        written["citations"] = []
    add_cache(written, part.cache)
    return written


def _document(part: Document) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "document", "source": write_source(part.source)}
    if part.title is not None:
        written["title"] = part.title
    if part.context is not None:
        written["context"] = part.context
    if part.citations_enabled is not None:
        written["citations"] = {"enabled": part.citations_enabled}
    add_cache(written, part.cache)
    return written


def _tool_use(part: ToolUse) -> dict[str, Any]:
    written = {"type": "tool_use", "id": part.id, "name": part.name, "input": tool_input(part.arguments)}
    add_cache(written, part.cache)
    return written


def _tool_result(part: ToolResult) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.tool_use_id}
    form = own_form(part, DIALECT)
    if part.content or form != "absent":
        written["content"] = write_content(part.content, form)
    if part.is_error is not None:
        written["is_error"] = part.is_error
    add_cache(written, part.cache)
    return written
