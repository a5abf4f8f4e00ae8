"""The record of a request: whole, and nothing in it that was said or that opens anything."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.telemetry import AttemptDone, RequestDone, TraceContext
from busbar.protocols.usage import Usage
from busbar.telemetry.records import RequestRecord, encode, timestamp

FULL = RequestDone(
    request_id="req_1",
    ingress="openai",
    pool="fast",
    outcome="ok",
    status=200,
    latency_ms=1234.56,
    ttft_ms=100.04,
    attempts=[
        AttemptDone(
            member="gpt",
            disposition="rate_limit",
            latency_ms=12.34,
            provider="openai",
            protocol="openai",
            status=429,
            code="rate_limit_exceeded",
            pool="fast",
        ),
        AttemptDone(
            member="claude", disposition="ok", latency_ms=1200.0, provider="main", protocol="anthropic", pool="slow"
        ),
    ],
    translated_to="anthropic",
    usage=Usage(input_tokens=10, output_tokens=20, cache_read_tokens=0, reasoning_tokens=5),
    key_id="vk_1",
    picodollars=123_456_000,
    dropped_fields=("logit_bias",),
    unix_secs=1_767_225_600.123,
    stream=True,
    failed_over=[("fast", "rate_limit")],
    overhead_ms=1.239,
    trace=TraceContext(trace_id=0xABC, span_id=1),
)


def record(request: RequestDone) -> dict[str, Any]:
    written: dict[str, Any] = msgspec.json.decode(encode(request))
    return written


def test_everything_that_is_known_is_written() -> None:
    assert record(FULL) == {
        "ts": "2026-01-01T00:00:00.123Z",
        "request_id": "req_1",
        "ingress_protocol": "openai",
        "operation": "chat",
        "stream": True,
        "pool": "fast",
        "outcome": "ok",
        "status": 200,
        "latency_ms": 1234.6,
        "ttft_ms": 100.0,
        "overhead_ms": 1.24,
        "key_id": "vk_1",
        "translated_to": "anthropic",
        "failovers": 1,
        "attempts": [
            {
                "lane": "gpt",
                "disposition": "rate_limit",
                "ms": 12.3,
                "pool": "fast",
                "provider": "openai",
                "protocol": "openai",
                "status": 429,
                "code": "rate_limit_exceeded",
            },
            {
                "lane": "claude",
                "disposition": "ok",
                "ms": 1200.0,
                "pool": "slow",
                "provider": "main",
                "protocol": "anthropic",
                "status": None,
                "code": None,
            },
        ],
        "usage": {
            "input": 10,
            "output": 20,
            "cache_read": 0,
            "cache_write": None,
            "cache_write_1h": None,
            "reasoning": 5,
        },
        "cost": {"nanodollars": 123456, "usd": 0.000123456},
        "dropped_fields": ["logit_bias"],
        "trace_id": "00000000000000000000000000000abc",
    }


def test_a_request_that_nobody_took_has_the_same_fields() -> None:
    refused = RequestDone(
        request_id="req_2", ingress="gemini", pool="unresolved", outcome="client_error", status=404, latency_ms=0.3
    )
    written = record(refused)
    assert tuple(written) == RequestRecord.__struct_fields__
    assert {name for name, value in written.items() if value is None} == {
        *("ttft_ms", "overhead_ms", "key_id", "translated_to", "usage", "cost", "trace_id")
    }
    assert written["attempts"] == written["dropped_fields"] == []


def test_a_provider_code_that_might_be_a_message_is_left_out() -> None:
    quoting = AttemptDone(member="gpt", disposition="client_fault", latency_ms=1.0, code="You said: my password is x")
    assert record(msgspec.structs.replace(FULL, attempts=[quoting]))["attempts"][0]["code"] is None


def test_a_record_is_one_line_whatever_names_hold() -> None:
    line = encode(msgspec.structs.replace(FULL, dropped_fields=("a\nb", "half \ud800")))
    assert b"\n" not in line
    assert msgspec.json.decode(line)["dropped_fields"] == ["a\nb", "half ?"]
    assert tuple(msgspec.json.decode(line)) == RequestRecord.__struct_fields__


def test_times_are_told_to_the_nearest_millisecond() -> None:
    assert timestamp(1_767_225_600.0) == "2026-01-01T00:00:00.000Z"
    assert timestamp(1_767_225_600.9996) == "2026-01-01T00:00:01.000Z"


@given(st.floats(min_value=0.0, max_value=4_102_444_800.0))
def test_the_time_that_is_told_is_the_time(unix_secs: float) -> None:
    told = datetime.fromisoformat(timestamp(unix_secs))
    assert abs(told.timestamp() - unix_secs) <= 0.000_501
