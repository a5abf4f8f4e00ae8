"""What Prometheus is told: one scrape's worth of plain values, as metric families.

Import this only where somebody scrapes: it brings in prometheus_client. Names and units follow
https://prometheus.io/docs/practices/naming/; counters get `_total` from the client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from busbar.actors.governance.money import PICODOLLARS_PER_CENT
from busbar.actors.histogram import Distribution
from busbar.actors.runtime import ActorInfo
from busbar.actors.tallies import Tallied

OPENMETRICS = "application/openmetrics-text"

BREAKER_STATES = {"closed": 0, "half_open": 1, "open": 2}
NOBODY_THERE = "open"
"""The state of each cell of a member that is no more."""

PICODOLLARS_PER_DOLLAR = 100 * PICODOLLARS_PER_CENT


class Scrape(Struct, frozen=True, kw_only=True):
    """What actors said of themselves, all within one turn of the loop or two."""

    version: str
    tallied: Tallied
    members: Sequence[Mapping[str, Any]]
    """Each member's snapshot; of one that is no more, its `model` and that it is not `usable`."""
    actors: Sequence[ActorInfo]
    lost: Mapping[str, int]
    """By actor what telemetry could not take or hand on: messages, and what they are made of."""
    governance: Mapping[str, Any] | None = None
    """The snapshots of `governance` and `ledger`; None: nobody is governed."""


def render(scrape: Scrape, accept: str) -> tuple[bytes, str]:
    """The page and its content type: OpenMetrics where `accept` names it, else the text format 0.0.4. Takes some
    milliseconds for each thousand of series, so it is for another thread than the loop's."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ScrapeCollector(scrape))
    encode, content_type = choose_encoder(OPENMETRICS if OPENMETRICS in accept else "")
    return encode(registry), content_type


class ScrapeCollector(Collector):
    """Gives one scrape's families, in the order of the docs."""

    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape

    def collect(self) -> Iterator[Metric]:
        scrape = self._scrape
        yield _gauge("busbar_build_info", "Always 1.", ("version",), {(scrape.version,): 1})
        yield from _requests(scrape.tallied)
        yield from _attempts(scrape.tallied)
        yield from _members(scrape.members, scrape.tallied.attempts)
        yield from _actors(scrape.actors)
        yield _counter(
            "busbar_telemetry_dropped",
            "Messages that a telemetry actor had no room for, and records or spans that it could not hand on.",
            ("actor",),
            {(actor,): count for actor, count in scrape.lost.items()},
        )
        if scrape.governance is not None:
            yield from _governance(scrape.governance)


def _requests(tallied: Tallied) -> Iterator[Metric]:
    door = ("ingress_protocol", "pool")
    yield _counter(
        "busbar_requests", "Requests that are over, by how they ended.", (*door, "outcome"), tallied.requests
    )
    yield _histogram(
        "busbar_request_duration_seconds", "From a request's head to its answer's end.", door, tallied.durations
    )
    yield _histogram(
        "busbar_time_to_first_token_seconds",
        "Of streams: from the request's head to the first byte of content for the caller.",
        door,
        tallied.first_tokens,
    )
    yield _histogram(
        "busbar_gateway_overhead_seconds",
        "Of a request's time (of a stream's: up to the caller's first byte) what no provider was waited for: "
        "reading, admission, queueing, translation.",
        ("ingress_protocol",),
        tallied.overheads,
    )
    yield _counter(
        "busbar_translations",
        "Requests whose last attempt was at a member of another dialect.",
        ("from", "to"),
        tallied.translations,
    )
    yield _counter(
        "busbar_dropped_fields",
        "Fields of requests and answers that the other side's dialect has no place for.",
        ("ingress_protocol",),
        tallied.dropped_fields,
    )
    yield _counter(
        "busbar_failovers",
        "Failed attempts that another one followed, by why they failed.",
        ("pool", "reason"),
        tallied.failovers,
    )


