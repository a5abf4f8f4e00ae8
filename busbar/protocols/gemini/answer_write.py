"""Another dialect's answer as a candidate of this one."""

from __future__ import annotations

from typing import Any

from busbar.protocols.gemini.fit_parts import fit_arguments, fit_media, written_id
from busbar.protocols.gemini.grounding import GROUNDING, GroundingWriter, bytes_in, passage
from busbar.protocols.gemini.parts_write import own_signature
from busbar.protocols.gemini.words import DIALECT, NO_SIGNATURE, TOOL_CALL_ID, finish_word, report_stop
from busbar.protocols.ids import mint_id
from busbar.protocols.ir import (
    Audio,
    Choice,
    Document,
    Image,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolUse,
)
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt


def write_candidate(choice: Choice, path: str, hop: Hop, receipt: Receipt) -> dict[str, Any]:
    report_leftovers(choice, DIALECT, path, receipt)
    writer = _CandidateWriter(hop, receipt)
    for at, part in enumerate(choice.parts):
        writer.add(part, f"{path}.content[{at}]", at)
    word: str | int = "STOP"
    if choice.stop is not None:
        report_stop(choice.stop, f"{path}.stop", receipt)
        word = finish_word(choice.stop)
    candidate: dict[str, Any] = {
        "content": {"parts": writer.parts or [{"text": ""}], "role": "model"},
        "finishReason": word,
        "index": choice.index,
    }
    if (metadata := writer.grounding.metadata()) is not None:
        candidate[GROUNDING] = metadata
    return candidate


def write_thought(text: str, signature: str | None) -> dict[str, Any]:
    thought: dict[str, Any] = {"text": text, "thought": True}
    if signature is not None:
        thought["thoughtSignature"] = signature
    return thought


def write_answer_call(
    use: ToolUse, arguments: str, minted: str, path: str, receipt: Receipt, *, first: bool
) -> dict[str, Any]:
    """A call in an answer, with the id `minted` where it had none. The first call of an answer is signed, as callers
    send it back to providers that insist on it: with the documented word where this dialect did not sign it."""
    report_leftovers(use, DIALECT, path, receipt)
    call: dict[str, Any] = {
        "id": written_id(use.id) or minted,
        "name": use.name,
        "args": fit_arguments(arguments, path, receipt),
    }
    document: dict[str, Any] = {"functionCall": call}
    signature = own_signature(use)
    if use.signature is not None and signature is None:
        receipt.dropped(f"{path}.signature", "signature of another provider")
    if signature is not None or first:
        document["thoughtSignature"] = signature or NO_SIGNATURE
    return document


class _CandidateWriter:
    def __init__(self, hop: Hop, receipt: Receipt) -> None:
        self._hop = hop
        self._receipt = receipt
        self._bytes = 0
        self._calls = 0
        self.parts: list[dict[str, Any]] = []
        self.grounding = GroundingWriter(receipt)

    def add(self, part: Part, path: str, at: int) -> None:
        match part:
            case Text():
                self._text(part, path)
            case Thinking():
                self._thinking(part, path)
            case ToolUse():
                minted = mint_id(TOOL_CALL_ID, self._hop.nonce, at)
                first = self._calls == 0
                self._calls += 1
                self.parts.append(write_answer_call(part, part.arguments, minted, path, self._receipt, first=first))
            case Refusal():
                self._receipt.changed(path, "a refusal is written as text")
                self.parts.append({"text": part.text})
            case Image() | Document() | Audio():
                written = fit_media(part, path, self._receipt)
                if written is not None:
                    self.parts.append(written)
            case Opaque(dialect=dialect) if dialect == DIALECT:
                self.parts.append(part.value)
            case _:
                self._receipt.dropped(path, "no place in an answer of this dialect")

    def _text(self, part: Text, path: str) -> None:
        report_leftovers(part, DIALECT, path, self._receipt)
        for nth, citation in enumerate(part.citations):
            start, end = passage(citation, part.text, self._bytes)
            self.grounding.add(citation, start, end, f"{path}.citations[{nth}]")
        signature = own_signature(part)
        if part.signature is not None and signature is None:
            self._receipt.dropped(f"{path}.signature", "signature of another provider")
        if part.text or signature is not None:
            self.parts.append({"text": part.text} | ({"thoughtSignature": signature} if signature else {}))
            self._bytes += bytes_in(part.text)

    def _thinking(self, part: Thinking, path: str) -> None:
        report_leftovers(part, DIALECT, path, self._receipt)
        signature = own_signature(part)
        if part.signature is not None and signature is None:
            self._receipt.dropped(f"{path}.signature", "signature of another provider")
        if part.text or signature is not None:
            self.parts.append(write_thought(part.text, signature))
