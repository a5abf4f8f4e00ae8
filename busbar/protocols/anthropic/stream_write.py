"""Chunks of IR events → server-sent events of this dialect.

Chunks that were read from this dialect become the same events again (`stream_replay`). For any other dialect's this
is a small state machine. What it adds to a plain mapping:

- Blocks get the wire's own indexes, in the order in which they start; blocks without a place here are left out.
- `message_delta` waits for the end: it states the reason to stop and the usage together, and other dialects send
  usage after the reason. Nothing but usage can come in between, so nobody waits for content.
- What has no place is reported once per kind, never per event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.anthropic.blocks_write import write_block
from busbar.protocols.anthropic.errors import write_stream_error
from busbar.protocols.anthropic.fit_parts import NO_CITATIONS, PartFitter
from busbar.protocols.anthropic.stream_replay import replay
from busbar.protocols.anthropic.usage import write_foreign_usage
from busbar.protocols.anthropic.words import DIALECT, MESSAGE_ID, foreign_stop_word
from busbar.protocols.chunk_writer import ChunkWriter
from busbar.protocols.errors import ErrorReport
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.ids import answer_id
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    CitationDelta,
    Ended,
    Errored,
    Opaque,
    OpaqueEvent,
    Part,
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
from busbar.protocols.usage import Usage, merged

_encode = msgspec.json.Encoder().encode

_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b%b}}\n\n'
_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class AnthropicStreamWriter(ChunkWriter):
    """A `StreamWriter`. After the terminal event or an error nothing more is written."""

    __slots__ = ("_fitter", "_hop", "_indexes", "_refused", "_started", "_stop", "_tool_used", "_usage", "_written")

    def __init__(self, hop: Hop, receipt: Receipt) -> None:
        super().__init__(DIALECT, _EVENTS, receipt)
        self._hop = hop
        self._fitter = PartFitter(receipt, hop.nonce)
        self._indexes: dict[int, int | None] = {}
        """Index in the IR → index on the wire, of open blocks; None for a block that has no place."""
        self._written = 0
        self._usage: Usage | None = None
        self._stop: Stop | None = None
        self._started = False
        self._tool_used = False
        self._refused = False

    def _own(self, chunk: Chunk) -> bytes:
        return replay(chunk)

    def _error(self, report: ErrorReport) -> bytes:
        return write_stream_error(report)

    def _start(self, event: Started) -> bytes:
        if self._started:
            return b""
        self._started = True
        report_leftovers(event, DIALECT, "", self._receipt)
        self._usage = merged(self._usage, event.usage)
        message: dict[str, Any] = {
            "id": answer_id(event.id, MESSAGE_ID, self._hop.nonce),
            "type": "message",
            "role": "assistant",
            "model": event.model or self._hop.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_foreign_usage(event.usage),
        }
        return encode_event(_encode({"type": "message_start", "message": message}), "message_start")

    def _block_start(self, event: BlockStart) -> bytes:
        if event.choice != 0:
            self._receipt.dropped(f"choices[{event.choice}]", "an answer is one message")
            return b""
        begun = b"" if self._started else self._start(Started(id="", model=""))
        opening = self._opening(event.part)
        if opening is None:
            self._indexes[event.index] = None
            return begun
        block, delta = opening
        place = self._indexes[event.index] = self._written
        self._written += 1
        start = {"type": "content_block_start", "index": place, "content_block": block}
        return begun + encode_event(_encode(start), "content_block_start") + (_delta(place, *delta) if delta else b"")

    def _opening(self, part: Part) -> tuple[Any, tuple[bytes, str] | None] | None:
        """A block's first form, and the delta for what it holds already; None when it has no place here."""
        match part:
            case Text(text=text) | Refusal(text=text):
                report_leftovers(part, DIALECT, "choices[0].content", self._receipt)
                self._refused = self._refused or isinstance(part, Refusal)
                return {"type": "text", "text": ""}, (_TEXT, text) if text else None
            case Thinking(text=text):
                report_leftovers(part, DIALECT, "choices[0].content", self._receipt)
                return {"type": "thinking", "thinking": "", "signature": ""}, (_THINKING, text) if text else None
            case ToolUse(arguments=arguments):
                report_leftovers(part, DIALECT, "choices[0].content", self._receipt)
                self._tool_used = True
                block = {"type": "tool_use", "id": self._fitter.call_id(part.id), "name": part.name, "input": {}}
                return block, (_ARGUMENTS, arguments) if arguments else None
            case RedactedThinking() | Opaque():
                fitted = self._fitter.fit(part, "answer", "choices[0].content")
                return None if fitted is None else (write_block(fitted), None)
            case _:
                self._receipt.dropped("choices[0].content", f"no {type(part).__name__.lower()} in an answer")
                return None

    def _text(self, event: TextDelta) -> bytes:
        place = self._indexes.get(event.index) if event.choice == 0 else None
        return b"" if place is None else _delta(place, _TEXT, event.text)

    def _refusal(self, event: RefusalDelta) -> bytes:
        place = self._indexes.get(event.index) if event.choice == 0 else None
        return b"" if place is None else _delta(place, _TEXT, event.text)

    def _thinking(self, event: ThinkingDelta) -> bytes:
        place = self._indexes.get(event.index) if event.choice == 0 else None
        return b"" if place is None else _delta(place, _THINKING, event.text)

    def _arguments(self, event: ArgumentsDelta) -> bytes:
        place = self._indexes.get(event.index) if event.choice == 0 else None
        return b"" if place is None else _delta(place, _ARGUMENTS, event.fragment)

    def _signature(self, event: SignatureDelta) -> bytes:
        place = self._indexes.get(event.index) if event.choice == 0 else None
        if event.signer != DIALECT:
            self._receipt.dropped("choices[0].content.signature", "signature of another provider")
            return b""
        return b"" if place is None else _delta(place, _SIGNATURE, event.signature)

    def _citation(self, event: CitationDelta) -> bytes:
        self._receipt.dropped("choices[0].content.citations", NO_CITATIONS)
        return b""

    def _block_stop(self, event: BlockStop) -> bytes:
        place = self._indexes.pop(event.index, None) if event.choice == 0 else None
        return b"" if place is None else _STOP % place

    def _stopped(self, event: Stopped) -> bytes:
        if event.choice == 0:
            self._stop = event.stop
        return b""

    def _usage_seen(self, event: UsageSeen) -> bytes:
        self._usage = merged(self._usage, event.usage)
        return b""

    def _ping(self, event: Ping) -> bytes:
        return _PING

    def _ended(self, event: Ended) -> bytes:
        begun = b"" if self._started else self._start(Started(id="", model=""))
        open_blocks = b"".join(_STOP % place for place in self._indexes.values() if place is not None)
        self._over = True
        word = foreign_stop_word(self._stop, tool_used=self._tool_used, refused=self._refused)
        sequence = None if self._stop is None else self._stop.sequence
        delta = {
            "type": "message_delta",
            "delta": {"stop_reason": word, "stop_sequence": sequence},
            "usage": write_foreign_usage(self._usage),
        }
        return begun + open_blocks + encode_event(_encode(delta), "message_delta") + _MESSAGE_STOP

    def _errored(self, event: Errored) -> bytes:
        return b""

    def _opaque(self, event: OpaqueEvent) -> bytes:
        self._receipt.dropped(event.kind, f"only {event.dialect} has it")
        return b""


