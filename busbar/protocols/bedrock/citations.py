"""`citationsContent`: a passage of an answer with its citations. In the IR it is a text that has citations.

The IR carries what is cited, where it stands and what it is called; offsets only where they count characters. Other
places (pages, chunks, search results) stay on the node, as do the numbers of documents.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.fields import as_object, take_text
from busbar.protocols.ir import Citation, Text
from busbar.protocols.native import Native, is_own, own_fields, own_form

_BY_CHARACTER = "documentChar"


def read_cited(value: Any, path: str) -> Text | None:
    """A `citationsContent`; None when it is not well formed enough to be a text. Raises `InvalidRequest`.

    The text's form is (lengths of its pieces or None for no content, whether citations were stated).
    """
    inner = as_object(value, path)
    content, citations = inner.pop("content", None), inner.pop("citations", None)
    pieces = _texts(content)
    if inner or (content is not None and pieces is None) or not isinstance(citations, list | None):
        return None
    read = [read_citation(entry, f"{path}.citations[{index}]") for index, entry in enumerate(citations or ())]
    form = (None if pieces is None else tuple(len(piece) for piece in pieces), citations is not None)
    return Text(text="".join(pieces or ()), citations=read, native=Native(DIALECT, {}, form))


def write_cited(text: Text) -> dict[str, Any]:
    form = own_form(text, DIALECT)
    lengths, stated = form if isinstance(form, tuple) else ((len(text.text),), True)
    written: dict[str, Any] = {}
    if lengths is not None:
        pieces = []
        start = 0
        for length in lengths:
            pieces.append({"text": text.text[start : start + length]})
            start += length
        written["content"] = pieces
    if stated:
        written["citations"] = [write_citation(citation) for citation in text.citations]
    return {"citationsContent": written}


def read_citation(value: Any, path: str) -> Citation:
    """Raises `InvalidRequest` when it is no object, or its title is no text."""
    left = as_object(value, path)
    citation = Citation(title=take_text(left, "title", path), native=Native(DIALECT, left))
    pieces = _texts(left.get("sourceContent"))
    form: tuple[int, ...] | None = None
    if pieces:
        del left["sourceContent"]
        citation.cited_text = "".join(pieces)
        form = tuple(len(piece) for piece in pieces)
    _take_place(left, citation)
    citation.native = Native(DIALECT, left, form)
    return citation


def write_citation(citation: Citation) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if citation.title is not None:
        written["title"] = citation.title
    if citation.cited_text is not None:
        pieces = []
        start = 0
        for length in own_form(citation, DIALECT) or (len(citation.cited_text),):
            pieces.append({"text": citation.cited_text[start : start + length]})
            start += length
        written["sourceContent"] = pieces
    location: dict[str, Any] = {}
    if citation.url is not None:
        location["web"] = {"url": citation.url}
    elif is_own(citation, DIALECT) and citation.start is not None:
        location[_BY_CHARACTER] = {"start": citation.start, "end": citation.end}
    left = dict(own_fields(citation, DIALECT))
    for kind, inner in (left.pop("location", None) or {}).items():
        known = location.get(kind)
        location[kind] = {**known, **inner} if isinstance(known, dict) and isinstance(inner, dict) else inner
    if location:
        written["location"] = location
    written.update(left)
    return written


def _take_place(left: dict[str, Any], citation: Citation) -> None:
    """Takes the URL of a web page, or the characters of a document; any other location stays as it is."""
    location = left.get("location")
    if not isinstance(location, dict) or len(location) != 1:
        return
    ((kind, place),) = location.items()
    if not isinstance(place, dict):
        return
    inner = dict(place)
    if kind == "web" and isinstance(inner.get("url"), str):
        citation.url = inner.pop("url")
    elif kind == _BY_CHARACTER and type(inner.get("start")) is int and type(inner.get("end")) is int:
        citation.start, citation.end = inner.pop("start"), inner.pop("end")
    else:
        return
    if inner:
        left["location"] = {kind: inner}
    else:
        del left["location"]


def _texts(value: Any) -> list[str] | None:
    """The texts of a list of plain text blocks; None when it is anything else."""
    if not isinstance(value, list):
        return None
    texts = [entry["text"] for entry in value if isinstance(entry, dict) and entry.keys() == {"text"}]
    return texts if len(texts) == len(value) and all(isinstance(text, str) for text in texts) else None
