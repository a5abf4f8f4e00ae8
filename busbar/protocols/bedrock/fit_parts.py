"""Parts of another dialect, fitted to what this one accepts in the place where they stand.

Fact: the API refuses blank texts ("The text field in the ContentBlock object at messages.0.content.0 is blank").
"""

from __future__ import annotations

from busbar.protocols.bedrock.fit_sources import DocumentNames, fit_document_source, fit_image_source
from busbar.protocols.bedrock.models import Family
from busbar.protocols.bedrock.words import DIALECT, SIGNER, TOOL_NAME_CHARS_MAX, TOOL_USE_ID
from busbar.protocols.fitting.parts import CACHE_TTLS, BlockFitter, Place
from busbar.protocols.fitting.sources import NoPlace
from busbar.protocols.fitting.turns import SAYS_NOTHING
from busbar.protocols.ir import Base64Data, Cache, Citation, Document, Image, Source, Text, ToolResult
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt

_SIGNING: frozenset[Family] = frozenset({"claude", "other"})
"""Families whose models sign what they think; an id that tells no family may be one of them."""


class PartFitter(BlockFitter):
    """Fits the parts of one document for a model of `family`."""

    __slots__ = ("_family", "_names")

    dialect = DIALECT
    signer = SIGNER
    tool_call_ids = TOOL_USE_ID
    tool_name_chars_max = TOOL_NAME_CHARS_MAX

    def __init__(self, receipt: Receipt, nonce: str, family: Family = "other") -> None:
        super().__init__(receipt, nonce)
        self._family = family
        self._names = DocumentNames()

    def fit_cache(self, cache: Cache | None, path: str) -> Cache | None:
        """Models without prompt caching refuse cache points; of the others only Claude takes a time to live."""
        if cache is None:
            return None
        report_leftovers(cache, DIALECT, f"{path}.cache_control", self._receipt)
        if self._family not in ("claude", "nova"):
            self._receipt.dropped(f"{path}.cache_control", "not known to be a model that caches")
            return None
        if cache.ttl is None or (self._family == "claude" and cache.ttl in CACHE_TTLS):
            return Cache(ttl=cache.ttl)
        self._receipt.dropped(f"{path}.cache_control.ttl", "the model has no such time to live")
        return Cache()

    def fit_citation(self, citation: Citation, path: str) -> Citation:
        report_leftovers(citation, DIALECT, path, self._receipt)
        if citation.start is not None and citation.url is None:
            self._receipt.dropped(f"{path}.start", "a place here needs the number of a document")
        return Citation(cited_text=citation.cited_text, url=citation.url, title=citation.title)

    def _keeps_signatures(self, place: Place) -> bool:
        """In a request Claude refuses what it has not signed, and models that sign nothing refuse signatures. In an
        answer the empty signature of unsigned thinking tells `mend` what it is."""
        return place == "answer" or self._family in _SIGNING

    def _text(self, part: Text, place: Place, path: str) -> Text | None:
        citations: list[Citation] = []
        if place == "answer":
            citations = [self.fit_citation(citation, f"{path}.citations") for citation in part.citations]
        elif part.citations:
            self._receipt.dropped(f"{path}.citations", "citations are an answer's")
        if not part.text and not citations:
            return None
        if place != "answer" and not part.text.strip():
            raise NoPlace("white space alone is refused")
        return Text(text=part.text, citations=citations, cache=self.fit_cache(part.cache, path))

    def _tool_result(self, part: ToolResult, path: str) -> ToolResult:
        """A cache point inside of a result moves behind it: there is no place for one within."""
        tool_use_id = self.result_id(part.tool_use_id)
        content = self.fit_all(part.content, "tool_result", f"{path}.content")
        cache = self.fit_cache(part.cache, path)
        for inner in content:
            if isinstance(inner, Text | Image | Document) and inner.cache is not None:
                cache, inner.cache = cache or inner.cache, None
        return ToolResult(
            tool_use_id=tool_use_id,
            content=content or [Text(text=SAYS_NOTHING)],
            is_error=part.is_error,
            cache=cache,
        )

    def _image_source(self, source: Source) -> Base64Data:
        return fit_image_source(source)

    def _document(self, part: Document, cache: Cache | None, path: str) -> Document:
        source = fit_document_source(part.source)
        name = self._names.name(part)
        if part.title and name != part.title:
            self._receipt.changed(f"{path}.title", "names are letters, digits, single spaces and -()[], none twice")
        context, cited = part.context or None, part.citations_enabled or None
        if self._family != "claude":
            for field, stated in (("context", context), ("citations", cited)):
                if stated:
                    self._receipt.dropped(f"{path}.{field}", "only Claude takes it")
            context = cited = None
        return Document(source=source, title=name, context=context, citations_enabled=cited, cache=cache)
