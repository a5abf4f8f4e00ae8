"""What the package stands on: pinned, with hashes, for every platform; and listed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ["requirements.lock", "requirements-dev.lock"]


def pins(lock: str) -> dict[str, tuple[str, int]]:
    """Name → (version, how many files of it are known)."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip()):
        first, *hashes = entry.split(" \\\n")
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in hashes), entry
        pin = Requirement(first)
        (version,) = pin.specifier
        assert version.operator == "=="
        found[canonicalize_name(pin.name)] = (version.version, len(hashes))
    return found


def asked_for(lock: str) -> list[Requirement]:
    extra = PROJECT["optional-dependencies"]["dev"] if "dev" in lock else []
    return [Requirement(text) for text in [*PROJECT["dependencies"], *extra]]


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_is_pinned_with_its_hashes(lock: str) -> None:
    known = pins(lock)
    assert [name for name, (_, files) in known.items() if not files] == []
    for requirement in asked_for(lock):
        version, _ = known[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_what_is_tested_is_what_is_installed() -> None:
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert runtime.items() <= dev.items()
    assert "pytest" not in runtime
    assert {"pytest", "uv", "cyclonedx-bom"} <= dev.keys()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_for_every_platform_and_any_index(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash=)", text, re.M)
    assert re.search(r"^uvloop==\S+ ; .*sys_platform != 'win32'", text, re.M)
    assert pins(lock)["aiohttp"][1] > 40, "wheels for each platform and version, and the source"


def recipe(target: str) -> list[str]:
    """The lines of a target of the Makefile."""
    text = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert text is not None
    return [line.removeprefix("\t") for line in text[1].splitlines()]


def test_the_environment_is_made_from_the_hashes() -> None:
    assert [line for line in recipe(r"\$\(READY\)") if "requirements-dev.lock" in line] == [
        "$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock"
    ]


def test_the_bill_of_materials_lists_what_runs_and_nothing_else(tmp_path: Path) -> None:
    (line,) = recipe("sbom")
    command = line.replace("$(BIN)", str(Path(sys.executable).parent)).replace(
        "sbom.json", str(tmp_path / "sbom.json")
    )
    done = subprocess.run(["bash", "-ec", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), shlex.quote(command)
    document = json.loads((tmp_path / "sbom.json").read_text())
    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == ("CycloneDX", "busbar-gateway")
    listed = {canonicalize_name(part["name"]): part["version"] for part in document["components"]}
    assert listed == {name: version for name, (version, _) in pins("requirements.lock").items()}
    assert all(part["purl"].startswith("pkg:pypi/") for part in document["components"])
    assert all(part["externalReferences"][0]["hashes"] for part in document["components"])
