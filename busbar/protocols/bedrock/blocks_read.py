"""Content blocks → parts. A block is a union: its one key names its kind.

`cachePoint` is a block of its own, behind what it caches: it becomes the `Cache` of the part before it.
`guardContent` is a text that guardrails look at. What the IR has no place for (videos, search results, hosted tools'
calls and results) becomes an `Opaque` that holds the whole block. The form of a part remembers how it was spelled:

    text           "guard", or what `citations` keeps for a cited one
    image …        the word of its format; None where none was stated
    tool result    which of its texts were `json` is each text's own form
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.bedrock.citations import read_cited
from busbar.protocols.bedrock.sources import document_type, image_type, read_source
from busbar.protocols.bedrock.words import DIALECT, SIGNER
from busbar.protocols.fields import as_object, take_list, take_object, take_text
from busbar.protocols.ir import (
    Audio,
    Cache,
    Document,
    FunctionTool,
    Image,
    Opaque,
    Part,
    PlainText,
    RedactedThinking,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
)
from busbar.protocols.native import Native, native
from busbar.protocols.protocol import InvalidRequest

CACHE_POINT = "cachePoint"
GUARD = "guard"
JSON = "json"
SERVER_TOOL = "server_tool_use"

_encode = msgspec.json.Encoder().encode


def read_content(value: Any, path: str) -> list[Part]:
    """A turn's `content`, or `system`. Raises `InvalidRequest`."""
    if not isinstance(value, list):
        raise InvalidRequest(path, "expected an array of content blocks")
    parts: list[Part] = []
    for index, block in enumerate(value):
        if not put_cache(parts, block, f"{path}[{index}]"):
            parts.append(read_block(block, f"{path}[{index}]"))
    return parts


def read_answer(content: list[Any]) -> list[Part]:
    """What a provider sent: a block that is not well formed is kept whole instead of refused."""
    return [read_answer_block(block) for block in content]


def read_answer_block(value: Any) -> Part:
    try:
        return read_block(value, "")
    except InvalidRequest:
        return Opaque(dialect=DIALECT, kind=_kind(value), value=value)


def read_block(value: Any, path: str) -> Part:
    """One content block. Raises `InvalidRequest` when a block of a known kind is not well formed."""
    left = as_object(value, path)
    kind = _kind(left)
    if kind == "text":
        text = take_text(left, kind, path)
        return Text(text=text or "", native=native(DIALECT, left))
    read = _READERS.get(kind)
    part = None if read is None else read(left[kind], f"{path}.{kind}" if path else kind)
    return Opaque(dialect=DIALECT, kind=kind, value=value) if part is None else part


def put_cache(before: list[Part] | list[Tool], block: Any, path: str) -> bool:
    """Puts a cache point on what stands before it. False when `block` is none, or when nothing there can bear it."""
    if not isinstance(block, dict) or block.keys() != {CACHE_POINT} or not before:
        return False
    left = as_object(block[CACHE_POINT], f"{path}.{CACHE_POINT}")
    if left.pop("type", None) != "default":
        return False
    bearer = before[-1]
    if not isinstance(bearer, Text | Image | Document | ToolUse | ToolResult | FunctionTool) or bearer.cache:
        return False
    bearer.cache = Cache(ttl=take_text(left, "ttl", f"{path}.{CACHE_POINT}"), native=native(DIALECT, left))
    return True


def _kind(block: Any) -> str:
    """The block's only key; of several, all of them: such a block is no union, and nobody knows it."""
    if not isinstance(block, dict):
        return type(block).__name__
    return "text" if isinstance(block.get("text"), str) else "+".join(block)


def _image(value: Any, path: str) -> Part | None:
    left = as_object(value, path)
    word = take_text(left, "format", path)
    source = read_source(as_object(left.get("source"), f"{path}.source"), image_type(word), path)
    if source is None or isinstance(source, PlainText):
        return None
    del left["source"]
    return Image(source=source, native=Native(DIALECT, left, word))


