"""The items of a stream that is being written, each with the events that it is told by.

    Message   output_item.added │ for each piece: content_part.added, deltas, annotations, .done │ output_item.done
    Thought   output_item.added │ summary_part.added, deltas, .done (when it says anything)      │ output_item.done
    Call      output_item.added │ arguments deltas, .done                                        │ output_item.done

A block keeps the pieces of its text: the `.done` events and the finished response repeat it whole. The bytes of a
delta that do not change are encoded once.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from busbar.protocols.framing.sse import encode_event
from busbar.protocols.ir import Citation, ToolUse
from busbar.protocols.protocol import Hop, WireItem
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.answer_write import (
    call_item,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)
from busbar.protocols.responses.content_write import write_citation

_encode = msgspec.json.Encoder().encode


class Output:
    """What all items of one stream share: the count of events, and of items. `finished` are the items as the
    response will repeat them, each at its place once it has begun."""

    __slots__ = ("_known", "_named", "finished", "hop", "sequence")

    def __init__(self, hop: Hop) -> None:
        self.hop = hop
        self.sequence = hop.trace.number
        self.finished: list[dict[str, Any]] = []
        self._known = list(hop.trace.items)
        """Items that the caller has already, of which the blocks are still to come."""
        self._named: dict[int, WireItem] = {}
        """Such items, by their place."""

    def event(self, kind: str, **facts: Any) -> bytes:
        document = {"type": kind, **facts, "sequence_number": self.sequence}
        self.sequence += 1
        return encode_event(_encode(document), kind)

    def place(self, kind: str) -> int:
        """The place of a new item. Thoughts that the caller has, and that say nothing, are no blocks in the IR: they
        stay where they are."""
        while self._known:
            known = self._named[len(self.finished)] = self._known.pop(0)
            if known.kind == kind:
                break
            self.finished.append({"id": known.id, "type": known.kind, "summary": []})
        self.finished.append({})
        return len(self.finished) - 1

    def named(self, place: int, item: dict[str, Any]) -> dict[str, Any]:
        """`item` under the id by which the caller knows it."""
        known = self._named.get(place)
        return item if known is None else {**item, "id": known.id}

    def added(self, place: int, item: dict[str, Any]) -> bytes:
        self.finished[place] = item
        return self.event("response.output_item.added", output_index=place, item=item)

    def done(self, place: int, item: dict[str, Any]) -> bytes:
        self.finished[place] = item
        known = self._named.get(place)
        if known is not None and known.done:
            return b""
        return self.event("response.output_item.done", output_index=place, item=item)


class _Deltas:
    """One growing text. `head` is a delta's bytes up to the text itself."""

    __slots__ = ("_head", "_output", "_tail", "said")

    def __init__(self, output: Output, kind: str, tail: bytes = b"", **where: Any) -> None:
        self._output = output
        opening = _encode({"type": kind, **where})[:-1]
        self._head = b"event: %b\ndata: %b" % (kind.encode(), opening) + b',"delta":'
        self._tail = tail + b',"sequence_number":'
        self.said: list[str] = []

    def say(self, text: str) -> bytes:
        self.said.append(text)
        number = self._output.sequence
        self._output.sequence = number + 1
        return b"%b%b%b%d}\n\n" % (self._head, _encode(text), self._tail, number)

    @property
    def text(self) -> str:
        return "".join(self.said)


class Message:
    """A message: one or several texts and refusals."""

    __slots__ = ("_content", "_left", "_open", "_output", "_place", "item_id")

    def __init__(self, output: Output) -> None:
        self._output = output
        self._place = output.place("message")
        self._content: list[dict[str, Any]] = []
        self._open = 0
        self._left = False
        self.item_id = ""

    def begin(self) -> bytes:
        item = self._output.named(self._place, message_item(self._place, [], "in_progress", self._output.hop))
        self.item_id = item["id"]
        return self._output.added(self._place, item)

    def add(self, *, refuses: bool) -> tuple[Piece, bytes]:
        """A next piece, and the event that announces it."""
        nth = len(self._content)
        empty = refusal_part("") if refuses else text_part("", [])
        self._content.append(empty)
        self._open += 1
        where = {"item_id": self.item_id, "output_index": self._place, "content_index": nth}
        event = self._output.event("response.content_part.added", **where, part=empty)
        return Piece(self, self._output, where, refuses=refuses), event

    def end_piece(self, nth: int, part: dict[str, Any]) -> bytes:
        self._content[nth] = part
        self._open -= 1
        return self._done() if self._left and not self._open else b""

    def leave(self) -> bytes:
        """No further piece comes. The message is done when its last open piece is."""
        self._left = True
        return b"" if self._open else self._done()

    def _done(self) -> bytes:
        item = message_item(self._place, self._content, "completed", self._output.hop)
        return self._output.done(self._place, self._output.named(self._place, item))


