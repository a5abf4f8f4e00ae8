"""Where the blocks of a new stream go among those that the caller has.

A text (or a thought) of the new stream goes on in the open block of its kind, if the caller has one; else it opens
one of its own, and whatever still stood open then ends before. Indexes go on without gaps.
"""

from __future__ import annotations

from collections.abc import Sequence

from busbar.protocols.ir import BlockStart, BlockStop, Event, Part, Text, Thinking
from busbar.protocols.resume.delivered import Block


class Places:
    """Index in the new stream → index in the caller's."""

    __slots__ = ("_next", "_of", "_open")

    def __init__(self, delivered: Sequence[Block]) -> None:
        self._of: dict[int, int] = {}
        self._open: dict[int, type] = {index: type(block.part) for index, block in enumerate(delivered) if block.open}
        self._next = len(delivered)

    def get(self, index: int) -> int | None:
        """None: the caller knows nothing of that block."""
        return self._of.get(index)

    def take(self, index: int, place: int) -> None:
        """The block goes on in one that the caller has."""
        self._of[index] = place

    def go_on(self, index: int, kind: type) -> int | None:
        """The place where a block of that kind goes on; None where nothing of the kind stands open."""
        found = self._of.get(index)
        if found is None:
            found = next((place for place in reversed(self._left_open()) if self._open[place] is kind), None)
            if found is not None:
                self._of[index] = found
        return found

    def ensure(self, index: int, part: Part) -> list[Event]:
        """The events by which the block of a piece that is about to come is there."""
        return [] if self.go_on(index, type(part)) is not None else self.begin(index, part)

    def begin(self, index: int, part: Part) -> list[Event]:
        """The events by which a new block begins. Calls may be open beside it, text and thinking not."""
        events = [self._end(place) for place in self._left_open() if self._open[place] in (Text, Thinking)]
        place = self._of[index] = self._next
        self._next += 1
        self._open[place] = type(part)
        return [*events, BlockStart(index=place, part=part)]

    def end(self, index: int) -> list[Event]:
        place = self._of.get(index)
        return [] if place is None or place not in self._open else [self._end(place)]

    def end_all(self) -> list[Event]:
        return [self._end(place) for place in list(self._open)]

    def _left_open(self) -> list[int]:
        """Blocks that the first provider left open, and that nothing goes on with."""
        taken = set(self._of.values())
        return [place for place in self._open if place not in taken]

    def _end(self, place: int) -> Event:
        del self._open[place]
        return BlockStop(index=place)
