"""The sink of telemetry: what one message adds, and what it never does to serving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from busbar.actors.messages import Snapshot
from busbar.actors.metrics import DROPPED_PATHS_MAX, Metrics
from busbar.actors.telemetry import AttemptDone, RequestDone
from busbar.protocols.usage import Usage
from busbar.testing import Kit

EMPTY = {"requests": [], "attempts": [], "translations": [], "failovers": [], "dropped_fields": {}, "tokens": {}}


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


def done(**fields: object) -> RequestDone:
    base = {"request_id": "r", "ingress": "openai", "pool": "p", "outcome": "ok", "status": 200, "latency_ms": 5.0}
    return RequestDone(**(base | fields))  # type: ignore[arg-type]


def test_nothing_is_counted_before_the_first_request(kit: Kit) -> None:
    assert kit.ask(kit.spawn(Metrics), Snapshot()) == EMPTY


def test_a_request_with_a_failover_counts_everything_that_it_met(kit: Kit) -> None:
    metrics = kit.spawn(Metrics)
    request = done(
        attempts=(
            AttemptDone(member="a", disposition="rate_limit", latency_ms=1.0),
            AttemptDone(member="b", disposition="ok", latency_ms=2.0),
        ),
        translated_to="anthropic",
        usage=Usage(input_tokens=10, output_tokens=3, cache_read_tokens=7, reasoning_tokens=1),
        dropped_fields=("seed", "logit_bias"),
        failed_over=(("p", "rate_limit"),),
    )
    metrics.tell(request)
    metrics.tell(request)
    metrics.tell(done(outcome="exhausted", status=503))
    assert kit.ask(metrics, Snapshot()) == {
        "requests": [
            {"ingress_protocol": "openai", "pool": "p", "outcome": "exhausted", "count": 1},
            {"ingress_protocol": "openai", "pool": "p", "outcome": "ok", "count": 2},
        ],
        "attempts": [
            {"lane": "a", "disposition": "rate_limit", "count": 2},
            {"lane": "b", "disposition": "ok", "count": 2},
        ],
        "translations": [{"from": "openai", "to": "anthropic", "count": 2}],
        "failovers": [{"pool": "p", "reason": "rate_limit", "count": 2}],
        "dropped_fields": {"logit_bias": 2, "seed": 2},
        "tokens": {"cache_read": 14, "cache_write": 0, "input": 20, "output": 6, "reasoning": 2},
    }


def test_failovers_are_counted_by_pool_and_reason(kit: Kit) -> None:
    metrics = kit.spawn(Metrics)
    metrics.tell(done(failed_over=(("p", "timeout"), ("p", "timeout"), ("p", "network"))))
    metrics.tell(done(pool="q", failed_over=(("q", "timeout"),)))
    metrics.tell(done(outcome="client_error", status=400))
    assert kit.ask(metrics, Snapshot())["failovers"] == [
        {"pool": "p", "reason": "network", "count": 1},
        {"pool": "p", "reason": "timeout", "count": 2},
        {"pool": "q", "reason": "timeout", "count": 1},
    ]


def test_different_dropped_fields_are_bounded(kit: Kit) -> None:
    metrics = kit.spawn(Metrics)
    for number in range(DROPPED_PATHS_MAX + 10):
        metrics.tell(done(dropped_fields=(f"field-{number:04}",)))
        kit.run()
    metrics.tell(done(dropped_fields=("field-0000",)))
    fields = kit.ask(metrics, Snapshot())["dropped_fields"]
    assert len(fields) == DROPPED_PATHS_MAX + 1
    assert (fields["(other)"], fields["field-0000"]) == (10, 2)


def test_full_mailbox_drops_telemetry_and_counts_the_drops(kit: Kit) -> None:
    metrics = kit.spawn(Metrics)
    for _ in range(Metrics.mailbox_limit + 25):
        metrics.tell(done())
    kit.run()
    assert kit.ask(metrics, Snapshot())["requests"][0]["count"] == 4096
    assert [actor.dropped for actor in kit.system.snapshot()] == [25]
