"""Parts of another dialect, fitted to what this one accepts in the place where they stand.

Fact: the API refuses empty texts ("text content blocks must contain non-whitespace text").
"""

from __future__ import annotations

from busbar.protocols.anthropic.fit_sources import fit_document_source, fit_image_source
from busbar.protocols.anthropic.words import DIALECT, TOOL_NAME_CHARS_MAX, TOOL_USE_ID
from busbar.protocols.fitting.parts import CACHE_TTLS, BlockFitter, Place
from busbar.protocols.fitting.sources import NoPlace
from busbar.protocols.ir import Base64Data, Cache, Document, Source, Text, ToolResult, Url
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native

NO_CITATIONS = "a citation here needs an index that only its provider issues"


class PartFitter(BlockFitter):
    """Fits the parts of one document."""

    __slots__ = ()

    dialect = DIALECT
    signer = DIALECT
    tool_call_ids = TOOL_USE_ID
    tool_name_chars_max = TOOL_NAME_CHARS_MAX

    def fit_cache(self, cache: Cache | None, path: str) -> Cache | None:
        if cache is None:
            return None
        report_leftovers(cache, DIALECT, f"{path}.cache_control", self._receipt)
        if cache.ttl is None or cache.ttl in CACHE_TTLS:
            return Cache(ttl=cache.ttl)
        self._receipt.dropped(f"{path}.cache_control.ttl", "a cache lives for 5m or 1h")
        return Cache()

    def _text(self, part: Text, place: Place, path: str) -> Text | None:
        if not part.text:
            return None
        if place != "answer" and not part.text.strip():
            raise NoPlace("white space alone is refused")
        if part.citations:
            self._receipt.dropped(f"{path}.citations", NO_CITATIONS)
        return Text(text=part.text, cache=self.fit_cache(part.cache, path))

    def _tool_result(self, part: ToolResult, path: str) -> ToolResult:
        tool_use_id = self.result_id(part.tool_use_id)
        content = self.fit_all(part.content, "tool_result", f"{path}.content")
        return ToolResult(
            tool_use_id=tool_use_id,
            content=content,
            is_error=part.is_error,
            cache=self.fit_cache(part.cache, path),
            native=None if content else Native(DIALECT, {}, "absent"),
        )

    def _image_source(self, source: Source) -> Base64Data | Url:
        return fit_image_source(source)

    def _document(self, part: Document, cache: Cache | None, path: str) -> Document:
        return Document(
            source=fit_document_source(part.source),
            title=part.title or None,
            context=part.context or None,
            citations_enabled=part.citations_enabled,
            cache=cache,
        )
