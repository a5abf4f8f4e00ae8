"""The request log: records reach the outlet in order, once; what it does not take is tried again, within bounds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from busbar.actors.messages import Snapshot
from busbar.actors.metrics import HAND_ON_SECS, Metrics
from busbar.actors.request_log import (
    BATCH_BYTES_MAX,
    BATCH_RECORDS_MAX,
    BYTES_MAX,
    RECORDS_MAX,
    RETRY_SECS_MAX,
    TRIES_MAX,
    Batch,
    Failed,
    Rejected,
    RequestLog,
    Result,
    Sent,
)
from busbar.actors.runtime import LoopRef
from busbar.actors.telemetry import RequestDone, RequestsDone
from busbar.testing import Kit, seeds


class CalmOutlet:
    """Keeps what it was given, and answers when and what the test says."""

    name = "the test"

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self._waiting: list[Callable[[Result], None]] = []

    def submit(self, batch: Batch, done: Callable[[Result], None]) -> None:
        self.batches.append(batch)
        self._waiting.append(done)

    def answer(self, result: Result) -> None:
        self._waiting.pop(0)(result)

    @property
    def busy(self) -> int:
        return len(self._waiting)

    @property
    def records(self) -> list[tuple[bytes, ...]]:
        return [batch.records for batch in self.batches]


class World:
    def __init__(
        self, kit: Kit, encode: Callable[[RequestDone], bytes] = lambda request: request.request_id.encode()
    ):
        self.kit = kit
        self.outlet = CalmOutlet()
        self.log: LoopRef = kit.spawn(RequestLog, self.outlet, encode)

    def tell(self, *ids: int) -> None:
        self.log.tell(RequestsDone([done(number) for number in ids]))
        self.kit.run()

    def answer(self, result: Result) -> None:
        self.outlet.answer(result)
        self.kit.run()

    def snapshot(self) -> dict[str, Any]:
        snapshot: dict[str, Any] = self.kit.ask(self.log, Snapshot())
        return snapshot

    def secs_until_tried(self) -> float:
        """Time passes until the outlet is asked again."""
        before, began = len(self.outlet.batches), self.kit.clock.now()
        while len(self.outlet.batches) == before:
            assert self.kit.clock.now() - began < 2 * RETRY_SECS_MAX, "it is not tried again"
            self.kit.advance(0.25)
        return self.kit.clock.now() - began


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


def done(number: int) -> RequestDone:
    return RequestDone(
        request_id=f"r{number}", ingress="openai", pool="p", outcome="ok", status=200, latency_ms=float(number)
    )


def test_what_is_told_is_sent_and_what_comes_meanwhile_goes_together(kit: Kit) -> None:
    world = World(kit)
    world.tell(1, 2)
    world.tell(3)
    world.tell(4)
    assert world.outlet.records == [(b"r1", b"r2")]
    world.answer(Sent())
    assert world.outlet.records == [(b"r1", b"r2"), (b"r3", b"r4")]
    assert world.snapshot() == {"sent": 2, "dropped": 0, "waiting": 2, "waiting_bytes": 4, "failures": 0}
    world.answer(Sent())
    assert world.outlet.busy == 0
    assert world.snapshot() == {"sent": 4, "dropped": 0, "waiting": 0, "waiting_bytes": 0, "failures": 0}


def test_it_gets_what_metrics_is_told(kit: Kit) -> None:
    world = World(kit)
    metrics = kit.spawn(Metrics, None, [world.log])
    metrics.tell(done(1))
    kit.advance(HAND_ON_SECS)
    assert world.outlet.records == [(b"r1",)]


def test_a_batch_that_failed_is_tried_again_the_same_and_before_all_others(kit: Kit) -> None:
    world = World(kit)
    world.tell(1)
    world.answer(Failed("down"))
    world.tell(2)
    assert len(world.outlet.batches) == 1
    kit.advance(1.0)
    first, again = world.outlet.batches
    assert again is first
    world.answer(Sent())
    assert world.outlet.records[2:] == [(b"r2",)]
    assert world.outlet.batches[2].id != first.id
    assert world.snapshot() == {"sent": 1, "dropped": 0, "waiting": 1, "waiting_bytes": 2, "failures": 1}


@pytest.mark.parametrize("seed", seeds(5))
def test_pauses_double_with_jitter_up_to_a_minute_and_then_the_batch_is_given_up(seed: int) -> None:
    with Kit(seed) as kit:
        world = World(kit)
        world.tell(1)
        world.tell(2)
        pauses = []
        for _ in range(TRIES_MAX):
            world.answer(Failed("down"))
            pauses.append(world.secs_until_tried())
        for pause, expected in zip(pauses, (1, 2, 4, 8, 16, 32, 60, 60), strict=True):
            assert expected / 2 <= pause <= expected + 0.25
        assert len({pause / expected for pause, expected in zip(pauses[:4], (1, 2, 4, 8), strict=True)}) > 1
        assert world.outlet.records == [(b"r1",)] * TRIES_MAX + [(b"r2",)]
        assert world.snapshot() == {"sent": 0, "dropped": 1, "waiting": 1, "waiting_bytes": 2, "failures": TRIES_MAX}


def test_after_a_success_pauses_are_short_again(kit: Kit) -> None:
    world = World(kit)
    world.tell(1)
    for _ in range(4):
        world.answer(Failed("down"))
        world.secs_until_tried()
    world.answer(Sent())
    world.tell(2)
    world.answer(Failed("down"))
    assert world.secs_until_tried() <= 1.0


@pytest.mark.parametrize(("asked_secs", "waited_secs"), [(30.0, 30.0), (7200.0, RETRY_SECS_MAX)])
def test_an_outlet_is_left_alone_as_long_as_it_asks_up_to_a_minute(
    kit: Kit, asked_secs: float, waited_secs: float
) -> None:
    world = World(kit)
    world.tell(1)
    world.answer(Failed("too many", asked_secs))
    assert world.secs_until_tried() == waited_secs


def test_what_is_rejected_is_dropped_at_once_and_the_next_is_sent(kit: Kit) -> None:
    world = World(kit)
    world.tell(1)
    world.tell(2)
    world.answer(Rejected("it answered 400"))
    assert world.outlet.records == [(b"r1",), (b"r2",)]
    assert world.snapshot() == {"sent": 0, "dropped": 1, "waiting": 1, "waiting_bytes": 2, "failures": 1}


def test_no_more_records_wait_than_the_bound_and_what_is_over_it_is_dropped(kit: Kit) -> None:
    world = World(kit)
    for begin in range(0, RECORDS_MAX + 500, 500):
        world.tell(*range(begin, begin + 500))
    snapshot = world.snapshot()
    assert (snapshot["waiting"], snapshot["dropped"]) == (RECORDS_MAX, 500)
    sent = 0
    while world.outlet.busy:
        sent += len(world.outlet.batches[-1].records)
        assert len(world.outlet.batches[-1].records) <= BATCH_RECORDS_MAX
        world.answer(Sent())
    assert sent == RECORDS_MAX
    assert world.outlet.batches[-1].records[-1] == f"r{RECORDS_MAX - 1}".encode()


def test_no_more_bytes_wait_than_the_bound(kit: Kit) -> None:
    size_bytes = 300_000
    world = World(kit, lambda _: bytes(size_bytes))
    world.tell(*range(100))
    snapshot = world.snapshot()
    assert snapshot["waiting"] == BYTES_MAX // size_bytes
    assert snapshot["waiting_bytes"] == snapshot["waiting"] * size_bytes
    assert snapshot["dropped"] == 100 - snapshot["waiting"]
    assert len(world.outlet.batches[0].records) == BATCH_BYTES_MAX // size_bytes


def test_a_record_larger_than_a_batch_goes_alone(kit: Kit) -> None:
    world = World(kit, lambda _: bytes(BATCH_BYTES_MAX + 1))
    world.tell(1, 2)
    world.answer(Sent())
    assert [len(batch.records) for batch in world.outlet.batches] == [1, 1]


def test_trouble_is_told_once_and_so_is_its_end(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "busbar.telemetry")
    world = World(kit)
    for number in range(TRIES_MAX + 1):
        world.tell(number)
        world.answer(Failed("it answered 503"))
        world.secs_until_tried()
    world.answer(Sent())
    assert [record.getMessage() for record in caplog.records] == [
        "the request log to the test: it answered 503; records wait, and are dropped",
        "the request log to the test works again; 1 were dropped",
    ]


def test_what_waits_is_submitted_at_the_stop(kit: Kit) -> None:
    world = World(kit)
    world.tell(1)
    world.tell(2)
    world.log.stop()
    kit.run()
    assert world.outlet.records == [(b"r1",), (b"r2",)]
    world.answer(Failed("too late"))  # the actor is gone, and nobody minds
    world.answer(Sent())


def test_at_the_stop_a_pause_is_over(kit: Kit) -> None:
    world = World(kit)
    world.tell(1)
    world.answer(Failed("down"))
    world.tell(2)
    world.log.stop()
    kit.run()
    first, again, last = world.outlet.batches
    assert again is first
    assert last.records == (b"r2",)


def test_the_answer_to_an_instance_that_crashed_is_not_taken_for_another(kit: Kit) -> None:
    def encode(request: RequestDone) -> bytes:
        if request.request_id == "r0":
            raise ValueError(request.request_id)
        return request.request_id.encode()

    world = World(kit, encode)
    world.tell(1)
    world.tell(0)
    kit.expect_crash(ValueError)
    world.tell(2)
    assert world.outlet.records == [(b"r1",), (b"r2",)]
    world.answer(Failed("of the first"))
    world.tell(3)
    assert world.outlet.busy == 1
    world.answer(Sent())
    assert world.snapshot()["sent"] == 1
