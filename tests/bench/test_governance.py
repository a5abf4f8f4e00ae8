"""The bench of governance: what is set up, what is asked when, and what is computed. Nothing here looks at a time."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from bench import figures
from bench.__main__ import main
from bench.contenders import ADMIN_TOKEN, CLIENT_TOKEN, Busbar
from bench.disk import Disk, kind_of, look_at_disk
from bench.figures import Row, Spread, added
from bench.governance_profile import BETWEEN, STAGES, STORE_STAGES, Stages, divided, governance_profile_report
from bench.governance_report import governance_report
from bench.governed import GOVERNED, Governed
from bench.load import Job, Run
from bench.machine import Cores, Machine
from bench.measure import Plan
from bench.scenarios import COMPARED_SCENARIOS, STEADY
from bench.upstream import UPSTREAM_KEY
from busbar.actors.governance.batch import Load, Loaded
from busbar.actors.governance.keyring import secret_hash
from busbar.config import load
from busbar.store.database import Database

MACHINE = Machine(cpu="a cpu", cores=2, memory_gb=1, kernel="Linux", python="CPython", versions={})
DISK = Disk(kind="ext4", sync_ms=(0.2, 0.5), strict_ms=(0.4, 0.9), relaxed_ms=(0.03, 0.1))


def row(contender: str, number: int, **changes: object) -> Row:
    known: dict[str, object] = {
        "round": number,
        "scenario": "steady",
        "contender": contender,
        "answers": 1000,
        "events": 0,
        "failures": {},
        "elapsed_secs": 5.0,
        "cpu_secs": 0.2,
        "p50_us": 800.0,
        "p99_us": 2000.0,
        "first_p50_us": 0.0,
        "first_p99_us": 0.0,
        "rss_bytes": 50_000_000,
        "peak_bytes": 60_000_000,
    }
    return Row(**(known | changes))  # type: ignore[arg-type]


# --- what is set up


@pytest.mark.parametrize("kind", GOVERNED)
def test_the_governed_gateway_has_a_key_with_all_limits_in_a_group_and_prices(
    kind: type[Governed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = {"BENCH_KEY": UPSTREAM_KEY, "BENCH_TOKEN": CLIENT_TOKEN, "BENCH_ADMIN_TOKEN": ADMIN_TOKEN}
    for name, token in tokens.items():
        monkeypatch.setenv(name, token)
    governed = kind(tmp_path, 9000, None)
    file = tmp_path / kind.name / "config"
    file.write_text(governed.config(9000, COMPARED_SCENARIOS))
    governed.prepare(os.environ)

    config = load(str(file), None)
    assert (config.governance.enabled, config.governance.durability) == (True, kind.name)
    assert set(config.governance.prices) == set(config.models)
    assert governed.headers(STEADY) == {"authorization": f"Bearer {governed.key}"}

    database = Database(Path(config.governance.db_path), durable=False)
    try:
        loaded = database.do(Load(lambda _key, _tokens: 0, 0))
    finally:
        database.close()
    assert isinstance(loaded, Loaded)
    (key,), (group,) = loaded.keys, loaded.groups
    assert key.secret_hash == secret_hash(governed.key)
    assert key.group == group.id
    assert None not in (key.max_budget_cents, key.rpm_limit, key.tpm_limit, group.max_budget_cents)


def test_without_governance_the_gateway_is_as_it_is_in_the_default_run(tmp_path: Path) -> None:
    assert "governance" not in json.loads(Busbar(tmp_path, 9000, None).config(9000, COMPARED_SCENARIOS))


# --- what is asked when


def test_requests_at_random_times_are_the_same_for_everybody_and_as_many_as_the_rate_says() -> None:
    async def times(at_random: bool) -> list[float]:
        job = Job(
            port=1,
            path="/",
            headers={},
            body="",
            connections=1,
            ramp_secs=0,
            seconds=1,
            rate_per_sec=STEADY.rate_per_sec,
            at_random=at_random,
            word="",
            words=1,
            ending="",
        )
        run = Run(job)
        return [run.until_next_secs() for _ in range(4000)]

    even, first, second = (asyncio.run(times(at_random)) for at_random in (False, True, True))
    assert set(even) == {0.005}
    assert first == second
    assert sum(first) == pytest.approx(4000 / STEADY.rate_per_sec, rel=0.05)
    assert sum(gap < 0.001 for gap in first) == pytest.approx(4000 * 0.181, rel=0.1)  # 1 - exp(-0.2)


# --- the disk


def test_the_kind_of_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    (tmp_path / "a b" / "c").mkdir(parents=True)
    root = str(tmp_path).replace(" ", "\\040")
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/a / ext4 rw 0 0\nnone {root}/a\\040b tmpfs rw 0 0\n/dev/b {root}/a xfs rw 0 0\nnone / overlay rw 0 0\n"
    )
    assert kind_of(tmp_path / "a b" / "c", mounts) == "tmpfs"
    assert kind_of(tmp_path, mounts) == "overlay"


def test_a_look_at_the_disk_leaves_nothing_there(tmp_path: Path) -> None:
    disk = look_at_disk(str(tmp_path), times=3)
    assert list(tmp_path.iterdir()) == []
    assert all(0 < p50 <= p99 for p50, p99 in (disk.sync_ms, disk.strict_ms, disk.relaxed_ms))


def test_a_database_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    in_memory = Disk(kind="tmpfs", sync_ms=(0, 0), strict_ms=(0, 0), relaxed_ms=(0, 0))
    monkeypatch.setattr("bench.__main__.look_at_disk", lambda _folder: in_memory)
    assert main(["--governance"]) == 2
    assert "tmpfs" in capsys.readouterr().err


# --- what is computed


def test_governance_is_compared_with_the_gateway_of_the_same_round() -> None:
    rows = [
        row("strict", 1, cpu_secs=0.5),
        row("busbar", 1, cpu_secs=0.2),
        row("busbar", 2, cpu_secs=0.3),
        row("strict", 2, cpu_secs=0.4),
    ]
    expected = Spread(pytest.approx(100.0), pytest.approx(200.0), pytest.approx(300.0))  # type: ignore[arg-type]
    assert added(rows, "steady", "strict", figures.cpu_us_per_request, "busbar") == expected


def test_commits_are_counted_by_request_and_only_where_there_is_a_database() -> None:
    assert figures.commits_per_request(row("strict", 1, commits=250)) == 0.25
    assert figures.commits_per_request(row("busbar", 1)) is None
    assert figures.commits_per_request(row("strict", 1, commits=1, answers=0)) is None


def test_the_report_tells_what_is_added_and_how_many_share_a_commit() -> None:
    plan = Plan(
        scenarios=(STEADY,), contenders=("busbar", "relaxed", "strict"), rounds=1, seconds=5, warm_secs=0, seed=7
    )
    rows = [
        row("busbar", 1),
        row("relaxed", 1, cpu_secs=0.3, p50_us=900.0, p99_us=2100.0, commits=50),
        row("strict", 1, cpu_secs=0.5, p50_us=1800.0, p99_us=5000.0, commits=900),
    ]
    lines = governance_report(rows, plan, MACHINE, Cores(0, 1), DISK).splitlines()
    assert DISK.line in lines
    at = lines.index("## What governance adds")
    assert lines[at + 4 : at + 8] == [
        "| scenario, durability | added CPU µs/request | added p50 ms | added p99 ms | commits/request |",
        "| --- | --- | --- | --- | --- |",
        "| steady, relaxed | 100 | 0.10 | 0.10 | 0.050 |",
        "| steady, strict | 300 | 1.00 | 3.00 | 0.900 |",
    ]
    at = lines.index("## governed ÷ not governed")
    assert lines[at + 4 : at + 8] == [
        "| scenario, durability | CPU/request | requests/s | p50 ms | p99 ms |",
        "| --- | --- | --- | --- | --- |",
        "| steady, relaxed | 1.50 | 1.00 | 1.12 | 1.05 |",
        "| steady, strict | 2.50 | 1.00 | 2.25 | 2.50 |",
    ]


# --- where the time goes

SERVES = "main (busbar/__main__.py:9);Relay.serve (busbar/http/relay.py:80)"
STORES = "Thread.run (threading.py:982);SqliteStore._work (busbar/store/sqlite.py:80)"


def test_each_threads_time_is_divided_among_its_stages_by_the_innermost_frame_that_tells_one() -> None:
    admits = f"{SERVES};Admissions.admit (busbar/http/admissions.py:50);LoopRef.ask (busbar/actors/runtime/ref.py:9)"
    governs = f"{admits};Governance.admit (busbar/actors/governance/governance.py:99)"
    stacks = [
        f"{SERVES} 4",
        f"{admits} 1",
        f"{governs};Level.over_rate (busbar/actors/governance/level.py:9) 2",
        f"{governs};Governance._take (busbar/actors/governance/governance.py:9);Ledger.record"
        " (busbar/actors/governance/ledger.py:9) 1",
        f"{SERVES};Doorkeeper.admit (busbar/http/auth.py:9);Keyring.find (busbar/actors/governance/keyring.py:9) 1",
        f"{SERVES};Spent.metered.<locals>.metered (busbar/http/spent.py:9) 1",
        f"{STORES};Database._commit (busbar/store/database.py:9) 1",
        f"{STORES} 3",
    ]
    us = divided(stacks, main_us=100.0, store_us=40.0)
    assert {stage: value for stage, value in us.items() if value} == {
        "serving": 40.0,
        "admissions": 10.0,
        "Admit": 20.0,
        "Ledger": 10.0,
        "who calls": 10.0,
        "meter": 10.0,
        "store: statements": 10.0,
        "store: hops": 30.0,
    }


def test_every_stage_is_one_that_the_code_has() -> None:
    """A pattern that names a file or function which was renamed would quietly tell nothing any more."""
    package = Path(__file__).parents[2] / "busbar"
    frames = [
        f"{line.split('def ')[1].split('(')[0]} (busbar/{file.relative_to(package)}:1)"
        for file in package.rglob("*.py")
        for line in file.read_text().splitlines()
        if "def " in line
    ]
    for stage, pattern in {**STAGES, **STORE_STAGES}.items():
        assert any(pattern.search(frame) for frame in frames), stage


def test_the_profile_shows_contenders_side_by_side_and_their_sum() -> None:
    nothing = dict.fromkeys((*STAGES, BETWEEN, *STORE_STAGES), 0.0)
    profiles = [
        Stages(scenario="json-openai", contender="busbar", us=nothing | {"serving": 200.0}, stacks=()),
        Stages(scenario="json-openai", contender="strict", us=nothing | {"serving": 210.0, "Admit": 20.0}, stacks=()),
    ]
    lines = governance_profile_report(profiles).splitlines()
    assert "| stage | busbar | strict |" in lines
    assert "| Admit | – | 20.0 |" in lines
    assert "| **together** | 200.0 | 230.0 |" in lines
