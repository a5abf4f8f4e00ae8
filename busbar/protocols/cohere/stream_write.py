"""Chunks of IR events → server-sent events of this dialect.

Chunks that were read from this dialect become the same events again (`stream_form`). For any other dialect's this is
a small state machine. What it adds to a plain mapping:

- Content and tool calls get the wire's own indexes, counted apart, in the order in which they start.
- `message-end` waits for the end: it states the reason to stop and the usage together.
- A citation that names no passage waits for the end of its text, and is then of all of it.
- What has no place is reported once per kind, never per event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.chunk_writer import ChunkWriter
from busbar.protocols.cohere.calls import call_id, minted_call_id
from busbar.protocols.cohere.citations import write_citation
from busbar.protocols.cohere.errors import write_stream_error
from busbar.protocols.cohere.stream_form import DONE, EventForm, restore
from busbar.protocols.cohere.usage import write_foreign_usage
from busbar.protocols.cohere.words import DIALECT, answer_id, report_stop, stop_word
from busbar.protocols.errors import ErrorReport
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Citation,
    CitationDelta,
    Ended,
    Errored,
    OpaqueEvent,
    Ping,
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
from busbar.protocols.usage import Usage, merged

_encode = msgspec.json.Encoder().encode

_START = (
    b'event: content-start\ndata: {"type":"content-start","index":%d,'
    b'"delta":{"message":{"content":{"type":"%b","%b":""}}}}\n\n'
)
_DELTA = (
    b'event: content-delta\ndata: {"type":"content-delta","index":%d,"delta":{"message":{"content":{"%b":%b}}}}\n\n'
)
_STOP = b'event: content-end\ndata: {"type":"content-end","index":%d}\n\n'
_ARGUMENTS = (
    b'event: tool-call-delta\ndata: {"type":"tool-call-delta","index":%d,'
    b'"delta":{"message":{"tool_calls":{"function":{"arguments":%b}}}}}\n\n'
)
_CALL_STOP = b'event: tool-call-end\ndata: {"type":"tool-call-end","index":%d}\n\n'
_KEEP_ALIVE = b": keep-alive\n\n"
_END = b"data: %b\n\n" % DONE
_EMPTY_MESSAGE = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
_BLOCK = "choices[0].content"


class _Block:
    """An open block. `key` is the kind of its content, empty for a tool call; `place` its index on the wire."""

    __slots__ = ("chars", "key", "place", "said", "waiting")

    def __init__(self, key: bytes, place: int) -> None:
        self.key = key
        self.place = place
        self.said = False
        self.chars = 0
        self.waiting: list[Citation] = []


class CohereStreamWriter(ChunkWriter):
    """A `StreamWriter`. After the terminal event or an error nothing is written but the dialect's own `[DONE]`."""

    __slots__ = ("_blocks", "_calls", "_citations", "_contents", "_hop", "_started", "_stop", "_usage")

    def __init__(self, hop: Hop, receipt: Receipt) -> None:
        super().__init__(DIALECT, _EVENTS, receipt)
        self._hop = hop
        self._blocks: dict[int, _Block | None] = {}
        """By index in the IR; None for a block that has no place."""
        self._contents = self._calls = self._citations = 0
        self._usage: Usage | None = None
        self._stop: Stop | None = None
        self._started = False

    def _after_the_end(self, chunk: Chunk) -> bytes:
        """Nothing, but for the dialect's own `[DONE]`."""
        kept = chunk.native
        return self._own(chunk) if kept is not None and kept.dialect == DIALECT else b""

    def _error(self, report: ErrorReport) -> bytes:
        usage = None if self._usage is None else write_foreign_usage(self._usage, self._receipt)
        return write_stream_error(report, usage)

    def _own(self, chunk: Chunk) -> bytes:
        native = chunk.native
        assert native is not None, "it was read from this dialect"
        form = native.form
        assert isinstance(form, EventForm)
        if not form.kind:
            return encode_event(DONE, form.name)
        if self._over:
            return b""
        self._over = form.kind in ("message-end", "error")
        return encode_event(_encode(restore(chunk, native, form)), form.name)

    def _start(self, event: Started) -> bytes:
        if self._started:
            return b""
        self._started = True
        report_leftovers(event, DIALECT, "", self._receipt)
        self._usage = merged(self._usage, event.usage)
        value = {"id": answer_id(event.id, self._hop), "type": "message-start", "delta": {"message": _EMPTY_MESSAGE}}
        return encode_event(_encode(value), "message-start")

    def _block_start(self, event: BlockStart) -> bytes:
        if event.choice != 0:
            self._receipt.dropped(f"choices[{event.choice}]", "an answer is one message")
            return b""
        begun = b"" if self._started else self._start(Started(id="", model=""))
        match event.part:
            case Refusal(text=text):
                self._receipt.changed(_BLOCK, "a refusal is written as text")
                return begun + self._begin(event.index, b"text", text)
            case Text() as part:
                report_leftovers(part, DIALECT, _BLOCK, self._receipt)
                return begun + self._begin(event.index, b"text", part.text)
            case Thinking() as part:
                report_leftovers(part, DIALECT, _BLOCK, self._receipt)
                return begun + self._begin(event.index, b"thinking", part.text)
            case ToolUse() as part:
                return begun + self._begin_call(event.index, part)
            case other:
                self._receipt.dropped(_BLOCK, f"no {type(other).__name__.lower()} in an answer of this dialect")
                self._blocks[event.index] = None
                return begun

    def _begin(self, index: int, key: bytes, text: str) -> bytes:
        block = self._blocks[index] = _Block(key, self._contents)
        self._contents += 1
        start = _START % (block.place, key, key)
        return start + self._say(block, text) if text else start

    def _begin_call(self, index: int, use: ToolUse) -> bytes:
        report_leftovers(use, DIALECT, _BLOCK, self._receipt)
        block = self._blocks[index] = _Block(b"", self._calls)
        block.said = bool(use.arguments)
        self._calls += 1
        function = {"name": use.name, "arguments": use.arguments}
        own = call_id(use.id) or minted_call_id(use.name, self._hop.nonce, block.place)
        call = {"id": own, "type": "function", "function": function}
        value = {"type": "tool-call-start", "index": block.place, "delta": {"message": {"tool_calls": call}}}
        return encode_event(_encode(value), "tool-call-start")

    def _say(self, block: _Block, text: str) -> bytes:
        block.chars += len(text)
        return _DELTA % (block.place, block.key, _encode(text))

    def _text(self, event: TextDelta | ThinkingDelta | RefusalDelta) -> bytes:
        block = self._blocks.get(event.index) if event.choice == 0 else None
        return b"" if block is None or not block.key else self._say(block, event.text)

    def _arguments(self, event: ArgumentsDelta) -> bytes:
        block = self._blocks.get(event.index) if event.choice == 0 else None
        if block is None or block.key or not event.fragment:
            return b""
        block.said = True
        return _ARGUMENTS % (block.place, _encode(event.fragment))

    def _citation(self, event: CitationDelta) -> bytes:
        block = self._blocks.get(event.index) if event.choice == 0 else None
        citation = event.citation
        if block is None or block.key != b"text":
            self._receipt.dropped(f"{_BLOCK}.citations", "only texts are cited")
            return b""
        report_leftovers(citation, DIALECT, f"{_BLOCK}.citations", self._receipt)
        if citation.of_answer and citation.start is not None and citation.end is not None:
            return self._cite(block, citation)
        block.waiting.append(citation)
        return b""

    def _cite(self, block: _Block, citation: Citation) -> bytes:
        at = self._citations
        self._citations += 1
        written = write_citation(citation, block.place, None, block.chars)
        start = {"type": "citation-start", "index": at, "delta": {"message": {"citations": written}}}
        end = {"type": "citation-end", "index": at}
        return encode_event(_encode(start), "citation-start") + encode_event(_encode(end), "citation-end")

    def _block_stop(self, event: BlockStop) -> bytes:
        block = self._blocks.pop(event.index, None) if event.choice == 0 else None
        return b"" if block is None else self._close(block)

    def _close(self, block: _Block) -> bytes:
        if block.key:
            return b"".join([self._cite(block, citation) for citation in block.waiting]) + _STOP % block.place
        arguments = b"" if block.said else _ARGUMENTS % (block.place, b'"{}"')
        return arguments + _CALL_STOP % block.place

    def _signature(self, event: SignatureDelta) -> bytes:
        self._receipt.dropped(f"{_BLOCK}.signature", "no place in this dialect")
        return b""

    def _stopped(self, event: Stopped) -> bytes:
        if event.choice == 0:
            self._stop = event.stop
            report_stop(event.stop, "choices[0].stop", self._receipt)
        return b""

    def _usage_seen(self, event: UsageSeen) -> bytes:
        report_leftovers(event.usage, DIALECT, "usage", self._receipt)
        self._usage = merged(self._usage, event.usage)
        return b""

    def _ping(self, event: Ping) -> bytes:
        return _KEEP_ALIVE

    def _ended(self, event: Ended) -> bytes:
        begun = b"" if self._started else self._start(Started(id="", model=""))
        still_open = b"".join([self._close(block) for block in self._blocks.values() if block is not None])
        self._over = True
        delta = {
            "finish_reason": stop_word(self._stop, tool_used=self._calls > 0),
            "usage": write_foreign_usage(self._usage, self._receipt),
        }
        end = encode_event(_encode({"type": "message-end", "delta": delta}), "message-end")
        return begun + still_open + end + _END

    def _errored(self, event: Errored) -> bytes:
        return b""

    def _opaque(self, event: OpaqueEvent) -> bytes:
        self._receipt.dropped(event.kind, f"only {event.dialect} has it")
        return b""


_EVENTS: Mapping[type, Callable[[CohereStreamWriter, Any], bytes]] = {
    Started: CohereStreamWriter._start,
    BlockStart: CohereStreamWriter._block_start,
    TextDelta: CohereStreamWriter._text,
    ThinkingDelta: CohereStreamWriter._text,
    RefusalDelta: CohereStreamWriter._text,
    ArgumentsDelta: CohereStreamWriter._arguments,
    CitationDelta: CohereStreamWriter._citation,
    SignatureDelta: CohereStreamWriter._signature,
    BlockStop: CohereStreamWriter._block_stop,
    Stopped: CohereStreamWriter._stopped,
    UsageSeen: CohereStreamWriter._usage_seen,
    Ping: CohereStreamWriter._ping,
    Ended: CohereStreamWriter._ended,
    Errored: CohereStreamWriter._errored,
    OpaqueEvent: CohereStreamWriter._opaque,
}
