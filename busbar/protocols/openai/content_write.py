"""Writing the parts of a turn's content. What has no place here is reported, by its path in the source."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Cache,
    Document,
    FileId,
    Image,
    Opaque,
    Part,
    PlainText,
    Refusal,
    Source,
    Text,
    Thinking,
    Url,
)
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import is_own, own_fields, own_form
from busbar.protocols.openai.content import CONTENT, data_url_prefix
from busbar.protocols.openai.words import DIALECT
from busbar.protocols.receipt import Receipt

_AUDIO_FORMATS = frozenset({"wav", "mp3"})
_PDF = "application/pdf"
_NO_PLACE = "no place in this dialect"


def write_part(part: Part, path: str, receipt: Receipt) -> dict[str, Any] | None:
    """One content part; None where it has no place (reported). Tool calls and results are not content here."""
    match part:
        case Text():
            return _write_text(part, path, receipt)
        case Image():
            return _write_image(part, path, receipt)
        case Document():
            return _write_document(part, path, receipt)
        case Audio():
            return _write_audio(part, path, receipt)
        case Refusal():
            report_leftovers(part, DIALECT, path, receipt)
            return {**own_fields(part, DIALECT), "type": "refusal", "refusal": part.text}
        case Thinking() if isinstance(own_form(part, DIALECT), tuple):
            return _write_own_thinking(part)
        case Opaque() if part.dialect == DIALECT and part.kind.startswith(CONTENT):
            value: dict[str, Any] = part.value
            return value
        case _:
            receipt.dropped(path, _NO_PLACE)
            return None


def put_cache(document: dict[str, Any], cache: Cache | None, path: str, receipt: Receipt) -> None:
    """Puts an own cache breakpoint back; another dialect's is reported."""
    report_cache(cache, path, receipt)
    if cache is not None and is_own(cache, DIALECT):
        document["cache_control"] = {"type": "ephemeral"} | ({} if cache.ttl is None else {"ttl": cache.ttl})


def report_cache(cache: Cache | None, path: str, receipt: Receipt) -> None:
    if cache is not None and not is_own(cache, DIALECT):
        receipt.dropped(f"{path}.cache_control", "this dialect caches by itself")


def _write_text(part: Text, path: str, receipt: Receipt) -> dict[str, Any]:
    document = {**own_fields(part, DIALECT), "type": "text", "text": part.text}
    put_cache(document, part.cache, path, receipt)
    report_leftovers(part, DIALECT, path, receipt)
    return document


def _write_image(part: Image, path: str, receipt: Receipt) -> dict[str, Any] | None:
    url = _url(part.source)
    if url is None:
        receipt.dropped(path, "a file that is stored at another provider")
        return None
    document: dict[str, Any] = {**own_fields(part, DIALECT), "type": "image_url"}
    if own_form(part, DIALECT) == "bare":
        document["image_url"] = url
    else:
        document["image_url"] = {**own_fields(part.source, DIALECT), "url": url}
        if part.detail is not None:
            document["image_url"]["detail"] = part.detail
    put_cache(document, part.cache, path, receipt)
    report_leftovers(part, DIALECT, path, receipt)
    report_leftovers(part.source, DIALECT, f"{path}.source", receipt)
    return document


def _url(source: Source) -> str | None:
    match source:
        case Base64Data():
            return (own_form(source, DIALECT) or data_url_prefix(source.media_type)) + source.data
        case Url():
            return source.url
        case _:
            return None


def _write_document(part: Document, path: str, receipt: Receipt) -> dict[str, Any] | None:
    document = _own_file(part) if own_form(part, DIALECT) == "file" else _foreign_file(part, path, receipt)
    if document is None:
        return None
    if part.context is not None:
        receipt.dropped(f"{path}.context", _NO_PLACE)
    if part.citations_enabled:
        receipt.dropped(f"{path}.citations", _NO_PLACE)
    put_cache(document, part.cache, path, receipt)
    report_leftovers(part, DIALECT, path, receipt)
    report_leftovers(part.source, DIALECT, f"{path}.source", receipt)
    return document


def _own_file(part: Document) -> dict[str, Any]:
    source = part.source
    given = {"file_id": source.id} if isinstance(source, FileId) else {"file_data": _url(source)}
    file = {**own_fields(source, DIALECT), **given}
    if part.title is not None:
        file["filename"] = part.title
    return {**own_fields(part, DIALECT), "type": "file", "file": file}


def _foreign_file(part: Document, path: str, receipt: Receipt) -> dict[str, Any] | None:
    source = part.source
    match source:
        case PlainText():
            return _as_text(source.text, part, path, receipt)
        case Base64Data() if source.media_type.startswith("text/"):
            return _decoded(source, part, path, receipt)
        case Base64Data() if source.media_type == _PDF:
            return {"type": "file", "file": {"filename": part.title or "document.pdf", "file_data": _url(source)}}
        case _:
            receipt.dropped(path, "this dialect takes documents as PDF data or as text")
            return None


def _as_text(text: str, part: Document, path: str, receipt: Receipt) -> dict[str, Any]:
    receipt.changed(path, "the document is given as text")
    return {"type": "text", "text": f"{part.title}\n\n{text}" if part.title else text}


def _decoded(source: Base64Data, part: Document, path: str, receipt: Receipt) -> dict[str, Any] | None:
    try:
        text = base64.b64decode(source.data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        receipt.dropped(path, "not the text that its media type says")
        return None
    return _as_text(text, part, path, receipt)


def _write_audio(part: Audio, path: str, receipt: Receipt) -> dict[str, Any] | None:
    own = is_own(part, DIALECT)
    if part.format not in _AUDIO_FORMATS and not own:
        receipt.dropped(path, "this dialect takes audio as wav or mp3")
        return None
    left = own_fields(part, DIALECT)
    inner = {**left.get("input_audio", {}), "data": part.data, "format": part.format}
    report_leftovers(part, DIALECT, path, receipt)
    return {**left, "type": "input_audio", "input_audio": inner}


def _write_own_thinking(part: Thinking) -> dict[str, Any]:
    pieces, at = [], 0
    for length in own_form(part, DIALECT):
        pieces.append({"type": "text", "text": part.text[at : at + length]})
        at += length
    return {**own_fields(part, DIALECT), "type": "thinking", "thinking": pieces}
