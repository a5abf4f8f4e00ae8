"""How long a provider asks to be left alone, in every form."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.retry_after import retry_after_secs

NOW = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the moment of RFC 9110's examples."""

EMPTY: dict[str, str] = {}


def asked(message: str = "", **headers: str) -> float | None:
    return retry_after_secs({name.replace("_", "-"): value for name, value in headers.items()}, message, NOW)


def test_nothing_said_is_none() -> None:
    assert asked() is None
    assert asked("Overloaded", content_type="application/json") is None


@pytest.mark.parametrize(
    ("value", "secs"),
    [("20", 20.0), ("0", 0.0), (" 7 ", 7.0), ("1.5", 1.5), ("86400", 86_400.0), ("86401", 86_400.0)],
)
def test_seconds(value: str, secs: float) -> None:
    assert asked(retry_after=value) == secs


@pytest.mark.parametrize(
    "date",
    [
        "Sun, 06 Nov 1994 08:50:37 GMT",
        "Sunday, 06-Nov-94 08:50:37 GMT",
        "Sun Nov  6 08:50:37 1994",
        "Sun, 06 Nov 1994 09:50:37 +0100",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_every_form_of_an_http_date_in_any_time_zone(date: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TZ", zone)
    time.tzset()
    try:
        assert asked(retry_after=date) == 60.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_date_in_the_past_is_now_and_one_far_away_is_a_day() -> None:
    assert asked(retry_after="Sun, 06 Nov 1994 08:49:00 GMT") == 0.0
    assert asked(retry_after="Fri, 31 Dec 9999 23:59:59 GMT") == 86_400.0


@pytest.mark.parametrize(
    "garbage",
    [
        *["", "nan", "inf", "-inf", "NaN", "-5", "1e5", "1_000", "0x10", "soon", "99999999999999", "5 s", ", , ,"],
        *["GMT", "Mon, 99 Foo 2026 99:99:99 GMT", "1" * 5000],
    ],
)
def test_garbage_is_as_if_nothing_was_said(garbage: str) -> None:
    assert asked(retry_after=garbage) is None
    assert asked(retry_after_ms=garbage) is None
    assert asked("try again in 3s", retry_after=garbage, retry_after_ms=garbage) == 3.0


def test_milliseconds_are_more_exact_and_come_first() -> None:
    assert asked(retry_after_ms="1500", retry_after="2") == 1.5
    assert asked(retry_after_ms="nonsense", retry_after="2") == 2.0


def test_sources_are_asked_in_their_order() -> None:
    headers = {"retry_after": "1", "x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "2s"}
    text = "Please try again in 3s"
    assert asked(text, **headers) == 1.0
    del headers["retry_after"]
    assert asked(text, **headers) == 2.0
    assert asked(text) == 3.0


# --- reset headers


@pytest.mark.parametrize(
    ("value", "secs"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("7.66s", 7.66),
        ("20ms", 0.02),
        ("1h2m3s", 3723.0),
        ("1m", 60.0),
        ("99h", 86_400.0),
    ],
)
@pytest.mark.parametrize("bucket", ["requests", "tokens"])
def test_reset_of_an_exhausted_bucket_as_a_duration(bucket: str, value: str, secs: float) -> None:
    headers = {f"x-ratelimit-remaining-{bucket}": "0", f"x-ratelimit-reset-{bucket}": value}
    assert retry_after_secs(headers, "", NOW) == pytest.approx(secs)


@pytest.mark.parametrize("value", ["", "s", "soon", "-1s", "nan", "1s1s", "1", "infs"])
def test_reset_that_is_no_duration_is_ignored(value: str) -> None:
    assert asked(x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests=value) is None


@pytest.mark.parametrize("bucket", ["requests", "tokens", "input-tokens", "output-tokens"])
@pytest.mark.parametrize("moment", ["1994-11-06T08:50:37Z", "1994-11-06T09:50:37+01:00", "1994-11-06T08:50:37"])
def test_reset_of_an_exhausted_bucket_as_a_timestamp(bucket: str, moment: str) -> None:
    headers = {f"anthropic-ratelimit-{bucket}-remaining": "0", f"anthropic-ratelimit-{bucket}-reset": moment}
    assert retry_after_secs(headers, "", NOW) == 60.0


def test_reset_headers_of_buckets_with_something_left_say_nothing() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "60s",
        "anthropic-ratelimit-tokens-remaining": "5000",
        "anthropic-ratelimit-tokens-reset": "1994-11-06T08:50:37Z",
        "x-ratelimit-reset-tokens": "9s",
    }
    assert retry_after_secs(headers, "", NOW) is None


def test_of_several_exhausted_buckets_the_latest_reset_counts() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "10s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "30s",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": "not a date",
    }
    assert retry_after_secs(headers, "", NOW) == 30.0


# --- texts


@pytest.mark.parametrize(
    ("message", "secs"),
    [
        ("Rate limit reached for gpt. Please try again in 7.66s. Visit …", 7.66),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 1m30.5s.", 90.5),
        ("Please try again in 7m12s.", 432.0),
        ("Please retry in 53.8s.", 53.8),
        ("Please retry after 26 seconds.", 26.0),
        ("Try Again In 1 Minute", 60.0),
        ("try again in 2 mins", 120.0),
        ("retry in 500 milliseconds", 0.5),
        ("try again in 1 hour", 3600.0),
        ("try again in 999999 minutes", 86_400.0),
        ("try again in 2 months", None),
        ("try again in a moment", None),
        ("try again in 1.2.3s", None),
        ("limit 30s", None),
    ],
)
def test_texts(message: str, secs: float | None) -> None:
    assert asked(message) == (None if secs is None else pytest.approx(secs))


# --- anything at all


@given(
    value=st.text(max_size=40) | st.from_regex(r"[0-9a-zA-Z:,. +-]{0,40}", fullmatch=True),
    unit=st.sampled_from(["", "s", "ms", "m0s"]),
)
def test_whatever_a_provider_sends_is_within_a_day_or_nothing(value: str, unit: str) -> None:
    for headers, message in (
        ({"retry-after": value + unit}, ""),
        ({"retry-after-ms": value + unit}, ""),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": value + unit}, ""),
        ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": value}, ""),
        (EMPTY, f"try again in {value}{unit}"),
    ):
        wait = retry_after_secs(headers, message, NOW)
        assert wait is None or 0.0 <= wait <= 86_400.0


def test_endless_digits_are_bounded_quickly() -> None:
    started = time.perf_counter()
    digits = "9" * 20_000
    assert asked(f"try again in {digits}s") == 86_400.0
    assert asked(x_ratelimit_remaining_tokens="0", x_ratelimit_reset_tokens=f"{digits}s") == 86_400.0
    assert asked(x_ratelimit_remaining_tokens="0", x_ratelimit_reset_tokens=digits) is None
    assert asked(f"try again in {digits}") is None
    assert time.perf_counter() - started < 1.0
