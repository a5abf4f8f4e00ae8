"""Another provider's stream as the rest of an answer that the caller has the beginning of.

The writer is brought to where the caller is (`caught_up`) by the shortest stream that says what the caller has; what
that writes is thrown away. Then it writes what of the new stream is new (`joint`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec.structs import replace

from busbar.protocols.continuity import TurnCollector
from busbar.protocols.errors import ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    Chunk,
    Ended,
    Errored,
    Event,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.protocol import Protocol, StreamReader, StreamWriter
from busbar.protocols.receipt import Receipt
from busbar.protocols.resume.delivered import Delivered, events_in
from busbar.protocols.resume.joint import Joint
from busbar.protocols.resume.prefix import Diverged
from busbar.protocols.usage import Usage

HELD_EVENTS_MAX = 4096
"""New events that wait for a parallel call, which has to be what the caller has, to end."""


def caught_up(delivered: Delivered, protocol: Protocol, receipt: Receipt, *, stream_usage: bool) -> StreamWriter:
    """A writer of the caller's dialect that goes on where the caller is. (It is brought there twice: the first time
    says how many events that takes, so that the numbers of those that follow are right.)"""
    hop = replace(delivered.hop, stream_usage=stream_usage, trace=replace(delivered.trace, number=0))
    before = Chunk(events=delivered.events())
    taken = events_in(protocol.stream_writer(hop, Receipt()).write(before))
    hop = replace(hop, trace=replace(delivered.trace, number=delivered.trace.number - taken))
    writer = protocol.stream_writer(hop, receipt)
    writer.write(before)
    return writer


class Resumption:
    """A `StreamPipe`. `feed` raises `Diverged` when what comes is not what the caller has, or when the model declines
    to go on: before anything of it was written.

    `prefill` is what the model was given to go on from; None: it was asked from the start. The caller is told the sum
    of what all attempts used. `own_names` and `turn` as for `StreamTranslator`; `on_whole` is called when the answer
    is whole, `on_heard` when the provider says something for the first time.
    """

    __slots__ = (
        *("_delivered", "_held", "_joint", "_on_whole", "_reader", "_turn", "_writer"),
        *("content", "ended", "error"),
    )

    def __init__(
        self,
        reader: StreamReader,
        writer: StreamWriter,
        delivered: Delivered,
        prefill: str | None,
        *,
        turn: TurnCollector | None = None,
        own_names: Mapping[str, str] = MappingProxyType({}),
        on_whole: Callable[[], None] = lambda: None,
        on_heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._delivered = delivered
        self._joint = Joint(delivered, prefill, own_names, self._sealed, on_heard)
        self._held: list[Event] = []
        self._turn = turn
        self._on_whole = on_whole
        self.content = False
        self.ended = False
        self.error: FailureSignal | None = None
        for event in delivered.events():
            self._show(event)

    @property
    def usage(self) -> Usage | None:
        """This provider's own."""
        return self._joint.usage

    def feed(self, data: bytes) -> bytes:
        return self._pass(self._reader.feed(data))

    def close(self) -> bytes:
        return self._pass(self._reader.close())

    def break_off(self, report: ErrorReport) -> bytes:
        return self._writer.error(report)

    def _pass(self, chunks: list[Chunk]) -> bytes:
        out = []
        written = []
        for chunk in chunks:
            error = next((event for event in chunk.events if isinstance(event, Errored)), None)
            if error is not None:
                self.error = error.signal
                break
            fresh = self._release([new for event in chunk.events for new in self._joint.place(event)])
            if fresh:
                written.append(Chunk(events=fresh))
                out.append(self._writer.write(written[-1]))
        wire = b"".join(out)
        self._delivered.take(written, wire)
        return wire

    def _release(self, events: list[Event]) -> list[Event]:
        """What may be written now: nothing before all that the caller has was said again."""
        if not self._joint.matched:
            self._hold(events)
            return []
        fresh = [*self._held, *events]
        self._held.clear()
        for event in fresh:
            self._note(event)
        return fresh

    def _hold(self, events: list[Event]) -> None:
        for event in events:
            if self._held and isinstance(event, UsageSeen) and isinstance(self._held[-1], UsageSeen):
                self._held.pop()  # some say it with every chunk
            self._held.append(event)
        if len(self._held) > HELD_EVENTS_MAX:
            raise Diverged

    def _note(self, event: Event) -> None:
        self._show(event)
        match event:
            case BlockStart() | TextDelta() | ThinkingDelta() | ArgumentsDelta() | RefusalDelta():
                self.content = True
            case Ended():
                self.ended = True
                self._on_whole()
            case _:
                pass

    def _show(self, event: Event) -> None:
        if self._turn is not None:
            self._turn.see(event)

    def _sealed(self, use: ToolUse) -> str:
        return use.id if self._turn is None else self._turn.sealed(use)