def _delta(place: int, kind: bytes, text: str) -> bytes:
    return _DELTA % (place, kind, _encode(text))


_TEXT = b'"text_delta","text":'
_THINKING = b'"thinking_delta","thinking":'
_ARGUMENTS = b'"input_json_delta","partial_json":'
_SIGNATURE = b'"signature_delta","signature":'

_EVENTS: Mapping[type, Callable[[AnthropicStreamWriter, Any], bytes]] = {
    Started: AnthropicStreamWriter._start,
    BlockStart: AnthropicStreamWriter._block_start,
    TextDelta: AnthropicStreamWriter._text,
    ThinkingDelta: AnthropicStreamWriter._thinking,
    SignatureDelta: AnthropicStreamWriter._signature,
    ArgumentsDelta: AnthropicStreamWriter._arguments,
    CitationDelta: AnthropicStreamWriter._citation,
    RefusalDelta: AnthropicStreamWriter._refusal,
    BlockStop: AnthropicStreamWriter._block_stop,
    Stopped: AnthropicStreamWriter._stopped,
    UsageSeen: AnthropicStreamWriter._usage_seen,
    Ping: AnthropicStreamWriter._ping,
    Ended: AnthropicStreamWriter._ended,
    Errored: AnthropicStreamWriter._errored,
    OpaqueEvent: AnthropicStreamWriter._opaque,
}
