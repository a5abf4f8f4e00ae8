"""A caller has its time for each thing that it was sent; what it took already is held against nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from busbar.http.write_clock import WriteClock


class Wire:
    """A transport with so much in its buffer."""

    def __init__(self) -> None:
        self.untaken = 0
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.untaken

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.aborted = True


class Handle:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        if self._callback is not None:
            self._callback()


class Loop:
    """Its timers fire when the test says so."""

    def __init__(self) -> None:
        self.set: list[Handle] = []

    def call_later(self, _secs: float, callback: Callable[[], None]) -> Handle:
        self.set.append(Handle(callback))
        return self.set[-1]


def clock() -> tuple[WriteClock, Wire, Loop]:
    wire, loop = Wire(), Loop()
    made = WriteClock(cast(asyncio.Transport, wire), cast(asyncio.AbstractEventLoop, loop), 60.0)
    return made, wire, loop


def test_who_takes_nothing_is_cut_off() -> None:
    it, wire, loop = clock()
    wire.untaken = 100
    it.look()
    it.look()
    assert len(loop.set) == 1, "a clock that runs goes on"
    loop.set[0].fire()
    assert wire.aborted


def test_a_clock_that_ran_for_one_answer_does_not_cut_the_next() -> None:
    it, wire, loop = clock()
    wire.untaken = 100
    it.look()
    wire.untaken = 0  # nobody tells
    it.look()
    wire.untaken = 1 << 20
    it.run()
    loop.set[0].fire()
    assert not wire.aborted, "that was the first answer's time"
    loop.set[1].fire()
    assert wire.aborted
