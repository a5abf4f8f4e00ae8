"""The table of the targets: what is judged, of canned rows, and a short run with who is there."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from pathlib import Path

import pytest

from bench.__main__ import _parser
from bench.contenders import NotStarted
from bench.field import absent
from bench.figures import Row, Spread
from bench.fresh import CROWD_SECS, Fresh, measure_fresh
from bench.load import Job, Result, Run
from bench.machine import Cores, Machine, choose_cores
from bench.measure import Bench, Plan, measure
from bench.scenarios import CROWD, PATHS, SCENARIOS, WORD, Scenario
from bench.stages import BETWEEN, STAGES, by_stage, stage_lines
from bench.targets import LEFT_OUT, SUBJECT, TARGET_SCENARIOS, TARGETS, Verdict, verdicts
from bench.targets_report import target_lines, targets_report
from bench.targets_run import TARGET_CONTENDERS, for_targets
from bench.targets_run import Run as TargetsRun
from bench.upstream import UPSTREAM_KEY, Caller
from tests.bench.test_bench import row

ROOT = Path(__file__).parent.parent.parent
JSON = next(each for each in SCENARIOS if each.name == "json-openai")
PLAN = for_targets(Plan(scenarios=(), contenders=(), rounds=2, seconds=1.5, warm_secs=0.5, seed=7))
MACHINE = Machine(cpu="a CPU", cores=2, memory_gb=8, kernel="Linux 6", python="CPython 3.11", versions={"nginx": "1"})


def per_request(contender: str, us: float, number: int, scenario: str = "json-openai", **more: object) -> Row:
    """Of 1,000 answers."""
    return row(contender, number, scenario=scenario, cpu_secs=us / 1000, **more)


def crowd(number: int = 1, **changes: object) -> Row:
    known = {"answers": 2000, "events": 100_000, "peak_bytes": 110_000_000, "gap_max_us": 240_000.0}
    return row(SUBJECT, number, scenario="crowd", **(known | changes))


def life(number: int, crowd_row: Row | None, started_secs: float = 0.5) -> Fresh:
    return Fresh(round=number, started_secs=started_secs, idle_bytes=52_000_000, crowd=crowd_row)


def of(found: list[Verdict], work: str, figure: str, other: str | None = None) -> Verdict:
    (verdict,) = (
        each
        for each in found
        if (each.target.work, each.target.figure) == (work, figure) and getattr(each.target, "other", None) == other
    )
    return verdict


# --- verdicts


def test_a_ratio_is_judged_by_the_median_of_the_rounds_ratios() -> None:
    ours, envoys = (120.0, 300.0, 90.0), (150.0, 400.0, 100.0)  # 0.8, 0.75, 0.9: the machine was slow in round 2
    rows = [per_request(SUBJECT, us, number) for number, us in enumerate(ours)]
    rows += [per_request("envoy", us, number) for number, us in enumerate(envoys)]
    verdict = of(verdicts(rows, []), "OpenAI → OpenAI JSON, 16 connections", "CPU µs per request", "envoy")
    assert verdict.measured == Spread(pytest.approx(0.75), pytest.approx(0.8), pytest.approx(0.9))  # type: ignore[arg-type]
    assert (verdict.ours.median if verdict.ours else None, verdict.limit, verdict.met) == (120.0, 0.85, True)


def test_translation_is_compared_with_our_own_pass_through_and_with_others_translation() -> None:
    rows = [
        per_request(SUBJECT, 100, 1),
        per_request(SUBJECT, 170, 1, "json-openai-anthropic"),
        per_request("portkey", 2000, 1),
        per_request("portkey", 1600, 1, "json-openai-anthropic"),
    ]
    found = verdicts(rows, [])
    own = of(found, "OpenAI → Anthropic JSON", "CPU µs per request", SUBJECT)
    portkeys = of(found, "OpenAI → Anthropic JSON", "CPU µs per request", "portkey")
    assert (own.measured, own.met) == (Spread(1.7, 1.7, 1.7), False)
    assert (portkeys.measured, portkeys.met) == (Spread(0.10625, 0.10625, 0.10625), False)


@pytest.mark.parametrize(("first_us", "met"), [(1300.0, True), (1301.0, False)])
def test_what_is_added_is_compared_with_what_nginx_adds(first_us: float, met: bool) -> None:
    of_stream = {"scenario": "first-token", "events": 10_000}
    rows = [
        row("direct", 1, first_p50_us=200.0, **of_stream),
        row("nginx", 1, first_p50_us=500.0, **of_stream),
        row(SUBJECT, 1, first_p50_us=first_us, **of_stream),
    ]
    verdict = of(verdicts(rows, []), "10 streams per second", "added time to first token, p50 µs", "nginx")
    assert (verdict.limit, verdict.met) == (2 * 300 + 500, met)


def test_memory_under_load_is_the_most_that_a_round_needed() -> None:
    rows = [
        per_request(SUBJECT, 100, number, peak_bytes=mb * 1_000_000) for number, mb in ((1, 70), (2, 80), (3, 95))
    ]
    rows += [per_request(SUBJECT, 100, 2, "paced", peak_bytes=85_000_000)]
    rows += [per_request("envoy", 100, 1, peak_bytes=200_000_000)]
    verdict = of(verdicts(rows, []), "resident memory", "under load, MB")
    assert (verdict.measured, verdict.met) == (Spread(70, 85, 95), True)


def test_a_crowds_bytes_are_above_the_idle_process_and_its_losses_of_all_rounds() -> None:
    lives = [life(1, crowd()), life(2, crowd(2, answers=1990, failures={"stalled": 4, "connection lost": 7}))]
    found = verdicts([], lives)
    work = "2,000 concurrent paced streams"
    assert of(found, work, "KB each").measured == Spread(29.0, 29.0, 29.0)
    assert of(found, work, "dropped").measured == Spread(6, 6, 6)
    assert of(found, work, "stalled").measured == Spread(4, 4, 4)
    assert of(found, "all of it", "failures").measured == Spread(11, 11, 11)
    assert [of(found, work, each).met for each in ("KB each", "dropped", "stalled")] == [True, False, False]


def test_without_an_other_nothing_is_said() -> None:
    found = verdicts([per_request(SUBJECT, 100, 1)], [])
    unjudged = [each.target.figure for each in found if each.met is None]
    assert len(unjudged) == len(TARGETS) - 2, "memory under load and failures are known"


# --- the report


def test_the_table_says_of_each_target_whether_it_was_met() -> None:
    rows = [
        per_request(SUBJECT, 130, 1),
        per_request(SUBJECT, 150, 2),
        *(per_request("envoy", us, number) for number, us in ((1, 169), (2, 169))),
        per_request("portkey", 2600, 1),
        row("direct", 1, scenario="low-rate", p50_us=100.0),
        row("nginx", 1, scenario="low-rate", p50_us=300.0),
        row(SUBJECT, 1, scenario="low-rate", p50_us=900.0),
    ]
    lines = [*target_lines(verdicts(rows, [life(1, None, 0.714)]))]
    assert lines[0] == "| Work | Figure | Busbar | beside | measured | target |  |"
    work = "OpenAI → OpenAI JSON, 16 connections | CPU µs per request"
    assert lines[2] == f"| {work} | 140.0 | Envoy 169.0 | × 0.83 (× 0.77 – × 0.89) | ≤ × 0.85 | met |"
    assert lines[3] == f"| {work} | 140.0 | nginx | – | ≤ × 4.50 | not measured |"
    assert lines[4] == f"| {work} | 140.0 | Portkey 2,600.0 | 1/20 | ≤ 1/15 | met |"
    slow = "50 requests per second | added latency, p50 µs | 800 | nginx 200 | 800 | ≤ 3 × nginx = 600 | **missed** |"
    assert f"| {slow}" in lines
    assert "| start to first answer | seconds | 0.71 | – | 0.71 | ≤ 0.7 | **missed** |" in lines
    assert lines[-1].startswith("5 of 7 met; 11 not measured. ")


def test_the_report_names_who_is_missing_and_says_when_the_generator_was_held_up() -> None:
    direct = row("direct", 0, scenario="crowd", answers=2000, cpu_secs=None, peak_bytes=None, late_max_us=300_000.0)
    run = TargetsRun(
        rows=[per_request(SUBJECT, 130, 1)], fresh=[life(1, crowd())], direct=direct, started={SUBJECT: 0.52}
    )
    told = targets_report(run, PLAN, MACHINE, Cores(0, 1), {"envoy": "envoy: not installed: skipped."})
    assert "envoy: not installed: skipped." in told
    assert "| direct | 2000 | 0 | 0 | 300 | – | – | – | – | – |" in told
    assert "| round 1 | 2000 | 0 | 240 | 0 | 25 | 0.50 | 52.0 | 110.0 | 29.0 |" in told
    assert "**The load generator was held up itself" in told
    assert "| busbar-logged | 0.52 | 60.0 |" in told
    assert not run.failed


def test_a_run_failed_when_the_gateway_did_not_when_another_did() -> None:
    wrong = {"status 500": 1}
    others = [per_request("litellm", 1, 1, failures=wrong)]
    assert not TargetsRun(rows=others, fresh=[], direct=None, started={}).failed
    assert TargetsRun(rows=[], fresh=[life(1, crowd(failures=wrong))], direct=None, started={}).failed


def test_slow_gateways_are_asked_only_for_what_they_are_compared_in() -> None:
    asked = {
        name: {each.name for each in TARGET_SCENARIOS if (name, each.name) not in LEFT_OUT}
        for name in PLAN.contenders
    }
    every = {each.name for each in TARGET_SCENARIOS}
    assert asked["litellm"] == {"json-openai"}
    assert asked["portkey"] == {"json-openai", "json-openai-anthropic", "burst-openai-anthropic"}
    assert asked["nginx"] == asked["envoy"] == asked[SUBJECT] == every
    assert TARGET_CONTENDERS == ("direct", "nginx", "envoy", "litellm", "portkey", SUBJECT)


# --- the load generator


async def loaded(scenario: Scenario, stall_secs: float) -> Result:
    """One caller, and no gateway."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Caller(loop), "127.0.0.1", 0)
    job = Job(
        port=server.sockets[0].getsockname()[1],
        path=PATHS[scenario.ingress],
        headers={"authorization": f"Bearer {UPSTREAM_KEY}"},
        body=scenario.body(scenario.upstream_model).decode(),
        connections=1,
        ramp_secs=0,
        seconds=0.05,
        rate_per_sec=0,
        at_random=False,
        word=WORD,
        words=scenario.words,
        ending=scenario.ending,
        stall_secs=stall_secs,
    )
    result = await Run(job).go()
    server.close()
    return result


