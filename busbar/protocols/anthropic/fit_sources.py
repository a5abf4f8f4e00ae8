"""Another dialect's sources of images and documents, fitted to what this one accepts.

Facts: images are JPEG, PNG, GIF or WebP; base64 documents are PDF; a text document is given as text; URLs are fetched
by https only ("Only HTTPS URLs are supported").
"""

from __future__ import annotations

import base64
import binascii

from busbar.protocols.fitting.sources import NoPlace, bare_media_type
from busbar.protocols.ir import Base64Data, FileId, PlainText, Source, Url

_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def fit_image_source(source: Source) -> Base64Data | Url:
    """Raises `NoPlace`."""
    match source:
        case Base64Data():
            return _image_data(source)
        case Url():
            return _url(source)
        case FileId():
            raise NoPlace("a file stored at another provider")
        case PlainText():
            raise NoPlace("an image cannot be a text")


def fit_document_source(source: Source) -> Base64Data | Url | PlainText:
    """Raises `NoPlace`."""
    match source:
        case Base64Data():
            return _document_data(source)
        case Url():
            if source.media_type not in (None, "application/pdf"):
                raise NoPlace(f"of documents only PDF is fetched: {source.media_type}")
            return _url(source)
        case FileId():
            raise NoPlace("a file stored at another provider")
        case PlainText():
            return _plain(source.text)


def _image_data(source: Base64Data) -> Base64Data:
    media_type = bare_media_type(source.media_type)
    if media_type not in _IMAGE_TYPES:
        raise NoPlace(f"no image type that is accepted: {media_type}")
    if not source.data:
        raise NoPlace("an empty image")
    return Base64Data(media_type=media_type, data=source.data)


def _document_data(source: Base64Data) -> Base64Data | PlainText:
    media_type = bare_media_type(source.media_type)
    if media_type == "application/pdf" and source.data:
        return Base64Data(media_type=media_type, data=source.data)
    if not media_type.startswith("text/"):
        raise NoPlace(f"no document type that is accepted: {media_type}")
    try:
        return _plain(base64.b64decode(source.data, validate=True).decode())
    except (binascii.Error, UnicodeDecodeError):
        raise NoPlace("a text document that is not UTF-8") from None


def _plain(text: str) -> PlainText:
    if not text.strip():
        raise NoPlace("an empty document")
    return PlainText(text=text)


def _url(source: Url) -> Url:
    if not source.url.lower().startswith("https://"):
        raise NoPlace("only https URLs are fetched")
    return Url(url=source.url)
