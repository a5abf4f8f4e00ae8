"""Parts of another dialect, fitted to what this one accepts in the place where they stand.

Every fitted part is a new one, free of the other dialect's leftovers, which are reported. A part that has no place
here gives None and is reported too; an empty text gives None without a word. Fact: the API refuses blank texts ("The
text field in the ContentBlock object at messages.0.content.0 is blank").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from busbar.protocols.bedrock.fit_sources import (
    DocumentNames,
    NoPlace,
    fit_document_source,
    fit_image_source,
    is_image,
)
from busbar.protocols.bedrock.models import Family
from busbar.protocols.bedrock.words import DIALECT, SIGNER, TOOL_USE_ID
from busbar.protocols.ids import TOOL_CALL_PREFIXES, fit_name, mint_id, translate_id
from busbar.protocols.ir import (
    Audio,
    Cache,
    Citation,
    Document,
    Image,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt

Place: TypeAlias = Literal["system", "user", "assistant", "tool_result", "answer"]
"""Where a part stands: in a request's system or turns, in a tool's result, or in a model's answer."""

_ASSISTANT = (Text, Thinking, RedactedThinking, ToolUse, Refusal, Opaque)
_PLACES: Mapping[Place, tuple[type, ...]] = {
    "system": (Text, Opaque),
    "user": (Text, Image, Document, ToolResult, Opaque),
    "tool_result": (Text, Image, Document, Opaque),
    "assistant": _ASSISTANT,
    "answer": _ASSISTANT,
}
SAYS_NOTHING = "."
"""The least text that is accepted where there must be one."""
TOOL_NAME_CHARS_MAX = 64
_TTLS = frozenset({"5m", "1h"})

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


_SIGNING: frozenset[Family] = frozenset({"claude", "other"})
"""Families whose models sign what they think; an id that tells no family may be one of them."""


