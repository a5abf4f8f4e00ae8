"""The compose file and what it mounts: each piece fits the image, the gateway and the others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
import yaml

from busbar.config import Config, loads
from busbar.config.schema import LimitsConfig
from busbar.gateway import BusbarGateway

from .conftest import ROOT
from .dockerfile import stages

FOLDER = ROOT / "deploy" / "compose"
TOKEN = "the-operators-own"

Document: TypeAlias = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Document:
    document: Document = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return document


def mounts(service: Document) -> dict[str, str]:
    """By the place in the container: a file here, or a volume's name."""
    return {there: here for each in service["volumes"] for here, there, *_ in [each.split(":")]}


def variables() -> set[str]:
    return set(re.findall(r"^(\w+)=", (FOLDER / "example.env").read_text(), re.M))


def test_every_file_that_is_mounted_exists_and_is_only_read(compose: Document) -> None:
    for service in compose["services"].values():
        for each in service["volumes"]:
            here, _, *mode = each.split(":")
            if here in compose["volumes"]:
                assert mode == []
            else:
                assert (FOLDER / here).is_file(), here
                assert mode == ["ro"], here


def test_nobody_may_do_more_than_he_needs(compose: Document) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_what_is_secret_comes_from_the_environment_file_and_must_be_there(compose: Document) -> None:
    text = (FOLDER / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+):\?", text)) == variables()
    assert set(re.findall(r"\$\{(\w+)", text)) == variables()
    assert re.findall(r"^\w+=(.+)", (FOLDER / "example.env").read_text(), re.M) == []
    assert {secret["environment"] for secret in compose["secrets"].values()} <= variables()


def test_the_gateway_is_the_image(compose: Document) -> None:
    image, busbar = stages(ROOT / "Dockerfile")[-1], compose["services"]["busbar"]
    assert (FOLDER / busbar["build"] / "Dockerfile").is_file()
    assert [port.split(":")[2] for port in busbar["ports"]] == [image.one("EXPOSE").text]
    assert "command" not in busbar
    assert "healthcheck" not in busbar
    assert mounts(busbar)[image.one("VOLUME").words[0]] in compose["volumes"]
    assert mounts(busbar)["/etc/busbar/config.yaml"] == "./config.yaml"
    assert int(busbar["stop_grace_period"].removesuffix("s")) >= LimitsConfig().drain_timeout_secs + 15


def configuration(compose: Document) -> Config:
    env = dict.fromkeys(compose["services"]["busbar"]["environment"], "key") | {"BUSBAR_ADMIN_TOKEN": TOKEN}
    return loads((FOLDER / "config.yaml").read_text(), env=env)


def test_the_gateway_understands_its_configuration_and_keeps_what_it_writes(compose: Document) -> None:
    config = configuration(compose)
    volume = stages(ROOT / "Dockerfile")[-1].one("VOLUME").words[0]
    assert config.governance.enabled
    assert Path(config.governance.db_path).parent == Path(volume)
    assert config.limits.drain_timeout_secs == LimitsConfig().drain_timeout_secs


async def test_prometheus_asks_where_and_as_the_gateway_answers(compose: Document, tmp_path: Path) -> None:
    (scrape,) = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"]
    ((host, port),) = [target.split(":") for each in scrape["static_configs"] for target in each["targets"]]
    assert host in compose["services"]
    assert port == stages(ROOT / "Dockerfile")[-1].one("EXPOSE").text
    secret = Path(scrape["authorization"]["credentials_file"])
    assert secret.parent == Path("/run/secrets")
    assert secret.name in compose["services"]["prometheus"]["secrets"]
    assert compose["secrets"][secret.name]["environment"] == "BUSBAR_ADMIN_TOKEN"

    text = (FOLDER / "config.yaml").read_text()
    text = text.replace("/var/lib/busbar", str(tmp_path)) + 'listen: "127.0.0.1:0"\n'
    env = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "BUSBAR_ADMIN_TOKEN": TOKEN}
    async with BusbarGateway(loads(text, env=env)) as gateway, aiohttp.ClientSession(gateway.url) as http:
        async with http.get(scrape["metrics_path"], headers={"authorization": f"Bearer {TOKEN}"}) as answer:
            assert (answer.status, "busbar_build_info" in await answer.text()) == (200, True)
        async with http.get(scrape["metrics_path"]) as answer:
            assert answer.status == 401


def test_prometheus_finds_its_rules(compose: Document) -> None:
    mounted = mounts(compose["services"]["prometheus"])
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    assert [mounted[file] for file in config["rule_files"]] == ["../grafana/alerts.yaml"]
    flags = dict(flag.removeprefix("--").split("=") for flag in compose["services"]["prometheus"]["command"])
    assert mounted[flags["config.file"]] == "./prometheus.yaml"
    assert mounted[flags["storage.tsdb.path"]] in compose["volumes"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_understands_its_configuration(tmp_path: Path) -> None:
    text = (FOLDER / "prometheus.yaml").read_text()
    (tmp_path / "token").write_text(TOKEN)
    text = text.replace("/run/secrets/admin_token", str(tmp_path / "token"))
    text = text.replace("/etc/prometheus/rules/busbar.yaml", str(ROOT / "deploy" / "grafana" / "alerts.yaml"))
    (tmp_path / "prometheus.yaml").write_text(text)
    command = ["promtool", "check", "config", "--lint-fatal", str(tmp_path / "prometheus.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_shows_the_dashboard_from_prometheus(compose: Document) -> None:
    mounted = mounts(compose["services"]["grafana"])
    (source,) = yaml.safe_load((FOLDER / "grafana" / "datasource.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((FOLDER / "grafana" / "dashboards.yaml").read_text())["providers"]
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert mounted[home] == "../grafana/dashboard.json"
    assert str(Path(home).parent) == provider["options"]["path"]
    assert mounted["/etc/grafana/provisioning/datasources/busbar.yaml"] == "./grafana/datasource.yaml"
    assert mounted["/etc/grafana/provisioning/dashboards/busbar.yaml"] == "./grafana/dashboards.yaml"
    ports = [port.split(":")[2] for port in compose["services"]["prometheus"]["ports"]]
    assert source["url"] == f"http://prometheus:{ports[0]}"
    dashboard = json.loads((FOLDER / mounted[home]).read_text())
    (variable,) = [each for each in dashboard["templating"]["list"] if each["type"] == "datasource"]
    assert (variable["query"], source["isDefault"]) == (source["type"], True)
