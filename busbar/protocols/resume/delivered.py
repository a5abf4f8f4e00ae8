"""What of a streamed answer the caller has: enough to go on with it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Citation,
    CitationDelta,
    Ended,
    Event,
    Part,
    Ping,
    RedactedThinking,
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
from busbar.protocols.protocol import Hop, Trace
from busbar.protocols.usage import Usage, merged

CHARS_MAX = 1 << 20
"""Of one answer, texts, thoughts, arguments and citations together; a longer one is not insured any further."""
BLOCKS_MAX = 1024
CHARS_PER_TOKEN = 4
"""To estimate what a provider generated that broke before it said so."""


def events_in(wire: bytes) -> int:
    """How many named events a writer of ours wrote there. (Dialects that number their events name them.)"""
    return wire.count(b"\ndata: ")


class Block:
    """A block as far as the caller has it. `part` is its first form, without anything that it says."""

    __slots__ = ("_pieces", "citations", "open", "part", "signature", "signer")

    def __init__(self, part: Part, said: str = "") -> None:
        self.part = part
        self.signature = ""
        self.signer = ""
        self.citations: list[Citation] = []
        self.open = True
        self._pieces = [said] if said else []

    @property
    def said(self) -> str:
        """The text, the thought, or the arguments."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def say(self, more: str) -> None:
        self._pieces.append(more)

    def events(self, index: int) -> list[Event]:
        """Its events, each kind in one piece."""
        events: list[Event] = [BlockStart(index=index, part=self.part)]
        if said := self.said:
            match self.part:
                case Text():
                    events.append(TextDelta(index=index, text=said))
                case Thinking():
                    events.append(ThinkingDelta(index=index, text=said))
                case _:
                    events.append(ArgumentsDelta(index=index, fragment=said))
        if self.signature:
            events.append(SignatureDelta(index=index, signature=self.signature, signer=self.signer))
        events += [CitationDelta(index=index, citation=citation) for citation in self.citations]
        return events if self.open else [*events, BlockStop(index=index)]


class Delivered:
    """Sees every chunk that was written to the caller, in the IR's words. `hop` is the first attempt's: whatever was
    minted for the answer was minted from it.

    `insured` says whether the answer can be gone on with: it has one choice, and holds nothing but text, thinking
    and tool calls, not too much of them.
    """

    __slots__ = ("_chars", "blocks", "hop", "insured", "started", "stop", "trace", "usage")

    def __init__(self, hop: Hop) -> None:
        self.hop = hop
        self.insured = True
        self.started: Started | None = None
        self.blocks: list[Block] = []
        """By their index."""
        self.usage: Usage | None = None
        self.stop: Stop | None = None
        """The model has said all that it will: what is missing is at most the usage and the terminal event."""
        self.trace = Trace()
        self._chars = 0

    def take(self, chunks: Sequence[Chunk], wire: bytes) -> None:
        """Chunks that a writer of ours made `wire` of."""
        for chunk in chunks:
            self.see(chunk)
        if self.insured:
            self.trace = replace(self.trace, number=self.trace.number + events_in(wire))

    def see(self, chunk: Chunk) -> None:
        for event in chunk.events:
            if self.insured:
                self._see(event)

    def lose(self) -> None:
        """The answer is not insured any more, and needs no memory."""
        self.insured = False
        self.blocks.clear()

    @property
    def text(self) -> str:
        return "".join(block.said for block in self.blocks if isinstance(block.part, Text))

    @property
    def calls(self) -> int:
        return sum(isinstance(block.part, ToolUse) for block in self.blocks)

    @property
    def spent(self) -> Usage:
        """What the attempts so far used. Of what was generated, a provider that breaks mostly says nothing: then it
        is estimated."""
        usage = self.usage or Usage()
        estimate = -(-sum(len(block.said) for block in self.blocks) // CHARS_PER_TOKEN)
        return Usage(
            input_tokens=usage.input_tokens,
            output_tokens=max(usage.output_tokens or 0, estimate),
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
            reasoning_tokens=usage.reasoning_tokens,
        )

    def events(self) -> list[Event]:
        """The answer so far, as the shortest stream that says it."""
        started = self.started or Started(id="", model="")
        events: list[Event] = [started]
        for index, block in enumerate(self.blocks):
            events += block.events(index)
        if self.usage is not None:
            events.append(UsageSeen(usage=self.usage))
        return events if self.stop is None else [*events, Stopped(stop=self.stop)]

    def _see(self, event: Event) -> None:
        match event:
            case Started():
                self.usage = merged(self.usage, event.usage)
                if self.started is None:
                    self.started = Started(id=event.id, model=event.model, created=event.created)
            case BlockStart(choice=0, index=index, part=part) if index == len(self.blocks) < BLOCKS_MAX:
                self._begin(part)
            case TextDelta(choice=0, index=index, text=said) | ThinkingDelta(choice=0, index=index, text=said):
                self._say(index, said)
            case ArgumentsDelta(choice=0, index=index, fragment=said):
                self._say(index, said)
            case SignatureDelta(choice=0):
                block = self.blocks[event.index]
                block.signature, block.signer = block.signature + event.signature, event.signer
                self._count(len(event.signature))
            case CitationDelta(choice=0, index=index, citation=citation):
                self.blocks[index].citations.append(citation)
                self._count(sum(len(text or "") for text in (citation.cited_text, citation.url, citation.title)) + 64)
            case BlockStop(choice=0, index=index):
                self.blocks[index].open = False
            case UsageSeen(usage=usage):
                self.usage = merged(self.usage, usage)
            case Stopped(choice=0, stop=stop):
                self.stop = stop
            case Ping() | Ended():
                pass
            case _:
                self.lose()

    def _begin(self, part: Part) -> None:
        match part:
            case Text(text=said, signature=signature, signer=signer):
                block = Block(Text(text=""), said)
            case Thinking(text=said, signature=signature, signer=signer):
                block = Block(Thinking(text=""), said)
            case RedactedThinking(data=data, signer=signer):
                block, said, signature = Block(RedactedThinking(data=data, signer=signer)), data, None
            case ToolUse(arguments=said):
                use = ToolUse(id=part.id, name=part.name, arguments="", signature=part.signature, signer=part.signer)
                block, signature, signer = Block(use, said), None, None
            case _:
                self.lose()
                return
        block.signature, block.signer = signature or "", signer or ""
        self.blocks.append(block)
        self._count(len(said))

    def _say(self, index: int, said: str) -> None:
        if index < len(self.blocks):
            self.blocks[index].say(said)
            self._count(len(said))

    def _count(self, chars: int) -> None:
        self._chars += chars
        if self._chars > CHARS_MAX:
            self.lose()
