"""What is shipped: a wheel that works outside of the checkout, with catalog, prices and live page inside."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from busbar.http.ui import CONTENT_TYPES

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", out, ROOT], check=True, timeout=120)
    return next(out.glob("busbar_gateway-*.whl"))


def test_the_wheel_holds_the_package_and_the_one_catalog(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert archive.read("busbar/providers.yaml") == (ROOT / "providers.yaml").read_bytes()
        for shipped in ("busbar/ui/index.html", "busbar/prices.json"):
            assert archive.read(shipped) == (ROOT / shipped).read_bytes()
    assert {"busbar/py.typed", "busbar/cli/__init__.py"} <= set(names)
    assert {f"busbar/ui/{name}" for name in CONTENT_TYPES} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]


def test_the_wheel_runs_outside_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (tmp_path / "config.yaml").write_text("providers: {openai: {}}\nmodels: {gpt: {provider: openai}}\n")
    env = {**os.environ, "PYTHONPATH": str(site), "OPENAI_API_KEY": "k"}
    where = "import busbar, sys; print(busbar.__file__); from busbar.cli import main; sys.exit(main(['check']))"
    done = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
    assert done.stdout.endswith("ok: 1 providers, 1 models, 0 pools\n")
