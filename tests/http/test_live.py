"""The live page's stream without its sockets: patches, what readers are given, and figures out of requests."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from busbar.actors.telemetry import RequestDone
from busbar.http.live import CHANGES_KEPT, Feed
from busbar.http.live_patch import KEPT, NAMED_BY, Picture, apply, changes
from busbar.http.live_rates import SAMPLES_PER_SEC, Rates

# --- patches


def named(field: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Entries of a section, each name once, in any order."""
    entry = st.fixed_dictionaries({field: st.sampled_from("abcde"), "value": st.none() | st.integers(0, 2)})
    return st.lists(entry, unique_by=lambda it: it[field], max_size=5)


PICTURES = st.fixed_dictionaries(
    {
        "now": st.integers(0, 3),
        "gateway": st.fixed_dictionaries({"draining": st.booleans()}),
        "governance": st.none() | st.fixed_dictionaries({"keys": st.lists(st.integers(0, 1), max_size=2)}),
        **{section: named(field) for section, field in NAMED_BY.items()},
        **{section: st.lists(st.integers(0, 2), max_size=KEPT[section]) for section in KEPT},
    }
)


@given(PICTURES, PICTURES)
def test_a_patch_makes_the_one_picture_of_the_other(before: Picture, after: Picture) -> None:
    patch = changes(before, after)
    wire = msgspec.json.decode(msgspec.json.encode(patch))
    assert apply(before, wire) == (after if patch else before)
    assert bool(patch) == ({**before, "now": 0} != {**after, "now": 0})


@given(st.lists(st.integers(), max_size=80), st.lists(st.integers(), max_size=30))
def test_of_the_latest_requests_only_new_ones_are_sent(old: list[int], new: list[int]) -> None:
    kept = KEPT["requests"]
    before, after = {"now": 0, "requests": old[:kept]}, {"now": 1, "requests": [*new, *old][:kept]}
    patch = changes(before, after)
    assert "requests" not in patch.get("replace", {})
    assert len(patch.get("prepend", {}).get("requests", [])) <= len(new)
    assert apply(before, patch)["requests"] == after["requests"]


def test_a_patch_says_what_changed_and_nothing_else() -> None:
    before = {
        "now": 1.0,
        "gateway": {"draining": False},
        "members": [{"model": "a", "busy": 0}, {"model": "b", "busy": 0}],
        "actors": [{"name": "x"}, {"name": "y"}],
        "requests": [{"request_id": "1"}],
    }
    after = {
        "now": 2.0,
        "gateway": {"draining": False},
        "members": [{"model": "a", "busy": 0}, {"model": "b", "busy": 1}],
        "actors": [{"name": "x"}],
        "requests": [{"request_id": "2"}, {"request_id": "1"}],
    }
    assert changes(before, after) == {
        "replace": {"now": 2.0, "actors": [{"name": "x"}]},
        "set": {"members": [{"model": "b", "busy": 1}]},
        "prepend": {"requests": [{"request_id": "2"}]},
    }
    assert changes(after, {**after, "now": 3.0}) == {}


# --- readers


def at(number: int) -> Picture:
    return {"now": number, "gateway": {"draining": False, "number": number}}


def events(data: bytes) -> list[tuple[int, str, int]]:
    """(id, kind, the gateway's number) of each event."""
    found = []
    for frame in data.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in frame.split("\n"))
        document = msgspec.json.decode(fields["data"])
        picture = document if fields["event"] == "snapshot" else document["replace"]
        found.append((int(fields["id"]), fields["event"], picture["gateway"]["number"]))
    return found


def test_a_reader_gets_the_picture_and_then_each_change() -> None:
    feed = Feed()
    assert feed.after(0) == (b"", 0)
    feed.put(at(7))
    data, read = feed.after(0)
    assert events(data) == [(1, "snapshot", 7)]
    assert feed.after(read) == (b"", 1)
    feed.put(at(8))
    feed.put(at(8))
    feed.put(at(9))
    data, read = feed.after(read)
    assert (events(data), read) == ([(2, "change", 8), (3, "change", 9)], 3)


def test_a_reader_that_comes_later_gets_the_picture_of_now() -> None:
    feed = Feed()
    for number in range(3):
        feed.put(at(number))
    data, read = feed.after(0)
    assert (events(data), read) == ([(3, "snapshot", 2)], 3)


