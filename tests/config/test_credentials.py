"""Keys and identities as they are configured: each with each auth style, and what is refused before anything runs."""

from __future__ import annotations

import json
import os
from typing import Any, get_args

import pytest

from busbar.config import ConfigErrors, loads
from busbar.config.schema import AuthStyle, IdentityConfig

KEYS: dict[str, Any] = {
    "credentials_file": "/x",
    "scope": "s",
    "tenant": "t",
    "client_id": "c",
    "client_secret": "${S}",
    "client_secret_file": "/x",
    "client_assertion_file": "/x",
    "managed_identity": True,
    "authority": "https://login.microsoftonline.us",
    "token_url": "https://login.example/t",
    "audience": "a",
    "client_auth": "basic",
    "profile": "p",
    "region": "eu-west-1",
}
NEEDED = {
    "entra": {"tenant": "t", "client_id": "c", "client_secret": "${S}"},
    "oauth": {"token_url": "https://login.example/t", "client_id": "c", "client_secret": "${S}"},
}
KEYLESS = {"gcp-oauth", "entra", "oauth", "sigv4", "none"}
OPTIONAL = {
    "gcp-oauth": {"credentials_file", "scope"},
    "entra": {"scope", "authority"},
    "oauth": {"scope", "audience", "client_auth"},
    "sigv4": {"profile", "region"},
}
ONE_PROOF = "auth entra needs one of client_secret, client_secret_file, client_assertion_file and managed_identity"


def complaints(auth: str, identity: dict[str, Any] | None = None, **more: Any) -> list[str]:
    """Without the place of the provider."""
    needed = NEEDED.get(auth, {})
    provider = {"protocol": "openai", "base_url": "https://a.example", "auth": auth, **more}
    provider["identity"] = {**needed, **(identity or {})}
    if auth not in KEYLESS and not more:
        provider["api_key_env"] = "K"
    document = {"providers": {"p": provider}, "models": {"m": {"provider": "p"}}}
    try:
        loads(json.dumps(document), env={"S": "secret-of-ours", "K": "key-k", "L": "key-l"})
    except ConfigErrors as errors:
        return [line.removeprefix("config.yaml:1: providers.p.") for line in str(errors).splitlines()]
    return []


def test_every_key_of_an_identity_is_tried_here() -> None:
    assert KEYS.keys() == set(IdentityConfig.__struct_fields__)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("auth", get_args(AuthStyle))
def test_each_key_of_an_identity_goes_with_its_auth_styles_only(auth: str, key: str) -> None:
    found = complaints(auth, {key: KEYS[key]})
    if key in OPTIONAL.get(auth, set()) or key in NEEDED.get(auth, {}):
        assert found == []
    elif auth == "entra" and key in ("client_secret_file", "client_assertion_file", "managed_identity"):
        assert found == [f"identity: {ONE_PROOF}"], "two proofs"
    elif auth == "oauth" and key == "client_secret_file":
        assert found == ["identity: auth oauth needs one of client_secret and client_secret_file"]
    else:
        assert found == [f"identity.{key}: auth {auth} does not use this key"]


def test_a_managed_identity_has_no_tenant_of_the_operators() -> None:
    text = """
providers:
  p:
    protocol: openai
    base_url: https://a.example
    auth: entra
    identity: {managed_identity: true, tenant: t, authority: https://login.example}
"""
    with pytest.raises(ConfigErrors) as found:
        loads(text, env={})
    assert [line.partition("identity.")[2] for line in str(found.value).splitlines()] == [
        "authority: a managed identity has its tenant from the machine",
        "tenant: a managed identity has its tenant from the machine",
    ]


@pytest.mark.parametrize("auth", get_args(AuthStyle))
def test_an_empty_list_of_keys_is_no_key(auth: str) -> None:
    assert complaints(auth, api_keys=[]) == ["api_keys: expected at least 1 in the list"]


@pytest.mark.parametrize(
    ("again", "first"), [({"env": "K"}, 0), ({"file": "/x"}, 1), ({"command": ["v"], "refresh_secs": 60}, 2)]
)
def test_a_key_stands_in_the_list_once(again: dict[str, Any], first: int) -> None:
    keys = [{"env": "K"}, {"file": "/x"}, {"command": ["v"]}, {"env": "L"}]
    assert complaints("bearer", api_keys=keys) == []
    assert complaints("bearer", api_keys=[*keys, again]) == [f"api_keys[4]: it is there already, at {first}"]


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ([{"env": "K", "file": "/x"}], "api_keys[0]: expected one of env, value, file and command"),
        ([{"env": "K"}, {"refresh_secs": 60}], "api_keys[1]: expected one of env, value, file and command"),
        ([{"env": "NONE"}], "api_keys[0].env: environment variable `NONE` is not set"),
    ],
)
def test_each_of_several_keys_comes_from_one_place(keys: list[dict[str, Any]], complaint: str) -> None:
    assert complaints("bearer", api_keys=keys) == [complaint]


@pytest.mark.parametrize("auth", ["gcp-oauth", "entra", "oauth"])
@pytest.mark.parametrize("key", ["api_key_env", "api_key_file", "api_key_command", "api_keys"])
def test_there_is_no_key_to_a_token(auth: str, key: str) -> None:
    value = {"api_key_env": "K", "api_key_file": "/x", "api_key_command": ["v"], "api_keys": [{"env": "K"}]}[key]
    assert complaints(auth, **{key: value}) == [
        f"{key}: auth {auth} mints its tokens from `identity`; there is no key to it"
    ]


def test_a_program_is_refused_where_it_could_not_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows."""
    monkeypatch.delattr(os, "killpg")
    told = "this system cannot run it safely (Windows); use a variable or a file"
    assert complaints("bearer", api_key_command=["v"]) == [f"api_key_command: {told}"]
    assert complaints("bearer", api_keys=[{"env": "K"}, {"command": ["v"]}]) == [f"api_keys[1].command: {told}"]
    assert complaints("bearer", api_key_file="/x") == []
