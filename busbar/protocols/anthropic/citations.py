"""Citations, both ways: five kinds of places, told apart by `type`.

The IR carries what is cited, where it stands and what it is called; offsets only where they count characters. Page
and block numbers and the provider's `encrypted_index` stay on the node. Facts: the API's `TextCitation` union.
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.anthropic.words import DIALECT
from busbar.protocols.fields import as_object, take_int, take_text
from busbar.protocols.ir import Citation
from busbar.protocols.native import Native, own_fields, own_form

_DOCUMENT_KINDS = frozenset({"char_location", "page_location", "content_block_location"})


def read_citation(value: Any, path: str) -> Citation:
    """Raises `InvalidRequest` when it is no object, or a field that is understood has another type."""
    left = as_object(value, path)
    kind = take_text(left, "type", path)
    by_character = kind == "char_location"
    return Citation(
        cited_text=take_text(left, "cited_text", path),
        url=take_text(left, _url_key(kind), path),
        title=take_text(left, _title_key(kind), path),
        start=take_int(left, "start_char_index", path) if by_character else None,
        end=take_int(left, "end_char_index", path) if by_character else None,
        native=Native(DIALECT, left, kind),
    )


def write_citation(citation: Citation) -> dict[str, Any]:
    """A citation that was read from this dialect; others lack fields that this one requires."""
    kind = own_form(citation, DIALECT)
    stated = {
        "cited_text": citation.cited_text,
        _url_key(kind): citation.url,
        _title_key(kind): citation.title,
        "start_char_index": citation.start,
        "end_char_index": citation.end,
    }
    written = {"type": kind} if kind is not None else {}
    written.update((key, value) for key, value in stated.items() if value is not None)
    written.update(own_fields(citation, DIALECT))
    return written


def _title_key(kind: Any) -> str:
    return "document_title" if kind in _DOCUMENT_KINDS else "title"


def _url_key(kind: Any) -> str:
    return "source" if kind == "search_result_location" else "url"
