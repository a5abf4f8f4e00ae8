"""Parts → content blocks. Mechanical: what another dialect's part needs first is done in `fit_parts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from busbar.protocols.bedrock.blocks_read import CACHE_POINT, GUARD, JSON
from busbar.protocols.bedrock.citations import write_cited
from busbar.protocols.bedrock.sources import DOCUMENT_FORMATS, write_source
from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.ir import (
    Audio,
    Base64Data,
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
)
from busbar.protocols.native import is_own, own_fields, own_form

_decode = msgspec.json.Decoder().decode


def write_content(parts: Sequence[Part]) -> list[Any]:
    """A turn's `content`, with each cache point behind its part."""
    blocks = []
    for part in parts:
        blocks.append(write_block(part))
        cache = getattr(part, "cache", None)
        if cache is not None:
            blocks.append(write_cache(cache))
    return blocks


def write_cache(cache: Cache) -> dict[str, Any]:
    ttl = {} if cache.ttl is None else {"ttl": cache.ttl}
    return {CACHE_POINT: {"type": "default", **ttl, **own_fields(cache, DIALECT)}}


def write_block(part: Part) -> Any:
    """One content block; the whole value of an `Opaque`."""
    match part:
        case Text():
            return _text(part)
        case Refusal():
            return {"text": part.text}
        case ToolUse():
            written = {"toolUseId": part.id, "name": part.name, "input": tool_input(part.arguments)}
            return {"toolUse": {**written, **own_fields(part, DIALECT)}}
        case ToolResult():
            return {"toolResult": _tool_result(part)}
        case Thinking():
            signature = {} if part.signature is None else {"signature": part.signature}
            return {"reasoningContent": {"reasoningText": _merged(part, text=part.text, **signature)}}
        case RedactedThinking():
            return {"reasoningContent": {"redactedContent": part.data}}
        case Image():
            return {"image": _merged(part, **_image_format(part), source=write_source(part.source))}
        case Document():
            return {"document": _document(part)}
        case Audio():
            return {"audio": _merged(part, format=part.format, source={"bytes": part.data})}
        case Opaque():
            return part.value


def tool_input(arguments: str) -> Any:
    """The value of a tool call's JSON text; an empty text means no arguments.

    Raises `msgspec.DecodeError` when the text is no JSON.
    """
    return _decode(arguments) if arguments.strip() else {}


def _text(part: Text) -> dict[str, Any]:
    form = own_form(part, DIALECT)
    if form == GUARD:
        return {"guardContent": {"text": _merged(part, text=part.text)}}
    if form == JSON:
        return {JSON: _decode(part.text)}
    if part.citations or isinstance(form, tuple):
        return write_cited(part)
    return _merged(part, text=part.text)


def _tool_result(part: ToolResult) -> dict[str, Any]:
    written: dict[str, Any] = {"toolUseId": part.tool_use_id, "content": [write_block(p) for p in part.content]}
    if part.is_error is not None:
        written["status"] = "error" if part.is_error else "success"
    written.update(own_fields(part, DIALECT))
    return written


def _image_format(part: Image) -> dict[str, str]:
    if is_own(part, DIALECT):
        word = own_form(part, DIALECT)
        return {} if word is None else {"format": word}
    assert isinstance(part.source, Base64Data), "other images are dropped before blocks are written"
    return {"format": part.source.media_type.removeprefix("image/")}


def _document(part: Document) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if is_own(part, DIALECT):
        word = own_form(part, DIALECT)
    else:
        word = DOCUMENT_FORMATS[part.source.media_type] if isinstance(part.source, Base64Data) else "txt"
    if word is not None:
        written["format"] = word
    if part.title is not None:
        written["name"] = part.title
    written["source"] = write_source(part.source)
    if part.context is not None:
        written["context"] = part.context
    if part.citations_enabled is not None:
        written["citations"] = {"enabled": part.citations_enabled}
    written.update(own_fields(part, DIALECT))
    return written


def _merged(part: Part, **stated: Any) -> dict[str, Any]:
    assert not isinstance(part, Opaque)
    return {**stated, **own_fields(part, DIALECT)}
