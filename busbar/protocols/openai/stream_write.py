"""Writing a stream of the Chat Completions dialect.

Own chunks go back as they came. Another dialect's events become chunks as OpenAI itself sends them: a role chunk
first, one delta per event, a chunk with the finish reason, the usage in a chunk without choices if the caller asked
for it, `[DONE]`. What every chunk repeats is encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.chunk_writer import ChunkWriter
from busbar.protocols.errors import ErrorReport
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.ids import answer_id
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Citation,
    CitationDelta,
    Ended,
    Errored,
    Event,
    OpaqueEvent,
    Ping,
    RefusalDelta,
    SignatureDelta,
    Started,
    Stop,
    Stopped,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.openai.answer_write import call_id, write_citation
from busbar.protocols.openai.errors import write_stream_error
from busbar.protocols.openai.stops import finish_word, report_stop
from busbar.protocols.openai.stream_form import ChunkForm, restore
from busbar.protocols.openai.tools import tool_name
from busbar.protocols.openai.usage import write_usage
from busbar.protocols.openai.words import ANSWER_ID, DIALECT
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage, merged

_DONE = b"data: [DONE]\n\n"
_KEEP_ALIVE = b": keep-alive\n\n"
_encode = msgspec.json.Encoder().encode


class _Block:
    """An open block: what a delta into it needs to know."""

    __slots__ = ("begins_at", "call", "citations", "said")

    def __init__(self, call: int, begins_at: int) -> None:
        self.call = call
        """The ordinal of its tool call, or -1."""
        self.begins_at = begins_at
        """Where its text begins in the answer's, in characters."""
        self.citations: list[Citation] = []
        self.said = False


class _Choice:
    __slots__ = ("annotations", "blocks", "calls", "chars", "head", "stopped", "text_head")

    def __init__(self, head: bytes) -> None:
        self.head = head
        """The bytes of a chunk up to the delta."""
        self.text_head = head + b'{"content":'
        self.blocks: dict[int, _Block] = {}
        self.annotations: list[dict[str, Any]] = []
        """Those of the texts that ended. All are told in one delta, as providers do: OpenAI's own SDK adds deltas up,
        and cannot add a second list of entries without indexes."""
        self.calls = 0
        self.chars = 0
        self.stopped = False


