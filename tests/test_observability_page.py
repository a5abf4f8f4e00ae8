"""docs/observability.md, held to the real program: its requests are made, its configurations have their effect, and
its tables name what there is, all of it and nothing else.

Most of the page tells one story: a fault is injected, one request fails over, and every outlet tells of it. What
differs from run to run (ids, times) is matched by its shape.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from e2e.governed import ADMIN, ADMIN_TOKEN, GovernedWorld
from opentelemetry.sdk.resources import Resource
from otlp_receiver import OtlpReceiver
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from busbar.actors import journal, metrics, request_log, tallies, traces
from busbar.actors.messages import Refusal
from busbar.actors.telemetry import AttemptDone, Decision, Piece, RequestDone, Said, TraceContext
from busbar.cli import main
from busbar.http import live
from busbar.protocols.usage import Usage
from busbar.telemetry import otel, spans
from busbar.telemetry.process_log import JsonFormatter, Masker

ROOT = Path(__file__).parent.parent
LOCAL = "\nsecurity: {allow_private: [127.0.0.1]}\n"
PAGE = (ROOT / "docs" / "observability.md").read_text()

STORY = """
pools:
  smart:
    members: [{target: claude, weight: 3}, {target: gpt}]
    breaker: {trip: {mode: consecutive, consecutive_n: 1}}
"""
QUESTION = {
    "model": "smart",
    "max_tokens": 200,
    "top_k": 5,
    "stream": True,
    "messages": [{"role": "user", "content": "What is a busbar?"}],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)


def block(language: str, holding: str) -> str:
    (found,) = [each for each in blocks(language) if holding in each]
    return found


def section(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##+ |\Z)", PAGE, re.S | re.M)
    assert found is not None, title
    return found[1]


def rows(title: str, *heads: str) -> Iterator[list[str]]:
    """The cells of each row of the section's table with these headings, or that begins with them."""
    wanted = re.escape("|" + "|".join(f" {head} ".replace("  ", " ") for head in heads) + "|")
    found = re.search(rf"^{wanted}.*\n\|---.*\n((?:\|.*\n)+)", section(title), re.M)
    assert found is not None, (title, heads)
    for line in found[1].splitlines():
        yield [cell.strip() for cell in line.strip("|").split("|")]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@asynccontextmanager
async def story(folder: Path, config: str = "", **env: str) -> AsyncIterator[GovernedWorld]:
    """A gateway with a key in front of two members, the first of which is about to refuse."""
    world = GovernedWorld(folder, config=STORY + config, env=env)
    async with world:
        yield world


async def inject(world: GovernedWorld) -> None:
    """As the page does it."""
    answer = await world.post("/admin/faults", block("http", "POST").split("\n")[1].encode(), ADMIN)
    assert answer.status == 201


async def happens(world: GovernedWorld) -> None:
    key = await world.key(max_budget_cents=500, budget_period="daily", rpm_limit=60)
    await inject(world)
    assert (await world.post("/v1/messages", QUESTION, {"x-api-key": key.secret})).status == 200


# --- faults


async def test_every_request_of_the_page_is_answered_as_it_says(tmp_path: Path) -> None:
    async with story(tmp_path) as world:
        for each in blocks("http"):
            asked, _, answer = each.partition("\n\n")
            line, _, body = asked.partition("\n")
            method, path = line.split(" ")
            async with world.http.request(method, path, data=body or None, headers=ADMIN) as response:
                status, document = response.status, await response.text()
            stated, _, written = answer.strip().partition("\n")
            assert (path, status) == (path, int(stated)), document
            assert without_clock(document) == without_clock(written)


def without_clock(document: str) -> Any:
    return json.loads(re.sub(r'("remaining_s":) ?[0-9.]+', r"\1 0", document)) if document else None


async def test_a_fault_is_in_the_log_in_both_of_the_pages_spellings(tmp_path: Path) -> None:
    async with story(tmp_path) as world:
        with logged("busbar.audit") as stream:
            await inject(world)
    (document,) = map(json.loads, stream.getvalue().splitlines())
    written = json.loads(block("json", "busbar.audit"))
    assert list(document) == list(written)
    assert re.sub(r"\d", "0", document.pop("ts")) == re.sub(r"\d", "0", written.pop("ts"))
    assert document == written
    assert f"`{document['message']}`" in section("Break it")


@contextmanager
def logged(name: str) -> Iterator[io.StringIO]:
    """What is logged there, as `log_format: json` has it."""
    stream = io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger(name)
    handler.setFormatter(JsonFormatter(Masker()))
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


# --- busbar top, and /stats


