"""Parts of another dialect, written for a user's message or a tool's result of this one.

Facts: images are data URLs or URLs, for models that see; a user says text and images, a tool's result is text and
documents; a document here is text, so what is no text (a PDF) has no place.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from busbar.protocols.cohere.content import image_url
from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.ir import Base64Data, Cache, Document, Image, Part, PlainText, Refusal, Text, Url
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt

_NO_PLACE = "no place in this dialect"
_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})


class PartWriter:
    """`images`: the model sees."""

    __slots__ = ("_images", "_receipt")

    def __init__(self, receipt: Receipt, *, images: bool) -> None:
        self._receipt = receipt
        self._images = images

    def write(self, part: Part, path: str, *, in_result: bool = False) -> dict[str, Any] | None:
        """The part; None where it has no place (reported) or says nothing."""
        match part:
            case Text():
                self.report_text(part, path)
                if part.text.strip():
                    return {"type": "text", "text": part.text}
                if part.text:
                    self._receipt.dropped(path, "white space alone is refused")
                return None
            case Refusal():
                return {"type": "text", "text": part.text} if part.text.strip() else None
            case Image():
                return self._image(part, path)
            case Document():
                return self._document(part, path, in_result=in_result)
            case _:
                self._receipt.dropped(path, _NO_PLACE)
                return None

    def report_text(self, part: Text, path: str) -> None:
        if part.citations:
            self._receipt.dropped(f"{path}.citations", "no place in a message of this dialect")
        if part.signature:
            self._receipt.dropped(f"{path}.signature", "signature of another provider")
        self.report_cache(part.cache, path)
        report_leftovers(part, DIALECT, path, self._receipt)

    def report_cache(self, cache: Cache | None, path: str) -> None:
        if cache is not None:
            self._receipt.dropped(f"{path}.cache_control", "this dialect caches by itself")

    def _image(self, part: Image, path: str) -> dict[str, Any] | None:
        if not self._images:
            self._receipt.dropped(path, "this model sees no images")
            return None
        source = part.source
        if not isinstance(source, Base64Data | Url) or not _may_be_shown(source):
            self._receipt.dropped(path, "images here are JPEG, PNG, WebP or GIF data, or on the web")
            return None
        inner: dict[str, Any] = {"url": image_url(source)}
        if part.detail in ("auto", "low", "high"):
            inner["detail"] = part.detail
        elif part.detail is not None:
            self._receipt.dropped(f"{path}.detail", "auto, low or high here")
        self.report_cache(part.cache, path)
        report_leftovers(part, DIALECT, path, self._receipt)
        report_leftovers(source, DIALECT, f"{path}.source", self._receipt)
        return {"type": "image_url", "image_url": inner}

    def _document(self, part: Document, path: str, *, in_result: bool) -> dict[str, Any] | None:
        text = _text_of(part)
        if text is None or not text.strip():
            self._receipt.dropped(path, "documents are text in this dialect")
            return None
        if part.context is not None:
            self._receipt.dropped(f"{path}.context", _NO_PLACE)
        if part.citations_enabled:
            self._receipt.dropped(f"{path}.citations", _NO_PLACE)
        self.report_cache(part.cache, path)
        report_leftovers(part, DIALECT, path, self._receipt)
        report_leftovers(part.source, DIALECT, f"{path}.source", self._receipt)
        if in_result:
            data = {"text": text}
            if part.title:
                data["title"] = part.title
            return {"type": "document", "document": {"data": data}}
        self._receipt.changed(path, "the document is given as text")
        return {"type": "text", "text": f"{part.title}\n\n{text}" if part.title else text}


def _may_be_shown(source: Base64Data | Url) -> bool:
    if isinstance(source, Url):
        return source.url.lower().startswith(("https://", "http://"))
    return source.media_type in _IMAGE_TYPES and source.data != ""


def _text_of(part: Document) -> str | None:
    match part.source:
        case PlainText(text=text):
            return text
        case Base64Data(media_type=media_type, data=data) if media_type.startswith(("text/", "application/json")):
            try:
                return base64.b64decode(data, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return None
        case _:
            return None
