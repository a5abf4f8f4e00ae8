"""The package of docs/supervision.md, laid out as the page says: found by its class and by its entry point.

(That its policy does what the page says is run with every other snippet, in `tests/test_docs.py`.)
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "supervision.md").read_text()


def snippet(language: str, containing: str) -> str:
    found = [text for text in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M) if containing in text]
    assert len(found) == 1, (language, containing)
    return str(found[0])


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where the package is installed."""
    policy, test = snippet("python", "class CalmDown").split("# tests/test_policies.py")
    assert "class CalmDown" in policy
    assert "from acme_busbar.policies import CalmDown" in test
    project = tomllib.loads(snippet("toml", "busbar.supervision"))["project"]
    points = project["entry-points"]["busbar.supervision"]
    info = tmp_path / "acme_busbar-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text(
        "\n".join(["[busbar.supervision]", *(f"{name} = {target}" for name, target in points.items())])
    )
    (tmp_path / "acme_busbar").mkdir()
    (tmp_path / "acme_busbar" / "__init__.py").touch()
    (tmp_path / "acme_busbar" / "policies.py").write_text(policy)
    return tmp_path


@pytest.mark.parametrize("name", ["calm-down", "acme_busbar.policies:CalmDown"])
def test_the_documented_package_is_checked_under_both_of_its_names(name: str, site: Path) -> None:
    text = snippet("yaml", "calm-down").replace("policy: calm-down", f"policy: '{name}'")
    for options, code, said in (
        ("calm_after: 3", 0, "ok: 1 providers, 1 models, 1 pools"),
        ("calm_after: 0", 1, "config.yaml:8: pools.smart.supervision.options: calm_after has to be at least 1"),
        ("calm_aftr: 3", 1, "supervision.options.calm_aftr: unknown option, did you mean `calm_after`?"),
    ):
        (site / "config.yaml").write_text(text.replace("calm_after: 3", options))
        done = subprocess.run(
            [sys.executable, "-m", "busbar", "check", "--config", "config.yaml"],
            cwd=site,
            env={**os.environ, "PYTHONPATH": str(site), "ANTHROPIC_API_KEY": "k"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done
