"""The image, without an engine to build it: its Dockerfile is read, and what its last stage runs is run, from the
wheel, in an environment made by the same steps, with the image's variables and no others."""

from __future__ import annotations

import asyncio
import re
import resource
import signal
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from busbar.demo.providers import DemoProviders

from .conftest import ROOT
from .dockerfile import Instruction, Stage, stages

CONFIG = """
providers: {{mine: {{protocol: openai, base_url: "{url}", api_key_env: KEY}}}}
models: {{m: {{provider: mine, upstream_model: {model}}}}}
"""

HOME = "/opt/busbar"
"""Where the image has the environment."""


@pytest.fixture(scope="module")
def build() -> Stage:
    return stages(ROOT / "Dockerfile")[0]


@pytest.fixture(scope="module")
def image() -> Stage:
    return stages(ROOT / "Dockerfile")[-1]


# --- as it is written


def test_nothing_comes_from_the_internet_but_what_the_lock_names(build: Stage, image: Stage) -> None:
    assert not build.all("ADD") + image.all("ADD")
    assert {each.image.split(":")[0] for each in (build, image)} == {"python"}
    installs = [each.words for each in build.all("RUN") if "install" in each.words]
    assert [word for words in installs for word in ("--require-hashes", "--no-index") if word in words] == [
        "--require-hashes",
        "--no-index",
    ]
    assert len(installs) == 2


def test_every_file_that_is_copied_exists_and_is_let_in(build: Stage, image: Stage) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    sources = {source for each in build.all("COPY") for source in each.operands[:-1]}
    assert sources == let_in
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [each.flags["from"] for each in image.all("COPY")] == [build.name]


def test_the_wheel_can_be_built_of_what_is_copied(build: Stage) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {project["project"]["readme"], *project["project"]["license-files"], *wheel["packages"]}
    needed |= {*wheel["force-include"], "pyproject.toml"}
    assert needed <= {source for each in build.all("COPY") for source in each.operands[:-1]}


def test_it_runs_as_nobody_in_particular_and_has_one_place_to_write_to(image: Stage) -> None:
    user, _, group = image.one("USER").text.partition(":")
    assert (int(user), int(group)) == (10001, 10001)
    (state,) = image.one("VOLUME").words
    assert state == image.one("WORKDIR").text == image.env["HOME"]
    made = next(each.words for each in image.all("RUN") if state in each.words)
    assert dict(zip(made[2:-1:2], made[3:-1:2], strict=True)) == {"--owner": user, "--group": group, "--mode": "0750"}
    assert image.instructions.index(image.one("USER")) > image.instructions.index(image.all("RUN")[-1])


def test_nothing_is_left_to_build_or_install_with(image: Stage) -> None:
    assert [each.words[:2] for each in image.all("RUN")] == [["pip", "uninstall"], ["install", "--directory"]]
    assert image.image.endswith("-slim")


def test_its_command_is_the_wheels_and_its_signal_the_one_that_drains(image: Stage, wheel: Path) -> None:
    (command,) = image.one("ENTRYPOINT").words
    with zipfile.ZipFile(wheel) as archive:
        points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert f"{command} = busbar.cli:main" in archive.read(points).decode()
    assert image.env["PATH"].startswith(f"{HOME}/bin:")
    assert image.one("STOPSIGNAL").text == "SIGTERM"
    port = image.one("EXPOSE").text
    assert image.one("CMD").words == ["serve", "--listen", f"0.0.0.0:{port}"]
    assert f"('127.0.0.1', {port}," in image.one("HEALTHCHECK").text


# --- as it runs