def test_a_slow_reader_misses_changes_and_gets_the_picture_instead() -> None:
    feed = Feed()
    feed.put(at(0))
    _, read = feed.after(0)
    for number in range(1, CHANGES_KEPT + 1):
        feed.put(at(number))
    assert [number for number, kind, _ in events(feed.after(read)[0]) if kind == "change"] == list(
        range(2, CHANGES_KEPT + 2)
    )
    feed.put(at(100))
    data, read = feed.after(read)
    assert (events(data), read) == ([(CHANGES_KEPT + 2, "snapshot", 100)], CHANGES_KEPT + 2)
    feed.put(at(101))
    assert events(feed.after(read)[0]) == [(CHANGES_KEPT + 3, "change", 101)]


# --- figures

NOW = 1_000_000.0


def request(
    ago_secs: float, latency_ms: float = 100.0, outcome: str = "ok", ttft_ms: float | None = None
) -> RequestDone:
    """One that was over so long ago."""
    return RequestDone(
        request_id="r",
        ingress="openai",
        pool="p",
        outcome=outcome,
        status=200,
        latency_ms=latency_ms,
        ttft_ms=ttft_ms,
        unix_secs=NOW - ago_secs - latency_ms / 1000,
    )


def figures(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name != "history"}


def test_rates_are_those_of_the_last_ten_whole_seconds() -> None:
    rates = Rates()
    latest = [request(1.5, 10 * step) for step in range(10, 0, -1)]
    older = [request(30.5, 5.0, "error")]
    rates.see([request(-0.5), *latest, *older, request(70.5)], NOW)
    shown = rates.shown(NOW)
    assert figures(shown) == {
        "requests_per_s": 1.0,
        "errors_per_s": 0.0,
        "p50_ms": 50.0,
        "p95_ms": 100.0,
        "ttft_p50_ms": None,
    }
    history = shown["history"]
    assert {name: len(values) for name, values in history.items()} == dict.fromkeys(figures(shown), 60)
    assert (history["requests_per_s"][58], history["requests_per_s"][29]) == (10.0, 1.0)
    assert sum(history["requests_per_s"]) == 11.0
    assert (history["errors_per_s"][29], sum(history["errors_per_s"])) == (1.0, 1.0)
    assert (history["p95_ms"][58], history["p95_ms"][29], history["p95_ms"][0]) == (100.0, 5.0, None)


def test_each_request_is_counted_once_however_often_it_is_seen() -> None:
    rates = Rates()
    first, second = request(3.5, ttft_ms=20.0), request(2.5, ttft_ms=40.0)
    rates.see([first], NOW)
    rates.see([first], NOW)
    rates.see([second, first], NOW)
    shown = rates.shown(NOW)
    assert (shown["requests_per_s"], shown["ttft_p50_ms"]) == (0.2, 20.0)


def test_what_is_our_fault_is_an_error_and_the_rest_is_not() -> None:
    rates = Rates()
    outcomes = ("ok", "client_error", "cancelled", "error", "exhausted")
    rates.see([request(1.5, outcome=outcome) for outcome in outcomes], NOW)
    assert rates.shown(NOW)["errors_per_s"] == 0.2


def test_figures_change_with_whole_seconds_only() -> None:
    rates = Rates()
    rates.see([request(1.5)], NOW)
    shown = rates.shown(NOW)
    rates.see([request(-0.5)], NOW + 0.9)
    assert rates.shown(NOW + 0.9) == shown
    assert rates.shown(NOW + 1)["requests_per_s"] == 0.2


def test_a_request_that_is_told_late_counts_where_it_belongs() -> None:
    rates = Rates()
    rates.see([request(1.5)], NOW)
    assert rates.shown(NOW)["requests_per_s"] == 0.1
    rates.see([request(1.5)], NOW)
    assert rates.shown(NOW)["history"]["requests_per_s"][58] == 2.0


def test_a_busy_second_is_sampled_and_counted_whole() -> None:
    rates = Rates()
    rates.see([request(1.5, ttft_ms=1.0) for _ in range(SAMPLES_PER_SEC + 100)], NOW)
    assert rates.shown(NOW)["requests_per_s"] == (SAMPLES_PER_SEC + 100) / 10
