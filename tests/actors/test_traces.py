"""The sink of traces: what it hands to its port, what it has no room for, and that it counts all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from busbar.actors.messages import Snapshot
from busbar.actors.telemetry import AttemptDone, Piece, RequestDone, RequestsDone, Said, TraceContext
from busbar.actors.traces import CONTENT_BYTES_MAX, SPANS_WAITING_MAX, Exported, Parcel, Traced, Traces
from busbar.testing import Kit

NOTHING = {"exported": 0, "waiting": 0, "dropped": 0, "failed": 0, "content_dropped": 0}
ATTEMPT = AttemptDone(member="a", disposition="ok", latency_ms=1.0, span_id=99)


class Collector:
    """A port that tells what became of a parcel when the test says so."""

    def __init__(self) -> None:
        self.parcels: list[tuple[Parcel, Callable[[bool], None]]] = []

    def submit(self, parcel: Parcel, done: Callable[[bool], None]) -> None:
        self.parcels.append((parcel, done))

    @property
    def traced(self) -> list[Traced]:
        return [traced for parcel, _ in self.parcels for traced in parcel.traced]

    def answers(self, *, taken: bool) -> None:
        _, done = self.parcels.pop(0)
        done(taken)


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


def request(span_id: int = 1, attempts: int = 1, *, flags: int = 1, trace: bool = True) -> RequestDone:
    return RequestDone(
        request_id=f"r{span_id}",
        ingress="openai",
        pool="p",
        outcome="ok",
        status=200,
        latency_ms=5.0,
        attempts=(ATTEMPT,) * attempts,
        trace=TraceContext(trace_id=7, span_id=span_id, flags=flags) if trace else None,
    )


def said(span_id: int, size: int = 10) -> Said:
    return Said(span_id=span_id, asked=Piece(b"q"), answered=Piece(bytes(size - 1)))


def test_a_batch_goes_to_the_port_and_is_counted_when_it_is_there(kit: Kit) -> None:
    collector = Collector()
    traces = kit.spawn(Traces, collector)
    first, second = request(1), request(2, attempts=3)
    traces.tell(RequestsDone([first, second]))
    kit.run()
    assert collector.traced == [Traced(first), Traced(second)]
    assert kit.ask(traces, Snapshot()) == NOTHING | {"waiting": 6}
    collector.answers(taken=True)
    assert kit.ask(traces, Snapshot()) == NOTHING | {"exported": 6}


def test_what_the_collector_does_not_take_is_counted(kit: Kit) -> None:
    collector = Collector()
    traces = kit.spawn(Traces, collector)
    traces.tell(RequestsDone([request()]))
    kit.run()
    collector.answers(taken=False)
    assert kit.ask(traces, Snapshot()) == NOTHING | {"failed": 2}


def test_only_requests_with_a_sampled_trace_are_collected(kit: Kit) -> None:
    collector = Collector()
    traces = kit.spawn(Traces, collector)
    traces.tell(RequestsDone([request(trace=False), request(flags=2)]))
    kit.run()
    assert collector.parcels == []
    assert kit.ask(traces, Snapshot()) == NOTHING


def test_a_collector_that_hangs_costs_spans_and_only_so_much_memory(kit: Kit) -> None:
    collector = Collector()
    traces = kit.spawn(Traces, collector)
    for _ in range(SPANS_WAITING_MAX // 4 + 10):
        traces.tell(RequestsDone([request(attempts=3)]))
        kit.run()
    assert len(collector.parcels) == SPANS_WAITING_MAX // 4
    assert kit.ask(traces, Snapshot()) == NOTHING | {"waiting": SPANS_WAITING_MAX, "dropped": 40}
    collector.answers(taken=True)
    traces.tell(RequestsDone([request(attempts=3)]))
    assert kit.ask(traces, Snapshot()) == NOTHING | {"waiting": SPANS_WAITING_MAX, "dropped": 40, "exported": 4}


def test_what_was_said_goes_with_its_request(kit: Kit) -> None:
    collector = Collector()
    traces = kit.spawn(Traces, collector)
    for span_id in (1, 2):
        traces.tell(said(span_id))
    traces.tell(RequestsDone([request(2), request(3)]))
    kit.run()
    assert collector.traced == [Traced(request(2), said(2)), Traced(request(3))]


def test_what_was_said_is_bounded_and_the_oldest_gives_way(kit: Kit) -> None:
    collector = Collector()
    traces = kit.spawn(Traces, collector)
    for span_id in (1, 2, 3):
        traces.tell(said(span_id, CONTENT_BYTES_MAX // 2))
    traces.tell(RequestsDone([request(span_id, attempts=0) for span_id in (1, 2, 3)]))
    kit.run()
    assert [traced.said is not None for traced in collector.traced] == [False, True, True]
    traces.tell(said(4))  # all the room is on its way to the collector
    assert kit.ask(traces, Snapshot()) == NOTHING | {"waiting": 3, "content_dropped": 2}
    collector.answers(taken=True)
    traces.tell(said(5, CONTENT_BYTES_MAX))
    assert kit.ask(traces, Snapshot()) == NOTHING | {"exported": 3, "content_dropped": 2}


def test_a_parcel_whose_end_was_never_told_does_not_stay_for_ever(kit: Kit) -> None:
    collector = Collector()
    traces = kit.spawn(Traces, collector)
    for span_id in (1, 2):
        traces.tell(RequestsDone([request(span_id)]))
        kit.run()
    collector.parcels.pop(0)
    collector.answers(taken=True)
    assert kit.ask(traces, Snapshot()) == NOTHING | {"exported": 2, "failed": 2}


def test_the_end_of_a_parcel_that_a_crashed_instance_gave_away_means_nothing(kit: Kit) -> None:
    collector = Collector()
    old, new = kit.spawn(Traces, collector, name="old"), kit.spawn(Traces, collector, name="new")
    old.tell(RequestsDone([request()]))
    kit.run()
    parcel, _ = collector.parcels[0]
    new.tell(Exported(parcel, True))
    assert kit.ask(new, Snapshot()) == NOTHING