def _attempts(tallied: Tallied) -> Iterator[Metric]:
    lane = ("pool", "lane")
    yield _counter("busbar_upstream_attempts", "Attempts at members, however they ended.", lane, tallied.attempts)
    yield _counter(
        "busbar_upstream_failures",
        "Attempts that failed, by the class of the failure.",
        (*lane, "disposition"),
        tallied.failures,
    )
    yield _counter(
        "busbar_tokens",
        "As providers state them: input is fresh only (neither read from a cache nor written to one), and reasoning "
        "is a part of output.",
        (*lane, "kind"),
        tallied.tokens,
    )
    yield _counter(
        "busbar_spend_usd",
        "What answers to virtual keys cost, cut ones too, under the member of the last attempt.",
        lane,
        {key: picodollars / PICODOLLARS_PER_DOLLAR for key, picodollars in tallied.picodollars.items()},
    )
    yield _histogram(
        "busbar_chunk_gap_mean_seconds", "The mean of a stream's gaps between chunks.", ("pool",), tallied.gap_means
    )
    yield _histogram(
        "busbar_chunk_gap_longest_seconds", "A stream's longest gap between chunks.", ("pool",), tallied.gaps_longest
    )


def _members(members: Sequence[Mapping[str, Any]], lanes: Iterable[tuple[str, str]]) -> Iterator[Metric]:
    """Of one that is no more: no slots, no trips, and nobody gets through."""
    cells = {(pool, member["model"]): cell for member in members for pool, cell in member.get("cells", {}).items()}
    gone = {member["model"] for member in members if "cells" not in member}
    states = {key: cell["state"] for key, cell in cells.items()}
    states |= {(pool, lane): NOBODY_THERE for pool, lane in lanes if lane in gone}
    yield _counter(
        "busbar_breaker_trips",
        "Times that a closed breaker cell opened.",
        ("pool", "lane"),
        {key: cell["trips"] for key, cell in cells.items()},
    )
    yield _gauge(
        "busbar_breaker_state",
        "0 closed, 1 half-open, 2 open.",
        ("pool", "lane"),
        {key: BREAKER_STATES[state] for key, state in states.items()},
    )
    yield _gauge(
        "busbar_member_usable",
        "1 while a pool of the member's could give it a request.",
        ("lane",),
        {(member["model"],): int(member["usable"]) for member in members},
    )
    yield _gauge(
        "busbar_slots",
        "A member's slots.",
        ("lane", "state"),
        {
            (member["model"], state): member.get(key, 0)
            for member in members
            for state, key in (("busy", "inflight"), ("free", "free_slots"))
        },
    )


def _actors(actors: Sequence[ActorInfo]) -> Iterator[Metric]:
    """Of several of one name (some have fallen), the living one is first, and counts."""
    by_name: dict[str, ActorInfo] = {}
    for actor in actors:
        by_name.setdefault(actor.name, actor)
    label = ("actor",)
    yield _gauge(
        "busbar_mailbox_depth", "Messages that wait.", label, {(a.name,): a.mailbox for a in by_name.values()}
    )
    yield _counter(
        "busbar_mailbox_dropped",
        "Messages that a full mailbox did not take.",
        label,
        {(a.name,): a.dropped for a in by_name.values()},
    )
    yield _counter(
        "busbar_actor_restarts",
        "Times that a crashed actor was started anew.",
        label,
        {(a.name,): a.restarts for a in by_name.values()},
    )


def _governance(snapshots: Mapping[str, Any]) -> Iterator[Metric]:
    governance, ledger = snapshots["governance"], snapshots["ledger"]
    yield _gauge(
        "busbar_ledger_store_ok",
        "1 while the database takes what is to be recorded.",
        (),
        {(): int(governance["store_ok"])},
    )
    yield _counter("busbar_ledger_commits", "Batches that were recorded.", (), {(): ledger["commits"]})
    yield _counter("busbar_ledger_failures", "Batches that the database did not take.", (), {(): ledger["failures"]})
    yield _gauge("busbar_ledger_unwritten", "Entries that wait to be recorded.", (), {(): ledger["unwritten"]})


# --- families


def _counter(name: str, about: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(name, about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, about: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, about: str, labels: Sequence[str], values: Mapping[Any, Distribution]) -> Metric:
    family = HistogramMetricFamily(name, about, labels=labels)
    for key, seen in values.items():
        bounds = [*map(floatToGoString, seen.bounds), "+Inf"]
        family.add_metric(key, list(zip(bounds, accumulate(seen.counts), strict=True)), seen.total)
    return family
