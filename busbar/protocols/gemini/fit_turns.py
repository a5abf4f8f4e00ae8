"""The conversation of another dialect, as this one wants it.

- Instructions stand before the conversation: all of them become `systemInstruction`, in their order.
- Turns alternate between user and model, beginning with a user's: neighbours are merged, and where the source begins
  otherwise, a user turn that says as good as nothing is put first; and last for a model that does not go on with a
  turn of its own.
- The results of a turn's calls stand in the user turn that follows, before anything else in it, each with the name of
  its function, which other dialects do not repeat there.
- Gemini 3 refuses calls of the running turn (after the last turn of the user without responses) whose first is not
  signed: those of other providers say so in place of the signature (`NO_SIGNATURE`).
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from busbar.protocols.gemini.fit_parts import fit_call, fit_media, fit_text, report_cache, written_id
from busbar.protocols.gemini.fit_tools import fit_tool_name
from busbar.protocols.gemini.parts_write import own_signature
from busbar.protocols.gemini.words import DIALECT, NO_SIGNATURE, TOOL_CALL_ID, continues_turns, signs_calls
from busbar.protocols.ids import mint_id
from busbar.protocols.ir import (
    Audio,
    Document,
    Image,
    Message,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Request,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt

Speaker: TypeAlias = Literal["user", "model"]
_SAYS_NOTHING = {"text": "."}


class _Turn(Struct):
    speaker: Speaker
    parts: list[dict[str, Any]]


def fit_turns(request: Request, hop: Hop, receipt: Receipt) -> dict[str, Any]:
    """`systemInstruction` and `contents`."""
    fitter = _TurnFitter(hop, receipt)
    instructions = fitter.instructions(request.system, "system")
    turns: list[_Turn] = []
    for at, message in enumerate(request.messages):
        path = f"messages[{at}]"
        report_leftovers(message, DIALECT, path, receipt)
        if message.name is not None:
            receipt.dropped(f"{path}.name", "turns carry no name")
        if message.role in ("system", "developer"):
            if turns:
                receipt.changed(path, "instructions stand before the conversation")
            instructions += fitter.instructions(message.parts, f"{path}.content")
        elif parts := fitter.parts(message, f"{path}.content"):
            turns.append(_Turn("model" if message.role == "assistant" else "user", parts))
    turns = _alternate(turns)
    if not turns or turns[0].speaker == "model":
        receipt.added("messages", "a conversation begins with a user turn")
        turns.insert(0, _Turn("user", [_SAYS_NOTHING]))
    if turns[-1].speaker == "model" and not continues_turns(hop.model):
        receipt.changed(f"messages[{len(request.messages) - 1}]", "this model does not go on with a turn of its own")
        turns.append(_Turn("user", [_SAYS_NOTHING]))
    if signs_calls(hop.model):
        _sign_running_calls(turns, receipt)
    document: dict[str, Any] = {"contents": [{"role": turn.speaker, "parts": turn.parts} for turn in turns]}
    if instructions:
        document["systemInstruction"] = {"role": "user", "parts": instructions}
    return document


def _alternate(turns: list[_Turn]) -> list[_Turn]:
    merged = []
    for speaker, neighbours in groupby(turns, key=lambda turn: turn.speaker):
        parts = [part for turn in neighbours for part in turn.parts]
        if speaker == "user":
            parts.sort(key=lambda part: "functionResponse" not in part)
        merged.append(_Turn(speaker, parts))
    return merged


def _sign_running_calls(turns: list[_Turn], receipt: Receipt) -> None:
    for turn in reversed(turns):
        if turn.speaker == "user":
            if not any("functionResponse" in part for part in turn.parts):
                return
            continue
        first = next((part for part in turn.parts if "functionCall" in part), None)
        if first is not None and "thoughtSignature" not in first:
            first["thoughtSignature"] = NO_SIGNATURE
            receipt.added("thoughtSignature", "this call was not signed by this provider")


class _TurnFitter:
    """Fits the parts of one conversation, and remembers which function each call id stands for."""

    def __init__(self, hop: Hop, receipt: Receipt) -> None:
        self._hop = hop
        self._receipt = receipt
        self._names: dict[str, str] = {}
        self._calls = 0
        self._results = 0

    def instructions(self, parts: list[Part], path: str) -> list[dict[str, Any]]:
        written = []
        for at, part in enumerate(parts):
            where = f"{path}[{at}]"
            if not isinstance(part, Text):
                self._receipt.dropped(where, "instructions are text in this dialect")
            elif (fitted := fit_text(part, where, self._receipt)) is not None:
                written.append(fitted)
        return written

    def parts(self, message: Message, path: str) -> list[dict[str, Any]]:
        written: list[dict[str, Any]] = []
        for at, part in enumerate(message.parts):
            written += self._fit(part, f"{path}[{at}]")
        return written

    def _fit(self, part: Part, path: str) -> list[dict[str, Any]]:
        match part:
            case Text():
                fitted = fit_text(part, path, self._receipt)
            case Image() | Document() | Audio():
                fitted = fit_media(part, path, self._receipt)
            case ToolUse():
                fitted = self._call(part, path)
            case ToolResult():
                return self._result(part, path)
            case Thinking():
                fitted = self._thinking(part, path)
            case Refusal():
                self._receipt.changed(path, "a refusal is written as text")
                fitted = {"text": part.text} if part.text else None
            case RedactedThinking():
                self._receipt.dropped(path, "thinking that only another provider can read")
                return []
            case Opaque(dialect=dialect) if dialect == DIALECT:
                fitted = part.value
            case Opaque():
                self._receipt.dropped(path, f"only {part.dialect} has {part.kind}")
                return []
        return [] if fitted is None else [fitted]

    def _thinking(self, part: Thinking, path: str) -> dict[str, Any] | None:
        signature = own_signature(part)
        if signature is None:
            self._receipt.dropped(path, "thinking of another provider")
            return None
        return {"text": part.text, "thought": True, "thoughtSignature": signature}

    def _call(self, use: ToolUse, path: str) -> dict[str, Any]:
        call_id = use.id
        if not call_id:
            call_id = mint_id(TOOL_CALL_ID, self._hop.nonce, self._calls)
            self._calls += 1
        self._names[call_id] = use.name
        return fit_call(use, written_id(call_id), path, self._receipt)

    def _result(self, result: ToolResult, path: str) -> list[dict[str, Any]]:
        """The function's response, and what of it only a user's turn may hold beside it."""
        report_cache(result, path, self._receipt)
        report_leftovers(result, DIALECT, path, self._receipt)
        call_id = result.tool_use_id
        if not call_id:
            call_id = mint_id(TOOL_CALL_ID, self._hop.nonce, self._results)
            self._results += 1
        texts, media = self._content(result, path)
        answer: dict[str, Any] = {
            "id": written_id(call_id),
            "name": self._name(call_id, path),
            "response": {"error" if result.is_error else "output": "\n".join(texts)},
        }
        if media and signs_calls(self._hop.model):
            blobs = [part for part in media if "inlineData" in part]
            if blobs:
                answer["parts"] = blobs
            media = [part for part in media if "inlineData" not in part]
        if media:
            self._receipt.changed(f"{path}.content", "what is no text stands beside the function's response")
        return [{"functionResponse": answer}, *media]

    def _content(self, result: ToolResult, path: str) -> tuple[list[str], list[dict[str, Any]]]:
        texts: list[str] = []
        media: list[dict[str, Any]] = []
        for at, part in enumerate(result.content):
            for written in self._fit(part, f"{path}.content[{at}]"):
                if "text" in written:
                    texts.append(written["text"])
                else:
                    media.append(written)
        return texts, media

    def _name(self, call_id: str, path: str) -> str:
        name = self._names.get(call_id)
        if name is None:
            self._receipt.changed(f"{path}.tool_use_id", "a result of no call that is known: its id is its name")
            name = call_id
        return fit_tool_name(name, f"{path}.name", self._receipt)
