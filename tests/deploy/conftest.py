"""What is shipped, installed as a stranger would: a wheel, in an environment in which there is nothing else."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"

OUT_OF_REACH = re.compile(r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|Retrying \(")
"""What pip says when there is no package index, rather than the wrong packages."""


def pip(*arguments: str | Path) -> None:
    """Skips the test when the package index is not there."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "1", "--timeout", "15"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and OUT_OF_REACH.search(done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out, ROOT)
    return next(out.glob("busbar_gateway-*.whl"))


@pytest.fixture(scope="session")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment with the wheel and the locked dependencies, made by the image's own steps."""
    folder = tmp_path_factory.mktemp("clean") / "busbar"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    into = ("--python", folder / "bin" / "python", "install", "--quiet", "--no-compile")
    pip(*into, "--require-hashes", "--only-binary", ":all:", "--requirement", LOCK)
    pip(*into, "--no-deps", "--no-index", wheel)
    return folder


@pytest.fixture(scope="session")
def tools(pytestconfig: pytest.Config) -> Path:
    """The folder where `tools.lock` is unpacked: once, as it is large."""
    lock = Path(__file__).with_name("tools.lock")
    folder = pytestconfig.cache.mkdir("deploy-tools") / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if not folder.exists():
        draft = folder.with_name(f"{folder.name}.{os.getpid()}")
        ways = ("--no-deps", "--only-binary", ":all:", "--python-version", "3.12", "--quiet")
        pip("download", *ways, "--require-hashes", "--requirement", lock, "--dest", draft)
        for packed in draft.glob("*.whl"):
            zipfile.ZipFile(packed).extractall(draft)
            packed.unlink()
        try:
            draft.rename(folder)
        except OSError:  # another worker was faster
            shutil.rmtree(draft)
    return folder


@pytest.fixture(scope="session")
def helm_library(tools: Path) -> Path:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    found = list(
        (tools / "helm_sdkpy" / "_lib" / f"{platform.system().lower()}-{machine}").glob("libhelm_sdkpy.*[!h]")
    )
    if not found:
        pytest.skip(f"Helm's library is not packed for {platform.system()} on {machine}")
    return found[0]
