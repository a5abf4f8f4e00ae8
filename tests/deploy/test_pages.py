"""`docs/deploy.md` and `docs/operations.md`: what they show is what there is, and does what they say. (Their YAML,
their links and their `busbar` lines are looked at by `test_docs.py` as well.)"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import AsyncOpenAI

from busbar.cli import main, parser
from busbar.config import loads
from busbar.platforms import Platform
from tests.e2e.served import ServedWorld, key, secret_of

from .conftest import ROOT
from .test_chart import CHART, work

DEPLOY, OPERATIONS = ((ROOT / "docs" / name).read_text() for name in ("deploy.md", "operations.md"))


def snippets(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.S | re.M)


def commands(page: str) -> list[str]:
    """Lines of consoles, without their prompts; continued ones joined."""
    text = "".join(snippets(page, "console")).replace("\\\n", " ")
    return [line[2:].partition("  #")[0].strip() for line in text.splitlines()]


# --- deploy.md


def test_values_that_are_shown_can_be_installed(helm_library: Path) -> None:
    shown: list[dict[str, Any]] = [
        yaml.safe_load(text) for text in snippets(DEPLOY, "yaml") if text.startswith("# values.yaml")
    ]
    assert len(shown) == 2
    results = work(helm_library, [{"chart": str(CHART), "values": values} for values in shown])
    assert [result.get("error") for result in results] == [None, None]
    documents = {each["kind"]: each for each in yaml.safe_load_all(results[0]["manifest"]) if each}
    config = loads(documents["ConfigMap"]["data"]["config.yaml"], env={"OPENAI_API_KEY": "k"})
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > config.limits.drain_timeout_secs
    assert "Ingress" in results[1]["manifest"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_change_to_the_unit_is_one(tmp_path: Path) -> None:
    unit = (ROOT / "deploy" / "systemd" / "busbar.service").read_text().replace("/opt/busbar/bin/busbar", "/bin/true")
    (tmp_path / "busbar.service").write_text(unit)
    (change,) = snippets(DEPLOY, "ini")
    (tmp_path / "busbar.service.d").mkdir()
    (tmp_path / "busbar.service.d" / "override.conf").write_text(change)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "busbar.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_run_in_a_container_is_understood() -> None:
    (line,) = [line for line in commands(DEPLOY) if " exec " in line]
    words = shlex.split(line.partition(" exec busbar busbar ")[2])
    assert callable(parser().parse_args(words).run)


def test_files_of_this_project_that_commands_name_are_there() -> None:
    named = {word for line in commands(DEPLOY) for word in line.split() if word.startswith("deploy/")}
    assert named == {"deploy/helm/busbar", "deploy/systemd/busbar.service"}
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_can_be_switched_off_is_what_there_is() -> None:
    (names,) = set(re.findall(r"BUSBAR_WITHOUT=([\w,-]+)", DEPLOY))
    assert names.replace("-", "_").split(",") == list(Platform.__struct_fields__)


# --- operations.md


def test_every_alert_is_told_what_to_do_about() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "grafana" / "alerts.yaml").read_text())
    alerts = [(rule["alert"], rule["labels"]["severity"]) for group in rules["groups"] for rule in group["rules"]]
    by_night, by_day = OPERATIONS.partition("By night:")[2].split("By day:")
    named = re.compile(r"`(Busbar\w+)`")
    assert sorted(named.findall(by_day)) == sorted(name for name, severity in alerts if severity == "warning")
    assert sorted(named.findall(by_night)) == sorted(name for name, severity in alerts if severity == "critical")


def test_sizes_are_the_benchmarks() -> None:
    pages = ("benchmark.md", "performance.md")
    benchmark = "".join((ROOT / "docs" / page).read_text() for page in pages)
    section = OPERATIONS.partition("## Sizing")[2].partition("Memory:")[0]
    figures = re.findall(r"[×\d][ \d.,]*\d", section.partition("|---|")[2].partition("\n\n")[0])
    computed = {"10,330", "6,030", "121,000", "38,200"}
    assert len(figures) > 12
    assert [
        figure for figure in figures if figure not in benchmark and figure not in computed | {"200", "40", "2"}
    ] == []


def runs(lines: list[str], **places: Path) -> None:
    """Those that copy and remove, in other places."""
    for line in lines:
        if line.startswith(("cp ", "rm ")):
            here = line.replace("/var/lib/busbar", str(places["state"])).replace("/backup", str(places["backup"]))
            subprocess.run(["sh", "-ec", here], check=True, timeout=20)


async def test_a_backup_that_was_restored_has_the_keys_of_its_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = commands(OPERATIONS)
    assert [line.split()[0] for line in lines] == [
        *("systemctl", "cp", "systemctl"),
        "busbar",
        *("systemctl", "rm", "cp", "systemctl"),
    ]
    state, backup = tmp_path / "state", tmp_path / "backup"
    state.mkdir()
    backup.mkdir()
    async with ServedWorld(state) as world:
        assert world.database.name == "governance.db"
        world.found(key("kept"))

        async def answered(secret: str) -> str | None:
            served = await world.serve()
            async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key=secret, max_retries=0, timeout=30) as client:
                answer = await client.chat.completions.create(
                    model="gpt", messages=[{"role": "user", "content": "hi"}]
                )
            served.process.terminate()
            assert await served.ended() == 0
            return answer.choices[0].finish_reason

        assert await answered(secret_of("kept")) == "stop"
        runs(lines[:3], state=state, backup=backup)

        # What only reads a backup leaves it as it is.
        words = shlex.split(lines[3].replace("/backup", str(backup)))[1:]
        assert await asyncio.to_thread(main, words) == 0
        assert "vk_kept" in capsys.readouterr().out

        world.database.write_bytes(b"what a broken disk left" * 100)
        Path(f"{world.database}-wal").write_bytes(os.urandom(4096))
        runs(lines[4:], state=state, backup=backup)
        assert await answered(secret_of("kept")) == "stop"