async def test_busbar_top_draws_what_the_page_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    _, *words = block("sh", "busbar top").split()
    async with OtlpReceiver() as receiver:
        config = f"observability: {{otlp_endpoint: '{receiver.url}', request_log_file: '{tmp_path / 'log'}'}}{LOCAL}"
        async with story(tmp_path, config) as world:
            await happens(world)
            monkeypatch.setenv("BUSBAR_URL", world.gateway.url)
            monkeypatch.setenv("BUSBAR_ADMIN_TOKEN", ADMIN_TOKEN)
            async with asyncio.timeout(10):
                while not re.search(r"^requests +0\.\d/s", drawn := await printed(words, capsys), re.M):
                    pass
    assert shape(drawn) == shape(block("text", "Pools"))


async def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert await asyncio.to_thread(main, words) == 0
    return capsys.readouterr().out


def shape(drawn: str) -> list[str]:
    """Without numbers, sparks and padding."""
    without = re.sub(r"[▁▂▃▄▅▆▇█]", "", re.sub(r"\d+(\.\d+)*", "N", drawn.replace("127.0.0.1", "host")))
    return [re.sub(r"\s{2,}", "  ", line).rstrip() for line in without.splitlines()]


async def test_stats_have_the_parts_that_the_page_names(tmp_path: Path) -> None:
    named = {name for cells in rows("`/stats`", "Part") for name in quoted(cells[0])}
    async with story(tmp_path) as world:
        assert (await world.stats()).keys() == named


# --- metrics


async def scraped(world: GovernedWorld) -> list[Metric]:
    async with world.http.get("/metrics", headers=ADMIN) as response:
        return list(text_string_to_metric_families(await response.text()))


async def test_the_table_of_metrics_is_what_a_scrape_has(tmp_path: Path) -> None:
    written = {
        name: set(quoted(labels)) for series, labels, _ in rows("Metrics", "Series") for name in quoted(series)
    }
    async with story(tmp_path) as world:
        await happens(world)
        families = await scraped(world)
    assert written == {
        f"{family.name}_total" if family.type == "counter" else family.name: {
            label for sample in family.samples for label in sample.labels if label != "le"
        }
        for family in families
    }
    for series, _, about in rows("Metrics", "Series"):
        histograms = {family.name for family in families if family.type == "histogram"}
        assert ("Histogram" in about) == (set(quoted(series)) <= histograms), series


async def test_the_values_of_labels_are_those_of_a_scrape(tmp_path: Path) -> None:
    written = {label: set(quoted(values)) for [label, values] in rows("Metrics", "Label")}
    async with story(tmp_path) as world:
        samples = [sample for family in await scraped(world) for sample in family.samples]
    real = {
        label: {sample.labels[label] for sample in samples if label in sample.labels}
        for label in (cell.strip("`") for cell in written)
    }
    reason, pool = real.pop("reason"), real.pop("pool")
    assert reason == real["disposition"] - set(written.pop("`reason`"))
    assert pool - {"smart", "claude", "gpt"} == written.pop("`pool`") == {tallies.UNRESOLVED}
    assert real == {label.strip("`"): values for label, values in written.items()}


async def test_prometheus_is_configured_as_the_page_says(tmp_path: Path) -> None:
    document = yaml.safe_load(block("yaml", "scrape_configs"))
    (job,) = document["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8080"]}]
    assert [*job["authorization"]] == ["credentials_file"]  # sent as a bearer token, which is Prometheus's default
    assert [name for name in document["rule_files"] if not (ROOT / "deploy" / "grafana" / name).exists()] == []
    async with story(tmp_path) as world:
        for headers, status in (({"authorization": f"Bearer {ADMIN_TOKEN}"}, 200), ({}, 401)):
            async with world.http.get("/metrics", headers=headers) as response:
                assert response.status == status


# --- traces


async def test_the_traces_configuration_has_its_effect(tmp_path: Path) -> None:
    async with OtlpReceiver() as receiver:
        config = block("yaml", "otlp_endpoint").replace("http://localhost:4318", receiver.url)
        config = config.replace("[localhost]", "[127.0.0.1]")
        async with story(tmp_path, config, OTLP_KEY="operators-own") as world:
            await happens(world)
        root, *attempts = await receiver.spans(3)
    assert receiver.headers[0]["x-api-key"] == "operators-own"
    assert [span.attributes["busbar.member"] for span in attempts] == ["claude", "gpt"]
    assert [event.name for event in root.events] == ["busbar.decision"] * 2
    assert not [name for name in root.attributes if name.endswith(".messages")]