class Container:
    """What an engine would make of the image: its command and its variables, a file system that takes no writes, and
    nothing else of this machine's."""

    def __init__(self, image: Stage, clean: Path, config: Path, **env: str) -> None:
        self.clean = clean
        self.image = image
        variables = {name: value.replace(HOME, str(clean)) for name, value in image.env.items()}
        self.env = {**variables, "HOME": "/nowhere", "BUSBAR_CONFIG": str(config), **env}
        self.cwd = config.parent / "empty"
        self.cwd.mkdir(mode=0o555)
        self.url = ""

    def command(self, *arguments: str) -> list[str]:
        """The entry point, found as the image's PATH finds it."""
        return [str(self.clean / "bin" / self.image.one("ENTRYPOINT").words[0]), *arguments]

    def run(self, *arguments: str) -> str:
        """What one of its commands prints."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.env,
            cwd=self.cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def start(self) -> asyncio.subprocess.Process:
        """Its own command, on any port instead of the one that it exposes. No file can be written to."""
        arguments = [word.replace(self.image.one("EXPOSE").text, "0") for word in self.image.one("CMD").words]
        process = await asyncio.create_subprocess_exec(
            *self.command(*arguments),
            env=self.env,
            cwd=self.cwd,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        )
        assert process.stderr is not None
        async with asyncio.timeout(20):
            while (found := re.search(rb"listening on \S+:(\d+)", line := await process.stderr.readline())) is None:
                assert line, "it ended before it listened"
        self.url = f"http://127.0.0.1:{found[1].decode()}"
        return process

    async def healthy(self) -> bool:
        """What the image's health check says."""
        words = self.image.one("HEALTHCHECK").text.partition("CMD ")[2]
        port = self.image.one("EXPOSE").text
        python, *rest = [word.replace(port, self.url.rpartition(":")[2]) for word in Instruction("CMD", words).words]
        process = await asyncio.create_subprocess_exec(self.clean / "bin" / python, *rest, env=self.env)
        return await asyncio.wait_for(process.wait(), 20) == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_it_serves_an_sdk_drains_and_ends_well(image: Stage, clean: Path, tmp_path: Path, stream: bool) -> None:
    config = tmp_path / "config.yaml"
    async with DemoProviders() as providers:
        config.write_text(CONFIG.format(url=providers.base_url, model="fault-slow"))
        container = Container(image, clean, config, KEY="demo-key")
        before = sorted(clean.rglob("*"))
        process = await container.start()
        async with AsyncOpenAI(base_url=f"{container.url}/v1", api_key="unused", max_retries=0, timeout=30) as client:
            assert [model.id async for model in client.models.list()] == ["m"]
            assert await container.healthy()
            asking = asyncio.ensure_future(
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=stream)
            )
            await providers.until(lambda: providers.open_requests == 1)
            process.send_signal(signal.Signals[image.one("STOPSIGNAL").text])
            assert process.stderr is not None
            while b"draining" not in await process.stderr.readline():
                pass
            assert not await container.healthy()
            providers.release()
            answer = await asking
            choices = [chunk.choices[0] async for chunk in answer] if stream else answer.choices
            assert choices[-1].finish_reason == "stop"
        assert await asyncio.wait_for(process.wait(), 20) == 0
    assert list(container.cwd.iterdir()) == []
    assert sorted(clean.rglob("*")) == before


CATALOG = """
providers:
  mine: {{protocol: openai, base_url: "{url}", api_key_env: KEY}}
"""


async def test_a_strangers_first_hour_init_check_serve_and_an_answer(
    image: Stage, clean: Path, tmp_path: Path
) -> None:
    config, catalog = tmp_path / "made" / "config.yaml", tmp_path / "providers.yaml"
    config.parent.mkdir()
    async with DemoProviders() as providers:
        catalog.write_text(CATALOG.format(url=providers.base_url))
        container = Container(image, clean, config, KEY="demo-key", BUSBAR_PROVIDERS=str(catalog))
        container.run("init", "--provider", "mine", "--model", "mine/demo", "--no-test", "--output", str(config))
        assert container.run("check").endswith("ok: 1 providers, 1 models, 0 pools\n")
        process = await container.start()
        async with AsyncOpenAI(base_url=f"{container.url}/v1", api_key="unused", max_retries=0, timeout=30) as client:
            answer = await client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "hi"}])
        assert answer.choices[0].message.content == "You said: hi"
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.mark.parametrize("words", [["version"], ["providers", "openai"], ["schema"], ["serve", "--help"]])
def test_other_commands_need_nothing_that_is_not_there(
    image: Stage, clean: Path, tmp_path: Path, words: list[str]
) -> None:
    assert Container(image, clean, tmp_path / "config.yaml").run(*words)
