"""The parts of a turn's content, both ways: text, thinking, images, documents, and what only this dialect knows.

A document is an object of texts that the model reads whole. Where it is one text, perhaps with a title, it is read
as such; any other is read as its JSON text, which says all of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.fields import as_object
from busbar.protocols.ir import Base64Data, Document, Image, Opaque, Part, PlainText, Source, Text, Thinking, Url
from busbar.protocols.native import native, own_fields, own_form

CONTENT = "content"
"""The kind prefix of an `Opaque` that stands among the parts of a turn's content."""

_DATA_URL = re.compile(r"(data:([^;,]+)[^,]*;base64,)(.*)\Z", re.DOTALL | re.IGNORECASE)
_TEXT_KEYS = ("text", "snippet", "content")
_WHOLE = "json"
_BARE = "bare"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def read_parts(values: list[Any], path: str) -> list[Part]:
    """Reads a content list. Raises `InvalidRequest` for an element that is no object."""
    return [_read_part(as_object(value, f"{path}[{at}]"), value) for at, value in enumerate(values)]


def write_own_part(part: Part) -> dict[str, Any]:
    """A part that was read from this dialect, as it came."""
    match part:
        case Text():
            return {**own_fields(part, DIALECT), "type": "text", "text": part.text}
        case Thinking():
            return {**own_fields(part, DIALECT), "type": "thinking", "thinking": part.text}
        case Image():
            return _write_own_image(part)
        case Document():
            return _write_own_document(part)
        case Opaque():
            value: dict[str, Any] = part.value
            return value
        case _:
            raise AssertionError(f"no content of this dialect: {type(part).__name__}")


def image_url(source: Base64Data | Url) -> str:
    if isinstance(source, Url):
        return source.url
    prefix = own_form(source, DIALECT)
    return f"{_prefix(source.media_type) if prefix is None else prefix}{source.data}"


def _read_part(left: dict[str, Any], whole: Any) -> Part:
    """One part. `left` is a copy of `whole`, to be taken apart; a part that is not understood stays whole."""
    kind = left.pop("type", None)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    part = reader(left) if reader is not None else None
    return part if part is not None else Opaque(dialect=DIALECT, kind=f"{CONTENT}.{kind}", value=whole)


def _read_text(left: dict[str, Any]) -> Part | None:
    text = left.pop("text", None)
    return Text(text=text, native=native(DIALECT, left)) if isinstance(text, str) else None


def _read_thinking(left: dict[str, Any]) -> Part | None:
    text = left.pop("thinking", None)
    return Thinking(text=text, native=native(DIALECT, left)) if isinstance(text, str) else None


def _read_image(left: dict[str, Any]) -> Part | None:
    image = left.pop("image_url", None)
    if isinstance(image, str):
        return Image(source=_source(image, {}), native=native(DIALECT, left, _BARE))
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        return None
    inner = dict(image)
    url = inner.pop("url")
    detail = inner.pop("detail") if isinstance(inner.get("detail"), str) else None
    return Image(source=_source(url, inner), detail=detail, native=native(DIALECT, left))


def _source(url: str, left: dict[str, Any]) -> Source:
    found = _DATA_URL.match(url)
    if found is None:
        return Url(url=url, native=native(DIALECT, left))
    prefix, media_type, data = found.groups()
    form = None if prefix == _prefix(media_type) else prefix
    return Base64Data(media_type=media_type, data=data, native=native(DIALECT, left, form))


def _prefix(media_type: str) -> str:
    return f"data:{media_type};base64,"


def _write_own_image(part: Image) -> dict[str, Any]:
    assert isinstance(part.source, Base64Data | Url)
    url = image_url(part.source)
    left = own_fields(part, DIALECT)
    if own_form(part, DIALECT) == _BARE:
        return {**left, "type": "image_url", "image_url": url}
    inner = {**own_fields(part.source, DIALECT), "url": url}
    if part.detail is not None:
        inner["detail"] = part.detail
    return {**left, "type": "image_url", "image_url": inner}


def _read_document(left: dict[str, Any]) -> Part | None:
    document = left.pop("document", None)
    if not isinstance(document, dict):
        return None
    inner = dict(document)
    data = inner.pop("data", None)
    if inner:
        left["document"] = inner
    title: str | None = None
    if isinstance(data, str):
        text, form = data, "data"
    elif isinstance(data, dict):
        form = _text_key(data)
        text = _encode(data).decode() if form == _WHOLE else data[form]
        title = None if form == _WHOLE else data.get("title")
    else:
        return None
    return Document(source=PlainText(text=text), title=title, native=native(DIALECT, left, form))


def _text_key(data: dict[str, Any]) -> str:
    """The key of the one text that `data` is; it may have a title beside it."""
    for key in _TEXT_KEYS:
        if (
            isinstance(data.get(key), str)
            and data.keys() <= {key, "title"}
            and isinstance(data.get("title", ""), str)
        ):
            return key
    return _WHOLE


def _write_own_document(part: Document) -> dict[str, Any]:
    assert isinstance(part.source, PlainText)
    left = own_fields(part, DIALECT)
    text, form = part.source.text, own_form(part, DIALECT)
    data: Any
    if form == "data":
        data = text
    elif form == _WHOLE:
        data = _decode(text)
    else:
        data = {form: text}
        if part.title is not None:
            data["title"] = part.title
    return {**left, "type": "document", "document": {**left.get("document", {}), "data": data}}


_READERS: Mapping[str, Callable[[dict[str, Any]], Part | None]] = {
    "text": _read_text,
    "thinking": _read_thinking,
    "image_url": _read_image,
    "document": _read_document,
}
