"""The journal: what is told to Metrics can be found there, the latest first, and no more than so many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from busbar.actors.journal import REQUESTS_KEPT, Journal
from busbar.actors.metrics import BATCH, Metrics
from busbar.actors.runtime import LoopRef
from busbar.actors.telemetry import Find, Recent, RequestDone, RequestsDone
from busbar.testing import Kit


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


def done(number: int) -> RequestDone:
    return RequestDone(
        request_id=f"r{number}", ingress="openai", pool="p", outcome="ok", status=200, latency_ms=float(number)
    )


def telemetry(kit: Kit) -> LoopRef:
    return kit.spawn(Metrics, kit.spawn(Journal))


def test_a_request_is_found_as_soon_as_it_was_told(kit: Kit) -> None:
    metrics = telemetry(kit)
    metrics.tell(done(1))
    metrics.tell(done(2))
    assert kit.ask(metrics, Find("r1")) == done(1)
    assert kit.ask(metrics, Find("r3")) is None
    metrics.tell(done(3))
    assert kit.ask(metrics, Find("r3")) == done(3)


def test_the_latest_come_first_and_no_more_than_were_asked_for(kit: Kit) -> None:
    metrics = telemetry(kit)
    for number in range(BATCH + 3):
        metrics.tell(done(number))
    latest: list[RequestDone] = kit.ask(metrics, Recent(5))
    assert latest == [done(number) for number in range(BATCH + 2, BATCH - 3, -1)]
    assert kit.ask(metrics, Recent(0)) == []
    assert len(kit.ask(metrics, Recent(9999))) == BATCH + 3


def test_what_is_older_than_the_latest_thousand_is_forgotten(kit: Kit) -> None:
    metrics = telemetry(kit)
    for number in range(REQUESTS_KEPT + 2):
        metrics.tell(done(number))
        kit.run()
    assert kit.ask(metrics, Find("r1")) is None
    assert kit.ask(metrics, Find("r2")) == done(2)
    assert len(kit.ask(metrics, Recent(9999))) == REQUESTS_KEPT


def test_a_request_costs_the_journal_a_part_of_a_message(kit: Kit) -> None:
    journal = kit.probe("journal")
    metrics = kit.spawn(Metrics, journal.ref)
    for number in range(2 * BATCH + 1):
        metrics.tell(done(number))
        kit.run()
    batches = [message for message in journal.messages if isinstance(message, RequestsDone)]
    assert [len(batch.requests) for batch in batches] == [BATCH, BATCH]


def test_questions_are_harmless_where_no_journal_is_kept(kit: Kit) -> None:
    metrics = kit.spawn(Metrics)
    metrics.tell(done(1))
    assert kit.ask(metrics, Find("r1")) is None
