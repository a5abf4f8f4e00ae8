"""One scrape's plain values, as Prometheus reads them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from busbar.actors.runtime import ActorInfo
from busbar.actors.tallies import GAP_SECS, Labels, Tallies
from busbar.actors.telemetry import AttemptDone, RequestDone
from busbar.telemetry.prometheus import Scrape, render

TALLIES = Tallies(Labels(("openai", "anthropic"), {"p": ("a", "b")}))

CELL = {"state": "half_open", "trips": 3}
MEMBERS: tuple[Mapping[str, Any], ...] = (
    {"model": "a", "usable": True, "inflight": 2, "free_slots": 3, "cells": {"p": CELL}},
    {"model": "b", "usable": False},
)


def actor(name: str, **fields: Any) -> ActorInfo:
    base = {"kind": "Member", "alive": True, "mailbox": 0, "processed": 0, "restarts": 0, "dropped": 0}
    return ActorInfo(name=name, **(base | fields))


SCRAPE = Scrape(
    version="1.2.3",
    tallied=TALLIES.tallied(),
    members=MEMBERS,
    actors=(actor("member:a", mailbox=4, restarts=5, dropped=6), actor("member:b", alive=False)),
    lost={"metrics": 7},
)


def samples(scrape: Scrape, name: str) -> dict[tuple[str, ...], float]:
    """Of one series by its label values, in order of their names."""
    body, content_type = render(scrape, "")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in read_text(body.decode())
        for sample in family.samples
        if sample.name == name
    }


def test_a_member_that_is_no_more_has_no_slots_and_is_open_everywhere() -> None:
    assert samples(SCRAPE, "busbar_breaker_state") == {("a", "p"): 1, ("b", "p"): 2}
    assert samples(SCRAPE, "busbar_breaker_trips_total") == {("a", "p"): 3}
    assert samples(SCRAPE, "busbar_member_usable") == {("a",): 1, ("b",): 0}
    assert samples(SCRAPE, "busbar_slots") == {("a", "busy"): 2, ("a", "free"): 3, ("b", "busy"): 0, ("b", "free"): 0}


def test_breaker_states_are_numbers() -> None:
    def state(word: str) -> float:
        member = {**MEMBERS[0], "cells": {"p": {**CELL, "state": word}}}
        return samples(replace(SCRAPE, members=(member,)), "busbar_breaker_state")["a", "p"]

    assert [state(word) for word in ("closed", "half_open", "open")] == [0, 1, 2]


def test_actors_show_their_mailboxes_and_what_became_of_them() -> None:
    assert samples(SCRAPE, "busbar_mailbox_depth") == {("member:a",): 4, ("member:b",): 0}
    assert samples(SCRAPE, "busbar_actor_restarts_total") == {("member:a",): 5, ("member:b",): 0}
    assert samples(SCRAPE, "busbar_mailbox_dropped_total") == {("member:a",): 6, ("member:b",): 0}
    assert samples(SCRAPE, "busbar_telemetry_dropped_total") == {("metrics",): 7}
    assert samples(SCRAPE, "busbar_build_info") == {("1.2.3",): 1}


def test_of_actors_with_one_name_the_living_one_counts() -> None:
    again = replace(SCRAPE, actors=(actor("pool:p", mailbox=1), actor("pool:p", alive=False, mailbox=9)))
    assert samples(again, "busbar_mailbox_depth") == {("pool:p",): 1}


def test_the_ledger_is_shown_where_there_is_one() -> None:
    assert samples(SCRAPE, "busbar_ledger_store_ok") == {}
    ledger = {"commits": 3, "failures": 1, "waiting": 0, "unwritten": 12}
    governed = replace(SCRAPE, governance={"governance": {"store_ok": False}, "ledger": ledger})
    assert samples(governed, "busbar_ledger_store_ok") == {(): 0}
    assert samples(governed, "busbar_ledger_commits_total") == {(): 3}
    assert samples(governed, "busbar_ledger_failures_total") == {(): 1}
    assert samples(governed, "busbar_ledger_unwritten") == {(): 12}


def test_money_is_shown_in_dollars_and_histograms_add_up() -> None:
    tallies = Tallies(Labels(("openai",), {"p": ("a",)}))
    for gap_ms in (1.0, 3.0, 60_000.0):
        attempt = AttemptDone(
            pool="p", member="a", disposition="ok", latency_ms=1.0, gap_mean_ms=gap_ms, gap_longest_ms=gap_ms
        )
        tallies.add(
            RequestDone(
                request_id="r",
                ingress="openai",
                pool="p",
                outcome="ok",
                status=200,
                latency_ms=1.0,
                picodollars=250_000_000_000,
                attempts=(attempt,),
            )
        )
    scrape = replace(SCRAPE, tallied=tallies.tallied())
    assert samples(scrape, "busbar_spend_usd_total") == {("a", "p"): 0.75}
    buckets = samples(scrape, "busbar_chunk_gap_mean_seconds_bucket")
    counts = {bound: count for (bound, _), count in buckets.items()}
    assert counts == {"0.001": 1, "0.0025": 1, **{str(bound): 2 for bound in GAP_SECS[2:]}, "+Inf": 3}
    assert samples(scrape, "busbar_chunk_gap_mean_seconds_count") == {("p",): 3}
    assert samples(scrape, "busbar_chunk_gap_mean_seconds_sum") == {("p",): 60.004}


def test_openmetrics_is_given_to_those_who_accept_it() -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    for header in (accept, "application/openmetrics-text; version=nonsense"):
        body, content_type = render(SCRAPE, header)
        assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        families = {family.name: family for family in read_openmetrics(body.decode())}
        text = {family.name for family in read_text(render(SCRAPE, "text/plain")[0].decode())}
        assert families.keys() == text
        assert all(family.documentation for family in families.values())


def test_each_series_is_given_once() -> None:
    lines = [line for line in render(SCRAPE, "")[0].decode().splitlines() if not line.startswith("#")]
    names = [line.rpartition(" ")[0] for line in lines]
    assert len(names) == len(set(names))


def test_the_client_is_not_imported_before_somebody_scrapes() -> None:
    script = "import sys, busbar.gateway, busbar.http.metrics_page; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
