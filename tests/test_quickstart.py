"""What docs/quickstart.md shows is what the commands write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from busbar.cli import main

PAGE = (Path(__file__).parent.parent / "docs" / "quickstart.md").read_text()


def shown(comment: str) -> list[str]:
    """The blocks that stand under this comment."""
    return re.findall(rf"<!-- {re.escape(comment)} -->\n```\w*\n(.*?)^```", PAGE, re.S | re.M)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "AZURE_API_KEY", "LITELLM_MASTER_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_init_writes_what_the_page_shows(here: Path) -> None:
    assert "\nbusbar init --provider anthropic --provider openai\n" in PAGE
    assert main(["init", "--provider", "anthropic", "--provider", "openai"]) == 0
    assert (here / "config.yaml").read_text() == shown("what the line above writes")[0]


def test_the_import_writes_what_the_page_shows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "litellm.yaml").write_text(shown("litellm.yaml")[0])
    assert "\nbusbar import litellm litellm.yaml\n" in PAGE
    assert main(["import", "litellm", "litellm.yaml"]) == 0
    assert (here / "config.yaml").read_text() == shown("what the line above writes")[1]
    assert capsys.readouterr().err == shown("the report")[0]


def test_every_verdict_of_a_live_check_is_on_the_page() -> None:
    from busbar.protocols.failures import FailureClass

    table = PAGE.partition("| Verdict | Means |")[2].partition("\n\n")[0]
    told = set(re.findall(r"`(\w+)`", table))
    assert {kind.value for kind in FailureClass} - {"context_length"} <= told
