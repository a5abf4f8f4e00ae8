"""Reading content parts: of a message, and of a tool's output. Types that are not understood stay whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from busbar.protocols.fields import as_object
from busbar.protocols.ir import (
    Audio,
    Base64Data,
    Citation,
    Document,
    FileId,
    Image,
    Opaque,
    Part,
    Refusal,
    Source,
    Text,
    Url,
)
from busbar.protocols.native import Native, native
from busbar.protocols.responses.words import DIALECT

CONTENT = "content"
"""The kind prefix of an `Opaque` that stands among the parts of a message."""

_DATA_URL = re.compile(r"(data:([^;,]+)[^,]*;base64,)(.*)\Z", re.DOTALL | re.IGNORECASE)

CITATION_FIELDS: tuple[tuple[str, str, type], ...] = (
    ("url", "url", str),
    ("title", "title", str),
    ("start_index", "start", int),
    ("end_index", "end", int),
)
"""(name on the wire, name in the IR, type)"""


def read_parts(values: list[Any], path: str) -> list[Part]:
    """Raises `InvalidRequest` for an element that is no object."""
    return [_read_part(as_object(value, f"{path}[{at}]"), value) for at, value in enumerate(values)]


def data_url_prefix(media_type: str) -> str:
    """Without the type's parameters (`; charset=utf-8`): OpenAI refuses a data URL that has any."""
    return f"data:{media_type.partition(';')[0].strip()};base64,"


def read_citation(annotation: Any) -> Citation | None:
    """A `url_citation`; None for other annotations, which name files that only this dialect's providers have."""
    if not isinstance(annotation, dict) or annotation.get("type") != "url_citation":
        return None
    left = dict(annotation)
    taken = {field: left.pop(key) for key, field, kind in CITATION_FIELDS if isinstance(annotation.get(key), kind)}
    return Citation(**taken, of_answer=True, native=Native(DIALECT, left))


def _read_part(left: dict[str, Any], whole: Any) -> Part:
    kind = left.pop("type", None)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    part = reader(left) if reader is not None else None
    return part if part is not None else Opaque(dialect=DIALECT, kind=f"{CONTENT}.{kind}", value=whole)


def _read_input_text(left: dict[str, Any]) -> Part | None:
    if not isinstance(left.get("text"), str):
        return None
    return Text(text=left.pop("text"), native=Native(DIALECT, left, "input_text"))


def _read_output_text(left: dict[str, Any]) -> Part | None:
    if not isinstance(left.get("text"), str):
        return None
    text = left.pop("text")
    return Text(text=text, citations=_read_annotations(left), native=Native(DIALECT, left, "output_text"))


def _read_annotations(left: dict[str, Any]) -> list[Citation]:
    """Takes the citations out of `annotations`; where others remain, None keeps the place of each one taken."""
    annotations = left.get("annotations")
    read = [read_citation(annotation) for annotation in annotations] if isinstance(annotations, list) else []
    citations = [citation for citation in read if citation is not None]
    if citations and len(citations) == len(read):
        del left["annotations"]
    elif citations and isinstance(annotations, list):
        left["annotations"] = [
            annotation if citation is None else None for annotation, citation in zip(annotations, read, strict=True)
        ]
    return citations


def _read_refusal(left: dict[str, Any]) -> Part | None:
    if not isinstance(left.get("refusal"), str):
        return None
    return Refusal(text=left.pop("refusal"), native=native(DIALECT, left))


def _read_source(url: str) -> Source:
    """A base64 data URL is split, and spelled the same way on the way back."""
    found = _DATA_URL.match(url)
    if found is None:
        return Url(url=url)
    prefix, media_type, data = found.groups()
    form = None if prefix == data_url_prefix(media_type) else prefix
    return Base64Data(media_type=media_type, data=data, native=native(DIALECT, {}, form))


def _read_image(left: dict[str, Any]) -> Part | None:
    source: Source
    if isinstance(left.get("image_url"), str):
        source = _read_source(left.pop("image_url"))
    elif isinstance(left.get("file_id"), str):
        source = FileId(id=left.pop("file_id"))
    else:
        return None
    detail = left.pop("detail") if isinstance(left.get("detail"), str) else None
    return Image(source=source, detail=detail, native=native(DIALECT, left))


def _read_file(left: dict[str, Any]) -> Part | None:
    """The form is the field that holds the file. Base64 without its media type stays whole: nobody else could tell
    what it is."""
    source: Source
    key = next((key for key in ("file_data", "file_url", "file_id") if isinstance(left.get(key), str)), None)
    if key is None:
        return None
    source = FileId(id=left["file_id"]) if key == "file_id" else _read_source(left[key])
    if key == "file_data" and isinstance(source, Url):
        return None
    del left[key]
    title = left.pop("filename") if isinstance(left.get("filename"), str) else None
    return Document(source=source, title=title, native=Native(DIALECT, left, key))


def _read_audio(left: dict[str, Any]) -> Part | None:
    audio = left.get("input_audio")
    if not isinstance(audio, dict) or not all(isinstance(audio.get(key), str) for key in ("data", "format")):
        return None
    inner = dict(audio)
    data, container = inner.pop("data"), inner.pop("format")
    left["input_audio"] = inner
    return Audio(data=data, format=container, native=Native(DIALECT, left))


_READERS: Mapping[str, Callable[[dict[str, Any]], Part | None]] = {
    "input_text": _read_input_text,
    "output_text": _read_output_text,
    "refusal": _read_refusal,
    "input_image": _read_image,
    "input_file": _read_file,
    "input_audio": _read_audio,
}
