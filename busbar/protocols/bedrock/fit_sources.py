"""Another dialect's images and documents, fitted to what this one accepts.

Facts: images are PNG, JPEG, GIF or WebP; documents are of nine formats; both are given as bytes, as nothing is
fetched from the web. A document's name may hold letters, digits, single spaces, hyphens, parentheses and square
brackets.
"""

from __future__ import annotations

import base64
import re

from busbar.protocols.bedrock.sources import DOCUMENT_FORMATS, DOCUMENT_TYPES, IMAGE_FORMATS
from busbar.protocols.fitting.sources import NoPlace, bare_media_type
from busbar.protocols.ir import Base64Data, Document, FileId, PlainText, Source, Url

DOCUMENT_NAME_CHARS_MAX = 200

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9\s\-()\[\]]+")
_SPACES = re.compile(r"\s+")
_NAMELESS = "Document"


def fit_image_source(source: Source) -> Base64Data:
    """Raises `NoPlace`."""
    data = _bytes_of(source)
    media_type = bare_media_type(data.media_type)
    if media_type.removeprefix("image/") not in IMAGE_FORMATS:
        raise NoPlace(f"no image type that is accepted: {media_type}")
    return Base64Data(media_type=media_type, data=data.data)


def fit_document_source(source: Source) -> Base64Data:
    """Raises `NoPlace`. A text goes as the bytes of one: every model that reads documents takes these."""
    if isinstance(source, PlainText):
        if not source.text.strip():
            raise NoPlace("an empty document")
        return Base64Data(media_type="text/plain", data=base64.b64encode(source.text.encode()).decode())
    data = _bytes_of(source)
    media_type = bare_media_type(data.media_type)
    if media_type not in DOCUMENT_FORMATS:
        if not media_type.startswith("text/"):
            raise NoPlace(f"no document type that is accepted: {media_type}")
        media_type = DOCUMENT_TYPES["txt"]
    return Base64Data(media_type=media_type, data=data.data)


class DocumentNames:
    """Names for the documents of one request: what the API allows, and no two alike."""

    __slots__ = ("_given",)

    def __init__(self) -> None:
        self._given: set[str] = set()

    def name(self, document: Document) -> str:
        title = document.title or ""
        fitting = _SPACES.sub(" ", _NOT_IN_NAMES.sub(" ", title)).strip() or _NAMELESS
        fitting = fitting[:DOCUMENT_NAME_CHARS_MAX].rstrip()
        name = fitting
        count = 1
        while name in self._given:
            count += 1
            ending = f" {count}"
            name = fitting[: DOCUMENT_NAME_CHARS_MAX - len(ending)] + ending
        self._given.add(name)
        return name


def _bytes_of(source: Source) -> Base64Data:
    match source:
        case Base64Data():
            if not source.data:
                raise NoPlace("there is nothing in it")
            return source
        case Url():
            raise NoPlace("nothing is fetched from a URL here")
        case FileId():
            raise NoPlace("a file stored at another provider")
        case PlainText():
            raise NoPlace("an image cannot be a text")
