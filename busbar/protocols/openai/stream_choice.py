"""One choice of a stream: how its deltas become events. What is no event stays in the chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    CitationDelta,
    RedactedThinking,
    RefusalDelta,
    SignatureDelta,
    Stop,
    Stopped,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ToolUse,
)
from busbar.protocols.openai.answer import DETAIL_TEXTS, read_citation, signer_of
from busbar.protocols.openai.stops import read_stop
from busbar.protocols.openai.stream_blocks import Blocks, Call
from busbar.protocols.openai.stream_form import Draft, Path

_Holder: TypeAlias = dict[str, Any]


class ChoiceState:
    """`finished`: a reason to stop was seen. `held`: it waits for the next chunk."""

    __slots__ = ("blocks", "finished", "held", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.blocks = Blocks(index)
        self.finished = False
        self.held: Stop | None = None

    def read(self, entry: _Holder, position: int, draft: Draft) -> None:
        """Takes the events out of a chunk's choice. What comes after the finish stays where it is."""
        if self.finished and self.held is None:
            return
        delta = entry.get("delta")
        if isinstance(delta, dict):
            said = [key for key in delta if key in _DELTA_READERS and delta[key]]
            if len(said) > 1:
                said.sort(key=_MADE_IN_ORDER.index)
            for key in said:
                _DELTA_READERS[key](self, delta, delta[key], ("choices", position, "delta", key), draft)
            self._take_echo(entry, position, draft)
        if entry.get("finish_reason"):
            self._finish(entry, position, draft)

    def release(self, draft: Draft) -> None:
        """Lets go of a finish that was held."""
        if self.held is not None:
            self.blocks.end_all(draft)
            draft.add(Stopped(choice=self.index, stop=self.held))
            self.held = None

    def conclude(self, draft: Draft) -> None:
        """The answer is whole: a choice whose reason to stop was never stated stopped by itself."""
        if not self.finished:
            self.finished = True
            reason = StopReason.TOOL_USE if self.blocks.called_tool else StopReason.END_TURN
            self.held = Stop(reason=reason)
        self.release(draft)

    def _finish(self, entry: _Holder, position: int, draft: Draft) -> None:
        stop = read_stop(entry, called_tool=self.blocks.called_tool)
        if stop is None:
            return
        self.finished = True
        delta = entry.get("delta")
        if isinstance(delta, dict) and delta.get("tool_calls"):
            self.held = stop
            return
        self.held = None
        self.blocks.end_all(draft)
        stopped = Stopped(choice=self.index, stop=stop)
        draft.take(stopped, "finish", entry, ("choices", position, "finish_reason"))
        if stop.sequence is not None:
            draft.take_more("sequence", entry, ("choices", position, "stop_reason"))

    def _take_echo(self, entry: _Holder, position: int, draft: Draft) -> None:
        """Together repeats the delta's content as `text`, as the old completions API called it."""
        text = entry.get("text")
        if text and draft.events and isinstance(event := draft.events[-1], TextDelta) and event.text == text:
            draft.take_more("text", entry, ("choices", position, "text"))

    def _say(self, text: str, holder: _Holder, path: Path, draft: Draft) -> None:
        block = self.blocks.ensure("text", draft)
        draft.take(TextDelta(choice=self.index, index=block, text=text), "text", holder, path)

    def _think(self, text: str, holder: _Holder, path: Path, draft: Draft) -> None:
        block = self.blocks.ensure("thinking", draft)
        draft.take(ThinkingDelta(choice=self.index, index=block, text=text), "text", holder, path)


def _read_details(choice: ChoiceState, _: _Holder, value: Any, path: Path, draft: Draft) -> None:
    """OpenRouter's `reasoning_details`."""
    for at, detail in enumerate(value) if isinstance(value, list) else ():
        if isinstance(detail, dict):
            _read_detail(choice, detail, (*path, at), draft)


def _read_detail(choice: ChoiceState, detail: _Holder, path: Path, draft: Draft) -> None:
    key = DETAIL_TEXTS.get(str(detail.get("type")), "")
    if isinstance(text := detail.get(key), str) and text:
        choice._think(text, detail, (*path, key), draft)
    if isinstance(signature := detail.get("signature"), str) and signature:
        block = choice.blocks.ensure("thinking", draft)
        signed = SignatureDelta(choice=choice.index, index=block, signer=signer_of(detail), signature=signature)
        draft.take(signed, "signature", detail, (*path, "signature"))
    if detail.get("type") == "reasoning.encrypted" and isinstance(data := detail.get("data"), str):
        choice.blocks.whole(RedactedThinking(data=data, signer=signer_of(detail)), draft)
        draft.slots.append((len(draft.events) - 2, "data", (*path, "data")))
        del detail["data"]


