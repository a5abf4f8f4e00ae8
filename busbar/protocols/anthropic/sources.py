"""Where an image or a document comes from: the `source` objects, both ways."""

from __future__ import annotations

from typing import Any

from busbar.protocols.anthropic.words import DIALECT
from busbar.protocols.fields import take_text
from busbar.protocols.ir import Base64Data, FileId, PlainText, Source, Url
from busbar.protocols.native import native, own_fields, own_form
from busbar.protocols.protocol import InvalidRequest

_JOINT = "\n"
"""Between the text blocks of a `content` source, which the IR carries as one text."""


def read_source(left: dict[str, Any], path: str) -> Source | None:
    """Takes a source object apart (`left` is the caller's copy); None for a kind that the IR has no place for.

    Raises `InvalidRequest`.
    """
    kind = left.pop("type", None)
    match kind:
        case "base64":
            media_type, data = need_text(left, "media_type", path), need_text(left, "data", path)
            return Base64Data(media_type=media_type, data=data, native=native(DIALECT, left))
        case "url":
            return Url(url=need_text(left, "url", path), native=native(DIALECT, left))
        case "file":
            return FileId(id=need_text(left, "file_id", path), native=native(DIALECT, left))
        case "text":
            text = need_text(left, "data", path)
            plain = left.get("media_type") == "text/plain"
            if plain:
                del left["media_type"]
            return PlainText(text=text, native=native(DIALECT, left, None if plain else "untyped"))
        case "content":
            return _read_blocks(left)
        case _:
            return None


def write_source(source: Source) -> dict[str, Any]:
    match source:
        case Base64Data():
            written = {"type": "base64", "media_type": source.media_type, "data": source.data}
        case Url():
            written = {"type": "url", "url": source.url}
        case FileId():
            written = {"type": "file", "file_id": source.id}
        case PlainText():
            written = _write_text(source)
    written.update(own_fields(source, DIALECT))
    return written


def need_text(left: dict[str, Any], key: str, path: str) -> str:
    """Takes a text that must be there. Raises `InvalidRequest`."""
    value = take_text(left, key, path)
    if value is None:
        raise InvalidRequest(f"{path}.{key}" if path else key, "field required")
    return value


def _read_blocks(left: dict[str, Any]) -> PlainText | None:
    """A document given as blocks. Plain text blocks become one text whose form remembers their lengths."""
    content = left.pop("content", None)
    if isinstance(content, str):
        return PlainText(text=content, native=native(DIALECT, left, "content"))
    if not isinstance(content, list) or not content or not all(_is_plain(block) for block in content):
        return None
    texts = [block["text"] for block in content]
    return PlainText(text=_JOINT.join(texts), native=native(DIALECT, left, tuple(len(text) for text in texts)))


def _is_plain(block: Any) -> bool:
    return (
        isinstance(block, dict)
        and block.keys() == {"type", "text"}
        and block["type"] == "text"
        and isinstance(block["text"], str)
    )


def _write_text(source: PlainText) -> dict[str, Any]:
    form = own_form(source, DIALECT)
    if form == "content":
        return {"type": "content", "content": source.text}
    if isinstance(form, tuple):
        blocks = []
        start = 0
        for length in form:
            blocks.append({"type": "text", "text": source.text[start : start + length]})
            start += length + len(_JOINT)
        return {"type": "content", "content": blocks}
    if form == "untyped":
        return {"type": "text", "data": source.text}
    return {"type": "text", "media_type": "text/plain", "data": source.text}
