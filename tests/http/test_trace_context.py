"""W3C trace context: the standard's own cases, and whatever else a header may hold."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from busbar.actors.telemetry import TraceContext
from busbar.http.trace_context import Parent, begin, outgoing, parse_traceparent, parse_tracestate
from busbar.http.tracing import Tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACE_ID, SPAN_ID = int(TRACE, 16), int(SPAN, 16)
SENT = f"00-{TRACE}-{SPAN}-01"

hexes = st.text("0123456789abcdef", min_size=1)


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (SENT, 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-03", 3),
        (f"00-{TRACE}-{SPAN}-ff", 3),  # flags that nobody knows are not passed on
        (f" \t{SENT} ", 1),
        (f"cc-{TRACE}-{SPAN}-01", 1),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", 1),
    ],
)
def test_a_traceparent_is_read(header: str, flags: int) -> None:
    assert parse_traceparent([header]) == Parent(TRACE_ID, SPAN_ID, flags)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [SENT, SENT],
        [""],
        [SENT.upper()],
        [f"ff-{TRACE}-{SPAN}-01"],
        [f"0-{TRACE}-{SPAN}-01"],
        [f"00-{TRACE}-{SPAN}"],
        [f"00-{TRACE}-{SPAN}-1"],
        [f"00-{TRACE}-{SPAN}-0x"],
        [f"00-{TRACE}-{SPAN}-01-"],
        [f"00-{TRACE}-{SPAN}-01-more"],
        [f"cc-{TRACE}-{SPAN}-01.more"],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"00-{TRACE[1:]}-{SPAN}-01"],
        [f"00-{TRACE}0-{SPAN}-01"],
        [f"00-{TRACE}-{SPAN[1:]}-01"],
        [f"00-{TRACE[:-1]}.-{SPAN}-01"],
        [f"00_{TRACE}_{SPAN}_01"],
        [f"{SENT}\n"],
        [f"00-{TRACE[:-1]}\u0661-{SPAN}-01"],
    ],
)
def test_a_malformed_traceparent_counts_as_none(headers: list[str]) -> None:
    assert parse_traceparent(headers) is None


@pytest.mark.parametrize(
    ("headers", "state"),
    [
        ([], ""),
        ([""], ""),
        (["foo=1"], "foo=1"),
        (["foo=1,bar=2"], "foo=1,bar=2"),
        (["foo=1", "bar=2"], "foo=1,bar=2"),
        (["foo=1 \t , \t bar=2, "], "foo=1,bar=2"),
        (["foo=1,,,bar=2", ""], "foo=1,bar=2"),
        (["tenant@vendor=a b~!", "0@v=x"], "tenant@vendor=a b~!,0@v=x"),
        ([f"{'z' * 256}=1"], f"{'z' * 256}=1"),
        ([f"k={'v' * 256}"], f"k={'v' * 256}"),
        ([",".join(f"k{number}=1" for number in range(32))], ",".join(f"k{number}=1" for number in range(32))),
        ([",".join(f"k{number}=1" for number in range(33))], ""),
        ([f"{'z' * 257}=1"], ""),
        ([f"k={'v' * 257}"], ""),
        (["foo=1,foo=2"], ""),
        (["foo=1", "foo=1"], ""),
        (["foo"], ""),
        (["foo="], ""),
        (["foo =1"], ""),
        (["foo@=1"], ""),
        (["@foo=1"], ""),
        (["foo@@bar=1"], ""),
        (["FOO=1"], ""),
        (["foo.bar=1"], ""),
        (["foo=1=2"], ""),
        (["foo=caf\u00e9"], ""),
    ],
)
def test_a_tracestate_goes_on_whole_or_not_at_all(headers: list[str], state: str) -> None:
    assert parse_tracestate(headers) == state


@given(st.lists(st.text()), st.lists(st.text()))
def test_whatever_comes_something_valid_goes_on(parents: list[str], states: list[str]) -> None:
    headers = CIMultiDict([*(("Traceparent", it) for it in parents), *(("TraceState", it) for it in states)])
    sent = outgoing(begin(headers, random.Random(7)), 1)
    assert re.fullmatch(r"00-[0-9a-f]{32}-0000000000000001-0[13]", sent["traceparent"])
    assert parse_tracestate([sent.get("tracestate", "")]) == sent.get("tracestate", "")


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 3))
def test_what_we_send_is_what_we_read(trace_id: int, span_id: int, flags: int) -> None:
    context = TraceContext(trace_id=trace_id, span_id=5, flags=flags)
    assert parse_traceparent([outgoing(context, span_id)["traceparent"]]) == Parent(trace_id, span_id, flags)


def test_a_request_goes_on_in_its_callers_trace() -> None:
    headers = CIMultiDict([("Traceparent", SENT), ("TraceState", "a=1"), ("tracestate", "b=2")])
    context = begin(headers, random.Random(7))
    assert context == TraceContext(
        trace_id=TRACE_ID, span_id=context.span_id, parent_id=SPAN_ID, flags=1, state="a=1,b=2"
    )
    assert context.span_id not in (0, SPAN_ID)


def test_a_request_without_a_trace_begins_one_that_is_sampled() -> None:
    first, second = (begin({"tracestate": "a=1"}, source) for source in [random.Random(7)] * 2)
    assert (first.parent_id, first.state, first.sampled, first.flags) == (None, "", True, 3)
    assert first.trace_id != second.trace_id
    assert first.span_id != second.span_id


def test_a_caller_that_does_not_sample_is_not_sampled_but_goes_on() -> None:
    trace = Tracing(random.Random(7)).begin({"traceparent": f"00-{TRACE}-{SPAN}-00"})
    assert not trace.context.sampled
    assert trace.outgoing()["traceparent"].startswith(f"00-{TRACE}-")
    assert trace.outgoing()["traceparent"].endswith("-00")


def test_each_attempt_has_a_span_and_its_provider_is_told_of_it() -> None:
    trace = Tracing(random.Random(7)).begin({"traceparent": SENT, "tracestate": "a=1"})
    first = trace.outgoing()
    told = trace.attempt_over()
    assert first == {"traceparent": f"00-{TRACE}-{told:016x}-01", "tracestate": "a=1"}
    second = trace.outgoing()
    assert second["traceparent"] == f"00-{TRACE}-{trace.attempt_over():016x}-01"
    assert first != second
    never_sent = {trace.attempt_over(), trace.attempt_over()}
    assert len(never_sent) == 2
    assert not never_sent & {0, told, trace.context.span_id}


def test_a_tracestate_that_is_not_believed_is_taken_out_of_what_goes_on() -> None:
    for headers in ({"tracestate": "a=1"}, {"traceparent": SENT, "tracestate": "not a member"}):
        assert Tracing(random.Random(7)).begin(headers).outgoing()["tracestate"] == ""
