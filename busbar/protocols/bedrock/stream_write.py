"""Chunks of IR events → eventstream messages of this dialect.

Chunks that were read from this dialect become the same messages again (`stream_replay`). For any other dialect's this
is a small state machine. What it adds to a plain mapping:

- Only tool calls have a `contentBlockStart`; a text or thinking begins with its first delta, and gets its index then,
  so that a block which says nothing leaves no trace. Every block that began has one `contentBlockStop`.
- `messageStop` follows the last block at once; `metadata` waits for the end, and says the usage, always.
- What has no place is reported once per kind, never per event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.bedrock.citations import write_citation
from busbar.protocols.bedrock.errors import write_stream_error
from busbar.protocols.bedrock.fit_parts import PartFitter
from busbar.protocols.bedrock.stops import stated_stop
from busbar.protocols.bedrock.stream_form import event_frame
from busbar.protocols.bedrock.stream_replay import replay
from busbar.protocols.bedrock.usage import write_foreign_usage
from busbar.protocols.bedrock.words import DIALECT, SIGNER, foreign_stop_word
from busbar.protocols.chunk_writer import ChunkWriter
from busbar.protocols.errors import ErrorReport
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

_CONTENT = "choices[0].content"
_DELTA = b'{"contentBlockIndex":%d,"delta":{%b%b}}'
_SOLE_DELTA = b'{"contentBlockIndex":%d,"delta":{%b{%b%b}}}'
_STOP = b'{"contentBlockIndex":%d}'
_MESSAGE_START = event_frame("messageStart", b'{"role":"assistant"}')


class BedrockStreamWriter(ChunkWriter):
    """A `StreamWriter`. After the terminal event or an error nothing more is written."""

    __slots__ = (
        "_fitter",
        "_places",
        "_refused",
        "_started",
        "_stopped",
        "_tool_used",
        "_unsigned",
        "_usage",
        "_written",
    )

    def __init__(self, hop: Hop, receipt: Receipt) -> None:
        super().__init__(DIALECT, _EVENTS, receipt)
        self._fitter = PartFitter(receipt, hop.nonce)
        self._places: dict[int, int | None] = {}
        """Index in the IR → index on the wire, of blocks that are open there; None: nothing was said yet."""
        self._unsigned: set[int] = set()
        """Thinking blocks that have no signature yet: theirs is empty, which tells `mend` what they are."""
        self._written = 0
        self._usage: Usage | None = None
        self._started = False
        self._stopped = False
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
        return _MESSAGE_START

    def _block_start(self, event: BlockStart) -> bytes:
        if event.choice != 0:
            self._receipt.dropped(f"choices[{event.choice}]", "an answer is one message")
            return b""
        begun = b"" if self._started else self._start(Started(id="", model=""))
        part = event.part
        match part:
            case Text(text=text) | Refusal(text=text) | Thinking(text=text):
                report_leftovers(part, DIALECT, _CONTENT, self._receipt)
                self._refused = self._refused or isinstance(part, Refusal)
                self._places[event.index] = None
                if isinstance(part, Thinking):
                    self._unsigned.add(event.index)
                if not text:
                    return begun
                return begun + self._say(event.index, _THINKING if isinstance(part, Thinking) else _TEXT, text)
            case ToolUse():
                return begun + self._tool(event.index, part)
            case RedactedThinking(signer=signer) if signer == SIGNER:
                self._places[event.index] = None
                return begun + self._say(event.index, _REDACTED, part.data)
            case RedactedThinking():
                self._receipt.dropped(_CONTENT, "thinking that only another provider can read")
            case Opaque(dialect=dialect, kind=kind):
                self._receipt.dropped(_CONTENT, f"only {dialect} has {kind}")
            case _:
                self._receipt.dropped(_CONTENT, f"no {type(part).__name__.lower()} in an answer")
        return begun

    def _tool(self, index: int, part: ToolUse) -> bytes:
        report_leftovers(part, DIALECT, _CONTENT, self._receipt)
        if part.signature is not None:
            self._receipt.dropped(f"{_CONTENT}.signature", "calls are not signed here")
        self._tool_used = True
        begun = self._begin(index, {"toolUse": {"toolUseId": self._fitter.call_id(part.id), "name": part.name}})
        return begun + (self._say(index, _ARGUMENTS, part.arguments) if part.arguments else b"")

    def _begin(self, index: int, start: Any) -> bytes:
        place = self._places[index] = self._written
        self._written += 1
        return event_frame("contentBlockStart", _encode({"contentBlockIndex": place, "start": start}))

    def _say(self, index: int, kind: tuple[bytes, bytes], said: str) -> bytes:
        """A delta of an open block; its first one gives a text its place. Nothing for blocks that are not there."""
        place = self._place(index)
        if place is None:
            return b""
        outer, inner = kind
        text = _encode(said)
        payload = _SOLE_DELTA % (place, outer, inner, text) if inner else _DELTA % (place, outer, text)
        return event_frame("contentBlockDelta", payload)

    def _place(self, index: int) -> int | None:
        if index not in self._places:
            return None
        place = self._places[index]
        if place is None:
            place = self._places[index] = self._written
            self._written += 1
        return place

    def _text(self, event: TextDelta) -> bytes:
        return self._say(event.index, _TEXT, event.text) if event.choice == 0 and event.text else b""

    def _refusal(self, event: RefusalDelta) -> bytes:
        return self._say(event.index, _TEXT, event.text) if event.choice == 0 and event.text else b""

    def _thinking(self, event: ThinkingDelta) -> bytes:
        return self._say(event.index, _THINKING, event.text) if event.choice == 0 and event.text else b""

    def _arguments(self, event: ArgumentsDelta) -> bytes:
        return self._say(event.index, _ARGUMENTS, event.fragment) if event.choice == 0 else b""

    def _signature(self, event: SignatureDelta) -> bytes:
        if event.signer != SIGNER:
            self._receipt.dropped(f"{_CONTENT}.signature", "signature of another provider")
            return b""
        self._unsigned.discard(event.index)
        return self._say(event.index, _SIGNATURE, event.signature) if event.choice == 0 else b""

    def _citation(self, event: CitationDelta) -> bytes:
        citation = self._fitter.fit_citation(event.citation, f"{_CONTENT}.citations")
        place = self._place(event.index) if event.choice == 0 else None
        if place is None:
            return b""
        delta = {"contentBlockIndex": place, "delta": {"citation": write_citation(citation)}}
        return event_frame("contentBlockDelta", _encode(delta))

    def _block_stop(self, event: BlockStop) -> bytes:
        if event.choice != 0 or event.index not in self._places:
            return b""
        begun = self._places[event.index] is not None
        unsigned = self._say(event.index, _SIGNATURE, "") if begun and event.index in self._unsigned else b""
        place = self._places.pop(event.index)
        self._unsigned.discard(event.index)
        return b"" if place is None else unsigned + event_frame("contentBlockStop", _STOP % place)

    def _stop(self, event: Stopped) -> bytes:
        if event.choice != 0 or self._stopped:
            return b""
        return self._message_stop(event.stop)

    def _message_stop(self, stop: Stop | None) -> bytes:
        begun = b"" if self._started else self._start(Started(id="", model=""))
        self._stopped = True
        left_open = [place for place in self._places.values() if place is not None]
        self._places.clear()
        stops = b"".join(event_frame("contentBlockStop", _STOP % place) for place in left_open)
        word = foreign_stop_word(stop, tool_used=self._tool_used, refused=self._refused)
        return begun + stops + event_frame("messageStop", _encode(stated_stop(stop, word)))

    def _usage_seen(self, event: UsageSeen) -> bytes:
        self._usage = merged(self._usage, event.usage)
        return b""

    def _nothing(self, event: Ping | Errored) -> bytes:
        return b""

    def _ended(self, event: Ended) -> bytes:
        stop = b"" if self._stopped else self._message_stop(None)
        self._over = True
        metadata = {"usage": write_foreign_usage(self._usage), "metrics": {"latencyMs": 0}}
        return stop + event_frame("metadata", _encode(metadata))

    def _opaque(self, event: OpaqueEvent) -> bytes:
        self._receipt.dropped(event.kind, f"only {event.dialect} has it")
        return b""


_TEXT = (b'"text":', b"")
_THINKING = (b'"reasoningContent":', b'"text":')
_SIGNATURE = (b'"reasoningContent":', b'"signature":')
_REDACTED = (b'"reasoningContent":', b'"redactedContent":')
_ARGUMENTS = (b'"toolUse":', b'"input":')

_EVENTS: Mapping[type, Callable[[BedrockStreamWriter, Any], bytes]] = {
    Started: BedrockStreamWriter._start,
    BlockStart: BedrockStreamWriter._block_start,
    TextDelta: BedrockStreamWriter._text,
    ThinkingDelta: BedrockStreamWriter._thinking,
    SignatureDelta: BedrockStreamWriter._signature,
    ArgumentsDelta: BedrockStreamWriter._arguments,
    CitationDelta: BedrockStreamWriter._citation,
    RefusalDelta: BedrockStreamWriter._refusal,
    BlockStop: BedrockStreamWriter._block_stop,
    Stopped: BedrockStreamWriter._stop,
    UsageSeen: BedrockStreamWriter._usage_seen,
    Ping: BedrockStreamWriter._nothing,
    Ended: BedrockStreamWriter._ended,
    Errored: BedrockStreamWriter._nothing,
    OpaqueEvent: BedrockStreamWriter._opaque,
}
