"""Whole bodies of providers' answers, read to their end within a bound."""

from __future__ import annotations

from busbar.http.patience import StallWatch
from busbar.http.ports import AnswerTooLarge, UpstreamAnswer


async def read_whole(answer: UpstreamAnswer, limit_bytes: int, watch: StallWatch | None = None) -> bytes:
    """Raises `UpstreamBroken`, `AnswerTooLarge`, and TimeoutError when `watch` sees the body stall."""
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
        async with watch:
            await answer.stream(watch.around(collect))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
