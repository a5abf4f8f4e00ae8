"""The items and blocks of a stream that is being read: which are open, and how much of each was said.

Providers send every text twice, in deltas and whole; some send only the whole. What the whole has beyond the deltas
is given as a last delta, so that nothing is missed and nothing is said twice.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    CitationDelta,
    Event,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    RefusalDelta,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
)
from busbar.protocols.responses.content_read import read_citation
from busbar.protocols.responses.items_read import THOUGHT_SEPARATOR, read_output
from busbar.protocols.responses.stream_form import Draft, Path
from busbar.protocols.responses.words import DIALECT

ITEMS_MAX = 4096
"""More output items than any answer has; deltas of further ones are malformed."""


class Block(Struct):
    """`said`: how many characters deltas have given, `citations`: how many annotations."""

    index: int
    kind: type[Any]
    said: int = 0
    citations: int = 0
    closed: bool = False


class Item(Struct):
    """An output item. A message has `parts` by content index, a thought or call one `block`."""

    kind: str
    parts: dict[Any, Block] = {}
    block: Block | None = None
    piece: Any = None
    """The summary or text of the thought that spoke last."""
    done: bool = False


class Blocks:
    """Everything that is open in one stream."""

    __slots__ = ("_items", "_next", "called_tool")

    def __init__(self) -> None:
        self._items: dict[Any, Item] = {}
        self._next = 0
        self.called_tool = False

    def knows(self, place: Any) -> bool:
        return place in self._items

    def add_item(self, place: Any, kind: Any) -> Item:
        if len(self._items) >= ITEMS_MAX:
            raise KeyError(place)
        item = self._items[place] = Item(kind=str(kind))
        return item

    def item(self, place: Any) -> Item:
        """The item at `place`; one that was never announced begins now."""
        found = self._items.get(place)
        return found if found is not None else self.add_item(place, "")

    def start(self, part: Part) -> tuple[Block, BlockStart]:
        block = Block(index=self._next, kind=type(part))
        self._next += 1
        return block, BlockStart(index=block.index, part=part)

    def part(self, item: Item, place: Any, kind: type[Text] | type[Refusal], draft: Draft) -> Block:
        """The open block at `place`; one that was never announced begins now. Raises KeyError for one that ended."""
        block = item.parts.get(place)
        if block is None:
            block, start = self.start(kind(text=""))
            item.parts[place] = block
            draft.add(start)
        if block.closed or block.kind is not kind:
            raise KeyError(place)
        return block

    def think(self, item: Item, piece: Any, text: str, draft: Draft) -> ThinkingDelta:
        """The delta for `text`; a thought's block begins with its first one, its pieces stand apart."""
        block = item.block
        if block is None:
            block, start = self.start(Thinking(text=""))
            item.block = block
            draft.add(start)
        if block.closed or block.kind is not Thinking:
            raise KeyError(piece)
        if item.piece is not None and item.piece != piece and block.said:
            draft.add(ThinkingDelta(index=block.index, text=THOUGHT_SEPARATOR))
            block.said += len(THOUGHT_SEPARATOR)
        item.piece = piece
        block.said += len(text)
        return ThinkingDelta(index=block.index, text=text)

    def finish_part(self, block: Block, part: dict[str, Any], draft: Draft) -> None:
        if block.closed:
            return
        text = part.get("text") if block.kind is Text else part.get("refusal")
        _say_rest(block, text, draft)
        annotations = part.get("annotations")
        cited = [found for each in annotations or () if (found := read_citation(each)) is not None]
        for citation in cited[block.citations :]:
            draft.add(CitationDelta(index=block.index, citation=citation))
        _close(block, draft)

    def finish_item(self, place: Any, value: dict[str, Any], draft: Draft, at: Path | None) -> None:
        """The item as a whole: ends what is open of it, or is all there was of it. `at` is where it stands in the
        draft's wire event, if facts may be taken from there."""
        item = self._items.get(place)
        if item is not None and item.done:
            return
        if item is None or (not item.parts and item.block is None):
            item = item or self.add_item(place, value.get("type"))
            self._whole(value, draft, at)
        elif item.block is not None:
            self._finish_single(item.block, value, draft, at)
        else:
            content = value.get("content")
            parts = dict(enumerate(content)) if isinstance(content, list) else {}
            for nth, block in item.parts.items():
                self.finish_part(block, parts.get(nth) or {}, draft)
        item.done = True

    def close_all(self, draft: Draft) -> None:
        """Ends the blocks that the provider left open, so that every start has its end."""
        for item in self._items.values():
            for block in (*item.parts.values(), *([item.block] if item.block is not None else ())):
                _close(block, draft)

    def _finish_single(self, block: Block, value: dict[str, Any], draft: Draft, at: Path | None) -> None:
        if block.closed:
            return
        if block.kind is ToolUse:
            _say_rest(block, value.get("arguments"), draft)
        elif state := value.get("encrypted_content"):
            _take(draft, SignatureDelta(index=block.index, signature=state, signer=DIALECT), at, "encrypted_content")
        _close(block, draft)

    def _whole(self, value: dict[str, Any], draft: Draft, at: Path | None) -> None:
        for part in read_output([value]).parts:
            if isinstance(part, Opaque):
                continue
            empty, deltas = _emptied(part)
            block, start = self.start(empty)
            if isinstance(part, RedactedThinking):
                _take(draft, start, at, "encrypted_content")
            else:
                draft.add(start)
            self.called_tool = self.called_tool or isinstance(part, ToolUse)
            for delta in deltas:
                delta.index = block.index
                draft.add(delta)
            _close(block, draft)


def _emptied(part: Part) -> tuple[Part, list[Any]]:
    """A block's empty form, and what it holds as deltas."""
    match part:
        case Text(text=text, citations=citations):
            cited = [CitationDelta(index=0, citation=citation) for citation in citations]
            return Text(text="", native=part.native), [TextDelta(index=0, text=text), *cited]
        case Refusal(text=text):
            return Refusal(text="", native=part.native), [RefusalDelta(index=0, text=text)]
        case Thinking(text=text, signature=state):
            signed = [] if state is None else [SignatureDelta(index=0, signature=state, signer=DIALECT)]
            return Thinking(text=""), [ThinkingDelta(index=0, text=text), *signed]
        case ToolUse(arguments=arguments):
            use = ToolUse(id=part.id, name=part.name, arguments="", native=part.native)
            return use, [ArgumentsDelta(index=0, fragment=arguments)]
        case _:
            return part, []


def _say_rest(block: Block, whole: Any, draft: Draft) -> None:
    if not isinstance(whole, str) or len(whole) <= block.said:
        return
    rest, block.said = whole[block.said :], len(whole)
    if block.kind is ToolUse:
        draft.add(ArgumentsDelta(index=block.index, fragment=rest))
    elif block.kind is Refusal:
        draft.add(RefusalDelta(index=block.index, text=rest))
    else:
        draft.add(TextDelta(index=block.index, text=rest))


def _close(block: Block, draft: Draft) -> None:
    if not block.closed:
        block.closed = True
        draft.add(BlockStop(index=block.index))


def _take(draft: Draft, event: Event, at: Path | None, key: str) -> None:
    if at is None:
        draft.add(event)
    else:
        draft.take(event, (*at, key))
