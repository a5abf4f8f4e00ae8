"""The parts of a turn's content: text, images, files, audio, refusals, and what only this dialect knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from busbar.protocols.fields import as_object
from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Cache,
    Document,
    FileId,
    Image,
    Opaque,
    Part,
    Refusal,
    Source,
    Text,
    Thinking,
    Url,
)
from busbar.protocols.native import Native, native
from busbar.protocols.openai.words import DIALECT, OWN

_DATA_URL = re.compile(r"(data:([^;,]+)[^,]*;base64,)(.*)\Z", re.DOTALL | re.IGNORECASE)

CONTENT = "content"
"""The kind prefix of an `Opaque` that stands among the parts of a turn's content."""


def read_parts(values: list[Any], path: str) -> list[Part]:
    """Reads a content list. Raises `InvalidRequest` for an element that is no object."""
    return [read_part(as_object(value, f"{path}[{at}]"), value) for at, value in enumerate(values)]


def read_part(left: dict[str, Any], whole: Any) -> Part:
    """One part. `left` is a copy of `whole`, to be taken apart; a part that is not understood stays whole."""
    kind = left.pop("type", None)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    part = reader(left) if reader is not None else None
    return part if part is not None else Opaque(dialect=DIALECT, kind=f"{CONTENT}.{kind}", value=whole)


def read_cache(left: dict[str, Any]) -> Cache | None:
    """A cache breakpoint, as callers of OpenRouter and LiteLLM put it on parts and tools."""
    marker = left.get("cache_control")
    if not isinstance(marker, dict) or marker.get("type") != "ephemeral" or not marker.keys() <= {"type", "ttl"}:
        return None
    ttl = marker.get("ttl")
    if "ttl" in marker and not isinstance(ttl, str):
        return None
    del left["cache_control"]
    return Cache(ttl=ttl, native=OWN)


def read_source(url: str, left: dict[str, Any]) -> Source:
    """A URL as the IR's source: a base64 data URL is split, and spelled the same way on the way back."""
    found = _DATA_URL.match(url)
    if found is None:
        return Url(url=url, native=native(DIALECT, left))
    prefix, media_type, data = found.groups()
    form = None if prefix == data_url_prefix(media_type) else prefix
    return Base64Data(media_type=media_type, data=data, native=native(DIALECT, left, form))


def data_url_prefix(media_type: str) -> str:
    return f"data:{media_type};base64,"


def _read_text(left: dict[str, Any]) -> Part | None:
    if not isinstance(left.get("text"), str):
        return None
    text = left.pop("text")
    cache = read_cache(left)
    return Text(text=text, cache=cache, native=native(DIALECT, left))


def _read_image(left: dict[str, Any]) -> Part | None:
    image = left.pop("image_url", None)
    cache = read_cache(left)
    if isinstance(image, str):
        return Image(source=read_source(image, {}), cache=cache, native=Native(DIALECT, left, "bare"))
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        return None
    inner = dict(image)
    url = inner.pop("url")
    detail = inner.pop("detail") if isinstance(inner.get("detail"), str) else None
    return Image(source=read_source(url, inner), detail=detail, cache=cache, native=native(DIALECT, left))


def _read_file(left: dict[str, Any]) -> Part | None:
    file = left.pop("file", None)
    if not isinstance(file, dict):
        return None
    inner = dict(file)
    title = inner.pop("filename") if isinstance(inner.get("filename"), str) else None
    cache = read_cache(left)
    source: Source
    if isinstance(inner.get("file_data"), str):
        source = read_source(inner.pop("file_data"), inner)
    elif isinstance(inner.get("file_id"), str):
        source = FileId(id=inner.pop("file_id"), native=native(DIALECT, inner))
    else:
        return None
    if isinstance(source, Url) and ":" not in source.url[:8]:
        return None  # base64 without its media type: nobody else could tell what it is
    return Document(source=source, title=title, cache=cache, native=Native(DIALECT, left, "file"))


def _read_audio(left: dict[str, Any]) -> Part | None:
    audio = left.pop("input_audio", None)
    if (
        not isinstance(audio, dict)
        or not isinstance(audio.get("data"), str)
        or not isinstance(audio.get("format"), str)
    ):
        return None
    inner = dict(audio)
    data, container = inner.pop("data"), inner.pop("format")
    if inner:
        left["input_audio"] = inner
    return Audio(data=data, format=container, native=Native(DIALECT, left))


def _read_refusal(left: dict[str, Any]) -> Part | None:
    if not isinstance(left.get("refusal"), str):
        return None
    return Refusal(text=left.pop("refusal"), native=Native(DIALECT, left, "part"))


def _read_thinking(left: dict[str, Any]) -> Part | None:
    """Mistral's thinking part: a list of texts. The form holds their lengths."""
    pieces = left.get("thinking")
    if not isinstance(pieces, list) or not pieces:
        return None
    texts = []
    for piece in pieces:
        if not isinstance(piece, dict) or piece.keys() != {"type", "text"} or piece["type"] != "text":
            return None
        if not isinstance(piece["text"], str):
            return None
        texts.append(piece["text"])
    del left["thinking"]
    return Thinking(text="".join(texts), native=Native(DIALECT, left, tuple(map(len, texts))))


_READERS: Mapping[str, Callable[[dict[str, Any]], Part | None]] = {
    "text": _read_text,
    "image_url": _read_image,
    "file": _read_file,
    "input_audio": _read_audio,
    "refusal": _read_refusal,
    "thinking": _read_thinking,
}
