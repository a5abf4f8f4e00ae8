"""Every snippet in the documentation is run.

Python blocks are run as scripts, each in a process of its own, against a gateway with embedded providers, or one with
virtual keys in front of it (the addresses in the text are replaced by the real ones). YAML blocks are loaded as
configurations. Shell lines that call `busbar` are parsed, and run where they need nothing. What else `governance.md`
shows is run by `test_governance_example.py`. Blocks tagged `py` and `diff` are files and lines of the package itself:
`walkthrough.py` tries them on a copy of it. Links are followed by `test_docs_links.py`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml
from _pytest.mark import ParameterSet
from msgspec import Struct

from busbar.cli import main, parser
from busbar.config import loads
from busbar.demo.configuration import DEMO_KEY, demo_configuration
from busbar.demo.providers import DemoProviders
from busbar.gateway import BusbarGateway
from busbar.simulation.load import loads_scenario
from busbar.simulation.runner import simulate

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ADDRESS, GOVERNED = "http://127.0.0.1:8080", "http://127.0.0.1:8090"
ADMIN_TOKEN = "the-operators-own"
KEYS = {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k", "AZURE_OPENAI_API_KEY": "k", "BUSBAR_CLIENT_TOKEN": "t"}


def snippets(language: str) -> list[ParameterSet]:
    found = []
    for page in PAGES:
        for number, (tag, text) in enumerate(re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.S | re.M)):
            if tag == language:
                found.append(pytest.param(text, id=f"{page.stem}-{number}"))
    return found


class Demo(Struct, frozen=True):
    """What a snippet needs: two gateways, and a virtual key for the second."""

    url: str
    governed_url: str
    key: str

    def here(self, text: str) -> str:
        return text.replace(ADDRESS, self.url).replace(GOVERNED, self.governed_url)

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "BUSBAR_ADMIN_TOKEN": ADMIN_TOKEN, "BUSBAR_KEY": self.key}


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[Demo]:
    async with (
        DemoProviders(keys=frozenset({DEMO_KEY})) as providers,
        BusbarGateway(demo_configuration(providers.base_url, "127.0.0.1:0")) as gateway,
    ):
        example = (ROOT / "examples" / "governance" / "config.yaml").read_text()
        example = example.replace(ADDRESS, gateway.url).replace("127.0.0.1:8090", "127.0.0.1:0")
        example += f"  db_path: '{folder / 'governance.db'}'\n"
        async with BusbarGateway(loads(example, env={"BUSBAR_ADMIN_TOKEN": ADMIN_TOKEN})) as governed:
            yield Demo(gateway.url, governed.url, await new_key(governed.url))


async def new_key(url: str) -> str:
    """The secret of a key without limits."""
    async with (
        aiohttp.ClientSession(url, headers={"x-admin-token": ADMIN_TOKEN}) as http,
        http.post("/admin/keys", json={"name": "docs"}) as answer,
    ):
        secret: str = (await answer.json())["secret"]
        return secret


async def run(env: dict[str, str], *command: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, env=env
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode()


@pytest.mark.parametrize("text", snippets("python"))
async def test_python_snippets_run(text: str, tmp_path: Path) -> None:
    async with demo(tmp_path) as there:
        code, output = await run(there.env, sys.executable, "-c", there.here(text))
        assert code == 0, output


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("text", [each for each in snippets("sh") if "curl" in str(each.values[0])])
async def test_curl_snippets_are_answered(text: str, tmp_path: Path) -> None:
    async with demo(tmp_path) as there:
        script = re.sub(r"\bcurl\b", "curl --fail", there.here(text))
        code, output = await run(there.env, "bash", "-ec", script)
        assert code == 0, output
        assert output.strip()


@pytest.mark.parametrize("text", snippets("yaml"))
def test_yaml_snippets_are_configurations(text: str) -> None:
    """Whole files are loaded, scenarios are run; a piece (one section) only has to be YAML."""
    document = yaml.safe_load(text)
    if "traffic" in document and "duration_secs" in document:
        assert simulate(loads_scenario(text, env={})).broken is None
    elif "models" in document and "providers" in document:
        names = set(re.findall(r"\$\{(\w+)\}", text)) | set(re.findall(r"api_key_env: (\w+)", text))
        loads(text, env={**KEYS, **dict.fromkeys(names, "value")})


def busbar_lines() -> list[ParameterSet]:
    found = []
    for language in ("sh", "console"):
        for parameter in snippets(language):
            text = str(parameter.values[0]).replace("\\\n", " ").replace("|\n", "| ")
            found.extend(
                pytest.param(line.removeprefix("$ ").partition("  #")[0], id=line[:60])
                for line in text.splitlines()
                if re.match(r"(\$ )?(.*\| *)?(\.venv/bin/)?busbar ", line)
            )
    return found


@pytest.mark.parametrize("line", busbar_lines())
def test_busbar_command_lines_are_understood(line: str) -> None:
    """Parsed as they stand; `translate` lines, which need nothing, are run through a shell."""
    command = line.rpartition("|")[2].strip()
    words = shlex.split(command.removeprefix(".venv/bin/"))[1:]
    if "translate" in words and "echo" in line:
        busbar = f"{sys.executable} -m busbar"
        runnable = re.sub(r"(\.venv/bin/)?busbar ", f"{busbar} ", line)
        done = subprocess.run(runnable, shell=True, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("{")
    else:
        assert callable(parser().parse_args(words).run)


def test_the_five_lines_of_the_readme_are_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = re.search(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M)
    assert text is not None
    file = tmp_path / "config.yaml"
    file.write_text(text[1])
    os.environ.update(dict.fromkeys(("ANTHROPIC_API_KEY", "OPENAI_API_KEY"), "k"))
    try:
        assert main(["check", "--config", str(file)]) == 0
    finally:
        for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
            del os.environ[name]
    assert "2 providers, 2 models, 1 pools" in capsys.readouterr().out
