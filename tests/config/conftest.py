"""A small world: a catalog of two, an environment with their keys, and one line to read a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from busbar.config import Config, ConfigErrors, loads

CATALOG = """
providers:
  anthropic:
    protocol: anthropic
    base_url: https://api.anthropic.example
    api_key_env: ANTHROPIC_API_KEY
    error_map: {1113: billing, busy: overloaded}
    error_status: {413: context_length}
    error_texts: {"Too Long": context_length}
    headers: {x-from: catalog, x-kept: "1"}
  openai:
    protocol: openai
    base_url: https://api.openai.example/
    auth: bearer
    api_key_env: OPENAI_API_KEY
"""

ENV = {"ANTHROPIC_API_KEY": "key-of-anthropic", "OPENAI_API_KEY": "key-of-openai", "TOKEN": "token-of-a-client"}

BASE = """
providers: {anthropic: {}, openai: {}}
models:
  a: {provider: anthropic}
  b: {provider: openai}
"""

Read = Callable[..., Config]
Complaints = Callable[..., list[str]]


@pytest.fixture
def read() -> Read:
    def read(text: str, env: Mapping[str, str] = ENV, **options: object) -> Config:
        return loads(text, CATALOG, env, **options)  # type: ignore[arg-type]

    return read


@pytest.fixture
def complaints(read: Read) -> Complaints:
    def complaints(text: str, env: Mapping[str, str] = ENV, **options: object) -> list[str]:
        try:
            read(text, env, **options)
        except ConfigErrors as errors:
            return str(errors).splitlines()
        return []

    return complaints
