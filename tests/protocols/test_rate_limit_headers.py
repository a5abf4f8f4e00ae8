"""What is left of a caller's limits, in the headers that its dialect's clients look for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.protocol import Protocol
from busbar.protocols.rate_limits import RateLimits, duration
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.retry_after import retry_after_secs
from tests.recordings import Recording, load, recordings

NOW = 1_764_000_000.25  # 2025-11-24T16:00:00.25Z
LIMITS = RateLimits(
    requests_limit=60,
    requests_remaining=0,
    requests_reset_secs=7.66,
    tokens_limit=100_000,
    tokens_remaining=99_990,
    tokens_reset_secs=0.006,
)

AS_OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "7.66s",
    "x-ratelimit-limit-tokens": "100000",
    "x-ratelimit-remaining-tokens": "99990",
    "x-ratelimit-reset-tokens": "6ms",
}
AS_ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "60",
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2025-11-24T16:00:08Z",
    "anthropic-ratelimit-tokens-limit": "100000",
    "anthropic-ratelimit-tokens-remaining": "99990",
    "anthropic-ratelimit-tokens-reset": "2025-11-24T16:00:01Z",
}

every_dialect = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)


@every_dialect
def test_both_limits_are_told_in_the_dialects_own_words(protocol: Protocol) -> None:
    expected = AS_ANTHROPIC if protocol.name == "anthropic" else AS_OPENAI
    assert protocol.rate_limit_headers(LIMITS, NOW) == expected


@every_dialect
def test_nothing_is_told_of_a_limit_that_there_is_not(protocol: Protocol) -> None:
    only_requests = RateLimits(requests_limit=5, requests_remaining=4, requests_reset_secs=12.0)
    told = protocol.rate_limit_headers(only_requests, NOW)
    assert len(told) == 3
    assert all("requests" in name for name in told)
    only_tokens = RateLimits(tokens_limit=5, tokens_remaining=4, tokens_reset_secs=12.0)
    told = protocol.rate_limit_headers(only_tokens, NOW)
    assert len(told) == 3
    assert all("tokens" in name for name in told)
    assert protocol.rate_limit_headers(RateLimits(), NOW) == {}


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        *((0.0, "0s"), (0.0004, "0s"), (0.0006, "1ms"), (0.12, "120ms"), (0.9994, "999ms"), (0.9996, "1s")),
        *((1.0, "1s"), (7.66, "7.66s"), (59.999, "59.999s"), (59.9996, "1m0s"), (360.0, "6m0s")),
        *((61.5, "1m1.5s"), (3600.0, "1h0m0s"), (86_399.001, "23h59m59.001s")),
    ],
)
def test_a_duration_is_written_as_go_writes_it(secs: float, text: str) -> None:
    assert duration(secs) == text


@every_dialect
@given(secs=st.floats(0, 80_000))
def test_a_reset_is_understood_by_whoever_reads_such_headers(protocol: Protocol, secs: float) -> None:
    """To the millisecond, or to the second where it is a time of day; that one is never too early."""
    limits = RateLimits(requests_limit=1, requests_remaining=0, requests_reset_secs=secs)
    read = retry_after_secs(protocol.rate_limit_headers(limits, NOW), "", NOW)
    assert read is not None
    if protocol.name == "anthropic":
        assert secs - 1e-6 <= read < secs + 1 + 1e-6
    else:
        assert abs(read - secs) <= 0.000501


@every_dialect
def test_our_own_headers_are_of_the_families_that_are_dropped(protocol: Protocol) -> None:
    told = protocol.rate_limit_headers(LIMITS, NOW)
    assert all(name.startswith(protocol.account_header_prefixes) for name in told)


NOT_OF_LIMITS = {"retry-after", "retry-after-ms", "x-should-retry", "x-max-retry-attempts-reached"}
"""What a caller needs to know of this very answer."""


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name not in ("gemini", "bedrock")])
def test_every_recorded_header_about_limits_is_of_a_family_that_is_dropped(protocol: str) -> None:
    """Google and Amazon send none."""
    if not load(protocol):
        pytest.skip(f"no recordings at ../shared/fixtures/{protocol}")
    sent = {name.lower() for recording in load(protocol) for name in recording.response.headers}
    about = {name for name in sent if "limit" in name}
    assert about
    assert {name for name in about if not name.startswith(PROTOCOLS[protocol].account_header_prefixes)} == set()
    assert not any(name.startswith(PROTOCOLS[protocol].account_header_prefixes) for name in NOT_OF_LIMITS)


@pytest.mark.parametrize(
    "recording", recordings("anthropic", lambda it: "anthropic-ratelimit-requests-reset" in it.response.headers)[:3]
)
def test_anthropics_own_headers_are_spelled_alike(recording: Recording) -> None:
    headers = recording.response.headers
    told = PROTOCOLS["anthropic"].rate_limit_headers(LIMITS, NOW)
    assert {name for name in told if "requests" in name} <= headers.keys()
    moment = headers["anthropic-ratelimit-requests-reset"]
    assert (len(moment), moment[-1]) == (len("2025-11-24T16:00:08Z"), "Z")