class PartFitter:
    """Fits the parts of one document for a model of `family`. `nonce` is what ids are minted from where the source
    had none: the first call without an id and the first result without one get the same id, and so on."""

    __slots__ = ("_family", "_minted_calls", "_minted_results", "_names", "_nonce", "_receipt")

    def __init__(self, receipt: Receipt, nonce: str, family: Family = "other") -> None:
        self._receipt = receipt
        self._nonce = nonce
        self._family = family
        self._names = DocumentNames()
        self._minted_calls = 0
        self._minted_results = 0

    def fit_all(self, parts: list[Part], place: Place, path: str) -> list[Part]:
        fitted = (self.fit(part, place, f"{path}[{index}]") for index, part in enumerate(parts))
        return [part for part in fitted if part is not None]

    def fit(self, part: Part, place: Place, path: str) -> Part | None:
        try:
            return self._fit(part, place, path)
        except NoPlace as refused:
            self._receipt.dropped(path, refused.why)
            return None

    def fit_cache(self, cache: Cache | None, path: str) -> Cache | None:
        """Models without prompt caching refuse cache points; of the others only Claude takes a time to live."""
        if cache is None:
            return None
        report_leftovers(cache, DIALECT, f"{path}.cache_control", self._receipt)
        if self._family not in ("claude", "nova"):
            self._receipt.dropped(f"{path}.cache_control", "not known to be a model that caches")
            return None
        if cache.ttl is None or (self._family == "claude" and cache.ttl in _TTLS):
            return Cache(ttl=cache.ttl)
        self._receipt.dropped(f"{path}.cache_control.ttl", "the model has no such time to live")
        return Cache()

    def fit_citation(self, citation: Citation, path: str) -> Citation:
        report_leftovers(citation, DIALECT, path, self._receipt)
        if citation.start is not None and citation.url is None:
            self._receipt.dropped(f"{path}.start", "a place here needs the number of a document")
        return Citation(cited_text=citation.cited_text, url=citation.url, title=citation.title)

    def call_id(self, foreign: str) -> str:
        """A tool call's id in this dialect's style."""
        if foreign:
            return translate_id(foreign, TOOL_USE_ID, TOOL_CALL_PREFIXES)
        self._minted_calls += 1
        return mint_id(TOOL_USE_ID, self._nonce, self._minted_calls)

    def _fit(self, part: Part, place: Place, path: str) -> Part | None:
        if not isinstance(part, _PLACES[place]):
            raise NoPlace(f"no {type(part).__name__.lower()} in {place.replace('_', ' ')}")
        if isinstance(part, Opaque):
            if part.dialect != DIALECT:
                raise NoPlace(f"only {part.dialect} has {part.kind}")
            return part
        report_leftovers(part, DIALECT, path, self._receipt)
        match part:
            case Text():
                return self._text(part, place, path)
            case Refusal():
                self._receipt.changed(path, "a refusal is written as text")
                return Text(text=part.text) if part.text.strip() else None
            case Thinking():
                return self._thinking(part, place, path)
            case RedactedThinking():
                return _redacted(part)
            case ToolUse():
                return self._tool_use(part, place, path)
            case ToolResult():
                return self._tool_result(part, path)
            case Image():
                return self._image(part, path)
            case Document():
                return self._document(part, path)
            case Audio():
                raise NoPlace("no audio")

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
        if part.signature is not None:
            self._receipt.dropped(f"{path}.signature", "texts are not signed here")
        return Text(text=part.text, citations=citations, cache=self.fit_cache(part.cache, path))

    def _thinking(self, part: Thinking, place: Place, path: str) -> Thinking | None:
        """An answer may hold unsigned thinking (its empty signature tells `mend` what it is); of a request's, Claude
        refuses what it has not signed."""
        if part.signer == SIGNER and part.signature and (place == "answer" or self._family in _SIGNING):
            return Thinking(text=part.text, signature=part.signature, signer=SIGNER)
        if place != "answer":
            raise NoPlace("thinking without a signature of this provider is refused")
        if part.signature:
            self._receipt.dropped(f"{path}.signature", "signature of another provider")
        return Thinking(text=part.text, signature="") if part.text else None

    def _tool_use(self, part: ToolUse, place: Place, path: str) -> ToolUse:
        if part.signature is not None:
            self._receipt.dropped(f"{path}.signature", "calls are not signed here")
        return ToolUse(
            id=self.call_id(part.id),
            name=part.name if place == "answer" else fit_tool_name(part.name, f"{path}.name", self._receipt),
            arguments=self._arguments(part.arguments, path),
            cache=self.fit_cache(part.cache, path),
        )

    def _arguments(self, arguments: str, path: str) -> str:
        """JSON text of an object, as `input` must be one; anything else is wrapped in one."""
        if not arguments.strip():
            return "{}"
        try:
            value = _decode(arguments)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            value = arguments
        if isinstance(value, dict):
            return arguments
        self._receipt.changed(f"{path}.arguments", "wrapped: a tool's input is an object")
        return _encode({"input": value}).decode()

    def _tool_result(self, part: ToolResult, path: str) -> ToolResult:
        """A cache point inside of a result moves behind it: there is no place for one within."""
        tool_use_id = part.tool_use_id
        if tool_use_id:
            tool_use_id = translate_id(tool_use_id, TOOL_USE_ID, TOOL_CALL_PREFIXES)
        else:
            self._minted_results += 1
            tool_use_id = mint_id(TOOL_USE_ID, self._nonce, self._minted_results)
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

    def _image(self, part: Image, path: str) -> Image:
        report_leftovers(part.source, DIALECT, f"{path}.source", self._receipt)
        source = fit_image_source(part.source)
        if part.detail not in (None, "auto"):
            self._receipt.dropped(f"{path}.detail", "images have no level of detail")
        return Image(source=source, cache=self.fit_cache(part.cache, path))

    def _document(self, part: Document, path: str) -> Document | Image:
        report_leftovers(part.source, DIALECT, f"{path}.source", self._receipt)
        cache = self.fit_cache(part.cache, path)
        if is_image(part.source):
            return Image(source=fit_image_source(part.source), cache=cache)
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


def fit_tool_name(name: str, path: str, receipt: Receipt) -> str:
    """The name of a tool that another dialect's caller defined, in the letters that are accepted here."""
    fitting = fit_name(name, TOOL_NAME_CHARS_MAX)
    if fitting != name:
        receipt.changed(path, f"names here are letters, digits, _ and -, at most {TOOL_NAME_CHARS_MAX}")
    return fitting


def _redacted(part: RedactedThinking) -> RedactedThinking:
    if part.signer != SIGNER:
        raise NoPlace("thinking that only another provider can read")
    return RedactedThinking(data=part.data, signer=SIGNER)
