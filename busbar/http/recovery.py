"""Of one request whose pool insures its streams: how far the answer got, and how it is gone on with.

Every attempt that may start the caller's answer is watched. Once a stream has broken after its start, further
attempts go on with it. If nobody can, the caller is told of the first failure.
"""

from __future__ import annotations

from busbar.http.stream_relay import StreamRelay
from busbar.protocols.crossing import Crossing
from busbar.protocols.errors import report_of
from busbar.protocols.failures import Failure
from busbar.protocols.ir import Chunk, Ended
from busbar.protocols.protocol import Hop, Protocol, StreamPipe
from busbar.protocols.receipt import Receipt
from busbar.protocols.resume import Delivered, Watched, caught_up, prefill_of
from busbar.protocols.translate import StreamTranslator


class Recovery:
    """One request's."""

    def __init__(self) -> None:
        self._delivered: Delivered | None = None
        self._first: Failure | None = None
        self._relay: StreamRelay | None = None

    @property
    def begun(self) -> bool:
        """A stream broke after it had started: the caller has the beginning of an answer."""
        return self._first is not None

    @property
    def delivered(self) -> Delivered:
        assert self._delivered is not None, "a stream was watched"
        return self._delivered

    def prefill(self, *, allowed: bool) -> str | None:
        """What a model that goes on from a prefill is given; None: it is asked from the start."""
        return prefill_of(self.delivered) if allowed and self.begun else None

    def watch_tap(self, tap: StreamPipe, protocol: Protocol, hop: Hop) -> StreamPipe:
        """A same-dialect stream, watched."""
        self._delivered = Delivered(hop)
        return Watched(tap, protocol, self._delivered)

    def watch(self, translator: StreamTranslator, hop: Hop) -> StreamPipe:
        """A stream that is translated, watched."""
        self._delivered = Delivered(hop)
        translator.observe = self._delivered.take
        return translator

    def broke(self, failure: Failure, relay: StreamRelay) -> bool:
        """`relay` had started the caller's answer, or had gone on with it. Says whether it can be gone on with."""
        if self._first is None and not self.delivered.insured:
            return False
        self._first = self._first or failure
        self._relay = relay
        return True

    def closing(self, ingress: Protocol, crossing: Crossing | None) -> bytes | None:
        """The end of the answer, where nothing but its end is missing."""
        delivered = self.delivered
        if delivered.stop is None or not delivered.insured:
            return None
        if crossing is not None:
            return crossing.closing(delivered)
        # What a provider of the same dialect said of usage is at the caller already.
        return caught_up(delivered, ingress, Receipt(), stream_usage=False).write(Chunk(events=[Ended()]))

    async def give_up(self) -> None:
        """Tells the caller of the first failure, and closes the connection."""
        assert self._relay is not None, "an answer has begun"
        assert self._first is not None, "and broke"
        await self._relay.break_off(report_of(self._first))
