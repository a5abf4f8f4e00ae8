"""What is noted of a request while it is served, and told once when it is over."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from busbar.actors.journey import Destination, Journey
from busbar.actors.messages import Exhausted, Refusal, Route
from busbar.actors.telemetry import AttemptDone, Decision, RequestDone
from busbar.http.lanes import Lane
from busbar.http.record import Record
from busbar.http.stream_relay import Pace
from busbar.protocols.failures import ErrorRules, Failure, FailureClass, FailureSignal
from busbar.protocols.native import Native
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.usage import COUNT_MAX, Usage
from busbar.testing import Kit, VirtualClock

BEGAN = 1000.0
UNIX = 1_767_225_600.0


@dataclass
class Over:
    """An attempt that is over."""

    usage: Usage | None = None
    first_byte_at: float | None = None
    waited_secs: float = 0.0
    pace: Pace | None = None
    refused_keys: Sequence[tuple[int, str]] = ()
    dropped_fields: tuple[str, ...] = ()
    broken: Failure | None = None
    finished: bool = False


def lane(model: str = "gpt", protocol: str = "openai") -> Lane:
    return Lane(
        model=model,
        provider=f"{model}-provider",
        protocol=PROTOCOLS[protocol],
        upstream_model=model,
        base_url="https://provider.test",
        path=None,
        auth_style="none",
        signer=None,
        headers={},
        rules=ErrorRules(),
        default_max_tokens=1,
    )


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(now=BEGAN, time=UNIX)


@pytest.fixture
def record(clock: VirtualClock) -> Record:
    return Record("req_1", PROTOCOLS["openai"], clock)


def note(record: Record, attempt: Over, word: str = "ok", failure: Failure | None = None, **at: str) -> None:
    record.note(attempt, lane(**at), "p", word, BEGAN + 1, failure)


def test_a_request_that_reached_nobody_is_told_with_what_is_known(record: Record, clock: VirtualClock) -> None:
    record.told("client_error", 400)
    clock.advance(0.25)
    assert record.done() == RequestDone(
        request_id="req_1",
        ingress="openai",
        pool="unresolved",
        outcome="client_error",
        status=400,
        latency_ms=250.0,
        overhead_ms=250.0,
        unix_secs=UNIX,
        started_at=BEGAN,
    )


def test_everything_that_is_known_of_a_request_is_told(record: Record, clock: VirtualClock) -> None:
    journey = Journey(Destination(name="p", ref=Kit().probe("p").ref), {}, Route(request_id="req_1"), BEGAN + 0.5)
    journey.exhausted(Exhausted(reasons={"x": Refusal.DEAD}, retry_after_secs=1.0), BEGAN + 0.75)
    record.pool, record.stream, record.journey = "p", True, journey
    record.by_session.add("p")
    clock.advance(2.0)
    signal = FailureSignal(status=429, type="rate_limit", retry_after_secs=3.0)
    limited = Failure(kind=FailureClass.RATE_LIMIT, signal=signal)
    note(record, Over(waited_secs=0.5, refused_keys=[(1, "auth")]), "rate_limit", limited, model="claude")
    clock.advance(2.0)
    answered = Over(
        usage=Usage(input_tokens=5),
        first_byte_at=BEGAN + 3.5,
        waited_secs=1.0,
        pace=Pace(gaps=2, mean_secs=0.25, longest_secs=0.5),
        dropped_fields=("seed",),
        finished=True,
    )
    note(record, answered, model="gemini", protocol="gemini")
    assert record.answered
    assert [*journey.decisions] == [Decision(pool="p", member=None, passed_over={"x": Refusal.DEAD}, at=BEGAN + 0.75)]
    assert record.done() == RequestDone(
        request_id="req_1",
        ingress="openai",
        pool="p",
        outcome="ok",
        status=200,
        latency_ms=4000.0,
        ttft_ms=3500.0,
        overhead_ms=2000.0,
        attempts=(
            AttemptDone(
                member="claude",
                disposition="rate_limit",
                latency_ms=1000.0,
                provider="claude-provider",
                protocol="openai",
                at=BEGAN + 1,
                status=429,
                code="rate_limit",
                retry_after_secs=3.0,
                pool="p",
                waited_ms=500.0,
                refused_keys=[(1, "auth")],
            ),
            AttemptDone(
                member="gemini",
                disposition="ok",
                latency_ms=3000.0,
                provider="gemini-provider",
                protocol="gemini",
                at=BEGAN + 1,
                first_byte_at=BEGAN + 3.5,
                pool="p",
                waited_ms=1000.0,
                gap_mean_ms=250.0,
                gap_longest_ms=500.0,
                usage=Usage(input_tokens=5),
            ),
        ),
        translated_to="gemini",
        usage=Usage(input_tokens=5),
        dropped_fields=("seed",),
        unix_secs=UNIX,
        started_at=BEGAN,
        routed_at=BEGAN + 0.5,
        stream=True,
        by_session={"p"},
        decisions=journey.decisions,
        failed_over=journey.failed_over,
    )


def test_what_a_provider_is_waited_for_after_the_first_byte_is_no_overhead_of_a_stream(
    record: Record, clock: VirtualClock
) -> None:
    record.stream = True
    note(record, Over(first_byte_at=BEGAN + 1.5, waited_secs=1.0))
    clock.advance(60.0)
    note(record, Over(first_byte_at=BEGAN + 50.0, waited_secs=40.0))  # it went on with the first one's answer
    done = record.done()
    assert (done.ttft_ms, done.overhead_ms, done.latency_ms) == (1500.0, 500.0, 60_000.0)


def test_usage_of_all_attempts_is_added_and_what_cannot_be_is_left_out(record: Record) -> None:
    note(record, Over(usage=Usage(input_tokens=1, output_tokens=COUNT_MAX + 1)))
    note(record, Over())
    note(record, Over(usage=Usage(input_tokens=2, output_tokens=3, reasoning_tokens=-1)))
    done = record.done()
    assert done.usage == Usage(input_tokens=3, output_tokens=3)
    assert [it.usage for it in done.attempts] == [
        Usage(input_tokens=1),
        None,
        Usage(input_tokens=2, output_tokens=3),
    ]


def test_a_stream_that_broke_is_an_error(record: Record) -> None:
    note(record, Over(first_byte_at=BEGAN, broken=Failure(kind=FailureClass.NETWORK)), "network")
    assert record.done().outcome == "error"


@pytest.mark.parametrize(("first_byte_at", "status"), [(None, 499), (BEGAN, 200)])
def test_who_left_has_the_status_that_it_was_told(record: Record, first_byte_at: float | None, status: int) -> None:
    note(record, Over(first_byte_at=first_byte_at), "cancelled")
    record.left()
    done = record.done()
    assert (done.outcome, done.status) == ("cancelled", status)


def test_what_is_told_keeps_nothing_alive_that_was_said(clock: VirtualClock) -> None:
    record = Record("req_1", PROTOCOLS["openai"], clock)
    attempt = Over(usage=Usage(input_tokens=1, native=Native("openai", {"note": "x" * 100_000})))
    note(record, attempt)
    done, alive = record.done(), weakref.ref(attempt)
    del record, attempt
    assert alive() is None
    assert done.usage == done.attempts[0].usage == Usage(input_tokens=1)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(line.levelno, line.getMessage()) for line in caplog.records]


def test_a_usual_request_is_no_line_in_the_log(record: Record, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    note(record, Over(dropped_fields=("seed",)), protocol="gemini")
    record.done()
    assert lines(caplog) == []


def test_fields_that_were_not_carried_are_a_line_for_those_who_debug(
    record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    note(record, Over(dropped_fields=("seed", "n")), protocol="gemini")
    record.done()
    assert lines(caplog) == [(logging.DEBUG, "req_1: not carried to gemini: seed, n")]


def test_a_request_that_went_on_to_another_member_is_a_line_in_the_log(
    record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    note(record, Over(), "overloaded", Failure(kind=FailureClass.OVERLOADED))
    note(record, Over(), model="claude")
    record.done()
    assert lines(caplog) == [
        (logging.INFO, "req_1: unresolved: gpt overloaded, then claude ok; told ok (200)"),
    ]
