"""One candidate of a stream: how its parts become blocks. What is no event stays in the chunk."""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.gemini.grounding import read_citations
from busbar.protocols.gemini.partial_args import PartialArgs
from busbar.protocols.gemini.parts_read import read_part
from busbar.protocols.gemini.stream_form import Draft, Path
from busbar.protocols.gemini.words import DIALECT, is_stop_word, read_stop
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    CitationDelta,
    Part,
    SignatureDelta,
    Stop,
    Stopped,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
)
from busbar.protocols.protocol import InvalidRequest

CITATIONS_MAX = 1024
"""Citations of one answer that are told apart: chunks repeat what earlier ones cited."""

_encode = msgspec.json.Encoder().encode


class ChoiceState:
    """At most one block is open: text, thinking, or a call whose arguments come in pieces.

    The reason to stop is held until the stream ends: some services state one with every chunk.
    """

    __slots__ = ("_args", "_begun", "_called", "_cited", "_index", "_kind", "_open", "_word", "stop")

    def __init__(self, index: int) -> None:
        self._index = index
        self._begun = 0
        self._kind = ""
        self._open = -1
        self._called = False
        self._args = PartialArgs()
        self._cited: set[tuple[str | None, str | None]] = set()
        self._word: Any = None
        self.stop: Stop | None = None
        """Set where something else than a `finishReason` ended the answer: a blocked prompt."""

    @property
    def finished(self) -> bool:
        return self._word is not None or self.stop is not None

    def read(self, entry: dict[str, Any], path: Path, draft: Draft) -> None:
        content = entry.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if isinstance(parts, list):
            for at, part in enumerate(parts):
                if isinstance(part, dict):
                    self._read_part(part, parts, at, (*path, "content", "parts", at), draft)
        if self._kind == "text":
            self._cite(entry, draft)
        word = entry.get("finishReason")
        if is_stop_word(word):
            self._word = word

    def conclude(self, draft: Draft) -> None:
        """The answer is whole."""
        self._end_open(draft)
        stop = self.stop if self._word is None else read_stop(self._word, called_tool=self._called)
        if stop is not None:
            draft.add(Stopped(choice=self._index, stop=stop))

    def _read_part(self, part: dict[str, Any], parts: list[Any], at: int, path: Path, draft: Draft) -> None:
        if isinstance(part.get("text"), str):
            self._read_text(part, path, draft)
            return
        call = part.get("functionCall")
        if isinstance(call, dict) and self._is_piece(call) and self._read_piece(part, call, draft):
            return
        try:
            read = read_part(part, "", None)
        except InvalidRequest:
            return
        parts[at] = None
        self._whole(read, path, draft)

    def _is_piece(self, call: dict[str, Any]) -> bool:
        return "partialArgs" in call or "willContinue" in call or self._kind == "call"

    def _read_text(self, part: dict[str, Any], path: Path, draft: Draft) -> None:
        text, signature = part["text"], part.get("thoughtSignature")
        if not isinstance(signature, str):
            if not text:
                return
            signature = None
        thought = part.get("thought") is True
        block = self._ensure("thinking" if thought else "text", draft)
        if text:
            del part["text"]
            if thought:
                draft.take(ThinkingDelta(choice=self._index, index=block, text=text), (*path, "text"))
            else:
                draft.take(TextDelta(choice=self._index, index=block, text=text), (*path, "text"))
        if signature is not None:
            del part["thoughtSignature"]
            signed = SignatureDelta(signer=DIALECT, choice=self._index, index=block, signature=signature)
            draft.take(signed, (*path, "thoughtSignature"))

    def _read_piece(self, part: dict[str, Any], call: dict[str, Any], draft: Draft) -> bool:
        """A call in pieces. They stay in the chunk: what they come to is known when the last one is there."""
        name = call.get("name")
        if self._kind != "call" or name:
            if not isinstance(name, str) or not name:
                return False
            self._end_open(draft)
            call_id, signature = call.get("id"), part.get("thoughtSignature")
            signature = signature if isinstance(signature, str) else None
            use = ToolUse(
                id=call_id if isinstance(call_id, str) else "",
                name=name,
                arguments="",
                signature=signature,
                signer=None if signature is None else DIALECT,
            )
            self._open, self._kind, self._called = self._begin(use, draft), "call", True
            self._args = PartialArgs()
            if isinstance(args := call.get("args"), dict):
                self._args.value = dict(args)
        pieces = call.get("partialArgs")
        for piece in pieces if isinstance(pieces, list) else ():
            self._args.add(piece)
        if not call.get("willContinue"):
            self._end_open(draft)
        return True

    def _whole(self, part: Part, path: Path, draft: Draft) -> None:
        """A block that begins and ends at once."""
        self._end_open(draft)
        block = self._begun
        if isinstance(part, ToolUse):
            self._called = True
            arguments, part.arguments = part.arguments, ""
            draft.take(BlockStart(choice=self._index, index=block, part=part), path)
            draft.add(ArgumentsDelta(choice=self._index, index=block, fragment=arguments))
        else:
            draft.take(BlockStart(choice=self._index, index=block, part=part), path)
        self._begun += 1
        draft.add(BlockStop(choice=self._index, index=block))

    def _cite(self, entry: dict[str, Any], draft: Draft) -> None:
        """Offsets in bytes of a text that is not kept cannot be told in characters; the passage itself is."""
        for _, citation in read_citations(entry):
            known = (citation.url, citation.cited_text)
            if known not in self._cited and len(self._cited) < CITATIONS_MAX:
                self._cited.add(known)
                draft.add(CitationDelta(choice=self._index, index=self._open, citation=citation))

    def _ensure(self, kind: str, draft: Draft) -> int:
        if self._kind != kind:
            self._end_open(draft)
            self._open = self._begin(Thinking(text="") if kind == "thinking" else Text(text=""), draft)
            self._kind = kind
        return self._open

    def _begin(self, part: Part, draft: Draft) -> int:
        block = self._begun
        self._begun += 1
        draft.add(BlockStart(choice=self._index, index=block, part=part))
        return block

    def _end_open(self, draft: Draft) -> None:
        if self._kind == "call":
            arguments = _encode(self._args.value).decode()
            draft.add(ArgumentsDelta(choice=self._index, index=self._open, fragment=arguments))
        if self._kind:
            draft.add(BlockStop(choice=self._index, index=self._open))
            self._kind = ""