SLOW_STREAM = Scenario(name="slow", title="", ingress="openai", egress="openai", events=2, pace_ms=400)


async def test_a_stream_that_pauses_for_too_long_is_a_failure() -> None:
    result = await loaded(SLOW_STREAM, 0.2)
    assert (result.answers, result.failures) == (0, {"stalled": 1})
    assert 350_000 < result.gap_max_us < 10_000_000


async def test_a_stream_that_pauses_for_less_is_whole() -> None:
    result = await loaded(SLOW_STREAM, 30)
    assert (result.answers, result.failures) == (1, {})


# --- stages


def test_a_sample_belongs_to_the_innermost_frame_of_the_gateway() -> None:
    start = "main (busbar/cli/serve.py:1);run (asyncio/runners.py:2)"
    stacks = [
        f"{start} 2",
        f"{start};data_received (aiohttp/web_protocol.py:9);handle (busbar/http/dispatch.py:3) 3",
        f"{start};handle (busbar/http/dispatch.py:3);ask (busbar/http/lean/pool.py:3);sort (heapq.py:1) 5",
    ]
    assert dict(by_stage(stacks)) == {BETWEEN: 2, "route": 3, "lean upstream": 5}
    assert stage_lines(by_stage(stacks), 200)[2] == "| lean upstream | 100.0 | 50 |"


