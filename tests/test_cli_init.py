"""`busbar init`: by flags, by keys that are set, and by answers at a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from busbar.cli import main
from busbar.config import load
from busbar.demo.configuration import DEMO_KEY

KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GROQ_API_KEY")
SECRET = "sk-init-0123456789abcdef"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, an environment without anybody's keys, and nobody at the terminal."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.endswith(("_KEY", "_TOKEN", "_PAT")) or name.startswith("BUSBAR_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115  # for as long as the test
    return tmp_path


def test_flags_are_enough(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    assert (
        main(["init", "--provider", "anthropic", "--model", "groq/openai/gpt-oss-120b", "--listen", "[::1]:9"]) == 0
    )
    shown = capsys.readouterr().out
    assert "wrote config.yaml: 2 providers, 3 models, 1 pools" in shown
    assert "  export GROQ_API_KEY=…\n" in shown
    assert "ANTHROPIC_API_KEY" not in shown
    config = load("config.yaml", env={"ANTHROPIC_API_KEY": "k", "GROQ_API_KEY": "k"})
    assert {name: (model.provider, model.upstream_model) for name, model in config.models.items()} == {
        "gpt-oss-120b": ("groq", "openai/gpt-oss-120b"),
        "claude-sonnet-5-5": ("anthropic", "claude-sonnet-5-5"),
        "claude-haiku-5-5": ("anthropic", "claude-haiku-5-5"),
    }
    assert [member.target for member in config.pools["smart"].members] == ["gpt-oss-120b", "claude-sonnet-5-5"]
    assert (config.listen_host, config.listen_port) == ("::1", 9)
    assert sorted(path.name for path in here.iterdir()) == ["config.schema.json", "config.yaml"]
    assert SECRET not in (here / "config.yaml").read_text() + shown


def test_editors_find_the_schema_beside_it(here: Path) -> None:
    assert main(["init", "--provider", "anthropic"]) == 0
    first = (here / "config.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=./config.schema.json"
    schema = json.loads((here / "config.schema.json").read_text())
    assert set(yaml.safe_load((here / "config.yaml").read_text())) <= set(schema["properties"])


def test_the_keys_that_are_set_decide_where_nobody_is_asked(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("GROQ_API_KEY", SECRET)
    assert main(["init", "--yes", "--no-test", "--pool", "all"]) == 0
    config = load("config.yaml")
    assert (set(config.providers), list(config.pools)) == ({"openai", "groq"}, ["all"])
    assert SECRET not in capsys.readouterr().out


def test_a_file_that_is_there_stays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "config.yaml").write_text("mine")
    assert main(["init", "--provider", "anthropic"]) == 2
    assert "config.yaml exists already: --force writes over it" in capsys.readouterr().err
    assert ((here / "config.yaml").read_text(), len(list(here.iterdir()))) == ("mine", 1)
    assert main(["init", "--provider", "anthropic", "--force"]) == 0
    assert "anthropic" in (here / "config.yaml").read_text()


def test_another_file_may_be_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "etc").mkdir()
    assert main(["init", "--provider", "anthropic", "--no-pool", "--output", "etc/busbar.yaml"]) == 0
    assert "busbar serve --config etc/busbar.yaml" in capsys.readouterr().out
    assert sorted(path.name for path in (here / "etc").iterdir()) == ["busbar.yaml", "config.schema.json"]


def test_an_address_with_braces_is_filled(here: Path) -> None:
    flags = ["--model", "azure-openai/gpt-x", "--variable", "azure-openai.resource=mine"]
    assert main(["init", *flags]) == 0
    config = load("config.yaml", env={"AZURE_OPENAI_API_KEY": "k"})
    assert config.providers["azure-openai"].base_url == "https://mine.openai.azure.com/openai"
    assert config.pools == {}


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ([], "standard input is no terminal"),
        (["--yes"], "no provider's key is in the environment"),
        (["--provider", "antropic"], "did you mean `anthropic`?"),
        (["--provider", "xyzzy"], "`busbar providers` lists"),
        (["--provider", "ollama"], "--model ollama/NAME"),
        (["--model", "anthropic"], "expected PROVIDER/MODEL"),
        (["--model", "anthropic/a b"], "expected PROVIDER/MODEL"),
        (["--model", "azure-openai/x"], "--variable azure-openai.resource=…"),
        (["--provider", "anthropic", "--variable", "x"], "expected PROVIDER.NAME=VALUE"),
        (["--provider", "anthropic", "--variable", "anthropic.region=x"], "has nothing to fill in, no {region}"),
        (["--provider", "bedrock", "--variable", "bedrock.regoin=x"], "has {region} to fill in, no {regoin}"),
        (["--provider", "anthropic", "--variable", "bedrock.region=x"], "bedrock is not one of the providers"),
        (["--provider", "anthropic", "--listen", "nowhere"], "--listen: expected HOST:PORT"),
        (["--provider", "anthropic", "--pool", "chat"], "--pool `chat`"),
        (["--provider", "anthropic", "--pool", "anthropic"], "a model or a provider has this name"),
        (["--provider", "anthropic", "--output", "no/such/folder.yaml"], "cannot be written"),
        (["--provider", "anthropic", "--providers", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_writes_nothing(
    here: Path, flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", *flags]) == 2
    assert complaint in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_key_that_cannot_be_sent_is_told_before_anything_is_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk with a space")
    assert main(["init", "--provider", "openai"]) == 1
    shown = capsys.readouterr().err
    assert "`OPENAI_API_KEY` cannot be used: the credential contains spaces" in shown
    assert shown.endswith("\nnothing was written: it would not hold\n")
    assert list(here.iterdir()) == []


def test_a_key_whose_models_nobody_can_propose_is_not_overlooked(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", SECRET)
    assert main(["init", "--yes"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("$OPENROUTER_API_KEY is set, but which models you have there is yours to say:")
    assert "--model openrouter/NAME" in shown


def test_a_catalog_of_ones_own_that_does_not_hold_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "own.yaml").write_text("providers: {mine: {protocol: openai, base_url: nowhere}}")
    assert main(["init", "--model", "mine/m", "--providers", "own.yaml"]) == 1
    assert "base_url" in capsys.readouterr().err
    assert not (here / "config.yaml").exists()


# --- at a terminal


class Terminal:
    """`busbar init` with somebody at it."""

    def __init__(self, folder: Path, env: dict[str, str], *flags: str) -> None:
        self._ours, theirs = pty.openpty()
        kept = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_TOKEN"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "busbar", "init", *flags],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env={**kept, **env},
        )
        os.close(theirs)
        self.shown = ""

    def until(self, words: str, secs: float = 20.0) -> str:
        """Reads until `words` are there; gives what was shown since the last answer."""
        end = time.monotonic() + secs
        while words not in self.shown:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{words!r} did not come; this did: {self.shown!r}"
            data = self._read()
            assert data, f"{words!r} did not come before the end; this did: {self.shown!r}"
            self.shown += data
        return self.shown

    def answer(self, text: str, end: str = "\n") -> None:
        self.shown = ""
        os.write(self._ours, (text + end).encode())

    def interrupt(self, tries: int = 10) -> None:
        """Until it is heard: a signal that comes just before the read is noticed after it."""
        self.shown = ""
        for _ in range(tries):
            self._process.send_signal(signal.SIGINT)
            if select.select([self._ours], [], [], 3.0)[0] or self._process.poll() is not None:
                return
        pytest.fail("Ctrl-C is not heard")

    def end(self, secs: float = 30.0) -> int:
        end = time.monotonic() + secs
        while select.select([self._ours], [], [], max(0.0, end - time.monotonic()))[0] and (data := self._read()):
            self.shown += data
        if self._process.poll() is None and time.monotonic() >= end:
            self._process.kill()
        os.close(self._ours)
        return self._process.wait(20)

    def _read(self) -> str:
        try:
            return os.read(self._ours, 4096).decode()
        except OSError:  # the other end is closed
            return ""


@pytest.fixture
def demo() -> Iterator[str]:
    """The embedded providers in a process of their own; gives their address."""
    script = (
        "import asyncio\n"
        "from busbar.demo.providers import DemoProviders\n"
        "async def main():\n"
        f"    async with DemoProviders(keys=frozenset({{{DEMO_KEY!r}}})) as demo:\n"
        "        print(demo.base_url, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(10)
    process.stdout.close()


def test_questions_lead_to_a_configuration_and_a_first_answer(here: Path, demo: str) -> None:
    (here / "own.yaml").write_text(
        "providers:\n"
        f"  openai: {{protocol: openai, base_url: '{demo}', auth: bearer, api_key_env: DEMO_KEY}}\n"
        f"  mine: {{protocol: anthropic, base_url: '{demo}/{{path}}', auth: none, path: /v1/messages}}\n"
    )
    terminal = Terminal(here, {"DEMO_KEY": DEMO_KEY}, "--providers", "own.yaml")
    assert "Keys that are set: $DEMO_KEY (openai)" in terminal.until("Which providers? [openai] ")
    terminal.answer("opnai")
    assert "did you mean `openai`?" in terminal.until("Which providers? [openai] ")
    terminal.answer("")
    terminal.until("openai: which models? [gpt-6.1-sol gpt-6-luna] ")
    terminal.answer("demo-gpt, demo-other")
    terminal.until("A pool over demo-gpt, demo-other: its name, or - for none? [smart] ")
    terminal.answer("chat")
    terminal.until("this name is the first part of one of the gateway's own paths")
    terminal.answer("")
    terminal.until("Ask smart one question now, as a test?")
    assert (here / "config.yaml").exists()
    terminal.answer("y")
    assert terminal.end() == 0
    assert "You said: Say hello in one short sentence." in terminal.shown
    assert "tokens · first token" in terminal.shown
    assert DEMO_KEY not in (here / "config.yaml").read_text()


def test_no_test_call_is_made_unless_one_says_so(here: Path) -> None:
    env = {"ANTHROPIC_API_KEY": SECRET}
    terminal = Terminal(here, env, "--no-pool")
    terminal.until("Which providers? [anthropic] ")
    terminal.answer("")
    terminal.until("which models?")
    terminal.answer("claude-haiku-5-5")
    terminal.until("Ask claude-haiku-5-5 one question now")
    terminal.answer("")
    assert terminal.end() == 0
    assert load(here / "config.yaml", env=env).pools == {}


def test_what_stands_in_braces_is_asked_for(here: Path) -> None:
    terminal = Terminal(here, {})
    assert "No provider's key is set yet" in terminal.until("Which providers? ")
    terminal.answer("")
    terminal.until("name at least one; `busbar providers` lists them")
    terminal.answer("azure-openai")
    terminal.until("azure-openai: resource in https://{resource}.openai.azure.com/openai ? ")
    terminal.answer("two words")
    terminal.until("one word, please")
    terminal.answer("https://mine.openai.azure.com/")
    terminal.until("not the whole address")
    terminal.answer("mine")
    terminal.until("azure-openai: which models? ")
    terminal.answer("")
    terminal.until("name at least one, as the provider calls it")
    terminal.answer("gpt-x")
    assert terminal.end() == 0
    assert "export AZURE_OPENAI_API_KEY=…" in terminal.shown
    assert "variables: {resource: mine}" in (here / "config.yaml").read_text()


def test_leaving_writes_nothing(here: Path) -> None:
    terminal = Terminal(here, {})
    terminal.until("Which providers? ")
    terminal.answer("", end="\x04")  # Ctrl-D
    assert terminal.end() == 2
    assert "nothing was written" in terminal.shown
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("how", ["Ctrl-C", "Ctrl-D"])
def test_leaving_at_the_last_question_leaves_the_file_that_is_written(here: Path, how: str) -> None:
    terminal = Terminal(here, {"ANTHROPIC_API_KEY": SECRET}, "--no-pool")
    terminal.until("Which providers? [anthropic] ")
    terminal.answer("")
    terminal.until("which models?")
    terminal.answer("claude-haiku-5-5")
    terminal.until("a cent. [y/N] ")
    if how == "Ctrl-C":
        terminal.interrupt()
    else:
        terminal.answer("", end="\x04")
    assert terminal.end() == 0
    assert "nothing was written" not in terminal.shown
    assert (here / "config.yaml").exists()


def test_keys_that_ask_for_models_are_shown_and_not_proposed(here: Path) -> None:
    terminal = Terminal(here, {"OPENROUTER_API_KEY": SECRET, "AZURE_OPENAI_API_KEY": SECRET})
    shown = terminal.until("Which providers? ")
    assert "No provider's key is set" not in shown
    assert (
        "you would have to name models: $OPENROUTER_API_KEY (openrouter), $AZURE_OPENAI_API_KEY (azure-openai)"
        in shown
    )
    terminal.answer("", end="\x04")
    assert terminal.end() == 2
