"""`busbar import litellm`: the file, the report, and what stands in the way."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from busbar.cli import main

LITELLM = """
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-6.1-sol, api_key: os.environ/OPENAI_API_KEY, rpm: 300}
  - model_name: gpt
    litellm_params: {model: groq/openai/gpt-oss-120b, api_key: gsk_literal0123456789, rpm: 100}
router_settings: {routing_strategy: least-busy, cooldown_time: 30}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
guardrails: [{guardrail_name: x}]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "GROQ_API_KEY", "LITELLM_MASTER_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "litellm.yaml").write_text(LITELLM)
    return tmp_path


def test_the_result_is_a_configuration_and_the_report_says_the_rest(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "litellm", "litellm.yaml"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("litellm.yaml → config.yaml: 1 name that callers may ask for\n")
    assert "Busbar looks into no prompts" in shown.err
    assert shown.err.endswith("  - LITELLM_MASTER_KEY\n  - OPENAI_API_KEY\n  - GROQ_API_KEY\n")
    assert "gsk_literal" not in shown.err + (here / "config.yaml").read_text()
    assert (here / "config.yaml").read_text().startswith("# yaml-language-server: $schema=./config.schema.json\n")
    assert (here / "config.schema.json").exists()
    for name in ("OPENAI_API_KEY", "GROQ_API_KEY", "LITELLM_MASTER_KEY"):
        monkeypatch.setenv(name, "value")
    assert main(["check"]) == 0
    assert capsys.readouterr().out.endswith("ok: 2 providers, 2 models, 1 pools\n")


def test_it_says_the_same_twice_and_writes_over_nothing_else(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "litellm", "litellm.yaml"]) == 0
    first = (here / "config.yaml").read_bytes()
    assert main(["import", "litellm", "litellm.yaml"]) == 0  # the file says that already
    assert (here / "config.yaml").read_bytes() == first
    (here / "config.yaml").write_text("mine")
    assert main(["import", "litellm", "litellm.yaml"]) == 2
    assert "--force writes over it" in capsys.readouterr().err
    assert (here / "config.yaml").read_text() == "mine"
    assert main(["import", "litellm", "litellm.yaml", "--force"]) == 0
    assert (here / "config.yaml").read_bytes() == first


def test_both_may_go_elsewhere(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "litellm", "litellm.yaml", "--output", "-", "--report", "report.txt"]) == 0
    assert capsys.readouterr().out.startswith("# LiteLLM's master key.\nauth:")
    assert (here / "report.txt").read_text().startswith("litellm.yaml → -: 1 name ")
    assert main(["import", "litellm", "litellm.yaml", "--output", "other.yaml", "--report", "-"]) == 0
    assert "Has no counterpart" in capsys.readouterr().out


def test_the_file_may_come_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LITELLM.encode())))
    assert main(["import", "litellm", "-", "--output", "-"]) == 0
    assert "providers:" in capsys.readouterr().out


def test_what_does_not_hold_is_part_of_the_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that Busbar's own check refuses: it is written all the same, to be corrected there."""
    text = "model_list: [{model_name: m, litellm_params: {model: bedrock/m, aws_region_name: 'no region'}}]"
    (here / "litellm.yaml").write_text(text)
    assert main(["import", "litellm", "litellm.yaml"]) == 1
    report = capsys.readouterr().err
    assert "It does not hold yet; `busbar check` says:\nconfig.yaml:" in report
    assert "variables.region: expected letters" in report


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a: &a [*a]", "litellm.yaml: line 1: an alias without its anchor before it"),
        (b"\xff\xfe\xff", "not UTF-8 text"),
        (b"- a", "expected keys and values"),
        (b"", "there is no model_list in it"),
        (b"general_settings: {store_model_in_db: true}", "there is no model_list in it"),
        (b"providers: {openai: {}}", "there is no model_list in it"),
    ],
)
def test_a_file_that_cannot_be_read_is_exit_code_2(
    here: Path, content: bytes, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "litellm.yaml").write_bytes(content)
    assert main(["import", "litellm", "litellm.yaml"]) == 2
    assert complaint in capsys.readouterr().err
    assert not (here / "config.yaml").exists()


@pytest.mark.parametrize("arguments", [["nowhere.yaml"], ["litellm.yaml", "--output", "no/folder.yaml"]])
def test_files_that_cannot_be_had_are_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "litellm", *arguments]) == 2
    assert arguments[-1].partition("/")[0] in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["import"], ["import", "litellm"], ["import", "portkey", "x"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2


@pytest.mark.parametrize("output", [[], ["--output", "./config.yaml"]])
def test_litellms_own_file_is_never_written_over(
    here: Path, output: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are called config.yaml by default."""
    (here / "config.yaml").write_text(LITELLM)
    assert main(["import", "litellm", "config.yaml", "--force", *output]) == 2
    assert capsys.readouterr().err == "config.yaml is LiteLLM's own file: name another with --output\n"
    assert (here / "config.yaml").read_text() == LITELLM


def test_a_file_of_which_nothing_could_be_taken_is_exit_code_1(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "litellm.yaml").write_text('model_list: [{model_name: "*", litellm_params: {model: "*"}}]')
    assert main(["import", "litellm", "litellm.yaml"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("litellm.yaml → config.yaml: 0 names")
    assert "wildcards (model_list[0] *): Busbar lists its models by name" in shown
