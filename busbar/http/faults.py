"""The way to providers, with faults in it: what the `FaultBoard` says of a member happens to what is sent to it.

429, 500   answered here, as the member's provider would, in its dialect; nothing is sent
freeze     nothing is sent, and nothing answered, until the fault is over: then the connection counts as broken
cut        sent; a stream breaks off after its first content, a whole answer in the middle

So everything behind it is real: judgement, breaker, failover, recovery, probes. A stream that runs already when its
member is cut goes on: it is the next one that breaks.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, NoReturn

from busbar.actors.faults import Fault, FaultBoard
from busbar.actors.runtime import Clock
from busbar.http.bodies import WholeAnswer
from busbar.http.headers import media_type
from busbar.http.ports import Sink, Upstream, UpstreamAnswer, UpstreamBroken, UpstreamRequest
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import FailureClass
from busbar.protocols.protocol import Hop, Protocol, StreamPipe

RETRY_AFTER_SECS_MAX = 5.0
"""What an injected 429 asks for at most: a member is tried again, and found well, soon after its fault was lifted."""

CONTENT_BYTES = 256
"""A stream that is cut gives about so much after its first content: a few words."""

PIECE_BYTES = 64
"""The place of the cut is looked for in steps of this size. Providers may send many frames, or all, in one chunk."""


class FaultyUpstream:
    """`upstream` for members without a fault, which are looked for with one `if`. `dialects`: which each model's
    provider speaks."""

    def __init__(self, upstream: Upstream, board: FaultBoard, dialects: Mapping[str, Protocol], clock: Clock) -> None:
        self._upstream = upstream
        self._board = board
        self._dialects = dialects
        self._clock = clock
        self._numbers = itertools.count(1)

    def send(self, request: UpstreamRequest) -> Coroutine[Any, Any, UpstreamAnswer]:
        """As `Upstream.send`: raises `UpstreamBroken`. May be cancelled at any time."""
        in_force = self._board.in_force
        if not in_force or (fault := in_force.get(request.model)) is None:
            return self._upstream.send(request)
        match fault.kind:
            case "429" | "500":
                return self._refuse(fault)
            case "freeze":
                return self._freeze(fault)
            case "cut":
                return self._cut(request)

    async def close(self) -> None:
        await self._upstream.close()

    async def _refuse(self, fault: Fault) -> UpstreamAnswer:
        if fault.kind == "429":
            wait_secs = min(fault.ends_at - self._clock.now(), RETRY_AFTER_SECS_MAX)
            report = ErrorReport(
                kind=ErrorKind.RATE_LIMITED,
                status=429,
                message="Too many requests (a fault that was injected on purpose).",
                retry_after_secs=wait_secs,
            )
        else:
            report = ErrorReport(
                kind=ErrorKind.UPSTREAM,
                status=500,
                message="Internal error (a fault that was injected on purpose).",
            )
        hop = Hop(nonce=f"fault{next(self._numbers)}")
        error = self._dialects[fault.member].write_error(report, hop)
        return WholeAnswer(error.status, error.headers, error.body)

    async def _freeze(self, fault: Fault) -> NoReturn:
        """A freeze that was prolonged goes on for those who wait already."""
        board, member = self._board, fault.member
        while (now := board.in_force.get(member)) is not None and now.kind == "freeze":
            await board.changed(member)
        raise UpstreamBroken(FailureClass.NETWORK, "frozen on purpose")

    async def _cut(self, request: UpstreamRequest) -> UpstreamAnswer:
        answer = await self._upstream.send(request)
        protocol = self._dialects[request.model]
        content_type = media_type(answer.headers.get("content-type", ""))
        streamed = content_type == media_type(protocol.stream_content_type)
        return CutAnswer(answer, StreamCut(protocol.stream_tap()) if streamed else HalfCut())


class StreamCut:
    """Where a stream is cut: after some content, and before its end in any case."""

    def __init__(self, tap: StreamPipe) -> None:
        self._tap = tap
        self._left_bytes = CONTENT_BYTES

    def passes(self, data: bytes) -> bytes:
        """What of `data` is before the cut; less than all of it: here it is. Raises `framing.BrokenFraming`."""
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            self._tap.feed(piece)
            if self._tap.ended or self._left_bytes <= 0:
                return data[:start]
            if self._tap.content:
                self._left_bytes -= len(piece)
        return data


class HalfCut:
    """Where a whole answer is cut: in the middle of its first chunk, which nobody hears anyhow."""

    def passes(self, data: bytes) -> bytes:
        return data[: len(data) // 2]


class CutAnswer:
    """A provider's answer that breaks off. Closing it closes its connection: the rest is not wanted."""

    def __init__(self, answer: UpstreamAnswer, cut: StreamCut | HalfCut) -> None:
        self._answer = answer
        self._cut = cut

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    async def stream(self, sink: Sink) -> None:
        """Raises `UpstreamBroken` in any case, and what `sink` raises."""

        def until_cut(data: bytes) -> Awaitable[None] | None:
            passed = self._cut.passes(data)
            waiting = sink(passed) if passed else None
            return waiting if len(passed) == len(data) else _break(waiting)

        await self._answer.stream(until_cut)
        raise _broken()

    def close(self) -> None:
        self._answer.close()


async def _break(waiting: Awaitable[None] | None) -> NoReturn:
    """Once the caller has what was before the cut."""
    if waiting is not None:
        await waiting
    raise _broken()


def _broken() -> UpstreamBroken:
    return UpstreamBroken(FailureClass.NETWORK, "cut on purpose")
