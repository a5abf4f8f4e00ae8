"""Content blocks → parts. What the IR has no place for becomes an `Opaque` that holds the whole block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.anthropic.citations import read_citation
from busbar.protocols.anthropic.sources import need_text, read_source
from busbar.protocols.anthropic.words import DIALECT
from busbar.protocols.fields import as_object, take_bool, take_list, take_object, take_text
from busbar.protocols.ir import (
    Cache,
    Document,
    Image,
    Opaque,
    Part,
    RedactedThinking,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from busbar.protocols.native import native
from busbar.protocols.protocol import InvalidRequest

_encode = msgspec.json.Encoder().encode


def read_content(value: Any, path: str) -> tuple[list[Part], str | None]:
    """A turn's `content` and its form: `text` when it was a plain string. Raises `InvalidRequest`."""
    if isinstance(value, str):
        return [Text(text=value)], "text"
    if isinstance(value, list):
        return [read_block(block, f"{path}[{index}]") for index, block in enumerate(value)], None
    raise InvalidRequest(path, "expected a string or an array of content blocks")


def read_block(value: Any, path: str) -> Part:
    """One content block. Raises `InvalidRequest` when a block of a known type is not well formed."""
    if type(value) is dict and len(value) == 2 and value.get("type") == "text" and type(value.get("text")) is str:
        return Text(text=value["text"])
    left = as_object(value, path)
    kind = left.pop("type", None)
    if not isinstance(kind, str):
        raise InvalidRequest(f"{path}.type", "expected a string")
    read = _READERS.get(kind)
    part = None if read is None else read(left, path)
    return Opaque(dialect=DIALECT, kind=kind, value=value) if part is None else part


def read_answer_block(value: Any, path: str) -> Part:
    """A block that a provider sent: what is not well formed is kept whole instead of refused."""
    try:
        return read_block(value, path)
    except InvalidRequest:
        kind = value.get("type") if isinstance(value, dict) else None
        return Opaque(dialect=DIALECT, kind=str(kind), value=value)


def take_cache(left: dict[str, Any], path: str) -> Cache | None:
    """Takes `cache_control`. A kind other than `ephemeral` stays a leftover."""
    value = left.get("cache_control")
    if value is None:
        return None
    inner = as_object(value, f"{path}.cache_control")
    if inner.pop("type", None) != "ephemeral":
        return None
    del left["cache_control"]
    ttl = take_text(inner, "ttl", f"{path}.cache_control")
    return Cache(ttl=ttl, native=native(DIALECT, inner))


def _text(left: dict[str, Any], path: str) -> Part:
    text = need_text(left, "text", path)
    found = take_list(left, "citations", path)
    citations = [read_citation(value, f"{path}.citations[{index}]") for index, value in enumerate(found or ())]
    form = "citations" if found == [] else None
    return Text(text=text, citations=citations, cache=take_cache(left, path), native=native(DIALECT, left, form))


def _thinking(left: dict[str, Any], path: str) -> Part:
    text = need_text(left, "thinking", path)
    signature = take_text(left, "signature", path)
    signer = None if signature is None else DIALECT
    return Thinking(text=text, signature=signature, signer=signer, native=native(DIALECT, left))


def _redacted_thinking(left: dict[str, Any], path: str) -> Part:
    return RedactedThinking(data=need_text(left, "data", path), signer=DIALECT, native=native(DIALECT, left))


def _image(left: dict[str, Any], path: str) -> Part | None:
    source = read_source(_need_object(left, "source", path), f"{path}.source")
    if source is None:
        return None
    return Image(source=source, cache=take_cache(left, path), native=native(DIALECT, left))


def _document(left: dict[str, Any], path: str) -> Part | None:
    source = read_source(_need_object(left, "source", path), f"{path}.source")
    if source is None:
        return None
    enabled = None
    citations = left.get("citations")
    if isinstance(citations, dict) and citations.keys() == {"enabled"} and isinstance(citations["enabled"], bool):
        enabled = citations["enabled"]
        del left["citations"]
    return Document(
        source=source,
        title=take_text(left, "title", path),
        context=take_text(left, "context", path),
        citations_enabled=enabled,
        cache=take_cache(left, path),
        native=native(DIALECT, left),
    )


def _tool_use(left: dict[str, Any], path: str) -> Part:
    arguments = _encode(_need_object(left, "input", path)).decode()
    return ToolUse(
        id=need_text(left, "id", path),
        name=need_text(left, "name", path),
        arguments=arguments,
        cache=take_cache(left, path),
        native=native(DIALECT, left),
    )


def _tool_result(left: dict[str, Any], path: str) -> Part:
    """`content` may be a text, blocks, or absent; the form tells a text and an absent one from blocks."""
    parts: list[Part] = []
    form: str | None = "absent"
    if left.get("content") is not None:
        parts, form = read_content(left.pop("content"), f"{path}.content")
    return ToolResult(
        tool_use_id=need_text(left, "tool_use_id", path),
        content=parts,
        is_error=take_bool(left, "is_error", path),
        cache=take_cache(left, path),
        native=native(DIALECT, left, form),
    )


def _need_object(left: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    value = take_object(left, key, path)
    if value is None:
        raise InvalidRequest(f"{path}.{key}", "field required")
    return value


_READERS: Mapping[str, Callable[[dict[str, Any], str], Part | None]] = {
    "text": _text,
    "thinking": _thinking,
    "redacted_thinking": _redacted_thinking,
    "image": _image,
    "document": _document,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}
