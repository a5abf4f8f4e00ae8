"""Parts of another dialect, fitted to one that is made of content blocks (Anthropic's API and Bedrock's Converse).

Every fitted part is a new one, free of the other dialect's leftovers, which are reported. A part that has no place
gives None and is reported too; an empty text gives None without a word.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias

import msgspec

from busbar.protocols.fitting.sources import NoPlace, is_image
from busbar.protocols.fitting.tools import fit_tool_name
from busbar.protocols.ids import TOOL_CALL_PREFIXES, IdStyle, mint_id, translate_id
from busbar.protocols.ir import (
    Audio,
    Cache,
    Document,
    Image,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Source,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    is_plain_text,
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
_SIGNED = (Text, ToolUse)
_Cached = Text | Image | Document | ToolUse | ToolResult
CACHE_TTLS = frozenset({"5m", "1h"})
"""How long Claude keeps a prompt."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class BlockFitter(ABC):
    """Fits the parts of one document. `nonce` is what ids are minted from where the source had none: the first
    call without an id and the first result without one get the same id, and so on."""

    __slots__ = ("_minted_calls", "_minted_results", "_nonce", "_receipt")

    dialect: ClassVar[str]
    signer: ClassVar[str]
    """Whose signatures on thinking are taken."""
    tool_call_ids: ClassVar[IdStyle]
    tool_name_chars_max: ClassVar[int]

    def __init__(self, receipt: Receipt, nonce: str) -> None:
        self._receipt = receipt
        self._nonce = nonce
        self._minted_calls = 0
        self._minted_results = 0

    def fit_all(self, parts: list[Part], place: Place, path: str) -> list[Part]:
        """A cache point of a part that has no place goes to the one before it: all before it can be cached."""
        fitted: list[Part] = []
        for index, part in enumerate(parts):
            if is_plain_text(part) and part.text and not part.text.isspace():
                fitted.append(Text(text=part.text))
                continue
            where = f"{path}[{index}]"
            if (fitting := self.fit(part, place, where)) is not None:
                fitted.append(fitting)
            elif isinstance(part, _Cached) and part.cache is not None and fitted:
                bearer = fitted[-1]
                if isinstance(bearer, _Cached) and bearer.cache is None:
                    bearer.cache = self.fit_cache(part.cache, where)
        return fitted

    def fit(self, part: Part, place: Place, path: str) -> Part | None:
        try:
            return self._fit(part, place, path)
        except NoPlace as refused:
            self._receipt.dropped(path, refused.why)
            return None

    def call_id(self, foreign: str) -> str:
        """A tool call's id in this dialect's style."""
        if foreign:
            return translate_id(foreign, self.tool_call_ids, TOOL_CALL_PREFIXES)
        self._minted_calls += 1
        return mint_id(self.tool_call_ids, self._nonce, self._minted_calls)

    def result_id(self, foreign: str) -> str:
        """The id of the call that a result answers."""
        if foreign:
            return translate_id(foreign, self.tool_call_ids, TOOL_CALL_PREFIXES)
        self._minted_results += 1
        return mint_id(self.tool_call_ids, self._nonce, self._minted_results)

    @abstractmethod
    def fit_cache(self, cache: Cache | None, path: str) -> Cache | None: ...

    @abstractmethod
    def _text(self, part: Text, place: Place, path: str) -> Text | None:
        """Raises `NoPlace`."""

    @abstractmethod
    def _tool_result(self, part: ToolResult, path: str) -> ToolResult: ...

    @abstractmethod
    def _image_source(self, source: Source) -> Source:
        """Raises `NoPlace`."""

    @abstractmethod
    def _document(self, part: Document, cache: Cache | None, path: str) -> Document:
        """Raises `NoPlace`. `cache` fits already."""

    def _keeps_signatures(self, place: Place) -> bool:
        """Thinking that `signer` signed is taken in `place`."""
        return True

    def _fit(self, part: Part, place: Place, path: str) -> Part | None:
        if not isinstance(part, _PLACES[place]):
            raise NoPlace(f"no {type(part).__name__.lower()} in {place.replace('_', ' ')}")
        if isinstance(part, Opaque):
            if part.dialect != self.dialect:
                raise NoPlace(f"only {part.dialect} has {part.kind}")
            return part
        report_leftovers(part, self.dialect, path, self._receipt)
        if isinstance(part, _SIGNED) and part.signature is not None:
            self._receipt.dropped(f"{path}.signature", "only thinking is signed here")
        match part:
            case Text():
                return self._text(part, place, path)
            case Refusal():
                self._receipt.changed(path, "a refusal is written as text")
                return Text(text=part.text) if part.text.strip() else None
            case Thinking():
                return self._thinking(part, place, path)
            case RedactedThinking():
                return self._redacted(part)
            case ToolUse():
                return self._tool_use(part, place, path)
            case ToolResult():
                return self._tool_result(part, path)
            case Image() | Document():
                return self._medium(part, path)
            case Audio():
                raise NoPlace("no audio")

    def _thinking(self, part: Thinking, place: Place, path: str) -> Thinking | None:
        """An answer may hold unsigned thinking (its reader shows it); a request may not."""
        if part.signer == self.signer and part.signature and self._keeps_signatures(place):
            return Thinking(text=part.text, signature=part.signature, signer=self.signer)
        if place != "answer":
            raise NoPlace("thinking without a signature of this provider is refused")
        if part.signature:
            self._receipt.dropped(f"{path}.signature", "signature of another provider")
        return Thinking(text=part.text, signature="") if part.text else None

    def _redacted(self, part: RedactedThinking) -> RedactedThinking:
        if part.signer != self.signer:
            raise NoPlace("thinking that only another provider can read")
        return RedactedThinking(data=part.data, signer=self.signer)

    def _tool_use(self, part: ToolUse, place: Place, path: str) -> ToolUse:
        name = part.name
        if place != "answer":
            name = fit_tool_name(name, self.tool_name_chars_max, f"{path}.name", self._receipt)
        return ToolUse(
            id=self.call_id(part.id),
            name=name,
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

    def _medium(self, part: Image | Document, path: str) -> Image | Document:
        """What is called a document and is an image becomes one."""
        report_leftovers(part.source, self.dialect, f"{path}.source", self._receipt)
        if isinstance(part, Document) and not is_image(part.source):
            return self._document(part, self.fit_cache(part.cache, path), path)
        source = self._image_source(part.source)
        if isinstance(part, Image) and part.detail not in (None, "auto"):
            self._receipt.dropped(f"{path}.detail", "images have no level of detail")
        return Image(source=source, cache=self.fit_cache(part.cache, path))
