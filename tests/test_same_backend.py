"""Which changes of the configuration make another backend of a member, of which nothing is known."""

from __future__ import annotations

import pytest

from busbar.config import loads
from busbar.plan import plan_of

ENV = {"ONE": "key-one", "TWO": "key-two"}
TEXT = """
providers:
  p:
    protocol: openai
    base_url: https://p.example.com
    api_key_env: ONE
    headers: {x-org: "${ONE}", x-team: a}
models:
  m: {provider: p, upstream_model: big}
"""


def is_same(before: str, after: str) -> bool:
    assert before in TEXT
    first, second = (plan_of(loads(text, env=ENV)).members[0] for text in (TEXT, TEXT.replace(before, after)))
    return second.is_same_backend(first)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("p.example.com", "other.example.com"),
        ("protocol: openai", "protocol: cohere"),
        ("protocol: openai", "protocol: openai\n    path: /elsewhere"),
        ("api_key_env: ONE", "api_key_env: TWO"),
        ("api_key_env: ONE", "api_key_env: ONE\n    auth: x-api-key"),
        ('"${ONE}"', '"${TWO}"'),
        ("upstream_model: big", "upstream_model: small"),
    ],
)
def test_another_address_dialect_credential_or_model_is_another_backend(before: str, after: str) -> None:
    assert not is_same(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x-team: a", "x-team: b"),
        ("protocol: openai", "protocol: openai\n    body: {store: false}"),
        ("protocol: openai", "protocol: openai\n    health: {mode: active}"),
        ("protocol: openai", "protocol: openai\n    error_status: {418: server_error}"),
        ("protocol: openai", "protocol: openai\n    display_name: P"),
        ("upstream_model: big", "upstream_model: big, max_concurrent: 3, max_requests: 9, prefill: true"),
    ],
)
def test_anything_else_is_not(before: str, after: str) -> None:
    assert is_same(before, after)
