"""The pure parts of the bench: what it computes, reads and writes. Nothing here takes the time of anything."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import figures
from bench.__main__ import main
from bench.answer import AnswerReader, BrokenAnswer
from bench.contenders import Busbar, Contender, Nginx
from bench.figures import Row, Spread, added, percentile, ratio, spread
from bench.measure import shuffled
from bench.profile import summary
from bench.report import cell, table
from bench.scenarios import SCENARIOS, WORD, Scenario, baseline
from bench.upstream import UPSTREAM_KEY, writes
from busbar.config import load

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"a": "\xc3\xa9b"}'
IDLE = "_bootstrap (threading.py:995);_worker (concurrent/futures/thread.py:81) 50"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    b"b\r\ndata: one\n\n\r\nE;x=1\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
)


def row(contender: str, number: int, *, scenario: str = "json-openai", **changes: object) -> Row:
    known: dict[str, object] = {
        "round": number,
        "scenario": scenario,
        "contender": contender,
        "answers": 1000,
        "events": 0,
        "failures": {},
        "elapsed_secs": 2.0,
        "cpu_secs": 0.5,
        "p50_us": 300.0,
        "p99_us": 900.0,
        "first_p50_us": 0.0,
        "first_p99_us": 0.0,
        "rss_bytes": 50_000_000,
        "peak_bytes": 60_000_000,
    }
    return Row(**(known | changes))  # type: ignore[arg-type]


def read(pieces: list[bytes]) -> tuple[list[bool], AnswerReader]:
    reader = AnswerReader()
    return [reader.feed(piece) for piece in pieces], reader


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


# --- figures


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (1, 1.0), (50, 50.0), (50.5, 51.0), (99, 99.0), (100, 100.0)]
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(percent: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == expected


def test_the_percentile_of_nothing_is_nought() -> None:
    assert percentile([], 99) == 0.0


def test_a_spread_leaves_out_what_is_not_known() -> None:
    assert spread([3.0, None, 1.0, 8.0]) == Spread(1.0, 3.0, 8.0)
    assert spread([None]) is None


def test_cpu_time_counts_for_failed_requests_too_and_direct_has_none() -> None:
    assert figures.cpu_us_per_request(row("busbar", 1, answers=900, failures={"status 500": 100})) == 500.0
    assert figures.cpu_us_per_event(row("busbar", 1, events=50_000)) == 10.0
    assert figures.cpu_us_per_request(row("direct", 1, cpu_secs=None)) is None
    assert figures.core_percent(row("busbar", 1)) == 25.0


def test_ratios_are_between_rows_of_one_round() -> None:
    rows = [
        row("nginx", 1, cpu_secs=0.1),
        row("busbar", 1, cpu_secs=0.5),
        row("busbar", 2, cpu_secs=0.9),
        row("nginx", 2, cpu_secs=0.3),
        row("busbar", 3, cpu_secs=9.0),
    ]
    expected = Spread(pytest.approx(3.0), pytest.approx(4.0), pytest.approx(5.0))  # type: ignore[arg-type]
    assert ratio(rows, "json-openai", "busbar", "nginx", figures.cpu_us_per_request) == expected


def test_a_translated_scenario_is_compared_with_the_same_load_not_translated() -> None:
    rows = [
        row("direct", 1, p50_us=100.0),
        row("nginx", 1, p50_us=200.0),
        row("busbar", 1, scenario="json-openai-anthropic", p50_us=900.0),
    ]
    assert ratio(rows, "json-openai-anthropic", "busbar", "nginx", figures.p50_us) == Spread(4.5, 4.5, 4.5)
    assert added(rows, "json-openai-anthropic", "busbar", figures.p50_us) == Spread(800.0, 800.0, 800.0)


def test_every_baseline_is_a_scenario_that_everybody_serves() -> None:
    plain = {scenario.name for scenario in SCENARIOS if not scenario.translated}
    assert {baseline(scenario.name) for scenario in SCENARIOS} <= plain


# --- tables


def test_a_cell_has_one_number_when_the_three_look_alike() -> None:
    assert cell(Spread(1.04, 2.0, 3.0), 1) == "1.0 / 2.0 / 3.0"
    assert cell(Spread(1.9, 2.0, 2.1), 0) == "2"
    assert cell(None, 1) == "–"


def test_a_column_without_any_value_is_left_out() -> None:
    assert table(["who", "a", "b"], [["x", "–", "1"], ["y", "–", "–"]]) == [
        "| who | b |",
        "| --- | --- |",
        "| x | 1 |",
        "| y | – |",
    ]


# --- the reader of answers


@given(st.lists(st.integers(min_value=0, max_value=10_000), max_size=20))
def test_answers_are_read_at_any_split(cuts: list[int]) -> None:
    complete, plain = read(split(PLAIN, cuts))
    assert (complete[-1], any(complete[:-1])) == (True, False)
    assert (plain.status, bytes(plain.body), plain.closes) == (200, b'{"a": "\xc3\xa9b"}', False)

    complete, chunked = read(split(CHUNKED, cuts))
    assert (complete[-1], any(complete[:-1])) == (True, False)
    assert (chunked.status, bytes(chunked.body), chunked.closes) == (200, b"data: one\n\ndata: [DONE]\n\n", True)


def test_the_next_answer_on_a_connection_starts_afresh() -> None:
    _, reader = read([CHUNKED])
    reader.reset()
    assert reader.feed(PLAIN)
    assert (bytes(reader.body), reader.closes) == (b'{"a": "\xc3\xa9b"}', False)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"ICY 200 OK\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nserver: x\r\n\r\n", "neither content-length nor chunked"),
        (PLAIN + b"x", "bytes after the answer"),
        (CHUNKED + b"x", "bytes after the answer"),
        (CHUNKED.replace(b"\n\n\r\n0", b"\n\n__0"), "a chunk without an end"),
        (CHUNKED.replace(b"\r\nb\r\n", b"\r\nzz\r\n"), "not the size of a chunk"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "endless head"),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BrokenAnswer, match=f"^{reason}$"):
        AnswerReader().feed(data)


# --- what is sent, by either side


@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if not each.translated], ids=lambda each: each.name)
def test_the_upstreams_answer_is_what_its_scenario_expects(scenario: Scenario) -> None:
    complete, reader = read(list(writes(scenario.egress, scenario.events)))
    assert (complete[-1], reader.status) == (True, 200)
    assert reader.body.count(WORD.encode()) == scenario.words
    assert reader.body.endswith(scenario.ending.encode())
    assert len(complete) == (scenario.events or 1) + bool(scenario.stream)


def test_requests_are_of_about_two_kilobytes() -> None:
    assert {round(len(scenario.body("gpt")) / 1000) for scenario in SCENARIOS} == {2}


# --- contenders


def test_the_gateways_configuration_is_one_that_it_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_KEY", UPSTREAM_KEY)
    monkeypatch.setenv("BENCH_TOKEN", "a-token")
    file = tmp_path / "config.yaml"
    busbar = Busbar(tmp_path, 9000, None)
    file.write_text(busbar.config(9000, SCENARIOS))
    config = load(str(file), None)
    assert (config.listen_host, config.listen_port, config.auth.mode) == ("127.0.0.1", busbar.port, "token")
    assert {name: len(pool.members) for name, pool in config.pools.items()} == {each.name: 2 for each in SCENARIOS}
    translated = config.models["json-openai-anthropic-a"]
    assert (translated.provider, translated.upstream_model) == ("bench-anthropic", "bench-0x0")
    assert config.providers["bench-anthropic"].base_url == "http://127.0.0.1:9000"


def test_nginx_forwards_to_the_upstream_with_its_key_and_keeps_connections(tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, 9000, None)
    lines = {line.strip() for line in nginx.config(9000, SCENARIOS).splitlines()}
    assert {
        f"listen 127.0.0.1:{nginx.port};",
        "server 127.0.0.1:9000;",
        "keepalive 512;",
        "proxy_pass http://provider;",
        "proxy_buffering off;",
        f'proxy_set_header Authorization "Bearer {UPSTREAM_KEY}";',
        "worker_processes 1;",
        "access_log off;",
    } <= lines


def test_translated_scenarios_are_the_gateways_alone(tmp_path: Path) -> None:
    nginx, busbar = Nginx(tmp_path, 9000, None), Busbar(tmp_path, 9000, None)
    assert [each.name for each in SCENARIOS if not nginx.serves(each)] == [
        f"{kind}-{pair}"
        for kind in ("json", "burst")
        for pair in ("openai-anthropic", "openai-gemini", "anthropic-bedrock")
    ]
    assert all(busbar.serves(each) for each in SCENARIOS)


def test_a_round_has_every_pair_once_and_keeps_together_what_is_compared(tmp_path: Path) -> None:
    everybody = [Contender(1), Nginx(tmp_path, 1, None), Busbar(tmp_path, 1, None)]
    rounds = [shuffled(SCENARIOS, everybody, random.Random(seed)) for seed in (1, 2)]
    assert rounds[0] != rounds[1]
    for pairs in rounds:
        assert sorted((who.name, what.name) for who, what in pairs) == sorted(
            (who.name, what.name) for who in everybody for what in SCENARIOS if who.serves(what)
        )
        groups = [group for group, _ in itertools.groupby(baseline(what.name) for _, what in pairs)]
        assert len(groups) == len(set(groups))


# --- the command


def test_without_nginx_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.contenders.NGINX_PLACES", "/nowhere")
    assert main(["--quick"]) == 2
    assert "apt-get install nginx" in capsys.readouterr().err


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--scenarios", "json-openai,nonsense"])
    assert "nonsense: not one of json-openai" in capsys.readouterr().err


def test_a_profile_adds_up_stacks_by_their_innermost_frame_and_by_every_frame() -> None:
    shown = summary(["main (a.py:1);serve (b.py:10) 3", "main (a.py:1);serve (b.py:12);write (c.py:5) 1", IDLE])
    assert shown.splitlines() == [
        "4 samples",
        "",
        "itself:",
        "   75.0 %  serve (b.py)",
        "   25.0 %  write (c.py)",
        "",
        "with what it calls:",
        "  100.0 %  main (a.py)",
        "  100.0 %  serve (b.py)",
        "   25.0 %  write (c.py)",
    ]
