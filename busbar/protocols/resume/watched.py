"""A same-dialect stream: its bytes pass untouched, and what they say is read beside them."""

from __future__ import annotations

from busbar.protocols.errors import ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.framing import BrokenFraming
from busbar.protocols.ir import Chunk, Errored
from busbar.protocols.protocol import Protocol, StreamPipe
from busbar.protocols.resume.delivered import Delivered
from busbar.protocols.usage import Usage


class Watched:
    """A `StreamPipe`: `tap`, and `delivered` sees what it passes on."""

    __slots__ = ("_delivered", "_protocol", "_reader", "_tap")

    def __init__(self, tap: StreamPipe, protocol: Protocol, delivered: Delivered) -> None:
        self._tap = tap
        self._protocol = protocol
        self._reader = protocol.stream_reader()
        self._delivered = delivered

    @property
    def content(self) -> bool:
        return self._tap.content

    @property
    def ended(self) -> bool:
        return self._tap.ended

    @property
    def usage(self) -> Usage | None:
        return self._tap.usage

    @property
    def error(self) -> FailureSignal | None:
        return self._tap.error

    def feed(self, data: bytes) -> bytes:
        out = self._tap.feed(data)
        if self._delivered.insured:
            try:
                self._see(self._reader.feed(data))
            except BrokenFraming:
                self._delivered.lose()
        return out

    def close(self) -> bytes:
        return self._tap.close()

    def break_off(self, report: ErrorReport) -> bytes:
        return self._tap.break_off(report)

    def _see(self, chunks: list[Chunk]) -> None:
        delivered = self._delivered
        for chunk in chunks:
            if any(isinstance(event, Errored) for event in chunk.events):
                break  # it is kept back
            delivered.trace = self._protocol.stream_trace(delivered.trace, chunk)
            delivered.see(chunk)
