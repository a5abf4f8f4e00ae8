"""Writing content parts. What has no place here is reported, by its path in the source."""

from __future__ import annotations

from typing import Any

from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Cache,
    Citation,
    Document,
    FileId,
    Image,
    Opaque,
    Part,
    PlainText,
    Refusal,
    Source,
    Text,
    Url,
)
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import is_own, own_fields, own_form
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.content_read import CITATION_FIELDS, CONTENT, data_url_prefix
from busbar.protocols.responses.words import DIALECT

_NOT_FILES = ("audio/", "video/")
_DETAILS = frozenset({"low", "high", "auto", "original"})
_FOREIGN_FILE = "a file that is stored at another provider"


def write_own_part(part: Part) -> dict[str, Any]:
    """A part that was read from this dialect, as it came."""
    left = own_fields(part, DIALECT) if not isinstance(part, Opaque) else {}
    match part:
        case Text():
            return _own_text(part, left)
        case Refusal():
            return {**left, "type": "refusal", "refusal": part.text}
        case Image():
            key = "file_id" if isinstance(part.source, FileId) else "image_url"
            detail = {} if part.detail is None else {"detail": part.detail}
            return {**left, "type": "input_image", key: _located(part.source), **detail}
        case Document():
            title = {} if part.title is None else {"filename": part.title}
            return {**left, "type": "input_file", own_form(part, DIALECT): _located(part.source), **title}
        case Audio():
            inner = {**left.get("input_audio", {}), "data": part.data, "format": part.format}
            return {**left, "type": "input_audio", "input_audio": inner}
        case Opaque():
            whole: dict[str, Any] = part.value
            return whole
        case _:
            raise AssertionError(f"{type(part).__name__} is no content part of this dialect")


def write_part(part: Part, path: str, receipt: Receipt) -> dict[str, Any] | None:
    """Another dialect's part, as a user or a tool says it here; None where it has no place (reported)."""
    match part:
        case Opaque() if part.dialect == DIALECT and part.kind.startswith(CONTENT):
            whole: dict[str, Any] = part.value
            return whole
        case Text() | Refusal():
            report_text(part, path, receipt)
            return {"type": "input_text", "text": part.text} if part.text else None
        case Image():
            return _write_image(part, path, receipt)
        case Document():
            return _write_document(part, path, receipt)
        case Audio():
            receipt.dropped(path, "input_audio is a type of this dialect that OpenAI refuses")
            return None
        case _:
            receipt.dropped(path, "no place in this dialect")
            return None


def report_text(part: Text | Refusal, path: str, receipt: Receipt) -> None:
    """Reports what a request's text has no place for here."""
    report_leftovers(part, DIALECT, path, receipt)
    if isinstance(part, Refusal):
        receipt.changed(path, "a refusal is written as text")
        return
    if part.citations:
        receipt.dropped(f"{path}.citations", "no place in a turn of this dialect")
    if part.signature is not None:
        receipt.dropped(f"{path}.signature", "signature of another provider")
    report_cache(part.cache, path, receipt)


def report_cache(cache: Cache | None, path: str, receipt: Receipt) -> None:
    if cache is not None:
        receipt.dropped(f"{path}.cache_control", "this dialect caches by itself")


def write_citation(citation: Citation, length: int, path: str, receipt: Receipt) -> dict[str, Any] | None:
    """Another dialect's citation as an annotation of a text of `length` characters. A citation of a document that
    the caller sent has no place."""
    if citation.url is None:
        receipt.dropped(path, "this dialect cites URLs, and files of its own")
        return None
    start, end = (citation.start, citation.end) if citation.of_answer else (None, None)
    return {
        "type": "url_citation",
        "url": citation.url,
        "title": citation.title or citation.url,
        "start_index": start or 0,
        "end_index": length if end is None else end,
    }


def write_own_citation(citation: Citation) -> dict[str, Any]:
    stated = {key: getattr(citation, field) for key, field, _ in CITATION_FIELDS}
    return {**own_fields(citation, DIALECT), **{key: value for key, value in stated.items() if value is not None}}


def _own_text(part: Text, left: dict[str, Any]) -> dict[str, Any]:
    document = {**left, "type": own_form(part, DIALECT), "text": part.text}
    if part.citations:
        waiting = iter([write_own_citation(citation) for citation in part.citations])
        others = left.get("annotations")
        document["annotations"] = (
            [next(waiting) if other is None else other for other in others] if others else list(waiting)
        )
    return document


def _located(source: Source) -> str:
    match source:
        case Base64Data():
            return (own_form(source, DIALECT) or data_url_prefix(source.media_type)) + source.data
        case Url():
            return source.url
        case FileId():
            return source.id
        case PlainText():
            return source.text


def _write_image(part: Image, path: str, receipt: Receipt) -> dict[str, Any] | None:
    if not isinstance(part.source, Base64Data | Url):
        receipt.dropped(path, _FOREIGN_FILE)
        return None
    _report_source(part, path, receipt)
    detail = part.detail if part.detail in _DETAILS else "auto"
    return {"type": "input_image", "image_url": _located(part.source), "detail": detail}


def _write_document(part: Document, path: str, receipt: Receipt) -> dict[str, Any] | None:
    source = part.source
    if isinstance(source, FileId):
        receipt.dropped(path, _FOREIGN_FILE)
        return None
    if isinstance(source, Base64Data) and source.media_type.startswith(_NOT_FILES):
        receipt.dropped(path, f"no files of type {source.media_type}")
        return None
    _report_source(part, path, receipt)
    if part.context is not None:
        receipt.dropped(f"{path}.context", "no place in this dialect")
    if part.citations_enabled:
        receipt.dropped(f"{path}.citations", "no place in this dialect")
    match source:
        case PlainText():
            receipt.changed(path, "the document is given as text")
            text = f"{part.title}\n\n{source.text}" if part.title else source.text
            return {"type": "input_text", "text": text} if text else None
        case Base64Data() if source.media_type.startswith("image/"):
            return {"type": "input_image", "image_url": _located(source), "detail": "auto"}
        case Base64Data():
            name = part.title or f"document.{_ENDINGS.get(source.media_type, 'txt')}"
            return {"type": "input_file", "filename": name, "file_data": _located(source)}
        case Url():
            if part.title is not None:
                receipt.dropped(f"{path}.title", "a file that is fetched has the name that it has there")
            return {"type": "input_file", "file_url": source.url}


_ENDINGS = {"application/pdf": "pdf", "text/html": "html", "text/csv": "csv", "text/markdown": "md"}


def _report_source(part: Image | Document, path: str, receipt: Receipt) -> None:
    report_leftovers(part, DIALECT, path, receipt)
    if not is_own(part, DIALECT):
        report_leftovers(part.source, DIALECT, f"{path}.source", receipt)
    report_cache(part.cache, path, receipt)
