"""What a chunk of a stream remembers beyond its events, so that it can be written back exactly.

The reader takes what is an event out of the chunk's JSON. What is left is the skeleton; each `Slot` says which fact
of which event goes back where. What every chunk repeats (id, model, time) is kept once, in `Started`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from busbar.protocols.gemini.parts_write import write_own_part
from busbar.protocols.gemini.usage import write_usage
from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    Event,
    SignatureDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.native import own_form

Path: TypeAlias = tuple[str | int, ...]

Slot: TypeAlias = tuple[int, Path]
"""(the event's place in the chunk, where what it says stood)"""

ENVELOPE = ("responseId", "modelVersion", "createTime")


class ChunkForm(msgspec.Struct, frozen=True):
    """`skeleton` is the wire event without what its events and its leftovers carry."""

    skeleton: dict[str, Any] = {}
    slots: list[Slot] = []
    repeats: tuple[str, ...] = ()


class Draft:
    """The events and slots of the chunk that is being read."""

    __slots__ = ("events", "slots")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.slots: list[Slot] = []

    def add(self, event: Event) -> None:
        """An event that the chunk implies."""
        self.events.append(event)

    def take(self, event: Event, path: Path) -> None:
        """An event that says what stood at `path`."""
        self.slots.append((len(self.events), path))
        self.events.append(event)


def repeated(started: Started, key: str) -> Any:
    """What the first chunk said for one of the `ENVELOPE`."""
    match key:
        case "responseId":
            return started.id
        case "modelVersion":
            return started.model
        case _:
            return own_form(started, DIALECT)


def restore(form: ChunkForm, left: dict[str, Any], events: list[Event], started: Started | None) -> dict[str, Any]:
    """The wire event's JSON. Nothing that the chunk holds is changed."""
    document: dict[str, Any] = _copied({**form.skeleton, **left})
    if started is not None:
        for name in form.repeats:
            document[name] = repeated(started, name)
    for at, path in form.slots:
        holder: Any = document
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = _fact(events, at)
    return document


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _fact(events: list[Event], at: int) -> Any:
    match event := events[at]:
        case TextDelta() | ThinkingDelta():
            return event.text
        case SignatureDelta():
            return event.signature
        case BlockStart(part=ToolUse() as use):
            said = events[at + 1]
            assert isinstance(said, ArgumentsDelta), "a call's arguments follow its start"
            return write_own_part(msgspec.structs.replace(use, arguments=said.fragment))
        case BlockStart(part=part):
            return write_own_part(part)
        case UsageSeen():
            return write_usage(event.usage)
        case _:
            raise AssertionError(f"{type(event).__name__} holds nothing that a chunk states")
