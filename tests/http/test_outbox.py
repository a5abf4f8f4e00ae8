"""What is written in one turn of the loop goes out at its end, and before anything is read."""

from __future__ import annotations

import asyncio

from busbar.http.outbox import Outbox


class Wire:
    """A sender that notes what goes out, and when."""

    def __init__(self, outbox: Outbox, log: list[str], name: str) -> None:
        self._outbox = outbox
        self._log = log
        self._name = name
        self.waits: list[str] = []

    def send(self, text: str) -> None:
        if not self.waits:
            self._outbox.add(self)
        self.waits.append(text)

    def flush(self) -> None:
        if self.waits:
            self._log.append(f"{self._name}: {' '.join(self.waits)}")
            self.waits.clear()


async def test_pieces_of_a_turn_go_out_together_in_the_order_of_their_connections() -> None:
    log: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())
    first, second = Wire(outbox, log, "first"), Wire(outbox, log, "second")
    first.send("a")
    second.send("b")
    first.send("c")
    assert log == [], "the turn is not over"
    await asyncio.sleep(0)
    assert log == ["first: a c", "second: b"]


async def test_what_is_sent_by_a_flush_goes_out_in_the_next_turn() -> None:
    log: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())

    class Answering(Wire):
        def flush(self) -> None:
            super().flush()
            if len(log) < 3:
                self.send("again")

    wire = Answering(outbox, log, "it")
    wire.send("once")
    for _ in range(4):
        await asyncio.sleep(0)
    assert log == ["it: once", "it: again", "it: again"]


async def test_whoever_was_flushed_early_sends_nothing_twice() -> None:
    log: list[str] = []
    wire = Wire(Outbox(asyncio.get_running_loop()), log, "it")
    wire.send("a")
    wire.flush()
    wire.send("b")
    await asyncio.sleep(0)
    assert log == ["it: a", "it: b"]
