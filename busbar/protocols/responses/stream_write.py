"""Writing a stream of the Responses dialect.

Own chunks go back as they came. Of another dialect's events this makes the sequence that OpenAI itself sends:

    response.created, response.in_progress
    for each item: output_item.added, its parts and their deltas, each with its `.done`, output_item.done
    response.completed, .incomplete or .failed, with the finished items and the usage

What the `.done` events repeat is kept in pieces until then and joined once (`stream_blocks`). The terminal event
waits for the end, as other dialects state usage after the reason to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.chunk_writer import ChunkWriter
from busbar.protocols.errors import ErrorReport
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    CitationDelta,
    Ended,
    Errored,
    Event,
    OpaqueEvent,
    Ping,
    RedactedThinking,
    Refusal,
    RefusalDelta,
    SignatureDelta,
    Started,
    Stop,
    Stopped,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses.answer_write import response_frame
from busbar.protocols.responses.errors import failed_error
from busbar.protocols.responses.stops import report_stop, write_stop
from busbar.protocols.responses.stream_blocks import Block, Call, Message, Output, Thought
from busbar.protocols.responses.stream_form import restore
from busbar.protocols.responses.usage import write_usage
from busbar.protocols.responses.words import DIALECT
from busbar.protocols.usage import Usage, merged

_KEEP_ALIVE = b": keep-alive\n\n"
_CONTENT = "choices[0].content"
_encode = msgspec.json.Encoder().encode


class ResponsesStreamWriter(ChunkWriter):
    """A `StreamWriter`. After the terminal event or an error nothing more is written."""

    __slots__ = ("_blocks", "_frame", "_hop", "_message", "_output", "_stop", "_usage")

    def __init__(self, hop: Hop, receipt: Receipt) -> None:
        super().__init__(DIALECT, _EVENTS, receipt)
        self._hop = hop
        self._frame: dict[str, Any] | None = None
        self._output = Output(hop)
        self._blocks: dict[int, Block] = {}
        self._message: Message | None = None
        """The message to which a next text would belong."""
        self._usage: Usage | None = None
        self._stop: Stop | None = None

    def _error(self, report: ErrorReport) -> bytes:
        frame = self._frame or response_frame("", "", None, self._hop)
        return failed_event({**frame, "output": self._output.finished}, report, self._output.sequence)

    def _own(self, chunk: Chunk) -> bytes:
        """The wire event that the chunk was. What it says of the response is noted, lest it breaks."""
        for event in chunk.events:
            if isinstance(event, Started):
                self._frame = response_frame(event.id, event.model, event.created, self._hop) | {"id": event.id}
        name, document = restore(chunk)
        if type(number := document.get("sequence_number")) is int:
            self._output.sequence = number + 1
        return encode_event(_encode(document), name)

    def _start(self, event: Started) -> bytes:
        if self._frame is not None:
            return b""
        report_leftovers(event, DIALECT, "", self._receipt)
        self._usage = merged(self._usage, event.usage)
        self._frame = response_frame(event.id, event.model, event.created, self._hop)
        return self._output.event("response.created", response=self._frame) + self._output.event(
            "response.in_progress", response=self._frame
        )

    def _begin(self, event: BlockStart) -> bytes:
        if event.choice != 0:
            self._receipt.dropped(f"choices[{event.choice}]", "an answer is one turn")
            return b""
        begun = b"" if self._frame is not None else self._start(Started(id="", model=""))
        part = event.part
        match part:
            case Text() | Refusal():
                report_leftovers(part, DIALECT, _CONTENT, self._receipt)
                return begun + self._begin_text(event.index, part)
            case Thinking():
                report_leftovers(part, DIALECT, _CONTENT, self._receipt)
                thought = self._blocks[event.index] = Thought(self._output)
                out = begun + self._end_message() + thought.begin()
                return out + (thought.say(part.text) if part.text else b"")
            case RedactedThinking() if part.signer == DIALECT:
                thought = self._blocks[event.index] = Thought(self._output)
                thought.state = part.data
                return begun + self._end_message() + thought.begin()
            case ToolUse():
                call = self._blocks[event.index] = Call(self._output)
                out = begun + self._end_message() + call.begin(part, _CONTENT, self._receipt)
                return out + (call.say(part.arguments) if part.arguments else b"")
            case _:
                self._receipt.dropped(_CONTENT, "no place in an answer of this dialect")
                return begun

    def _begin_text(self, index: int, part: Text | Refusal) -> bytes:
        out = b""
        if self._message is None:
            self._message = Message(self._output)
            out = self._message.begin()
        piece, added = self._message.add(refuses=isinstance(part, Refusal))
        self._blocks[index] = piece
        return out + added + (piece.say(part.text) if part.text else b"")

    def _end_message(self) -> bytes:
        """Another item begins: a text that comes later is another message."""
        message, self._message = self._message, None
        return b"" if message is None else message.leave()

    def _say(self, event: TextDelta | ThinkingDelta | RefusalDelta) -> bytes:
        block = self._blocks.get(event.index) if event.choice == 0 else None
        return block.say(event.text) if block is not None and event.text else b""

    def _arguments(self, event: ArgumentsDelta) -> bytes:
        block = self._blocks.get(event.index) if event.choice == 0 else None
        return block.say(event.fragment) if block is not None and event.fragment else b""

    def _cite(self, event: CitationDelta) -> bytes:
        block = self._blocks.get(event.index) if event.choice == 0 else None
        if block is not None:
            block.citations.append(event.citation)
        return b""

    def _sign(self, event: SignatureDelta) -> bytes:
        block = self._blocks.get(event.index) if event.choice == 0 else None
        if event.signer != DIALECT:
            self._receipt.dropped(f"{_CONTENT}.signature", "signature of another provider")
        elif isinstance(block, Thought):
            block.state = event.signature
        return b""

    def _end(self, event: BlockStop) -> bytes:
        block = self._blocks.pop(event.index, None) if event.choice == 0 else None
        return b"" if block is None else block.end(self._receipt)

    def _stopped(self, event: Stopped) -> bytes:
        if event.choice == 0:
            self._stop = event.stop
            report_stop(event.stop, "choices[0].stop", self._receipt)
        return b""

    def _count(self, event: UsageSeen) -> bytes:
        report_leftovers(event.usage, DIALECT, "usage", self._receipt)
        self._usage = merged(self._usage, event.usage)
        return b""

    def _finish(self, _: Ended) -> bytes:
        out = b"" if self._frame is not None else self._start(Started(id="", model=""))
        out += b"".join([block.end(self._receipt) for block in self._blocks.values()])
        self._blocks.clear()
        out += self._end_message()
        self._over = True
        response = {**(self._frame or {}), **write_stop(self._stop), "output": self._output.finished}
        if self._usage is not None:
            response["usage"] = write_usage(self._usage)
        if response["status"] == "failed":
            response["error"] = {"code": "server_error", "message": "The model failed to finish its answer."}
        return out + self._output.event(f"response.{response['status']}", response=response)

    def _opaque(self, event: OpaqueEvent) -> bytes:
        self._receipt.dropped(event.kind, f"only {event.dialect} has it")
        return b""


def failed_event(frame: dict[str, Any], report: ErrorReport, sequence: int) -> bytes:
    """The event by which a response says that it broke; nothing follows it."""
    response = {**frame, "status": "failed", "error": failed_error(report)}
    event = {"type": "response.failed", "response": response, "sequence_number": sequence}
    return encode_event(_encode(event), "response.failed")


_EVENTS: Mapping[type[Event], Callable[[ResponsesStreamWriter, Any], bytes]] = {
    Started: ResponsesStreamWriter._start,
    BlockStart: ResponsesStreamWriter._begin,
    TextDelta: ResponsesStreamWriter._say,
    ThinkingDelta: ResponsesStreamWriter._say,
    RefusalDelta: ResponsesStreamWriter._say,
    ArgumentsDelta: ResponsesStreamWriter._arguments,
    CitationDelta: ResponsesStreamWriter._cite,
    SignatureDelta: ResponsesStreamWriter._sign,
    BlockStop: ResponsesStreamWriter._end,
    Stopped: ResponsesStreamWriter._stopped,
    UsageSeen: ResponsesStreamWriter._count,
    OpaqueEvent: ResponsesStreamWriter._opaque,
    Ping: lambda writer, event: _KEEP_ALIVE,
    Errored: lambda writer, event: b"",
    Ended: ResponsesStreamWriter._finish,
}