class Piece:
    """A text or a refusal of a message."""

    __slots__ = ("_deltas", "_message", "_output", "_refuses", "_where", "citations")

    def __init__(self, message: Message, output: Output, where: dict[str, Any], *, refuses: bool) -> None:
        kind, tail = ("refusal", b"") if refuses else ("output_text", b',"logprobs":[]')
        self._message = message
        self._output = output
        self._where = where
        self._refuses = refuses
        self._deltas = _Deltas(output, f"response.{kind}.delta", tail, **where)
        self.citations: list[Citation] = []

    def say(self, text: str) -> bytes:
        return self._deltas.say(text)

    def end(self, receipt: Receipt) -> bytes:
        text = self._deltas.text
        output, where = self._output, self._where
        if self._refuses:
            part = refusal_part(text)
            out = output.event("response.refusal.done", **where, refusal=text)
        else:
            out, annotations = self._annotate(len(text), receipt)
            part = text_part(text, annotations)
            out += output.event("response.output_text.done", **where, text=text, logprobs=[])
        out += output.event("response.content_part.done", **where, part=part)
        return out + self._message.end_piece(where["content_index"], part)

    def _annotate(self, length: int, receipt: Receipt) -> tuple[bytes, list[dict[str, Any]]]:
        """Only now is it known where a cited text ends."""
        out = b""
        annotations: list[dict[str, Any]] = []
        for citation in self.citations:
            annotation = write_citation(citation, length, "choices[0].content.citations", receipt)
            if annotation is not None:
                facts = {**self._where, "annotation_index": len(annotations), "annotation": annotation}
                out += self._output.event("response.output_text.annotation.added", **facts)
                annotations.append(annotation)
        return out, annotations


class Thought:
    """A reasoning item. `state` is what this dialect's providers go on from."""

    __slots__ = ("_deltas", "_item", "_output", "_place", "_where", "citations", "state")

    def __init__(self, output: Output) -> None:
        self._output = output
        self._place = output.place("reasoning")
        self._item = output.named(self._place, reasoning_item(self._place, "", None, output.hop))
        self._where = {"item_id": self._item["id"], "output_index": self._place, "summary_index": 0}
        self._deltas: _Deltas | None = None
        self.state: str | None = None
        self.citations: list[Citation] = []

    def begin(self) -> bytes:
        return self._output.added(self._place, self._item)

    def say(self, text: str) -> bytes:
        out = b""
        if self._deltas is None:
            self._deltas = _Deltas(self._output, "response.reasoning_summary_text.delta", **self._where)
            out = self._output.event(
                "response.reasoning_summary_part.added", **self._where, part={"type": "summary_text", "text": ""}
            )
        return out + self._deltas.say(text)

    def end(self, receipt: Receipt) -> bytes:
        output, text = self._output, ""
        out = b""
        if self._deltas is not None:
            text = self._deltas.text
            out = output.event("response.reasoning_summary_text.done", **self._where, text=text)
            part = {"type": "summary_text", "text": text}
            out += output.event("response.reasoning_summary_part.done", **self._where, part=part)
        item = output.named(self._place, reasoning_item(self._place, text, self.state, output.hop))
        return out + output.done(self._place, item)


class Call:
    """A function call."""

    __slots__ = ("_deltas", "_item", "_output", "_place", "_where", "citations")

    def __init__(self, output: Output) -> None:
        self._output = output
        self._place = output.place("function_call")
        self.citations: list[Citation] = []

    def begin(self, use: ToolUse, path: str, receipt: Receipt) -> bytes:
        item = call_item(use, self._place, path, "in_progress", self._output.hop, receipt)
        item = self._output.named(self._place, item)
        item["arguments"] = ""
        self._item = item
        self._where = {"item_id": item["id"], "output_index": self._place}
        self._deltas = _Deltas(self._output, "response.function_call_arguments.delta", **self._where)
        return self._output.added(self._place, item)

    def say(self, text: str) -> bytes:
        return self._deltas.say(text)

    def end(self, receipt: Receipt) -> bytes:
        """A call without any argument text gets the empty object, which is what the model meant."""
        out = b"" if self._deltas.said else self._deltas.say("{}")
        arguments, output = self._deltas.text, self._output
        out += output.event("response.function_call_arguments.done", **self._where, arguments=arguments)
        return out + output.done(self._place, {**self._item, "arguments": arguments, "status": "completed"})


Block: TypeAlias = Piece | Thought | Call
