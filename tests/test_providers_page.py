"""`busbar providers`, and docs/providers.md: what the page shows is what the program says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from busbar.cli import main
from busbar.cli.catalog_pages import markdown, snippet
from busbar.cli.described import described
from busbar.config import SUPPORTED_PROTOCOLS, loads
from busbar.config.files import packaged_providers
from busbar.config.known import known_providers

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
CATALOG = known_providers(packaged_providers(), {})
DESCRIBED = {name: described(entry, CATALOG, {}) for name, entry in CATALOG.items()}
KEYS = {entry.api_key_env: "AKID1:a-key" for entry in CATALOG.values() if entry.api_key_env}


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, "BUSBAR_PROVIDERS"):
        monkeypatch.delenv(name, raising=False)


# --- the command


def test_all_are_listed_and_keys_that_are_set_are_marked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-do-not-print-me")
    monkeypatch.setenv("MISTRAL_API_KEY", "")
    assert main(["providers"]) == 0
    text = capsys.readouterr().out
    rows = [re.split(r" {2,}", line) for line in text.splitlines()]
    assert rows[0] == ["NAME", "PROVIDER", "DIALECT", "AUTH", "KEY", "SET", "WHERE"]
    assert [row[0] for row in rows[1:]] == list(CATALOG)
    by_name = {row[0]: row for row in rows}
    assert by_name["groq"] == ["groq", "Groq", "openai", "bearer", "GROQ_API_KEY", "yes"]
    assert by_name["mistral"][-1] == "no"
    assert by_name["bedrock"][-3:] == ["sigv4", "-", "-"]
    assert by_name["vllm"][-4:] == ["none", "VLLM_API_KEY", "no", "local"]
    assert "gsk-do-not-print-me" not in text


def test_one_dialect_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for protocol in SUPPORTED_PROTOCOLS:
        assert main(["providers", "--protocol", protocol, "--json"]) == 0
        names = [entry["name"] for entry in json.loads(capsys.readouterr().out)]
        assert names == [name for name, entry in CATALOG.items() if entry.protocol == protocol] != []


def test_programs_read_json_without_any_key_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTHROPIC_FOUNDRY_API_KEY", "do-not-print-me")
    assert main(["providers", "azure-foundry-anthropic", "--json"]) == 0
    text = capsys.readouterr().out
    assert "do-not-print-me" not in text
    assert json.loads(text) == {
        "name": "azure-foundry-anthropic",
        "display_name": "Claude in Azure AI Foundry",
        "protocol": "anthropic",
        "address": "https://{resource}.services.ai.azure.com/anthropic/v1/messages",
        "stream_address": "https://{resource}.services.ai.azure.com/anthropic/v1/messages",
        "count_address": "https://{resource}.services.ai.azure.com/anthropic/v1/messages/count_tokens",
        "variables": {"resource": None},
        "auth": "x-api-key",
        "other_auth": ["entra"],
        "identity": [],
        "api_key_env": "ANTHROPIC_FOUNDRY_API_KEY",
        "key_is_set": True,
        "is_local": False,
        "headers": {},
        "body": {},
        "errors": {},
        "docs": "https://platform.claude.com/docs/en/build-with-claude/claude-in-microsoft-foundry",
        "same_account": [],
    }


def test_a_page_tells_what_the_entry_needs_and_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["providers", "vertex-anthropic"]) == 0
    page = capsys.readouterr().out
    address = (
        "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/publishers/anthropic"
    )
    for line in (
        f"  address       {address}/models/{{model}}:rawPredict",
        f"  streams       {address}/models/{{model}}:streamRawPredict",
        f"  counting      {address}/models/count-tokens:rawPredict",
        "  {project}     yours to give, in `variables`",
        "  auth          gcp-oauth (Authorization: Bearer, with a token from Google)",
        "  identity      credentials_file, scope; without: as Google's libraries find a credential",
        '  body          without model, anthropic_version: "vertex-2023-10-16"',
    ):
        assert line in page.splitlines()
    assert main(["providers", "zai-coding"]) == 0
    page = capsys.readouterr().out
    assert "  errors        billing: 1113, 1309" in page.splitlines()
    assert "  same account  zai-api, z.ai" in page.splitlines()
    assert "  key           in ZAI_API_KEY (not set)" in page.splitlines()


@pytest.mark.parametrize("name", CATALOG)
def test_the_snippet_of_every_entry_is_a_configuration(name: str) -> None:
    env = {key: "AKID1:a-key" for key in [CATALOG[name].api_key_env] if key}
    config = loads(snippet(DESCRIBED[name]), env=env)
    assert [model.provider for model in config.models.values()] == [name]


def test_a_name_that_is_not_there_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["providers", "opnai"]) == 2
    assert main(["providers", "groq", "--protocol", "gemini"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "there is no provider `opnai` in the catalog, did you mean `openai`?",
        "there is no provider `groq` that speaks gemini in the catalog",
    ]


def test_a_catalog_of_ones_own_is_read_and_its_mistakes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("providers: {mine: {protocol: cohere, base_url: 'http://localhost:1', auth: none}}\n")
    assert main(["providers", "mine", "--providers", str(file)]) == 0
    assert "  address       http://localhost:1/v2/chat" in capsys.readouterr().out.splitlines()
    file.write_text("providers: {mine: {protocol: smtp, bse_url: x}}\n")
    assert main(["providers", "--providers", str(file)]) == 1
    assert [line.removeprefix(f"{file}:1: ") for line in capsys.readouterr().err.splitlines()] == [
        "providers.mine.base_url: this key is required",
        "providers.mine.bse_url: unknown key, did you mean `base_url`?",
        "providers.mine.protocol: expected one of anthropic, bedrock, cohere, gemini, openai, responses",
    ]


# --- the page


def test_the_table_on_the_page_is_the_catalog() -> None:
    table = re.search(r"<!-- the catalog -->\n(.*?)\n<!-- end of the catalog -->", PAGE, re.S)
    assert table is not None
    assert table[1] == markdown(DESCRIBED.values())


def test_the_page_shows_what_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(r"^```console\n\$ busbar (.*?)\n(.*?)^```", PAGE, re.S | re.M)
    assert len(shown) == 2
    for line, text in shown:
        main(line.split())
        captured = capsys.readouterr()
        assert captured.out + captured.err == text


@pytest.mark.parametrize("text", re.findall(r"^```yaml\n(.*?)^```", PAGE, re.S | re.M))
def test_the_snippets_on_the_page_are_configurations(text: str) -> None:
    written = set(re.findall(r"\$\{(\w+)\}|api_key_env: (\w+)", text))
    env = {**KEYS, **{name: "AKID1:a-key" for names in written for name in names if name}}
    assert set(loads(text, env=env).providers) == set(yaml.safe_load(text)["providers"])


def test_the_page_names_every_variable_there_is() -> None:
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) ?\| ([^|]*) ?\|$", PAGE.partition("### Azure")[0], re.M)
    on_page = {
        (name, tuple(re.findall(r"`(\w+)`", missing)), tuple(re.findall(r"`(\w+):", given)))
        for names, missing, given in rows
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert on_page == {
        (
            name,
            tuple(sorted(it for it, value in about.variables.items() if value is None)),
            tuple(it for it, value in about.variables.items() if value is not None),
        )
        for name, about in DESCRIBED.items()
        if about.variables
    }
