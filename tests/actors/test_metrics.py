"""The sink of telemetry: what one message adds, and what it never does to serving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pytest

from busbar.actors.histogram import Distribution
from busbar.actors.journal import Journal
from busbar.actors.messages import Snapshot
from busbar.actors.metrics import BATCH, DROPPED_PATHS_MAX, Metrics
from busbar.actors.tallies import DURATION_SECS, FAILURES, OUTCOMES, REASONS, TOKENS, Labels, Relabel, Tallied
from busbar.actors.telemetry import AttemptDone, Recent, RequestDone, Tally
from busbar.protocols.usage import Usage
from busbar.testing import Kit

EMPTY = {"requests": [], "attempts": [], "translations": [], "failovers": [], "dropped_fields": {}, "tokens": {}}

LABELS = Labels(("openai", "anthropic"), {"p": ("a", "b"), "b": ("b",)})
"""A pool of two, and the implicit one of a member."""


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
            AttemptDone(
                member="b",
                disposition="ok",
                latency_ms=2.0,
                usage=Usage(input_tokens=10, output_tokens=3, cache_read_tokens=7, reasoning_tokens=1),
            ),
        ),
        translated_to="anthropic",
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


def happened(counts: Mapping[Any, int]) -> dict[Any, int]:
    return {key: count for key, count in counts.items() if count}


def seen(distributions: Mapping[Any, Distribution]) -> dict[Any, tuple[int, float]]:
    """(how many, their sum) of those that have any"""
    return {key: (it.count, round(it.total, 6)) for key, it in distributions.items() if it.count}


def test_every_series_is_there_before_the_first_request(kit: Kit) -> None:
    tallied: Tallied = kit.ask(kit.spawn(Metrics, labels=LABELS), Tally())
    doors = set(product(("openai", "anthropic"), ("p", "b", "unresolved")))
    tracks = {("p", "a"), ("p", "b"), ("b", "b")}
    assert set(tallied.requests) == {(*door, word) for door in doors for word in OUTCOMES}
    assert set(tallied.durations) == set(tallied.first_tokens) == doors
    assert set(tallied.overheads) == set(tallied.dropped_fields) == {("openai",), ("anthropic",)}
    assert set(tallied.gap_means) == set(tallied.gaps_longest) == {("p",), ("b",)}
    assert set(tallied.attempts) == set(tallied.picodollars) == tracks
    assert set(tallied.failures) == {(*track, word) for track in tracks for word in FAILURES}
    assert set(tallied.tokens) == {(*track, kind) for track in tracks for kind in TOKENS}
    assert set(tallied.failovers) == set(product(("p", "b"), REASONS))
    assert set(tallied.translations) == {("openai", "anthropic"), ("anthropic", "openai")}
    for name in tallied.__struct_fields__:
        for value in getattr(tallied, name).values():
            assert (value.count if isinstance(value, Distribution) else value) == 0, name


def test_one_request_adds_to_each_series_that_it_concerns(kit: Kit) -> None:
    metrics = kit.spawn(Metrics, labels=LABELS)
    metrics.tell(
        done(
            stream=True,
            latency_ms=700.0,
            ttft_ms=300.0,
            overhead_ms=2.0,
            picodollars=12_000_000,
            translated_to="anthropic",
            dropped_fields=("seed", "logit_bias"),
            failed_over=(("p", "rate_limit"),),
            attempts=(
                AttemptDone(pool="p", member="a", disposition="rate_limit", latency_ms=100.0),
                AttemptDone(
                    pool="p",
                    member="b",
                    disposition="ok",
                    latency_ms=600.0,
                    gap_mean_ms=20.0,
                    gap_longest_ms=90.0,
                    usage=Usage(input_tokens=10, output_tokens=3, cache_write_tokens=7, reasoning_tokens=1),
                ),
            ),
        )
    )
    tallied: Tallied = kit.ask(metrics, Tally())
    assert happened(tallied.requests) == {("openai", "p", "ok"): 1}
    assert seen(tallied.durations) == {("openai", "p"): (1, 0.7)}
    assert seen(tallied.first_tokens) == {("openai", "p"): (1, 0.3)}
    assert seen(tallied.overheads) == {("openai",): (1, 0.002)}
    assert seen(tallied.gap_means) == {("p",): (1, 0.02)}
    assert seen(tallied.gaps_longest) == {("p",): (1, 0.09)}
    assert happened(tallied.attempts) == {("p", "a"): 1, ("p", "b"): 1}
    assert happened(tallied.failures) == {("p", "a", "rate_limit"): 1}
    assert happened(tallied.tokens) == {
        ("p", "b", "input"): 10,
        ("p", "b", "output"): 3,
        ("p", "b", "cache_write"): 7,
        ("p", "b", "reasoning"): 1,
    }
    assert happened(tallied.picodollars) == {("p", "b"): 12_000_000}
    assert happened(tallied.failovers) == {("p", "rate_limit"): 1}
    assert happened(tallied.translations) == {("openai", "anthropic"): 1}
    assert happened(tallied.dropped_fields) == {("openai",): 2}


def test_a_request_falls_into_the_range_of_its_duration(kit: Kit) -> None:
    metrics = kit.spawn(Metrics, labels=LABELS)
    for latency_ms in (50.0, 51.0, 1e9):
        metrics.tell(done(latency_ms=latency_ms))
    counts = kit.ask(metrics, Tally()).durations["openai", "p"].counts
    assert counts == (1, 1, *[0] * (len(DURATION_SECS) - 2), 1)


@pytest.mark.parametrize("word", ["ok", "cancelled"])
def test_an_attempt_that_did_not_fail_is_no_failure(kit: Kit, word: str) -> None:
    metrics = kit.spawn(Metrics, labels=LABELS)
    metrics.tell(done(attempts=(AttemptDone(pool="p", member="a", disposition=word, latency_ms=1.0),)))
    tallied: Tallied = kit.ask(metrics, Tally())
    assert (happened(tallied.attempts), happened(tallied.failures)) == ({("p", "a"): 1}, {})


def test_only_streams_have_a_first_token(kit: Kit) -> None:
    metrics = kit.spawn(Metrics, labels=LABELS)
    metrics.tell(done(ttft_ms=3.0))
    assert seen(kit.ask(metrics, Tally()).first_tokens) == {}


def test_a_scrape_is_not_changed_by_what_comes_after_it(kit: Kit) -> None:
    metrics = kit.spawn(Metrics, labels=LABELS)
    before: Tallied = kit.ask(metrics, Tally())
    metrics.tell(done(failed_over=(("p", "timeout"),)))
    assert kit.ask(metrics, Tally()) != before
    assert (happened(before.requests), happened(before.failovers), seen(before.durations)) == ({}, {}, {})


def test_members_that_come_and_go_in_a_pool_leave_no_series_behind(kit: Kit) -> None:
    metrics = kit.spawn(Metrics, labels=Labels(("openai",), {"fast": ("m0",)}))
    for number in range(1, 10):
        metrics.tell(Relabel(Labels(("openai",), {"fast": (f"m{number}",)})))
    assert set(kit.ask(metrics, Tally()).attempts) == {("fast", "m8"), ("fast", "m9")}


def test_what_was_told_before_a_change_is_counted_before_it(kit: Kit) -> None:
    metrics = kit.spawn(Metrics, labels=LABELS)
    metrics.tell(done(attempts=(AttemptDone(pool="p", member="a", disposition="ok", latency_ms=1.0),)))
    metrics.tell(Relabel(Labels(("openai",), {"q": ("c",)})))
    metrics.tell(Relabel(Labels(("openai",), {"q": ("c",)})))
    assert set(kit.ask(metrics, Tally()).attempts) == {("q", "c")}


def test_what_cannot_be_counted_ends_its_instance_and_what_comes_then_is_counted(kit: Kit) -> None:
    metrics = kit.spawn(Metrics, kit.spawn(Journal))
    for _ in range(BATCH):
        metrics.tell(done(outcome="weird"))
    kit.run()
    kit.expect_crash(KeyError)
    assert len(kit.ask(metrics, Recent(1000))) == BATCH
    metrics.tell(done())
    assert kit.ask(metrics, Snapshot())["requests"][0]["count"] == 1
