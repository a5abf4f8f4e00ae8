"""Whole bodies of providers' answers: those that came so, and the others, read to their end within a bound."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from busbar.http.patience import StallWatch
from busbar.http.ports import AnswerTooLarge, Sink, UpstreamAnswer


class WholeAnswer(Struct):
    """An answer whose body came with its head. It holds no connection."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    async def stream(self, sink: Sink) -> None:
        waiting = sink(self.body) if self.body else None
        if waiting is not None:
            await waiting

    def close(self) -> None:
        """There is no connection."""


def whole_of(answer: UpstreamAnswer, limit_bytes: int) -> bytes | None:
    """The body, if it is there. Raises `AnswerTooLarge`."""
    if not isinstance(answer, WholeAnswer):
        return None
    if len(answer.body) > limit_bytes:
        raise AnswerTooLarge
    return answer.body


async def read_whole(answer: UpstreamAnswer, limit_bytes: int, watch: StallWatch | None = None) -> bytes:
    """Raises `UpstreamBroken`, `AnswerTooLarge`, and TimeoutError when `watch` sees the body stall."""
    whole = whole_of(answer, limit_bytes)
    if whole is not None:
        return whole
    pieces: list[bytes] = []
    size = 0

    def collect(data: bytes) -> None:
        nonlocal size
        size += len(data)
        if size > limit_bytes:
            raise AnswerTooLarge
        pieces.append(data)

    if watch is None:
        await answer.stream(collect)
    else:
        with watch:
            await answer.stream(watch.around(collect))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
