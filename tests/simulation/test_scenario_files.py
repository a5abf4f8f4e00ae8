"""Reading scenarios: every mistake at once, each with file, line and path."""

from __future__ import annotations

from pathlib import Path

import pytest

from busbar.config import ConfigErrors
from busbar.protocols.failures import FailureClass
from busbar.simulation.load import load_scenario, loads_scenario
from busbar.simulation.scenario import Distribution, Fault

CONFIG = """\
config:
  providers: {openai: {}, anthropic: {}}
  models: {gpt: {provider: openai}, claude: {provider: anthropic}}
  pools: {smart: {members: [{target: gpt}, {target: claude}]}}
"""
GOOD = CONFIG + "duration_secs: 60\ntraffic: [{to: smart}]\n"


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        loads_scenario(text, "s.yaml", env={})
    return str(caught.value).splitlines()


def test_a_scenario_needs_no_keys_for_its_providers() -> None:
    scenario = loads_scenario(GOOD, env={})
    assert [*scenario.config.pools, *scenario.config.models] == ["smart", "gpt", "claude"]
    assert (scenario.duration_secs, scenario.seed, scenario.traffic[0].rate_per_sec) == (60, 1, 1)


def test_a_number_is_a_constant() -> None:
    scenario = loads_scenario(GOOD + "models: {gpt: {ttft_ms: 300, tokens_per_sec: {low: 3, high: 4}}}\n", env={})
    script = scenario.models["gpt"]
    assert (script.ttft_ms, script.tokens_per_sec) == (Distribution(constant=300), Distribution(low=3, high=4))


def test_faults_are_read_with_their_classes() -> None:
    text = GOOD + "providers: {openai: {faults: [{failure: overloaded, share: 0.5}, {kind: stall, from_secs: 3}]}}\n"
    assert loads_scenario(text, env={}).providers["openai"].faults == (
        Fault(failure=FailureClass.OVERLOADED, share=0.5),
        Fault(kind="stall", from_secs=3),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("duration_secs: 60\ntrafic: []\n", "s.yaml:6: trafic: unknown key, did you mean `traffic`?"),
        ("duration_secs: 0\n", "s.yaml:5: duration_secs: expected a number above 0 to 31536000"),
        ("models: {gtp: {}}\n", "models.gtp: the configuration has no model of this name, did you mean `gpt`?"),
        ("providers: {opnai: {}}\n", "has no provider of this name, did you mean `openai`?"),
        ("models: {gpt: {ttft_ms: {low: 3}}}\n", "expected a number, {low, high}, {median, p95} or {mean}, got low"),
        ("models: {gpt: {ttft_ms: {low: 3, high: 2}}}\n", "models.gpt.ttft_ms.high: below low (3)"),
        ("models: {gpt: {ttft_ms: {median: 3, p95: 2}}}\n", "models.gpt.ttft_ms.p95: below median (3)"),
        ("models: {gpt: {ttft_ms: fast}}\n", "models.gpt.ttft_ms.constant: expected a number from 0 to 1000000000"),
        ("models: {gpt: {faults: [{}]}}\n", "models.gpt.faults[0]: an error needs one of failure and status"),
        ("models: {gpt: {faults: [{kind: slow, status: 500}]}}\n", "only a fault of kind error has it"),
        ("models: {gpt: {faults: [{kind: slo}]}}\n", "slow, stall, did you mean `slow`?"),
        ("models: {gpt: {faults: [{kind: slow, from_secs: 9, until_secs: 9}]}}\n", "a time after from_secs (9)"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, expected: str) -> None:
    whole = CONFIG + text
    for needed, line in (("duration_secs", "duration_secs: 60\n"), ("traffic:", "traffic: [{to: smart}]\n")):
        whole += "" if needed in whole else line
    assert any(expected in line for line in complaints(whole)), complaints(whole)


def test_mistakes_of_the_configuration_are_told_below_config() -> None:
    text = GOOD.replace("target: gpt", "target: gtp").replace("{provider: anthropic}", "{provder: anthropic}")
    assert complaints(text) == [
        "s.yaml:3: config.models.claude.provder: unknown key, did you mean `provider`?",
        "s.yaml:3: config.models.claude.provider: this key is required",
        "s.yaml:4: config.pools.smart.members[0].target: there is no model of this name, did you mean `gpt`?",
    ]


def test_phases_do_not_overlap() -> None:
    phases = "phases: [{rate_per_sec: 1, until_secs: 9}, {rate_per_sec: 1, from_secs: 8}]"
    assert complaints(GOOD.replace("to: smart", f"to: smart, {phases}")) == [
        "s.yaml:6: traffic[0].phases[1].from_secs: begins before the phase above it ends"
    ]


def test_traffic_goes_somewhere() -> None:
    assert complaints(GOOD.replace("to: smart", "to: smrt")) == [
        "s.yaml:6: traffic[0].to: the configuration has no pool or model of this name, did you mean `smart`?"
    ]


def test_a_policy_that_cannot_be_had_is_a_mistake() -> None:
    (line,) = complaints(GOOD.replace("members: [", "supervision: quarantin, members: ["))
    assert line.startswith("s.yaml:4: config.pools.smart.supervision")
    assert "did you mean `quarantine`?" in line


def test_the_configuration_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    config = CONFIG.removeprefix("config:\n").replace("  ", "", 1).replace("\n  ", "\n")
    (tmp_path / "busbar.yaml").write_text(config)
    (tmp_path / "other.yaml").write_text(config.replace("smart", "wise"))
    (tmp_path / "s.yaml").write_text("config: busbar.yaml\nduration_secs: 60\ntraffic: [{to: gpt}]\n")
    named = load_scenario(tmp_path / "s.yaml", env={})
    given = load_scenario(tmp_path / "s.yaml", tmp_path / "other.yaml", env={})
    assert (list(named.config.pools), list(given.config.pools)) == (["smart"], ["wise"])


def test_without_a_configuration_there_is_nothing_to_simulate() -> None:
    assert complaints("duration_secs: 60\ntraffic: [{to: gpt}]\n") == [
        "s.yaml: config: this key is required, or --config FILE"
    ]
