"""docs/new-protocol.md, followed to the letter: its dialect stands what every dialect has to stand, and works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.walkthrough import ROOT, blocks, changed_copy, files_that_list, run

PAGE = ROOT / "docs" / "new-protocol.md"
DIALECTS = {"anthropic", "openai", "responses", "gemini", "bedrock", "cohere"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return changed_copy(PAGE, tmp_path_factory.mktemp("seventh"))


def test_the_seventh_dialect_works(tree: Path) -> None:
    run(tree, str(ROOT / "tests" / "seventh_dialect.py"))


def test_the_translation_on_the_page_is_what_it_gives(tree: Path) -> None:
    shown = re.search(r"^\$ echo '(.*?)' \|\n +busbar (translate .*?)\n(\{.*?\})$", PAGE.read_text(), re.M)
    assert shown is not None
    document, command, translated = shown.groups()
    assert run(tree, "-m", "busbar", *command.split(), stdin=document).strip() == translated


def test_the_page_is_written_as_the_package_is(tree: Path) -> None:
    files = [str(tree / path) for path, _ in blocks(PAGE, "py")]
    assert len(files) == 6
    for check in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *check, "--config", str(ROOT / "pyproject.toml"), *files]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_lines_elsewhere_are_all_that_list_the_dialects() -> None:
    """Whoever lists them once more, outside of the demo, makes this page wrong."""
    of_the_package = {path for path in files_that_list(DIALECTS) if not path.startswith("busbar/demo/")}
    registry = "busbar/protocols/registry.py"  # which lists objects, not names
    assert of_the_package == {path for path, _ in blocks(PAGE, "diff")} - {registry} | {"busbar/telemetry/spans.py"}
