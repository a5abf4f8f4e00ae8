"""How long an attempt is given: limits end when they are due, however far away they were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from busbar.actors.messages import Timeouts
from busbar.http.patience import Patience, StallWatch


class Time:
    """The running loop's, as the test tells it; counts its timers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.now = float(int(loop.time()) + 1)
        self.timers = 0
        call_at = loop.call_at

        def counted(when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
            self.timers += 1
            return call_at(when, callback, *args)

        monkeypatch.setattr(loop, "time", lambda: self.now)
        monkeypatch.setattr(loop, "call_at", counted)

    async def go_on(self, secs: float) -> None:
        self.now += secs
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


async def waiting(patience: Patience) -> None:
    with patience:
        await asyncio.Event().wait()


async def over(task: asyncio.Task[None]) -> bool:
    if task.done():
        with pytest.raises(TimeoutError):
            await task
    return task.done()


@pytest.mark.parametrize("secs", [0.25, 1.0, 1.25, 2.0, 100.0, 100.75])
async def test_a_limit_ends_when_it_is_due_and_not_before(time: Time, secs: float) -> None:
    task = asyncio.ensure_future(waiting(Patience(Timeouts(), secs, stream=False)))
    await time.go_on(0)
    await time.go_on(secs - 0.125)
    assert not await over(task)
    await time.go_on(0.125)
    assert await over(task)


async def test_far_limits_share_their_timer_and_leave_nothing(time: Time) -> None:
    tasks = [asyncio.ensure_future(waiting(Patience(Timeouts(), 600.5, stream=False))) for _ in range(100)]
    await time.go_on(0)
    assert time.timers == 1
    for task in tasks[1:]:
        task.cancel()
    await asyncio.wait(tasks[1:])
    await time.go_on(600.25)
    assert time.timers == 2, "nobody else is left"
    await time.go_on(0.25)
    assert await over(tasks[0])


@pytest.mark.parametrize("moved_at", [0.0, 30.0, 59.75])
async def test_a_limit_that_comes_nearer_is_kept(time: Time, moved_at: float) -> None:
    patience = Patience(Timeouts(first_token_ms=1_000), 60.0, stream=False)
    task = asyncio.ensure_future(waiting(patience))
    await time.go_on(moved_at)
    patience.lingering()
    await time.go_on(0.875)
    assert not await over(task)
    await time.go_on(0.125)
    assert await over(task)


async def test_without_a_deadline_it_goes_on(time: Time) -> None:
    patience = Patience(Timeouts(), 60.0, stream=True)
    task = asyncio.ensure_future(waiting(patience))
    await time.go_on(1)
    patience.streaming()
    await time.go_on(1000)
    assert not await over(task)
    patience.lingering()
    await time.go_on(1)
    assert await over(task)


@pytest.mark.parametrize("secs", [0.5, 20.0])
async def test_a_body_stalls_so_long_after_its_last_chunk(time: Time, secs: float) -> None:
    chunks: list[bytes] = []
    watch = StallWatch(secs, asyncio.get_running_loop())
    sink = watch.around(chunks.append)

    async def watched() -> None:
        with watch:
            await asyncio.Event().wait()

    task = asyncio.ensure_future(watched())
    await time.go_on(1000)
    for _ in range(10):
        sink(b"x")
        await time.go_on(secs - 0.125)
        assert not await over(task)
    await time.go_on(0.125)
    assert await over(task)
    assert len(chunks) == 10
