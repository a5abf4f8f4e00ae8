"""Writing a stream of this dialect, as server-sent events or as a JSON array.

Own chunks go back as they came. Of another dialect's, every delta becomes a chunk; a function call is written whole
when its block ends, as this dialect has no pieces of arguments; reasons to stop, citations and usage wait for the end
of the stream and stand in the last chunk. What every chunk repeats is encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.chunk_writer import ChunkWriter
from busbar.protocols.errors import ErrorReport
from busbar.protocols.framing import FRAME_BYTES_MAX, FrameTooLarge
from busbar.protocols.framing.json_array import JsonArrayWriter
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.gemini.answer_write import write_answer_call
from busbar.protocols.gemini.errors import write_error_document
from busbar.protocols.gemini.fit_parts import fit_media
from busbar.protocols.gemini.grounding import GROUNDING, GroundingWriter, bytes_in
from busbar.protocols.gemini.stream_form import ChunkForm, restore
from busbar.protocols.gemini.usage import write_usage
from busbar.protocols.gemini.words import DIALECT, TOOL_CALL_ID, answer_id, finish_word, report_stop
from busbar.protocols.ids import mint_id
from busbar.protocols.ir import (
    ArgumentsDelta,
    Audio,
    BlockStart,
    BlockStop,
    Chunk,
    Citation,
    CitationDelta,
    Document,
    Ended,
    Errored,
    Event,
    Image,
    OpaqueEvent,
    Ping,
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

ARRAY = "array"
"""The framing of a stream that was asked for without `alt=sse`."""

_PATH = "choices[0].content"
_encode = msgspec.json.Encoder().encode


class _Block:
    """An open block: a call collects its arguments, a text what is cited of it."""

    __slots__ = ("begins_at", "call", "citations", "fragments", "size", "thinks")

    def __init__(self, begins_at: int, call: ToolUse | None = None, *, thinks: bool = False) -> None:
        self.begins_at = begins_at
        self.call = call
        self.thinks = thinks
        self.citations: list[Citation] = []
        self.fragments: list[str] = []
        self.size = 0


class _Choice:
    __slots__ = ("blocks", "bytes", "calls", "grounding", "stop", "tail")

    def __init__(self, index: int, envelope: bytes, receipt: Receipt) -> None:
        self.tail = b'],"role":"model"},"index":%d}]%b' % (index, envelope)
        self.blocks: dict[int, _Block] = {}
        self.bytes = 0
        """Of text, so far: citations count in them."""
        self.calls = 0
        self.grounding = GroundingWriter(receipt)
        self.stop: Stop | None = None


class GeminiStreamWriter(ChunkWriter):
    """A `StreamWriter`: chunks of events, from any dialect, to wire bytes."""

    __slots__ = ("_array", "_choices", "_envelope", "_hop", "_started", "_usage")

    def __init__(self, hop: Hop, receipt: Receipt) -> None:
        super().__init__(DIALECT, _WRITERS, receipt)
        self._hop = hop
        self._array = JsonArrayWriter() if hop.framing == ARRAY else None
        self._choices: dict[int, _Choice] = {}
        self._started: Started | None = None
        self._envelope = b""
        self._usage: Usage | None = None

    def _error(self, report: ErrorReport) -> bytes:
        out = self._emit(write_error_document(report))
        return out if self._array is None else out + self._array.close()

    def _emit(self, document: bytes) -> bytes:
        return encode_event(document) if self._array is None else self._array.element(document)

    def _close(self) -> bytes:
        return b"" if self._array is None else self._array.close()

    def _own(self, chunk: Chunk) -> bytes:
        native = chunk.native
        assert native is not None, "it was read from this dialect"
        for event in chunk.events:
            if isinstance(event, Started):
                self._started = event
            elif isinstance(event, Ended):
                return self._close()
        if not isinstance(native.form, ChunkForm):
            return b""
        document = restore(native.form, native.fields, chunk.events, self._started)
        return self._emit(_encode(document))

    def _start(self, event: Started) -> bytes:
        self._open(event)
        report_leftovers(event, DIALECT, "", self._receipt)
        if event.usage is not None:
            self._usage = merged(self._usage, event.usage)
        return b""

    def _open(self, event: Started) -> None:
        constant = {
            "modelVersion": event.model or self._hop.model,
            "responseId": answer_id(event.id, self._hop.nonce),
        }
        self._envelope = b"," + _encode(constant)[1:]

    def _choice(self, index: int) -> _Choice:
        found = self._choices.get(index)
        if found is None:
            if not self._envelope:
                self._open(Started(id="", model=""))
            found = self._choices[index] = _Choice(index, self._envelope, self._receipt)
        return found

    def _part(self, choice: _Choice, part: bytes) -> bytes:
        return self._emit(b'{"candidates":[{"content":{"parts":[%b%b' % (part, choice.tail))

    def _say(self, choice: _Choice, text: str) -> bytes:
        if not text:
            return b""
        choice.bytes += bytes_in(text)
        return self._part(choice, b'{"text":%b}' % _encode(text))

    def _think(self, choice: _Choice, text: str) -> bytes:
        return self._part(choice, b'{"text":%b,"thought":true}' % _encode(text)) if text else b""

    def _begin(self, event: BlockStart) -> bytes:
        choice = self._choice(event.choice)
        block = choice.blocks[event.index] = _Block(choice.bytes)
        match event.part:
            case Text(text=text):
                return self._say(choice, text)
            case Thinking(text=text):
                block.thinks = True
                return self._think(choice, text)
            case ToolUse() as use:
                block.call = use
                block.fragments = [use.arguments]
                return b""
            case Image() | Document() | Audio() as media:
                written = fit_media(media, _PATH, self._receipt)
                return b"" if written is None else self._part(choice, _encode(written))
            case _:
                self._receipt.dropped(_PATH, "no place in an answer of this dialect")
                return b""

    def _text(self, event: TextDelta) -> bytes:
        return self._say(self._choice(event.choice), event.text)

    def _refusal(self, event: RefusalDelta) -> bytes:
        return self._say(self._choice(event.choice), event.text)

    def _thinking(self, event: ThinkingDelta) -> bytes:
        return self._think(self._choice(event.choice), event.text)

    def _sign(self, event: SignatureDelta) -> bytes:
        choice = self._choice(event.choice)
        block = choice.blocks.get(event.index)
        if event.signer != DIALECT:
            self._receipt.dropped(f"{_PATH}.signature", "signature of another provider")
            return b""
        part: dict[str, Any] = {"text": "", "thoughtSignature": event.signature}
        if block is not None and block.thinks:
            part["thought"] = True
        return self._part(choice, _encode(part))

    def _arguments(self, event: ArgumentsDelta) -> bytes:
        """Raises `FrameTooLarge`."""
        block = self._choice(event.choice).blocks.get(event.index)
        if block is not None:
            block.fragments.append(event.fragment)
            block.size += len(event.fragment)
            if block.size > FRAME_BYTES_MAX:
                raise FrameTooLarge
        return b""

    def _citation(self, event: CitationDelta) -> bytes:
        """Kept until its block ends: only then is it known where the cited text does."""
        block = self._choice(event.choice).blocks.get(event.index)
        if block is not None:
            block.citations.append(event.citation)
        return b""

    def _end(self, event: BlockStop) -> bytes:
        choice = self._choice(event.choice)
        block = choice.blocks.pop(event.index, None)
        if block is None:
            return b""
        for citation in block.citations:
            choice.grounding.add(citation, block.begins_at, choice.bytes, f"{_PATH}.citations")
        if block.call is None:
            return b""
        minted = mint_id(TOOL_CALL_ID, self._hop.nonce, event.index)
        first = choice.calls == 0
        choice.calls += 1
        arguments = "".join(block.fragments)
        part = write_answer_call(block.call, arguments, minted, _PATH, self._receipt, first=first)
        return self._part(choice, _encode(part))

    def _stop(self, event: Stopped) -> bytes:
        report_stop(event.stop, f"choices[{event.choice}].stop", self._receipt)
        self._choice(event.choice).stop = event.stop
        return b""

    def _count(self, event: UsageSeen) -> bytes:
        report_leftovers(event.usage, DIALECT, "usage", self._receipt)
        self._usage = merged(self._usage, event.usage)
        return b""

    def _finish(self, _: Ended) -> bytes:
        self._choice(0)
        candidates = [_last(index, choice) for index, choice in self._choices.items()]
        usage = b"" if self._usage is None else b',"usageMetadata":' + _encode(write_usage(self._usage))
        out = self._emit(b'{"candidates":%b%b%b' % (_encode(candidates), usage, self._envelope))
        return out + self._close()

    def _opaque(self, event: OpaqueEvent) -> bytes:
        self._receipt.dropped(event.kind, f"only {event.dialect} knows it")
        return b""


def _last(index: int, choice: _Choice) -> dict[str, Any]:
    word = "STOP" if choice.stop is None else finish_word(choice.stop)
    last: dict[str, Any] = {
        "content": {"parts": [{"text": ""}], "role": "model"},
        "finishReason": word,
        "index": index,
    }
    if (metadata := choice.grounding.metadata()) is not None:
        last[GROUNDING] = metadata
    return last


_WRITERS: Mapping[type[Event], Callable[[GeminiStreamWriter, Any], bytes]] = {
    Started: GeminiStreamWriter._start,
    BlockStart: GeminiStreamWriter._begin,
    TextDelta: GeminiStreamWriter._text,
    ThinkingDelta: GeminiStreamWriter._thinking,
    RefusalDelta: GeminiStreamWriter._refusal,
    ArgumentsDelta: GeminiStreamWriter._arguments,
    CitationDelta: GeminiStreamWriter._citation,
    SignatureDelta: GeminiStreamWriter._sign,
    BlockStop: GeminiStreamWriter._end,
    Stopped: GeminiStreamWriter._stop,
    UsageSeen: GeminiStreamWriter._count,
    OpaqueEvent: GeminiStreamWriter._opaque,
    Ping: lambda writer, event: b"",  # the Python SDK takes a comment for the beginning of an error
    Errored: lambda writer, event: b"",  # who relays the stream decides what its caller is told
    Ended: GeminiStreamWriter._finish,
}
