"""The packaged catalog: every entry can be used, nothing is said twice, and it says what its providers say.

What the providers say was gathered beside the project (`../shared/facts/providers.json`); where that is absent, those
tests are skipped. What is sent to each entry's address is another page: tests/e2e/test_catalog.py.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from busbar.cli.described import Described, described
from busbar.config import SUPPORTED_PROTOCOLS, Secret, loads
from busbar.config.files import packaged_providers
from busbar.config.known import known_providers
from busbar.config.schema import AuthStyle, ProviderEntry
from busbar.protocols.failures import ErrorRules, FailureClass, FailureSignal, classify
from busbar.protocols.registry import PROTOCOLS

CATALOG = known_providers(packaged_providers(), {})
DESCRIBED = {name: described(entry, CATALOG, {}) for name, entry in CATALOG.items()}
RAW = yaml.safe_load(packaged_providers().read_text(encoding="utf-8"))["providers"]

CORE = (
    *("anthropic", "z.ai", "openai", "groq", "zai-api", "together", "fireworks", "deepseek", "mistral", "xai"),
    *("openrouter", "cerebras", "deepinfra", "moonshot", "meta-llama", "nvidia-nim", "sambanova", "hyperbolic"),
    *("novita", "nebius", "lambda", "featherless", "friendliai", "scaleway", "ovhcloud", "nscale", "gmi", "baseten"),
    *("chutes", "dashscope", "minimax", "sarvam", "aimlapi", "cometapi", "nano-gpt", "publicai", "synthetic"),
    *("wandb", "responses", "gemini", "bedrock", "cohere"),
)
LOCAL = ("ollama", "vllm", "llama-cpp", "lmstudio", "sglang", "tgi", "docker-model-runner", "litellm-proxy")

TWICE = {"responses": "openai-responses", "tgi": "llama-cpp"}
"""Two entries for one address: another name, and another server with the same port."""

LEFT_OUT = {"github-models"}
"""Withdrawn. `lambda` is too, and yet here: it is one of the core."""

UNVERIFIED = {
    "https://api.x.ai/v1/messages",  # withdrawn
    "https://api.deepinfra.com/anthropic/v1/messages",
    "https://api.synthetic.new/anthropic/v1/messages",
    "https://router.requesty.ai/v1/messages",
}
"""Surfaces that nobody has confirmed."""


# --- every entry can be used


@pytest.mark.parametrize("name", CATALOG)
def test_an_entry_can_be_used_with_what_it_asks_for(name: str) -> None:
    entry, about = CATALOG[name], DESCRIBED[name]
    own = {"variables": {missing: "given" for missing, value in about.variables.items() if value is None}}
    env = {entry.api_key_env: "AKID1:a-key"} if entry.api_key_env else {}
    provider = loads(json.dumps({"providers": {name: own}}), env=env).providers[name]
    assert provider.protocol in SUPPORTED_PROTOCOLS
    assert provider.auth == about.auth
    assert provider.api_key == (Secret("AKID1:a-key") if entry.api_key_env and about.auth != "none" else None)
    assert "{" not in provider.base_url
    assert re.fullmatch(r"https://\S+", provider.docs or "")
    assert provider.display_name.isprintable()
    assert provider.display_name


def test_the_core_and_local_servers_are_there() -> None:
    assert len(CORE) == 42
    assert {*CORE, *LOCAL} - set(CATALOG) == set()
    assert len(CATALOG) >= 150
    local = {name for name, about in DESCRIBED.items() if about.is_local}
    assert {re.sub("-(anthropic|responses|gemini)$", "", name) for name in local} == set(LOCAL)


def test_plain_http_is_spoken_on_this_machine_only() -> None:
    assert {name for name, it in DESCRIBED.items() if it.address.startswith("http://")} == {
        name for name, it in DESCRIBED.items() if it.is_local
    }


# --- nothing is said twice


def test_no_two_entries_are_the_same() -> None:
    seen: dict[object, str] = {}
    for name, it in DESCRIBED.items():
        filled = _filled(it.address, it)
        same = seen.setdefault((it.protocol, filled, it.auth), name)
        assert same in (name, TWICE.get(name)), name


def test_no_entry_repeats_a_default() -> None:
    for name, entry in CATALOG.items():
        protocol = PROTOCOLS[entry.protocol]
        defaults = {protocol.egress_path("{model}", stream) for stream in (False, True)}
        assert entry.path not in defaults, name
        assert entry.stream_path is None or entry.stream_path != entry.path, name
        assert entry.count_path is None or protocol.count_path is not None, name


def test_no_entry_repeats_the_errors_that_it_shares() -> None:
    for name, raw in RAW.items():
        shared = RAW.get(raw.get("errors_as"), {})
        for table in ("error_map", "error_status", "error_texts"):
            repeated = set(raw.get(table, {}).items()) & set(shared.get(table, {}).items())
            assert not repeated, name
    tables = [json.dumps(raw["error_map"]) for raw in RAW.values() if len(raw.get("error_map", {})) > 3]
    assert len(tables) == len(set(tables))


def test_no_entry_repeats_what_all_of_its_dialects_know() -> None:
    repeated = set()
    for name, raw in RAW.items():
        spoken = [raw["protocol"], *(it["protocol"] for it in RAW.values() if it.get("errors_as") == name)]
        signals = {
            **{code: FailureSignal(status=418, code=str(code)) for code in raw.get("error_map", ())},
            **{status: FailureSignal(status=status) for status in raw.get("error_status", ())},
        }
        for said, signal in signals.items():
            knowledges = [PROTOCOLS[protocol].knowledge for protocol in spoken]
            bare = {classify(signal, knowledge, ErrorRules()) for knowledge in knowledges}
            kind = {**raw.get("error_map", {}), **raw.get("error_status", {})}[said]
            if bare == {FailureClass(kind)} and kind != "client_error":
                repeated.add((name, said))
    assert repeated == {("groq", 413)}  # there the status has to win over the code


# --- it says what its providers say


@functools.cache
def facts() -> dict[str, dict[str, Any]]:
    file = Path(__file__).parents[3] / "shared" / "facts" / "providers.json"
    if not file.exists():
        pytest.skip("the gathered facts are not beside the project")
    return {fact["name"]: fact for fact in json.loads(file.read_text())["providers"]}


def test_every_provider_that_is_known_has_an_entry() -> None:
    assert {name for name, fact in facts().items() if fact["core"]} == set(CORE)
    gone = {name for name, fact in facts().items() if fact["state"] == "discontinued"}
    assert gone == {*LEFT_OUT, "lambda"}
    assert set(facts()) - set(CATALOG) == LEFT_OUT


def test_entries_are_where_the_facts_say() -> None:
    for name, fact in facts().items():
        if name in LEFT_OUT:
            continue
        it = DESCRIBED[name]
        key = None if fact["auth"] in ("sigv4", "gcp-oauth") else fact["api_key_env"]
        said = (fact["protocol"], _filled(fact["chat_url"], it), fact["auth"], key, fact["docs_url"])
        assert (it.protocol, _filled(it.address, it), it.auth, it.api_key_env, it.docs) == said, name
        assert set(fact["template_vars"]) <= set(it.variables), name
        sent = {**PROTOCOLS[it.protocol].required_headers, **it.headers}
        wanted = {header: value for header, value in fact["required_headers"].items() if value != "required"}
        assert wanted.items() <= sent.items(), name


def test_every_surface_that_is_confirmed_has_an_entry() -> None:
    unconfirmed = set()
    for name, fact in facts().items():
        for surface in fact["surfaces"]:
            url = surface["chat_url"]
            found = [it for it in DESCRIBED.values() if _is_surface(it, surface["protocol"], url)]
            if not found:
                unconfirmed.add(url)
                continue
            styles = re.findall(r"[a-z0-9-]+", surface.get("auth", ""))
            assert not styles or all(it.auth in styles for it in found), (name, url)
            assert surface.get("suggested_entry") in (None, "responses", *(it.name for it in found)), (name, url)
    assert unconfirmed == UNVERIFIED


def test_errors_mean_what_the_facts_say() -> None:
    wrong = {}
    for name, fact in facts().items():
        if name in LEFT_OUT:
            continue
        for case, status, headers, body, word in _failures(fact["errors"]):
            kind = _judged(CATALOG[name], status, headers, body)
            if kind not in _MEANINGS[word]:
                wrong[name, case] = kind.value
    # A country without a free tier is told by its text; other preconditions are the caller's to meet.
    assert wrong == {("gemini", "FAILED_PRECONDITION"): "client_error"}


_MEANINGS = {
    "client": {FailureClass.CLIENT_ERROR},
    "overloaded": {FailureClass.OVERLOADED, FailureClass.SERVER_ERROR, FailureClass.TIMEOUT},
    "auth": {FailureClass.AUTH},
    "billing": {FailureClass.BILLING},
    "rate_limit": {FailureClass.RATE_LIMIT},
    "context_length": {FailureClass.CONTEXT_LENGTH},
}
"""The facts' words → classes. They know one word for all that a provider's machines do wrong."""

_BODIES = {
    "error.code": lambda word: {"error": {"code": word, "message": "m"}},
    "error.type": lambda word: {"error": {"type": word, "message": "m"}},
    "error.status": lambda word: {"error": {"status": word, "message": "m"}},
    "error.details.error_code": lambda word: {"error": {"message": "m", "details": {"error_code": word}}},
    "error.details[].reason": lambda word: {"error": {"message": "m", "details": [{"reason": word}]}},
    "error.metadata.limit_source": lambda word: {"error": {"message": "m", "metadata": {"limit_source": word}}},
    "errors[0].code": lambda word: {"success": False, "errors": [{"code": int(word), "message": "m"}]},
    "base_resp.status_code": lambda word: {"base_resp": {"status_code": int(word), "status_msg": "m"}},
    "code": lambda word: {"code": word, "message": "m"},
    "type": lambda word: {"type": word, "message": "m"},
    "reason": lambda word: {"code": 1, "reason": word, "message": "m"},
}
"""Where a word stands → an error with it there. Databricks' `error_code` and TGI's `error_type` are not read: their
statuses say the same."""

_USUAL = {
    "invalid_request_error": 400,
    "invalid_api_key": 401,
    "401": 401,
    "unsupported_country_region_territory": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "ModelStreamErrorException": 424,
    "QUOTA_EXHAUSTED": 429,
    "429": 429,
    "api_error": 500,
}
"""Words that say no more than the status they come with, in some dialects."""

_SENTENCES = dict.fromkeys(
    ("exceeds the maximum number of tokens allowed", "input token count"),
    "The input token count (9) exceeds the maximum number of tokens allowed (8)",
)
"""Texts that stand for a longer one."""

_Failure = tuple[str, int, dict[str, str], bytes, str]


def _failures(errors: dict[str, Any]) -> Iterator[_Failure]:
    """(what it is, status, headers, body, the facts' word), with a status that would mean something else."""
    for status, word in errors["status"].items():
        yield status, int(status), {}, b"{}", word
    for place, codes in errors["codes"].items():
        for code, word in codes.items():
            status = _USUAL.get(code, 429 if word == "client" else 400)
            if place.startswith("header"):
                yield code, status, {"x-amzn-errortype": code}, b'{"message":"m"}', word
            elif place in _BODIES:
                yield code, status, {}, msgspec.json.encode(_BODIES[place](code)), word
    for text, word in errors["message_contains"].items():
        status = 400 if word in ("context_length", "auth") else 429
        body = msgspec.json.encode({"error": {"message": f"It says: {_SENTENCES.get(text, text)}."}})
        yield text, status, {}, body, word


def _judged(entry: ProviderEntry, status: int, headers: dict[str, str], body: bytes) -> FailureClass:
    protocol = PROTOCOLS[entry.protocol]
    rules = ErrorRules(words=entry.error_map, statuses=entry.error_status, texts=entry.error_texts)
    return classify(protocol.read_error(status, headers, body, 0), protocol.knowledge, rules)


def _is_surface(it: Described, protocol: str, url: str) -> bool:
    return it.protocol == protocol and _filled(it.address, it) == _filled(url, it)


def _filled(address: str, it: Described) -> str:
    for name, value in it.variables.items():
        address = address if value is None else address.replace(f"{{{name}}}", value)
    return address


def test_every_auth_style_has_entries_or_is_an_operators_choice() -> None:
    used = {it.auth for it in DESCRIBED.values()} | {style for it in DESCRIBED.values() for style in it.other_auth}
    assert set(AuthStyle.__args__) - used == {"oauth"}