def _document(value: Any, path: str) -> Part | None:
    left = as_object(value, path)
    word = take_text(left, "format", path)
    source = read_source(as_object(left.get("source"), f"{path}.source"), document_type(word), path)
    if source is None:
        return None
    del left["source"]
    enabled = None
    citations = left.get("citations")
    if isinstance(citations, dict) and citations.keys() == {"enabled"} and isinstance(citations["enabled"], bool):
        enabled = left.pop("citations")["enabled"]
    return Document(
        source=source,
        title=take_text(left, "name", path),
        context=take_text(left, "context", path),
        citations_enabled=enabled,
        native=Native(DIALECT, left, word),
    )


def _audio(value: Any, path: str) -> Part | None:
    left = as_object(value, path)
    word, source = left.pop("format", None), left.pop("source", None)
    if not isinstance(word, str) or not isinstance(source, dict) or source.keys() != {"bytes"}:
        return None
    data = source["bytes"]
    return Audio(data=data, format=word, native=native(DIALECT, left)) if isinstance(data, str) else None


def _tool_use(value: Any, path: str) -> Part | None:
    left = as_object(value, path)
    if left.get("type") == SERVER_TOOL:
        return None
    call_id, name = take_text(left, "toolUseId", path), take_text(left, "name", path)
    if call_id is None or name is None or "input" not in left:
        raise InvalidRequest(path, "toolUseId, name and input are required")
    arguments = _encode(left.pop("input")).decode()
    return ToolUse(id=call_id, name=name, arguments=arguments, native=native(DIALECT, left))


def _tool_result(value: Any, path: str) -> Part | None:
    left = as_object(value, path)
    if left.get("type") not in (None, "tool_result"):
        return None  # a hosted tool's: it belongs to a call that is opaque
    call_id, content = take_text(left, "toolUseId", path), take_list(left, "content", path)
    if call_id is None or content is None:
        raise InvalidRequest(path, "toolUseId and content are required")
    status = left.get("status")
    if status in ("success", "error"):
        del left["status"]
    return ToolResult(
        tool_use_id=call_id,
        content=[_result_block(block, f"{path}.content[{index}]") for index, block in enumerate(content)],
        is_error={"success": False, "error": True}.get(status) if isinstance(status, str) else None,
        native=native(DIALECT, left),
    )


def _result_block(value: Any, path: str) -> Part:
    if isinstance(value, dict) and value.keys() == {JSON}:
        return Text(text=_encode(value[JSON]).decode(), native=Native(DIALECT, {}, JSON))
    return read_block(value, path)


def _reasoning(value: Any, path: str) -> Part | None:
    inner = as_object(value, path)
    if inner.keys() == {"redactedContent"} and isinstance(inner["redactedContent"], str):
        return RedactedThinking(data=inner["redactedContent"], signer=SIGNER)
    if inner.keys() != {"reasoningText"}:
        return None
    left = take_object(inner, "reasoningText", path) or {}
    text, signature = take_text(left, "text", path), take_text(left, "signature", path)
    if text is None:
        return None
    signer = None if signature is None else SIGNER
    return Thinking(text=text, signature=signature, signer=signer, native=native(DIALECT, left))


def _guard(value: Any, path: str) -> Part | None:
    inner = as_object(value, path)
    text = inner.get("text")
    if inner.keys() != {"text"} or not isinstance(text, dict) or not isinstance(text.get("text"), str):
        return None
    left = {key: kept for key, kept in text.items() if key != "text"}
    return Text(text=text["text"], native=Native(DIALECT, left, GUARD))


_READERS: Mapping[str, Callable[[Any, str], Part | None]] = {
    "image": _image,
    "document": _document,
    "audio": _audio,
    "toolUse": _tool_use,
    "toolResult": _tool_result,
    "reasoningContent": _reasoning,
    "guardContent": _guard,
    "citationsContent": read_cited,
}
