"""How a wire event of this dialect finds its way back.

A chunk that was read from this dialect remembers its event's name as its form, and what its IR events do not say as
its leftovers; from these and the events `restore` makes the same document again. An event that no IR event stands
for, an error, and one that is spelled unlike any other is kept whole: in the form, so that it never reaches another
dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from busbar.protocols.cohere.calls import write_own_call
from busbar.protocols.cohere.citations import write_own_citation
from busbar.protocols.cohere.usage import write_usage
from busbar.protocols.cohere.words import DIALECT, stop_word
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    CitationDelta,
    Started,
    Stopped,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.native import Native, own_fields, own_form

DONE = b"[DONE]"
"""Follows the terminal event; SDKs stop reading there."""


class EventForm(Struct, frozen=True):
    """`kind` is the document's type; `name` the event's, which is the same at Cohere. `whole`: the document, where
    its events do not say how it was spelled."""

    kind: str
    name: str
    whole: Any = None


class StartForm(Struct, frozen=True):
    """`skeleton`: the empty message that a stream begins with. `id`: it was stated."""

    skeleton: Any
    id: bool


def restore(chunk: Chunk, native: Native, form: EventForm) -> Any:
    """The wire event's document."""
    if form.whole is not None:
        return form.whole
    value = {"type": form.kind, **_MAKERS[form.kind](chunk)}
    return merged(value, native.fields) if native.fields else value


def merged(value: dict[str, Any], left: dict[str, Any]) -> dict[str, Any]:
    """`value` with the leftovers `left` put back, at any depth."""
    out = dict(value)
    for key, kept in left.items():
        known = out.get(key)
        out[key] = merged(known, kept) if isinstance(known, dict) and isinstance(kept, dict) else kept
    return out


def rest(value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """`value` without what stands at `path`, and without the objects that are empty then."""
    key, *inner = path
    left = dict(value)
    taken = left.pop(key, None)
    if inner and isinstance(taken, dict) and (within := rest(taken, tuple(inner))):
        left[key] = within
    return left


def _find(chunk: Chunk, kind: type) -> Any:
    return next((event for event in reversed(chunk.events) if isinstance(event, kind)), None)


def _place(event: Any) -> int:
    """The index on the wire, where content and calls are counted apart; else the IR's."""
    form = own_form(event, DIALECT)
    return form if isinstance(form, int) else event.index


def _message_start(chunk: Chunk) -> dict[str, Any]:
    started: Started = _find(chunk, Started)
    written: dict[str, Any] = {**own_fields(started, DIALECT)}
    form = own_form(started, DIALECT)
    if form.skeleton is not None:
        written["delta"] = form.skeleton
    if form.id:
        written["id"] = started.id
    return written


def _content_start(chunk: Chunk) -> dict[str, Any]:
    start: BlockStart = _find(chunk, BlockStart)
    said = _find(chunk, TextDelta) or _find(chunk, ThinkingDelta)
    key = "thinking" if isinstance(start.part, Thinking) else "text"
    content = {"type": key, key: said.text if said is not None else ""}
    return {"index": _place(start), "delta": {"message": {"content": content}}}


def _content_delta(chunk: Chunk) -> dict[str, Any]:
    event = chunk.events[0]
    assert isinstance(event, TextDelta | ThinkingDelta)
    key = "text" if isinstance(event, TextDelta) else "thinking"
    return {"index": _place(event), "delta": {"message": {"content": {key: event.text}}}}


def _end(chunk: Chunk) -> dict[str, Any]:
    return {"index": _place(_find(chunk, BlockStop))}


def _tool_plan_delta(chunk: Chunk) -> dict[str, Any]:
    return {"delta": {"message": {"tool_plan": _find(chunk, ThinkingDelta).text}}}


def _tool_call_start(chunk: Chunk) -> dict[str, Any]:
    start: BlockStart = _find(chunk, BlockStart)
    said = _find(chunk, ArgumentsDelta)
    use = start.part
    assert isinstance(use, ToolUse)
    arguments = said.fragment if said is not None else ""
    whole = ToolUse(id=use.id, name=use.name, arguments=arguments, native=use.native)
    return {"index": _place(start), "delta": {"message": {"tool_calls": write_own_call(whole)}}}


def _tool_call_delta(chunk: Chunk) -> dict[str, Any]:
    event = chunk.events[0]
    assert isinstance(event, ArgumentsDelta)
    function = {"arguments": event.fragment}
    return {"index": _place(event), "delta": {"message": {"tool_calls": {"function": function}}}}


def _citation_start(chunk: Chunk) -> dict[str, Any]:
    event: CitationDelta = _find(chunk, CitationDelta)
    return {"index": _place(event), "delta": {"message": {"citations": write_own_citation(event.citation)}}}


def _message_end(chunk: Chunk) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    stopped: Stopped | None = _find(chunk, Stopped)
    if stopped is not None and own_form(stopped.stop, DIALECT) is not None:
        delta["finish_reason"] = stop_word(stopped.stop)
    seen: UsageSeen | None = _find(chunk, UsageSeen)
    if seen is not None:
        delta["usage"] = write_usage(seen.usage)
    return {"delta": delta}


_MAKERS: Mapping[str, Callable[[Chunk], dict[str, Any]]] = {
    "message-start": _message_start,
    "content-start": _content_start,
    "content-delta": _content_delta,
    "content-end": _end,
    "tool-plan-delta": _tool_plan_delta,
    "tool-call-start": _tool_call_start,
    "tool-call-delta": _tool_call_delta,
    "tool-call-end": _end,
    "citation-start": _citation_start,
    "message-end": _message_end,
}
