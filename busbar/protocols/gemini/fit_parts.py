"""Parts of another dialect, as this one accepts them in a turn. What has no place is reported, by its IR path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from busbar.protocols.fitting.sources import bare_media_type
from busbar.protocols.gemini.fit_tools import fit_tool_name
from busbar.protocols.gemini.media import inline
from busbar.protocols.gemini.parts_write import own_signature, write_own_part
from busbar.protocols.gemini.words import DIALECT, TOOL_CALL_ID
from busbar.protocols.ids import TOOL_CALL_PREFIXES, translate_id
from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Document,
    FileId,
    Image,
    Part,
    PlainText,
    Source,
    Text,
    ToolUse,
    Url,
)
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import is_own
from busbar.protocols.receipt import Receipt

_IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_TYPES_BY_ENDING: Mapping[str, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
}
_decode = msgspec.json.Decoder().decode


def fit_text(part: Text, path: str, receipt: Receipt) -> dict[str, Any] | None:
    """None for an empty text, which is refused unless it carries a signature."""
    if part.citations:
        receipt.dropped(f"{path}.citations", "no place in a request of this dialect")
    report_cache(part, path, receipt)
    report_leftovers(part, DIALECT, path, receipt)
    signature = own_signature(part)
    if part.signature is not None and signature is None:
        receipt.dropped(f"{path}.signature", "signature of another provider")
    if signature is not None:
        return {"text": part.text, "thoughtSignature": signature}
    return {"text": part.text} if part.text else None


def fit_media(part: Image | Document | Audio, path: str, receipt: Receipt) -> dict[str, Any] | None:
    if is_own(part, DIALECT):
        own: dict[str, Any] = write_own_part(part)
        return own
    report_leftovers(part, DIALECT, path, receipt)
    if isinstance(part, Audio):
        return inline(f"audio/{part.format}", part.data)
    report_cache(part, path, receipt)
    report_leftovers(part.source, DIALECT, f"{path}.source", receipt)
    if isinstance(part, Image):
        if part.detail not in (None, "auto"):
            receipt.dropped(f"{path}.detail", "images have no level of detail")
        return _fit_source(part.source, "image/jpeg", path, receipt)
    return _fit_document(part, path, receipt)


def fit_arguments(arguments: str, path: str, receipt: Receipt) -> dict[str, Any]:
    """A call's arguments as an object; anything else is wrapped in one."""
    if not arguments.strip():
        return {}
    try:
        value = _decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = arguments
    if isinstance(value, dict):
        return value
    receipt.changed(f"{path}.arguments", "wrapped: a function's arguments are an object")
    return {"input": value}


def fit_call(use: ToolUse, call_id: str, path: str, receipt: Receipt) -> dict[str, Any]:
    """A function call; signed if this dialect signed it."""
    report_cache(use, path, receipt)
    report_leftovers(use, DIALECT, path, receipt)
    call: dict[str, Any] = {"id": call_id} if call_id else {}
    call |= {
        "name": fit_tool_name(use.name, f"{path}.name", receipt),
        "args": fit_arguments(use.arguments, path, receipt),
    }
    document: dict[str, Any] = {"functionCall": call}
    signature = own_signature(use)
    if signature is not None:
        document["thoughtSignature"] = signature
    elif use.signature is not None:
        receipt.dropped(f"{path}.signature", "signature of another provider")
    return document


def written_id(foreign: str) -> str:
    """Another dialect's call id in our style."""
    return translate_id(foreign, TOOL_CALL_ID, TOOL_CALL_PREFIXES)


def report_cache(part: Part, path: str, receipt: Receipt) -> None:
    if getattr(part, "cache", None) is not None:
        receipt.dropped(f"{path}.cache_control", "this dialect caches by itself")


def _fit_document(part: Document, path: str, receipt: Receipt) -> dict[str, Any] | None:
    if part.citations_enabled:
        receipt.dropped(f"{path}.citations", "no place in this dialect")
    if part.context:
        receipt.dropped(f"{path}.context", "no place in this dialect")
    if isinstance(part.source, PlainText):
        receipt.changed(path, "the document is given as text")
        text = f"{part.title}\n\n{part.source.text}" if part.title else part.source.text
        return {"text": text} if text else None
    if part.title:
        receipt.dropped(f"{path}.title", "no place in this dialect")
    return _fit_source(part.source, "application/pdf", path, receipt)


def _fit_source(source: Source, default_type: str, path: str, receipt: Receipt) -> dict[str, Any] | None:
    match source:
        case Base64Data():
            media_type = bare_media_type(source.media_type)
            if media_type.startswith("image/") and media_type not in _IMAGE_TYPES:
                receipt.dropped(path, "images here are PNG, JPEG, WebP, HEIC or HEIF")
                return None
            return inline(media_type, source.data)
        case Url():
            media_type = bare_media_type(source.media_type or _type_of(source.url) or default_type)
            return {"fileData": {"mimeType": media_type, "fileUri": source.url}}
        case FileId() if is_own(source, DIALECT):
            return {"fileData": {"fileUri": source.id}}
        case _:
            receipt.dropped(path, "a file that is stored at another provider")
            return None


def _type_of(url: str) -> str | None:
    path = url.partition("?")[0].partition("#")[0]
    return _TYPES_BY_ENDING.get(path.rpartition(".")[2].lower())
