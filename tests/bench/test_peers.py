"""The other gateways of the bench: how they are configured, and what is said where they are not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.contenders import Busbar, Logged
from bench.field import NAMES, USUAL, absent, versions
from bench.peers import (
    ENVOY_ABSENT,
    LITELLM_ABSENT,
    PORTKEY_ABSENT,
    Envoy,
    LiteLLM,
    Portkey,
    envoy_program,
    install_envoy,
)
from bench.scenarios import CROWD, KNOWN_SCENARIOS, SCENARIOS
from bench.upstream import UPSTREAM_KEY
from busbar.config import load

JSON = next(each for each in SCENARIOS if each.name == "json-openai")
TRANSLATED = next(each for each in SCENARIOS if each.name == "json-openai-anthropic")


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where none of them is installed, and an empty folder of what the bench installs."""
    for variable in ("BUSBAR_BENCH_ENVOY", "BUSBAR_BENCH_LITELLM", "BUSBAR_BENCH_PORTKEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("BUSBAR_BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    return tmp_path


def script(file: Path, *lines: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    file.chmod(0o755)
    return file


# --- Envoy


def test_envoy_sets_the_upstreams_key_and_has_one_worker_no_timeouts_and_no_access_log(tmp_path: Path) -> None:
    envoy = Envoy(tmp_path, 9000, None)
    resources = json.loads(envoy.config(9000, SCENARIOS))["static_resources"]
    (listener,), (cluster,) = resources["listeners"], resources["clusters"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = manager["route_config"]["virtual_hosts"]
    assert listener["address"] == {"socket_address": {"address": "127.0.0.1", "port_value": envoy.port}}
    assert (manager["codec_type"], manager["stream_idle_timeout"], "access_log" in manager) == ("HTTP1", "0s", False)
    assert host["request_headers_to_add"] == [
        {
            "header": {"key": "authorization", "value": f"Bearer {UPSTREAM_KEY}"},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
    ]
    assert host["routes"] == [{"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "0s"}}]
    (place,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert place["endpoint"]["address"]["socket_address"]["port_value"] == 9000
    assert min(cluster["circuit_breakers"]["thresholds"][0].values()) > CROWD.connections


def test_envoy_runs_one_worker_thread(nobody: Path) -> None:
    program = script(nobody / "envoy" / "bin" / "envoy")
    folder = nobody / "files"
    folder.mkdir()
    command = Envoy(folder, 9000, None).command(folder)
    assert command[:3] == [str(program), "--config-path", str(folder / "config")]
    assert command[3:5] == ["--concurrency", "1"]


def test_envoy_itself_accepts_its_configuration(tmp_path: Path) -> None:
    program = envoy_program()
    if program is None:
        pytest.skip(ENVOY_ABSENT)
    (tmp_path / "config").write_text(Envoy(tmp_path, 9000, None).config(9000, SCENARIOS))
    checked = [program, "--mode", "validate", "--config-path", str(tmp_path / "config")]
    told = subprocess.run(checked, capture_output=True, text=True, timeout=20)
    assert told.returncode == 0, told.stderr


def test_envoys_version_is_read_wherever_it_stands(nobody: Path) -> None:
    script(nobody / "envoy" / "bin" / "envoy", "echo '/a/b/envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL'")
    assert versions(["envoy", "direct"]) == {"envoy": "1.40.0"}


def test_an_envoy_that_cannot_be_installed_stays_absent_and_that_is_said(nobody: Path) -> None:
    (nobody / "envoy").write_text("a file, where its environment should be")
    said: list[str] = []
    install_envoy(said.append)
    assert [line.partition(":")[0] for line in said][-1] == "envoy could not be installed"
    assert envoy_program() is None


def test_an_envoy_that_is_there_is_not_installed_again(nobody: Path) -> None:
    script(nobody / "envoy" / "bin" / "envoy")
    said: list[str] = []
    install_envoy(said.append)
    assert said == []


# --- LiteLLM and Portkey


def test_litellm_checks_a_key_and_has_a_model_for_each_scenario_that_it_serves(tmp_path: Path) -> None:
    litellm = LiteLLM(tmp_path, 9000, None)
    config = json.loads(litellm.config(9000, (JSON, TRANSLATED, *SCENARIOS[3:5])))
    assert config["general_settings"] == {"master_key": litellm.key}
    assert config["model_list"] == [
        {
            "model_name": "json-openai",
            "litellm_params": {
                "model": "openai/bench-0x0",
                "api_base": "http://127.0.0.1:9000/v1",
                "api_key": UPSTREAM_KEY,
            },
        },
        {
            "model_name": "json-openai-anthropic",
            "litellm_params": {
                "model": "anthropic/bench-0x0",
                "api_base": "http://127.0.0.1:9000",
                "api_key": UPSTREAM_KEY,
            },
        },
    ]
    assert litellm.headers(JSON) == {"authorization": f"Bearer {litellm.key}"}
    assert litellm.key != UPSTREAM_KEY


def test_litellms_command_is_the_one_beside_the_python_that_was_named(
    nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUSBAR_BENCH_LITELLM", str(script(nobody / "venv" / "bin" / "python", "echo 1.2.3")))
    assert absent(["litellm"]) == {"litellm": LITELLM_ABSENT}, "a Python without it"
    program = script(nobody / "venv" / "bin" / "litellm")
    assert (absent(["litellm"]), versions(["litellm"])) == ({}, {"litellm": "1.2.3"})
    assert LiteLLM(nobody, 9000, None).command(nobody)[0] == str(program)


def test_portkeys_callers_bring_the_providers_key_and_say_where_it_is(tmp_path: Path) -> None:
    portkey = Portkey(tmp_path, 9000, None)
    assert portkey.headers(TRANSLATED) == {
        "authorization": f"Bearer {UPSTREAM_KEY}",
        "x-portkey-provider": "anthropic",
        "x-portkey-custom-host": "http://127.0.0.1:9000/v1",
    }
    assert portkey.model(TRANSLATED) == "bench-0x0"


def test_litellm_and_portkey_serve_openais_callers_only(tmp_path: Path) -> None:
    litellm, portkey = LiteLLM(tmp_path, 1, None), Portkey(tmp_path, 1, None)
    served = [each.name for each in SCENARIOS if litellm.serves(each)]
    assert served == [each.name for each in SCENARIOS if portkey.serves(each)]
    assert served == [
        "json-openai",
        "json-openai-anthropic",
        "burst-openai",
        "burst-openai-anthropic",
        "paced",
        "low-rate",
        "first-token",
    ]


# --- who is there


@pytest.mark.usefixtures("nobody")
def test_who_is_absent_is_said_to_be_skipped() -> None:
    missing = absent(NAMES)
    assert {name: missing[name] for name in ("envoy", "litellm", "portkey")} == {
        "envoy": ENVOY_ABSENT,
        "litellm": LITELLM_ABSENT,
        "portkey": PORTKEY_ABSENT,
    }
    assert all(": not installed: skipped" in missing[name] for name in ("envoy", "litellm", "portkey"))
    assert not {"direct", "busbar", "busbar-logged"} & set(missing)


@pytest.mark.usefixtures("nobody")
def test_who_is_named_and_absent_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--contenders", "direct,litellm"]) == 2
    assert capsys.readouterr().err == LITELLM_ABSENT + "\n"


def test_the_gateway_takes_part_once_unless_its_logging_self_is_named() -> None:
    assert USUAL == ("direct", "nginx", "envoy", "litellm", "portkey", "busbar")
    assert (*USUAL, "busbar-logged") == NAMES


# --- the gateway as a site runs it


def test_the_logging_gateway_differs_by_its_request_log_only(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    plain, logged = Busbar(tmp_path / "a", 9000, None), Logged(tmp_path / "a", 9000, None)
    plain.port = logged.port
    documents = [json.loads(each.config(9000, SCENARIOS)) for each in (plain, logged)]
    added = {"observability": {"request_log_file": str(tmp_path / "a" / "busbar-logged" / "requests.jsonl")}}
    assert documents[1] == documents[0] | added


def test_a_crowd_fits_through_the_gateways_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_KEY", UPSTREAM_KEY)
    monkeypatch.setenv("BENCH_TOKEN", "a-token")
    file = tmp_path / "config.yaml"
    file.write_text(Logged(tmp_path, 9000, None).config(9000, KNOWN_SCENARIOS))
    config = load(str(file), None)
    assert min(config.models[f"crowd-{member}"].max_concurrent for member in "ab") >= CROWD.connections
    assert config.limits.upstream_connections_max >= CROWD.connections
    assert config.models["json-openai-a"].max_concurrent == 256