def _read_thought(choice: ChoiceState, delta: _Holder, value: Any, path: Path, draft: Draft) -> None:
    """`reasoning_content` or `reasoning`; where a chunk says the same thought twice, it is one event."""
    if not isinstance(value, str):
        return
    last = draft.events[-1] if draft.events else None
    if isinstance(last, ThinkingDelta) and last.choice == choice.index and last.text == value:
        draft.take_more("text", delta, path)
    else:
        choice._think(value, delta, path, draft)


def _read_content(choice: ChoiceState, delta: _Holder, value: Any, path: Path, draft: Draft) -> None:
    """A text; Mistral streams a list of parts where it thinks."""
    if isinstance(value, str):
        choice._say(value, delta, path, draft)
        return
    for at, part in enumerate(value) if isinstance(value, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("type") == "text" and isinstance(text := part.get("text"), str) and text:
            choice._say(text, part, (*path, at, "text"), draft)
        elif part.get("type") == "thinking" and isinstance(part.get("thinking"), list):
            for nth, piece in enumerate(part["thinking"]):
                if isinstance(piece, dict) and isinstance(text := piece.get("text"), str) and text:
                    choice._think(text, piece, (*path, at, "thinking", nth, "text"), draft)


def _read_refusal(choice: ChoiceState, delta: _Holder, value: Any, path: Path, draft: Draft) -> None:
    if isinstance(value, str):
        block = choice.blocks.ensure("refusal", draft)
        draft.take(RefusalDelta(choice=choice.index, index=block, text=value), "text", delta, path)


def _read_annotations(choice: ChoiceState, _: _Holder, value: Any, path: Path, draft: Draft) -> None:
    for at, annotation in enumerate(value) if isinstance(value, list) else ():
        if (citation := read_citation(annotation)) is not None:
            block = choice.blocks.ensure("text", draft)
            draft.slots.append((len(draft.events), "citation", (*path, at)))
            draft.add(CitationDelta(choice=choice.index, index=block, citation=citation))
            value[at] = None


def _read_tool_calls(choice: ChoiceState, _: _Holder, value: Any, path: Path, draft: Draft) -> None:
    for at, delta in enumerate(value) if isinstance(value, list) else ():
        if not isinstance(delta, dict) or not isinstance(function := delta.get("function"), dict):
            continue
        given = delta.get("id")
        call = choice.blocks.call_of(delta.get("index"), given if isinstance(given, str) else "", draft)
        if call is not None:
            _read_function(choice, call, delta, function, ((*path, at), (*path, at, "function")), draft)


def _read_function_call(choice: ChoiceState, _: _Holder, value: Any, path: Path, draft: Draft) -> None:
    """The old single call, which has no id."""
    if isinstance(value, dict) and (call := choice.blocks.call_of(0, "", draft)) is not None:
        _read_function(choice, call, {}, value, ((), path), draft)


def _read_function(
    choice: ChoiceState, call: Call, delta: _Holder, function: _Holder, paths: tuple[Path, Path], draft: Draft
) -> None:
    """A call begins with the delta that brings its name and its first arguments, even if these are empty. A name
    that comes without is kept until something else comes, for it may come in pieces."""
    arguments = function.get("arguments")
    if call.block < 0:
        pieces = bool(call.id or call.name)
        call_id, name = delta.get("id"), function.get("name")
        call.id = call.id or (call_id if isinstance(call_id, str) else "")
        call.name += name if isinstance(name, str) else ""
        if arguments is None:
            return
        choice.blocks.begin_call(call, draft)
        if not pieces:
            _take_names(delta, function, paths, draft)
    if isinstance(arguments, str) and arguments:
        event = ArgumentsDelta(choice=choice.index, index=call.block, fragment=arguments)
        draft.take(event, "fragment", function, (*paths[1], "arguments"))
    elif isinstance(arguments, dict):
        text = msgspec.json.encode(arguments).decode()
        event = ArgumentsDelta(choice=choice.index, index=call.block, fragment=text)
        draft.take(event, "object", function, (*paths[1], "arguments"))


def _take_names(delta: _Holder, function: _Holder, paths: tuple[Path, Path], draft: Draft) -> None:
    """Takes id and name, which the block that was just begun carries."""
    begun = draft.events[-1]
    assert isinstance(begun, BlockStart)
    assert isinstance(begun.part, ToolUse)
    if begun.part.id:
        draft.take_more("id", delta, (*paths[0], "id"))
    if begun.part.name:
        draft.take_more("name", function, (*paths[1], "name"))


_DELTA_READERS: Mapping[str, Callable[[ChoiceState, _Holder, Any, Path, Draft], None]] = {
    "reasoning_details": _read_details,
    "reasoning_content": _read_thought,
    "reasoning": _read_thought,
    "content": _read_content,
    "refusal": _read_refusal,
    "annotations": _read_annotations,
    "tool_calls": _read_tool_calls,
    "function_call": _read_function_call,
}
_MADE_IN_ORDER = tuple(_DELTA_READERS)
"""A model thinks before it speaks, and speaks before it calls."""
