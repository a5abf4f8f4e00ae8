"""Streams that break, and what goes on with them: the world of the tests beside this file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Ended,
    Event,
    Part,
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
from busbar.protocols.protocol import Hop, Protocol, StreamPipe
from busbar.protocols.receipt import Receipt
from busbar.protocols.resume import Delivered, Resumption, Watched, caught_up
from busbar.protocols.resume.delivered import Block
from busbar.protocols.translate import StreamTranslator
from busbar.protocols.usage import Usage

HOP = Hop(model="there", now=1_700_000_000, nonce="n")
STATED = Usage(input_tokens=10, output_tokens=7)


def events_of(parts: Sequence[Part], size: int) -> Iterator[Event]:
    """The stream of an answer, in pieces of so many characters, without its beginning and its end."""
    for index, part in enumerate(parts):
        said = part.arguments if isinstance(part, ToolUse) else part.text  # type: ignore[union-attr]
        pieces = [said[at : at + size] for at in range(0, len(said), size)]
        match part:
            case ToolUse():
                yield BlockStart(index=index, part=replace(part, arguments=""))
                yield from (ArgumentsDelta(index=index, fragment=piece) for piece in pieces)
            case Thinking():
                yield BlockStart(index=index, part=Thinking(text=""))
                yield from (ThinkingDelta(index=index, text=piece) for piece in pieces)
            case _:
                yield BlockStart(index=index, part=Text(text=""))
                yield from (TextDelta(index=index, text=piece) for piece in pieces)
        yield BlockStop(index=index)


def wire(protocol: Protocol, parts: Sequence[Part], size: int = 4, name: str = "id-1") -> list[bytes]:
    """A whole answer, as a provider of the dialect streams it: one piece for each event that it writes."""
    used = any(isinstance(part, ToolUse) for part in parts)
    writer = protocol.stream_writer(HOP, Receipt())
    events = [
        Started(id=name, model="m", created=1),
        *events_of(parts, size),
        Stopped(stop=Stop(reason=StopReason.TOOL_USE if used else StopReason.END_TURN)),
        UsageSeen(usage=STATED),
        Ended(),
    ]
    return [piece for event in events if (piece := writer.write(Chunk(events=[event])))]


class Broken:
    """A stream of `first` for a caller of `caller`, of which only some pieces came. `out` is what the caller has."""

    def __init__(self, first: Protocol, caller: Protocol, pieces: Sequence[bytes], framing: str = "") -> None:
        hop = replace(HOP, framing=framing)
        self.caller = caller
        self.delivered = Delivered(hop)
        self.pipe: StreamPipe
        if first is caller:
            self.pipe = Watched(caller.stream_tap(framing), first, self.delivered)
        else:
            self.pipe = translator = StreamTranslator(first, caller, hop, Receipt())
            translator.observe = self.delivered.take
        self.out = b"".join([self.pipe.feed(piece) for piece in pieces])

    def resume(self, second: Protocol, prefill: str | None = None) -> Resumption:
        return Resumption(
            second.stream_reader(),
            caught_up(self.delivered, self.caller, Receipt(), stream_usage=True),
            self.delivered,
            prefill,
        )

    def go_on(self, second: Protocol, pieces: Sequence[bytes], prefill: str | None = None) -> Resumption:
        """Feeds a whole stream of `second`; what comes of it is added to `out`."""
        resumption = self.resume(second, prefill)
        for piece in pieces:
            self.out += resumption.feed(piece)
        self.out += resumption.close()
        return resumption


def heard(protocol: Protocol, out: bytes) -> list[Event]:
    """What a caller reads; fails where it cannot."""
    reader = protocol.stream_reader()
    chunks = reader.feed(out) + reader.close()
    assert reader.malformed == 0
    return [event for chunk in chunks for event in chunk.events]


def block(part: Part, said: str, *, whole: bool = False) -> Block:
    """A block as the caller has it; `whole`: it has ended."""
    made = Block(part, said)
    made.open = not whole
    return made


def text(said: str, *, whole: bool = False) -> Block:
    return block(Text(text=""), said, whole=whole)


def thinking(said: str, *, whole: bool = False) -> Block:
    return block(Thinking(text=""), said, whole=whole)


def call(name: str, arguments: str, *, whole: bool = False) -> Block:
    return block(ToolUse(id="call_1", name=name, arguments=""), arguments, whole=whole)
