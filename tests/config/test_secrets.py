"""No credential is ever shown: not in a repr, not in an encoding, not in a report."""

from __future__ import annotations

import copy
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.config import ConfigErrors, Secret, encode_hook, loads
from tests.config.conftest import CATALOG

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)


def test_a_secret_prints_as_stars_and_gives_itself_only_to_reveal() -> None:
    secret = Secret("sk-live")
    assert (repr(secret), str(secret), f"{secret:>5}", secret.reveal()) == ("***", "***", "  ***", "sk-live")


def test_a_secret_is_equal_to_itself_only() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert Secret("ä").matches("ä")
    assert not Secret("a").matches("\ud800")


def test_a_secret_is_encoded_as_stars_or_not_at_all() -> None:
    assert msgspec.json.encode({"key": Secret("sk-live")}, enc_hook=encode_hook) == b'{"key":"***"}'
    with pytest.raises(TypeError):
        msgspec.json.encode(Secret("sk-live"))
    with pytest.raises(TypeError):
        msgspec.json.encode(object(), enc_hook=encode_hook)


def test_a_secret_is_neither_pickled_nor_copied_nor_hashed() -> None:
    for refused in (pickle.dumps, copy.deepcopy, hash):
        with pytest.raises(TypeError):
            refused(Secret("sk-live"))


@given(tail=st.text(st.sampled_from("abcXYZ012-_.:/+=!"), min_size=1, max_size=30))
def test_no_secret_appears_in_the_repr_of_a_configuration(tail: str) -> None:
    env = {name: f"SECRET{name}{tail}" for name in ("KEY", "INLINE", "TOKEN", "ADMIN", "HEADER")}
    text = """
        auth: {mode: token, client_tokens: ["${TOKEN}"]}
        providers:
          anthropic: {api_key_env: KEY, headers: {x-team: "Team ${HEADER}"}}
          openai: {api_key: "${INLINE}"}
        governance: {admin_token: "${ADMIN}"}
    """
    config = loads(text, CATALOG, env)
    assert "SECRET" not in repr(config)
    assert b"SECRET" not in msgspec.json.encode(config, enc_hook=encode_hook)
    assert config.providers["anthropic"].wire_headers()["x-team"] == f"Team {env['HEADER']}"
    assert config.providers["openai"].api_key == Secret(env["INLINE"])


@given(
    secret=VISIBLE.map(lambda tail: "SECRET" + tail),
    spoiler=st.sampled_from(["\n", " ", "\r\nx: y", "\x00", "ä", "\x7f"]),
)
def test_the_report_of_a_malformed_credential_does_not_contain_it(secret: str, spoiler: str) -> None:
    env = dict.fromkeys(("KEY", "TOKEN", "URL", "WORD"), secret + spoiler)
    text = """
        listen: "${WORD}"
        auth: {mode: "${WORD}", client_tokens: ["${TOKEN}"]}
        providers:
          anthropic: {api_key_env: KEY, base_url: "${URL}", path: "${WORD}", error_map: {x: "${WORD}"}}
          openai: {api_key: "${KEY}", headers: {x-team: "${WORD}"}}
        models: {a: {provider: "${WORD}", max_concurrent: "${WORD}"}}
        pools: {p: {members: [{target: "${WORD}"}], on_exhausted: "${WORD}", strategy: "${WORD}"}}
        limits: {body_max_bytes: "${WORD}"}
    """
    with pytest.raises(ConfigErrors) as caught:
        loads(text, CATALOG, env)
    assert "SECRET" not in str(caught.value)
    assert len(caught.value.problems) >= 12


PLACES = [
    "auth: {client_tokens: [SECRET-x]}",
    "auth: {client_tokens: SECRET-x}",
    "auth: SECRET-x",
    "governance: {admin_token: SECRET-x}",
    "providers: {openai: {api_key: SECRET-x}}",
    "providers: {openai: {api_key_env: SECRET-x}}",
    "providers: {openai: {api_key_env: gsk_SECRET_x}}",
    "providers: {openai: {auth: SECRET-x}}",
    "providers: {openai: SECRET-x}",
    "providers: {openai: {base_url: 'https://user:SECRET@host'}}",
    "providers: {openai: {headers: {authorization: SECRET-x}}}",
    "providers: {anthropic: {headers: {authorization: SECRET-x}}}",
    "providers: {openai: {api_key: '${SECRET-x}'}}",
    "providers: {openai: {api_key: '${sk_SECRET}'}}",
    "providers: {openai: {api_key: !SECRET x}}",
    "providers: {openai: {api_key: !SECRET!x y}}",
]


@pytest.mark.parametrize("text", PLACES)
def test_a_key_written_into_the_file_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        loads(text, CATALOG, {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"})
    assert "SECRET" not in str(caught.value)