class OpenaiStreamWriter(ChunkWriter):
    """A `StreamWriter`: chunks of events, from any dialect, to wire bytes."""

    __slots__ = ("_choices", "_envelope", "_hop", "_started", "_tail", "_text_tail", "_usage")

    def __init__(self, hop: Hop, receipt: Receipt) -> None:
        super().__init__(DIALECT, _WRITERS, receipt)
        self._hop = hop
        self._choices: dict[int, _Choice] = {}
        self._started: Started | None = None
        self._envelope = b""
        self._tail = b',"usage":null}\n\n' if hop.stream_usage else b"}\n\n"
        self._text_tail = b'},"logprobs":null,"finish_reason":null}]' + self._tail
        self._usage: Usage | None = None

    def _error(self, report: ErrorReport) -> bytes:
        return write_stream_error(report)

    def _own(self, chunk: Chunk) -> bytes:
        native = chunk.native
        assert native is not None, "it was read from this dialect"
        for event in chunk.events:
            if isinstance(event, Started):
                self._started = event
        if not isinstance(native.form, ChunkForm):
            return b""  # the provider ended without a word
        if native.form.done:
            return _DONE
        document = restore(native.form, native.fields, chunk.events, self._started)
        return encode_event(_encode(document), native.form.event)

    def _start(self, event: Started) -> bytes:
        self._open(event)
        if event.usage is not None:
            self._count(UsageSeen(usage=event.usage))
        report_leftovers(event, DIALECT, "", self._receipt)
        return self._choice(0)[1]

    def _open(self, event: Started) -> None:
        self._started = event
        constant = {
            "id": answer_id(event.id, ANSWER_ID, self._hop.nonce),
            "object": "chat.completion.chunk",
            "created": self._hop.now if event.created is None else event.created,
            "model": event.model or self._hop.model,
        }
        self._envelope = b"data: " + _encode(constant)[:-1] + b',"choices":['

    def _choice(self, index: int) -> tuple[_Choice, bytes]:
        """The choice, and the chunk that announces its role when it is the first that one hears of it."""
        found = self._choices.get(index)
        if found is not None:
            return found, b""
        if not self._envelope:
            self._open(Started(id="", model=""))
        head = self._envelope + b'{"index":%d,"delta":' % index
        found = self._choices[index] = _Choice(head)
        return found, self._delta(found, b'{"role":"assistant","content":"","refusal":null}')

    def _delta(self, choice: _Choice, delta: bytes, finish: bytes = b"null") -> bytes:
        return b'%b%b,"logprobs":null,"finish_reason":%b}]%b' % (choice.head, delta, finish, self._tail)

    def _begin(self, event: BlockStart) -> bytes:
        choice, out = self._choice(event.choice)
        block = choice.blocks[event.index] = _Block(-1, choice.chars)
        match event.part:
            case Text(text=text):
                return out + (self._say(choice, text) if text else b"")
            case Thinking(text=text):
                return out + (self._delta(choice, b'{"reasoning_content":%b}' % _encode(text)) if text else b"")
            case ToolUse() as use:
                block.call = choice.calls
                choice.calls += 1
                return out + self._begin_call(choice, block, use)
            case _:
                self._receipt.dropped("choices[0].content", "no place in an answer of this dialect")
                return out

    def _begin_call(self, choice: _Choice, block: _Block, use: ToolUse) -> bytes:
        block.said = bool(use.arguments)
        name = tool_name(use.name, "choices[0].content.name", self._receipt)
        call = {
            "index": block.call,
            "id": call_id(use.id, block.call, self._hop.nonce),
            "type": "function",
            "function": {"name": name, "arguments": use.arguments},
        }
        return self._delta(choice, b'{"tool_calls":[%b]}' % _encode(call))

    def _say(self, choice: _Choice, text: str) -> bytes:
        choice.chars += len(text)
        return choice.text_head + _encode(text) + self._text_tail

    def _text(self, event: TextDelta) -> bytes:
        choice = self._choices.get(event.choice)
        if choice is not None:
            return self._say(choice, event.text)
        choice, out = self._choice(event.choice)
        return out + self._say(choice, event.text)

    def _thinking(self, event: ThinkingDelta) -> bytes:
        choice, out = self._choice(event.choice)
        return out + self._delta(choice, b'{"reasoning_content":%b}' % _encode(event.text))

    def _refusal(self, event: RefusalDelta) -> bytes:
        choice, out = self._choice(event.choice)
        return out + self._delta(choice, b'{"refusal":%b}' % _encode(event.text))

    def _arguments(self, event: ArgumentsDelta) -> bytes:
        choice, out = self._choice(event.choice)
        block = choice.blocks.get(event.index)
        if block is None or not event.fragment:
            return out
        block.said = True
        return out + self._fragment(choice, block.call, event.fragment)

    def _fragment(self, choice: _Choice, call: int, fragment: str) -> bytes:
        delta = b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (call, _encode(fragment))
        return self._delta(choice, delta)

    def _citation(self, event: CitationDelta) -> bytes:
        """Kept until its block ends: only then is it known where the cited text does."""
        choice, out = self._choice(event.choice)
        block = choice.blocks.get(event.index)
        if block is not None:
            block.citations.append(event.citation)
        return out

    def _end(self, event: BlockStop) -> bytes:
        choice, out = self._choice(event.choice)
        block = choice.blocks.pop(event.index, None)
        if block is None:
            return out
        if block.call >= 0 and not block.said:
            return out + self._fragment(choice, block.call, "{}")
        length = choice.chars - block.begins_at
        written = [
            write_citation(citation, block.begins_at, length, "choices[0].content.citations", self._receipt)
            for citation in block.citations
        ]
        choice.annotations += [annotation for annotation in written if annotation is not None]
        return out

    def _stop(self, event: Stopped) -> bytes:
        choice, out = self._choice(event.choice)
        choice.stopped = True
        if choice.annotations:
            out += self._delta(choice, b'{"annotations":%b}' % _encode(choice.annotations))
        report_stop(event.stop, f"choices[{event.choice}].stop", self._receipt)
        return out + self._delta(choice, b"{}", _encode(finish_word(event.stop)))

    def _count(self, event: UsageSeen) -> bytes:
        report_leftovers(event.usage, DIALECT, "usage", self._receipt)
        self._usage = merged(self._usage, event.usage)
        return b""

    def _finish(self, _: Ended) -> bytes:
        out = b"".join(
            self._stop(Stopped(choice=index, stop=Stop(reason=StopReason.END_TURN)))
            for index, choice in self._choices.items()
            if not choice.stopped
        )
        if self._hop.stream_usage and self._usage is not None:
            out += self._envelope + b'],"usage":%b}\n\n' % _encode(write_usage(self._usage))
        return out + _DONE

    def _sign(self, _: SignatureDelta) -> bytes:
        self._receipt.dropped("choices[0].content.signature", "no place in this dialect")
        return b""

    def _opaque(self, event: OpaqueEvent) -> bytes:
        self._receipt.dropped(event.kind, f"only {event.dialect} knows it")
        return b""


_WRITERS: Mapping[type[Event], Callable[[OpenaiStreamWriter, Any], bytes]] = {
    Started: OpenaiStreamWriter._start,
    BlockStart: OpenaiStreamWriter._begin,
    TextDelta: OpenaiStreamWriter._text,
    ThinkingDelta: OpenaiStreamWriter._thinking,
    RefusalDelta: OpenaiStreamWriter._refusal,
    ArgumentsDelta: OpenaiStreamWriter._arguments,
    CitationDelta: OpenaiStreamWriter._citation,
    SignatureDelta: OpenaiStreamWriter._sign,
    BlockStop: OpenaiStreamWriter._end,
    Stopped: OpenaiStreamWriter._stop,
    UsageSeen: OpenaiStreamWriter._count,
    OpaqueEvent: OpenaiStreamWriter._opaque,
    Ping: lambda writer, event: _KEEP_ALIVE,
    Errored: lambda writer, event: b"",  # who relays the stream decides what its caller is told
    Ended: OpenaiStreamWriter._finish,
}
