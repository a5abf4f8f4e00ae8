"""Citations, both ways: which passage of an answer's text rests on which sources.

`text` is the passage; title and URL are the first source's, where it has any. What else the sources hold (whole
documents, a tool's output) is known only here.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.ir import Citation
from busbar.protocols.native import Native, own_fields, own_form

TEXT_CONTENT = "TEXT_CONTENT"

_FIELDS: tuple[tuple[str, str, type], ...] = (
    ("start", "start", int),
    ("end", "end", int),
    ("text", "cited_text", str),
)
_HOLDERS = ("document", "tool_output")


class CitationForm(Struct, frozen=True):
    """Where a citation stood among those of its message, and which object of its first source names title and URL."""

    at: int = 0
    holder: str = ""
    typed: bool = True
    """It called itself a citation of text."""


def read_citation(value: dict[str, Any], at: int = 0) -> Citation:
    """Lenient: what has another type than expected stays a leftover."""
    left = dict(value)
    taken: dict[str, Any] = {}
    for key, field, kind in _FIELDS:
        if type(left.get(key)) is kind:
            taken[field] = left.pop(key)
    typed = left.get("type") == TEXT_CONTENT
    if typed:
        del left["type"]
    form = CitationForm(at, _take_source(left, taken), typed)
    return Citation(**taken, of_answer=True, native=Native(DIALECT, left, form))


def _take_source(left: dict[str, Any], taken: dict[str, Any]) -> str:
    """Takes title and URL of the first source, and says which of its objects named them."""
    sources = left.get("sources")
    if not isinstance(sources, list) or not sources or not isinstance(sources[0], dict):
        return ""
    first = sources[0]
    holder = next((key for key in _HOLDERS if isinstance(first.get(key), dict)), "")
    if not holder:
        return ""
    inner = dict(first[holder])
    found = {key: inner.pop(key) for key in ("title", "url") if isinstance(inner.get(key), str)}
    if not found:
        return ""
    taken.update(found)
    left["sources"] = [{**first, holder: inner}, *sources[1:]]
    return holder


def write_own_citation(citation: Citation) -> dict[str, Any]:
    left = own_fields(citation, DIALECT)
    form = own_form(citation, DIALECT)
    written: dict[str, Any] = {**left, "type": TEXT_CONTENT} if form.typed else dict(left)
    for key, field, _ in _FIELDS:
        if getattr(citation, field) is not None:
            written[key] = getattr(citation, field)
    if form.holder:
        first, *others = left["sources"]
        named = {key: getattr(citation, key) for key in ("title", "url") if getattr(citation, key) is not None}
        written["sources"] = [{**first, form.holder: {**first[form.holder], **named}}, *others]
    return written


def write_citation(citation: Citation, content_index: int, text: str | None, length: int) -> dict[str, Any]:
    """Another dialect's citation, of the content at `content_index` that is `length` characters long; `text` is that
    content, where it is still at hand. A citation that names no passage of the answer is of all of it."""
    start = citation.start if citation.of_answer and citation.start is not None else 0
    end = citation.end if citation.of_answer and citation.end is not None else length
    passage = text[start:end] if text is not None else (citation.cited_text if citation.of_answer else None)
    document = {"title": citation.title, "url": citation.url}
    if not citation.of_answer:
        document["snippet"] = citation.cited_text
    stated = {key: value for key, value in document.items() if value is not None}
    name = citation.url or citation.title or f"doc:{content_index}"
    return {
        "start": start,
        "end": end,
        "text": passage or "",
        "sources": [{"type": "document", "id": name, "document": {"id": name, **stated}}],
        "type": TEXT_CONTENT,
        "content_index": content_index,
    }
