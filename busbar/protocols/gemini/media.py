"""Bytes and files: `inlineData` and `fileData`, both ways.

The SDKs write base64 in the URL-safe alphabet, which protobuf's JSON takes and other dialects refuse: the IR has the
standard one, and the form remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from busbar.protocols.gemini.spelling import Level, Marks, put
from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.ir import Audio, Base64Data, Document, FileId, Image, Url
from busbar.protocols.native import Native, own_fields, own_form

_STORED = ("https://generativelanguage.googleapis.com/", "gs://")
"""Where a file's address means nothing to another provider."""
_STANDARD, _URL_SAFE = "+/", "-_"
_TO_STANDARD = str.maketrans(_URL_SAFE, _STANDARD)
_TO_URL_SAFE = str.maketrans(_STANDARD, _URL_SAFE)
_AUDIO_FORMATS: Mapping[str, str] = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/L16": "pcm16",
}

Media = Image | Document | Audio


def read_inline(value: Any, left: dict[str, Any], path: str, outer: Marks) -> Media | None:
    """`left`: what the part says beside its bytes. None for what has no bytes or no media type."""
    level = Level(value, path)
    data, media_type = level.text("data"), level.text("mimeType")
    if data is None or media_type is None:
        return None
    data = _read_base64(data, level)
    form = (outer, level.marks)
    if media_type.startswith("audio/"):
        if level.left:
            left["inlineData"] = level.left
        container = _AUDIO_FORMATS.get(media_type) or media_type.removeprefix("audio/").partition(";")[0]
        return Audio(data=data, format=container, native=Native(DIALECT, left, (*form, media_type)))
    source = Base64Data(media_type=media_type, data=data, native=Native(DIALECT, level.left))
    kind = Image if media_type.startswith("image/") else Document
    return kind(source=source, native=Native(DIALECT, left, form))


def read_file(value: Any, left: dict[str, Any], path: str, outer: Marks) -> Image | Document | None:
    level = Level(value, path)
    uri = level.text("fileUri")
    if uri is None:
        return None
    media_type = level.get("mimeType")
    is_image = isinstance(media_type, str) and media_type.startswith("image/")
    source: Url | FileId
    if uri.startswith(_STORED):
        source = FileId(id=uri, native=Native(DIALECT, level.left))
    else:
        source = Url(url=uri, media_type=level.text("mimeType"), native=Native(DIALECT, level.left))
    kind = Image if is_image else Document
    return kind(source=source, native=Native(DIALECT, left, (outer, level.marks)))


def write_own_media(part: Media) -> dict[str, Any]:
    """The part as it came."""
    outer, inner, *rest = own_form(part, DIALECT)
    document = dict(own_fields(part, DIALECT))
    if isinstance(part, Audio):
        blob = {**document.pop("inlineData", {})}
        put(blob, "mimeType", rest[0], inner)
        put(blob, "data", _write_base64(part.data, inner), inner)
        put(document, "inlineData", blob, outer)
        return document
    source = part.source
    blob = {**own_fields(source, DIALECT)}
    match source:
        case Base64Data():
            put(blob, "mimeType", source.media_type, inner)
            put(blob, "data", _write_base64(source.data, inner), inner)
            put(document, "inlineData", blob, outer)
        case Url():
            put(blob, "mimeType", source.media_type, inner)
            put(blob, "fileUri", source.url, inner)
            put(document, "fileData", blob, outer)
        case FileId():
            put(blob, "fileUri", source.id, inner)
            put(document, "fileData", blob, outer)
        case _:
            raise AssertionError("this dialect has no text files")
    return document


def inline(media_type: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _read_base64(data: str, level: Level) -> str:
    if not any(char in data for char in _URL_SAFE) or any(char in data for char in _STANDARD):
        return data
    level.mark("base64url")
    return data.translate(_TO_STANDARD)


def _write_base64(data: str, marks: Marks) -> str:
    return data.translate(_TO_URL_SAFE) if "base64url" in marks else data