def test_the_tables_of_attributes_are_what_spans_have() -> None:
    attempt = AttemptDone(
        member="m",
        disposition="overloaded",
        latency_ms=1,
        provider="p",
        protocol="openai",
        status=529,
        at=1,
        first_byte_at=2,
        span_id=3,
    )
    decision = Decision(
        pool="p", member="m", passed_over={"n": Refusal.DEAD}, again=True, probe=True, last_resort=True, at=1
    )
    usage = Usage(input_tokens=1, output_tokens=1, cache_read_tokens=1, cache_write_tokens=1, reasoning_tokens=1)
    request = RequestDone(
        request_id="r",
        ingress="anthropic",
        pool="p",
        outcome="error",
        status=529,
        latency_ms=1,
        ttft_ms=1,
        attempts=(attempt,),
        translated_to="openai",
        usage=usage,
        key_id="k",
        picodollars=1,
        dropped_fields=("f",),
        decisions=(decision,),
        trace=TraceContext(trace_id=1, span_id=2),
    )
    said = Said(span_id=2, asked=Piece(b"q"), answered=Piece(b"a"))
    places = {"m": ("model", "https://host")}
    whole, part = spans.Spans(Resource.create(), places).of(traces.Traced(request, said))
    written = [(name, of) for cell, of, _ in rows("Traces", "Attribute") for name in quoted(cell)]
    assert len(set(written)) == len(written)
    for span, kind in ((whole, "request"), (part, "attempt")):
        assert {name for name, of in written if of in (kind, "both")} == set(span.attributes or ())
    (event,) = whole.events
    events = {name for cell, _ in rows("Traces", "Attribute", "") for name in quoted(cell)}
    assert events == set(event.attributes or ())


# --- the request log


class Receiver:
    """What the webhook's other end keeps."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, dict[str, str]]] = []
        app = web.Application()
        app.router.add_post("/busbar", self._take)
        self.server = TestServer(app)

    async def _take(self, request: web.Request) -> web.Response:
        self.taken.append((await request.read(), {name.lower(): value for name, value in request.headers.items()}))
        return web.Response()


VOLATILE = {"ts", "request_id", "latency_ms", "ttft_ms", "overhead_ms", "key_id", "ms", "trace_id"}


async def test_the_request_log_writes_and_sends_the_record_that_the_page_shows(tmp_path: Path) -> None:
    receiver = Receiver()
    path = tmp_path / "requests.jsonl"
    python: dict[str, Any] = {}
    exec(block("python", "def is_ours"), python)
    async with receiver.server, OtlpReceiver() as collector:
        config = block("yaml", "request_log_file").replace("requests.jsonl", str(path))
        config = config.replace("https://collector.example/busbar", str(receiver.server.make_url("/busbar")))
        config += f"  otlp_endpoint: {collector.url}{LOCAL}"
        async with story(tmp_path, config, WEBHOOK_SECRET="shared") as world:
            await happens(world)
    (line,) = path.read_text().splitlines()
    ((body, headers),) = receiver.taken
    assert body.decode() == f"[{line}]"
    assert headers["x-busbar-delivery"]
    assert python["is_ours"](body, headers["x-busbar-signature"], "shared")
    assert not python["is_ours"](body + b" ", headers["x-busbar-signature"], "shared")
    assert told(json.loads(line.replace("demo-", ""))) == told(json.loads(block("json", "request_id")))


def told(record: Any) -> Any:
    """In order; of what differs from run to run its shape alone."""
    match record:
        case dict():
            return [(name, outline(value) if name in VOLATILE else told(value)) for name, value in record.items()]
        case list():
            return [told(each) for each in record]
        case _:
            return record


def outline(value: Any) -> str:
    return re.sub(r"[0-9a-f]", "0", value) if isinstance(value, str) else type(value).__name__


# --- what is bounded


def test_the_bounds_are_those_of_the_code() -> None:
    mebibytes = 1 << 20
    assert [bound for _, bound, _ in rows("What is bounded, and dropped", "", "At most")] == [
        f"{metrics.Metrics.mailbox_limit:,}",
        f"{request_log.RequestLog.mailbox_limit}",
        f"{request_log.RECORDS_MAX:,} or {request_log.BYTES_MAX // mebibytes} MiB each",
        f"{request_log.TRIES_MAX}",
        f"{traces.SPANS_WAITING_MAX:,}",
        f"{otel.EXPORT_TIMEOUT_SECS:g} s",
        f"{traces.CONTENT_BYTES_MAX // mebibytes} MiB",
        f"{journal.REQUESTS_KEPT:,}",
        f"{live.SUBSCRIBERS_MAX}",
    ]
    assert request_log.RequestLog.mailbox_limit == traces.Traces.mailbox_limit


def test_nothing_on_the_page_is_left_unheld() -> None:
    """A new block wants a test. The line of `curl`, and Python once more, are run by test_docs."""
    kinds = re.findall(r"^```(\w+)\n", PAGE, re.M)
    counts = {kind: kinds.count(kind) for kind in kinds}
    assert counts == {"http": 3, "sh": 2, "text": 1, "yaml": 3, "json": 2, "python": 1}
    assert msgspec.json.decode(blocks("json")[0])