def test_every_stage_of_the_gateway_is_in_its_files() -> None:
    files = [str(file.relative_to(ROOT)) for file in (ROOT / "busbar").rglob("*.py")]
    files += ["aiohttp/web_protocol.py", "aiohttp/client.py"]
    assert [name for name, pattern in STAGES.items() if not any(map(pattern.search, files))] == []


# --- the page


def test_the_pages_commands_are_ones_that_the_bench_takes() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    found = re.findall(r"python -m bench([^#\n`]*)", page)
    assert len(found) > 4
    for arguments in found:
        _parser().parse_args(shlex.split(arguments))


def test_the_page_has_every_target() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert [each.work for each in TARGETS if each.work not in page] == []


# --- for real


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="CPU time and memory are read from Linux's /proc")
def test_a_short_run_with_who_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUSBAR_BENCH_LITELLM", raising=False)
    monkeypatch.delenv("BUSBAR_BENCH_PORTKEY", raising=False)
    names = tuple(each for each in PLAN.contenders if each not in absent(PLAN.contenders))
    plan = Plan(scenarios=(JSON,), contenders=names, rounds=1, seconds=0.1, warm_secs=0.05, seed=1)
    cores, lives = choose_cores(), []

    def new_life(bench: Bench, number: int) -> None:
        lives.append(measure_fresh(bench, cores, number, crowd=False))

    try:
        rows = measure(plan, cores, print, new_life)
    except NotStarted as error:
        pytest.fail(str(error))
    assert sorted(each.contender for each in rows) == sorted(names)
    assert [each.failures for each in rows] == [{}] * len(names)
    found = verdicts(rows, lives)
    known = {each.target.figure for each in found if each.met is not None}
    assert known >= {"idle, MB", "under load, MB", "seconds", "failures"}
    assert 0.1 < lives[0].started_secs < 20
    assert 20e6 < lives[0].idle_bytes < 200e6


def test_nobody_asks_twice_in_a_crowd_and_all_are_there_at_once() -> None:
    lasts_secs = CROWD.events * CROWD.pace_ms / 1000
    assert CROWD.ramp_secs < CROWD_SECS < lasts_secs
    assert lasts_secs - CROWD.ramp_secs > 5
