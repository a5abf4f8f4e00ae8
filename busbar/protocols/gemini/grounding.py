"""Where an answer comes from: `groundingMetadata` and `citationMetadata`, and the IR's citations.

A support says which passage of the answer (in bytes of UTF-8) which of the found pages speak for: each page of each
support is one citation. An own answer keeps its metadata whole beside them, as the pages are shared and the offsets
are bytes; it goes back as it came, and the citations are what it says to everybody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from busbar.protocols.ir import Citation, Part, Text
from busbar.protocols.receipt import Receipt

GROUNDING, CITATIONS = "groundingMetadata", "citationMetadata"


def cite(candidate: Mapping[str, Any], parts: Sequence[Part]) -> bool:
    """Puts the citations of a candidate on the texts of its `parts`; whether there were any."""
    texts = [part for part in parts if isinstance(part, Text)]
    if not texts:
        return False
    found = False
    for segment, citation in read_citations(candidate):
        at = segment.get("partIndex")
        part = parts[at] if type(at) is int and 0 <= at < len(parts) else None
        text = part if isinstance(part, Text) else _holder(texts, citation.cited_text)
        citation.start = _chars(text.text, segment.get("startIndex", 0))
        citation.end = _chars(text.text, segment.get("endIndex"))
        text.citations = [*text.citations, citation]
        found = True
    return found


def read_citations(candidate: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Citation]]:
    """Each citation with its segment; its offsets are the segment's, not yet in characters."""
    return [*_of_grounding(candidate.get(GROUNDING)), *_of_citations(candidate.get(CITATIONS))]


def _of_grounding(metadata: Any) -> list[tuple[Mapping[str, Any], Citation]]:
    if not isinstance(metadata, dict):
        return []
    chunks = metadata.get("groundingChunks")
    chunks = chunks if isinstance(chunks, list) else []
    found: list[tuple[Mapping[str, Any], Citation]] = []
    for support in metadata.get("groundingSupports") or ():
        segment = support.get("segment") if isinstance(support, dict) else None
        indices = support.get("groundingChunkIndices") if isinstance(support, dict) else None
        if not isinstance(segment, dict) or not isinstance(indices, list):
            continue
        for at in indices:
            page = _page(chunks[at]) if type(at) is int and 0 <= at < len(chunks) else None
            if page is not None:
                found.append((segment, _citation(page, _text(segment.get("text")))))
    return found


def _page(chunk: Any) -> Mapping[str, Any] | None:
    """A chunk is of the web, of a map, or of a store of the caller's."""
    pages = chunk.values() if isinstance(chunk, dict) else ()
    return next((page for page in pages if isinstance(page, dict)), None)


def _of_citations(metadata: Any) -> list[tuple[Mapping[str, Any], Citation]]:
    if not isinstance(metadata, dict):
        return []
    sources = metadata.get("citations") or metadata.get("citationSources")
    return [
        (source, _citation(source, None))
        for source in (sources if isinstance(sources, list) else ())
        if isinstance(source, dict)
    ]


def _citation(page: Mapping[str, Any], text: str | None) -> Citation:
    return Citation(cited_text=text, url=_text(page.get("uri")), title=_text(page.get("title")), of_answer=True)


def _holder(texts: list[Text], passage: str | None) -> Text:
    return next((text for text in texts if passage and passage in text.text), texts[0])


def _chars(text: str, offset: Any) -> int | None:
    """A byte offset in characters."""
    if type(offset) is not int or offset < 0:
        return None
    if text.isascii():
        return min(offset, len(text))
    return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore"))


class GroundingWriter:
    """Collects another dialect's citations into one `groundingMetadata`."""

    def __init__(self, receipt: Receipt) -> None:
        self._receipt = receipt
        self._chunks: dict[tuple[str, str | None], int] = {}
        self._supports: list[dict[str, Any]] = []

    def add(self, citation: Citation, start: int, end: int, path: str) -> None:
        """`start` and `end`: of the cited passage, in bytes of the answer's text."""
        if citation.url is None:
            self._receipt.dropped(path, "this dialect cites only pages that have an address")
            return
        at = self._chunks.setdefault((citation.url, citation.title), len(self._chunks))
        segment: dict[str, Any] = {"startIndex": start, "endIndex": end}
        if citation.cited_text:
            segment["text"] = citation.cited_text
        self._supports.append({"segment": segment, "groundingChunkIndices": [at]})

    def metadata(self) -> dict[str, Any] | None:
        if not self._supports:
            return None
        pages = [{"web": {"uri": url} | ({"title": title} if title else {})} for url, title in self._chunks]
        return {"groundingChunks": pages, "groundingSupports": self._supports}


def bytes_in(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def passage(citation: Citation, text: str, begins_at: int) -> tuple[int, int]:
    """Where in the answer (bytes) a citation's passage lies, of a text that begins at `begins_at` bytes."""
    start, end = (citation.start, citation.end) if citation.of_answer else (None, None)
    first = begins_at + (bytes_in(text[:start]) if start else 0)
    return first, begins_at + bytes_in(text if end is None else text[:end])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
