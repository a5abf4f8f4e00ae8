"""Images, documents and sounds: their formats and `source` unions, both ways.

A source is bytes (base64 in JSON), a place in S3, or for documents a text. An S3 place is a file that the caller
stored at this provider: a `FileId`, which means nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.fields import take_text
from busbar.protocols.ir import Base64Data, FileId, PlainText, Source
from busbar.protocols.native import Native, native, own_fields, own_form

DOCUMENT_TYPES: Mapping[str, str] = {
    "pdf": "application/pdf",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html",
    "txt": "text/plain",
    "md": "text/markdown",
}
IMAGE_FORMATS = frozenset({"png", "jpeg", "gif", "webp"})
DOCUMENT_FORMATS: Mapping[str, str] = {
    **{media_type: word for word, media_type in DOCUMENT_TYPES.items()},
    "text/x-markdown": "md",
    "application/csv": "csv",
}
"""Media type → the word for it here."""

_UNKNOWN_TYPE = "application/octet-stream"
_JOINT = "\n"
"""Between the text blocks of a `content` source, which the IR carries as one text."""


def image_type(word: str | None) -> str:
    return _UNKNOWN_TYPE if word is None else f"image/{word}"


def document_type(word: str | None) -> str:
    return DOCUMENT_TYPES.get(word or "", _UNKNOWN_TYPE)


def read_source(left: dict[str, Any], media_type: str, path: str) -> Source | None:
    """Takes a `source` union apart (`left` is the caller's copy); None for one that the IR has no place for.

    Raises `InvalidRequest`.
    """
    if len(left) != 1:
        return None
    (kind,) = left
    match kind:
        case "bytes":
            data = take_text(left, kind, path)
            return None if data is None else Base64Data(media_type=media_type, data=data)
        case "text":
            text = take_text(left, kind, path)
            return None if text is None else PlainText(text=text)
        case "s3Location":
            return _read_place(left[kind])
        case "content":
            return _read_blocks(left[kind])
        case _:
            return None


def write_source(source: Source) -> dict[str, Any]:
    """The `source` union of what this dialect has a place for."""
    match source:
        case Base64Data():
            return {"bytes": source.data}
        case FileId():
            return {"s3Location": {"uri": source.id, **own_fields(source, DIALECT)}}
        case PlainText():
            return _write_text(source)
        case _:
            raise AssertionError("URLs are dropped before sources are written")


def _read_place(value: Any) -> FileId | None:
    if not isinstance(value, dict) or not isinstance(value.get("uri"), str):
        return None
    return FileId(id=value["uri"], native=native(DIALECT, {k: v for k, v in value.items() if k != "uri"}))


def _read_blocks(value: Any) -> PlainText | None:
    """A document given as text blocks: one text, whose form remembers their lengths."""
    if not isinstance(value, list) or not value:
        return None
    texts = [block["text"] for block in value if isinstance(block, dict) and block.keys() == {"text"}]
    if len(texts) < len(value) or not all(isinstance(text, str) for text in texts):
        return None
    lengths = tuple(len(text) for text in texts)
    return PlainText(text=_JOINT.join(texts), native=Native(DIALECT, {}, lengths))


def _write_text(source: PlainText) -> dict[str, Any]:
    lengths = own_form(source, DIALECT)
    if lengths is None:
        return {"text": source.text}
    blocks = []
    start = 0
    for length in lengths:
        blocks.append({"text": source.text[start : start + length]})
        start += length + len(_JOINT)
    return {"content": blocks}
