"""The bench of telemetry: what is set up, who receives, and what is computed. Nothing here looks at a time."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import msgspec
import pytest

from bench.__main__ import main
from bench.beside_itself import PLAIN
from bench.contenders import ADMIN_TOKEN, CLIENT_TOKEN
from bench.figures import Row
from bench.machine import Cores, Machine
from bench.measure import Companion, Plan
from bench.observed import (
    OBSERVED,
    Dead,
    Everything,
    File,
    Hanging,
    Observed,
    Otlp,
    Receivers,
    Slow,
    Watched,
    lost_of,
)
from bench.receivers import ACCEPTED, Ports, Receiver
from bench.scenarios import COMPARED_SCENARIOS, STEADY
from bench.telemetry_report import telemetry_report
from bench.upstream import UPSTREAM_KEY
from busbar.config import load

MACHINE = Machine(cpu="a cpu", cores=2, memory_gb=1, kernel="Linux", python="CPython", versions={})
PORTS = Ports(taking=9001, slow=9002, hanging=9003, closed=9004)
POST = b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nspans"
TOKENS = {"BENCH_KEY": UPSTREAM_KEY, "BENCH_TOKEN": CLIENT_TOKEN, "BENCH_ADMIN_TOKEN": ADMIN_TOKEN}


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


class Wire(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)


# --- what is set up


@pytest.mark.parametrize(
    ("kind", "otlp", "webhook", "file"),
    [
        (File, None, None, True),
        (Otlp, 9001, None, False),
        (Watched, None, None, False),
        (Everything, 9001, 9001, True),
        (Slow, 9002, 9002, True),
        (Hanging, 9003, 9003, True),
        (Dead, 9004, 9004, True),
    ],
)
def test_each_contender_tells_whom_it_is_named_for(
    kind: type[Observed],
    otlp: int | None,
    webhook: int | None,
    file: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, token in TOKENS.items():
        monkeypatch.setenv(name, token)
    observed = kind(tmp_path, 9000, None)
    observed.receivers = Receivers(PORTS, lambda _line: None)
    written = tmp_path / kind.name / "config"
    written.write_text(observed.config(9000, COMPARED_SCENARIOS))

    observability = load(str(written), None).observability
    assert observability.otlp_endpoint == (otlp and f"http://127.0.0.1:{otlp}")
    assert observability.request_log_webhook_url == (webhook and f"http://127.0.0.1:{webhook}/records")
    assert observability.request_log_file == (str(tmp_path / kind.name / "requests.jsonl") if file else None)


def test_who_is_watched_is_watched_while_it_is_measured_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Observed, "ended", lambda _self: None)  # there is no process whose end could be waited for
    told: list[str] = []
    for kind in OBSERVED:
        observed = kind(tmp_path, 9000, None)
        observed.receivers = Receivers(PORTS, told.append)
        observed.begins()
        told.append(kind.name)
        observed.ended()
    watched, everything = (told[told.index(name) - 1 : told.index(name) + 2] for name in ("watched", "all"))
    assert [each.split()[0] for each in (*watched, *everything)] == [
        "watch",
        "watched",
        "leave",
        "watch",
        "all",
        "leave",
    ]
    assert len(told) == len(OBSERVED) + 4


# --- who receives


@pytest.mark.parametrize("cut", range(1, len(POST) * 2))
async def test_a_receiver_answers_each_post_when_it_is_complete(cut: int) -> None:
    wire, receiver = Wire(), Receiver(0)
    receiver.connection_made(wire)
    asked = POST * 2
    # A client waits for an answer before it asks again: no piece has the end of one POST and the start of the next.
    for piece in (asked[:cut], asked[cut:]):
        room = len(POST) if piece == asked[:cut] else (len(POST) - cut) % len(POST)
        for part in (piece[:room], piece[room:]):
            if part:
                receiver.data_received(part)
    assert wire.written == ACCEPTED * 2


async def test_one_that_hangs_reads_and_never_answers() -> None:
    wire, receiver = Wire(), Receiver(None)
    receiver.connection_made(wire)
    receiver.data_received(POST)
    assert wire.written == b""


def test_the_process_has_a_port_that_takes_and_one_that_refuses() -> None:
    companion = Companion("bench.receivers", None)
    try:
        ports = msgspec.json.decode(companion.hear(), type=Ports)
        with socket.create_connection(("127.0.0.1", ports.taking), timeout=10) as taking:
            taking.sendall(POST)
            assert taking.recv(1000) == ACCEPTED
        for port in (ports.slow, ports.hanging):
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", ports.closed), timeout=10)
    finally:
        companion.stop()


# --- what is computed


def test_what_is_lost_is_read_from_the_metrics() -> None:
    page = (
        "# TYPE busbar_telemetry_dropped_total counter\n"
        'busbar_telemetry_dropped_total{actor="traces"} 128.0\n'
        'busbar_telemetry_dropped_total{actor="request-log:webhook"} 1.2e+06\n'
        'busbar_mailbox_dropped_total{actor="traces"} 7.0\n'
    )
    assert lost_of(page) == {"traces": 128, "request-log:webhook": 1_200_000}


def test_the_report_tells_what_is_added_and_what_was_lost_until_the_end() -> None:
    plan = Plan(scenarios=(STEADY,), contenders=(PLAIN, "file", "dead"), rounds=2, seconds=5, warm_secs=0, seed=7)
    rows = [
        row(PLAIN, 1),
        row("file", 1, cpu_secs=0.3, p50_us=900.0, p99_us=2100.0, lost={"metrics": 0}),
        row("dead", 1, cpu_secs=0.4, lost={"traces": 128, "metrics": 0}),
        row(PLAIN, 2),
        row("dead", 2, cpu_secs=0.4, lost={"traces": 256, "request-log:webhook": 9, "metrics": 0}),
    ]
    lines = telemetry_report(rows, plan, MACHINE, Cores(0, 1), "ext4").splitlines()
    assert "Receivers and who scrapes are with the load generator. Files on ext4." in lines
    at = lines.index("## What telemetry adds")
    assert lines[at + 4 : at + 8] == [
        "| scenario, telemetry | added CPU µs/request | added p50 ms | added p99 ms |",
        "| --- | --- | --- | --- |",
        "| steady, file | 100 | 0.10 | 0.10 |",
        "| steady, dead | 200 | 0.00 | 0.00 |",
    ]
    at = lines.index("## telling ÷ not telling")
    assert lines[at + 6] == "| steady, file | 1.50 | 1.00 | 1.12 | 1.05 |"
    at = lines.index("## Lost, and counted as such")
    assert lines[at + 2 : at + 6] == [
        "| telemetry, actor | lost | answers |",
        "| --- | --- | --- |",
        "| dead, request-log:webhook | 9 | 2000 |",
        "| dead, traces | 256 | 2000 |",
    ]


def test_when_nothing_was_lost_the_report_says_so() -> None:
    plan = Plan(scenarios=(STEADY,), contenders=(PLAIN, "file"), rounds=1, seconds=5, warm_secs=0, seed=7)
    rows = [row(PLAIN, 1), row("file", 1, lost={"metrics": 0})]
    lines = telemetry_report(rows, plan, MACHINE, Cores(0, 1), "ext4").splitlines()
    assert lines[lines.index("## Lost, and counted as such") + 2] == "Nothing was."


def test_a_request_log_in_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.__main__.kind_of", lambda _folder: "tmpfs")
    assert main(["--telemetry"]) == 2
    assert "tmpfs" in capsys.readouterr().err
