"""`busbar simulate`, and the report that it writes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from simulation.mutations import permit_is_leaked_on_release

from busbar.cli import main
from busbar.simulation.random_scenarios import written

SCENARIO = """
title: Two of <them>
duration_secs: 60
config:
  providers: {openai: {}, anthropic: {}}
  models: {gpt: {provider: openai}, claude: {provider: anthropic}}
  pools: {smart: {members: [{target: gpt}, {target: claude}]}}
  governance: {prices: {gpt: {input: 1, output: 4}}}
providers: {openai: {faults: [{from_secs: 20, until_secs: 40, status: 503}]}}
traffic: [{to: smart, rate_per_sec: 5, hang_up: {share: 0.2}}]
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    (tmp_path / "s.yaml").write_text(SCENARIO)
    return str(tmp_path / "s.yaml")


def test_the_summary_names_pools_members_providers_and_spend(
    scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", scenario]) == 0
    text = capsys.readouterr().out
    assert re.match(r"Two of <them>: 60 s, \d+ requests, seed 1\n\npool +requests +available +failovers", text)
    assert re.search(r"^smart +\d+ +\d+\.\d{3}% +\d+ +\d+", text, re.M)
    assert re.search(r"^smart +[\d.]+ s +[\d.]+ s +[\d.]+ s +\d+ ms", text, re.M)
    assert re.search(r"^gpt +openai +\d+ .* \$0\.\d\d +overloaded \d+$", text, re.M)
    assert re.search(r"^claude +anthropic .* - +-$", text, re.M)
    assert re.search(r"^together +\d+ +\d+ +\$0\.\d\d$", text, re.M)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = []
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        main(["simulate", scenario, "--seed", seed, "--report", str(tmp_path / name)])
        outputs.append((capsys.readouterr().out, (tmp_path / name).read_bytes()))
    assert outputs[0] == outputs[1]
    assert outputs[0] != outputs[2]


def test_many_seeds_are_told_together(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", scenario, "--seeds", "4"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Two of <them>: 4 seeds, ")
    assert text.endswith("every invariant held with every seed\n")


def test_seeds_whose_invariants_broke_are_named(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    permit_is_leaked_on_release(monkeypatch)
    report = tmp_path / "r.html"
    assert main(["simulate", scenario, "--seed", "8", "--seeds", "2", "--report", str(report)]) == 1
    text = capsys.readouterr().out
    assert "invariants broke with 2 of 2 seeds:\n  seed 8: after " in text
    assert "An invariant is broken" in report.read_text()
    assert main(["simulate", scenario]) == 1
    assert "an invariant is broken, after " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.yaml"], 2, "nowhere.yaml: cannot be read"),
        (["{scenario}", "--config", "nowhere.yaml"], 2, "nowhere.yaml: cannot be read"),
        (["{scenario}", "--report", "{scenario}/no/where.html"], 2, "cannot be written"),
    ],
)
def test_what_cannot_be_read_or_written_is_told(
    arguments: list[str], code: int, said: str, scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *(each.format(scenario=scenario) for each in arguments)]) == code
    assert said in capsys.readouterr().err


def test_mistakes_are_told_and_are_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIO.replace("status: 503", "statsu: 503"))
    assert main(["simulate", str(tmp_path / "s.yaml")]) == 1
    assert "providers.openai.faults[0].statsu: unknown key, did you mean `status`?" in capsys.readouterr().err


class Outline(HTMLParser):
    """Which tags are open, and what the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_whole_page_that_needs_nothing_else(scenario: str, tmp_path: Path) -> None:
    report = tmp_path / "r.html"
    assert main(["simulate", scenario, "--report", str(report)]) == 0
    text = report.read_text()
    outline = Outline()
    outline.feed(text)
    assert (outline.open, outline.fetched, outline.seen["svg"], outline.seen.get("script")) == ([], [], 4, None)
    assert "url(" not in text
    assert "Two of &lt;them&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert "script: error 503, 100% of attempts, from 0:20 to 0:40" in text
    assert 'class="s-open"' in text


def test_the_report_tells_hostile_names_harmlessly(tmp_path: Path) -> None:
    hostile = SCENARIO.replace("gpt", '"<script>alert(1)</script>"')
    (tmp_path / "s.yaml").write_text(hostile)
    assert main(["simulate", str(tmp_path / "s.yaml"), "--report", str(tmp_path / "r.html")]) == 0
    assert "<script" not in (tmp_path / "r.html").read_text()


def test_a_random_scenario_can_be_written_down_and_run(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(written(17))
    assert main(["simulate", str(tmp_path / "s.yaml")]) == 0
