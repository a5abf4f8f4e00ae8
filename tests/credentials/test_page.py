"""What `docs/credentials.md` says is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from busbar.config import loads
from busbar.config.reach import Reach
from busbar.credentials import entra, gcp_grants, token_answer, token_http
from busbar.credentials.assembly import minter_of

PAGE = (Path(__file__).parents[2] / "docs" / "credentials.md").read_text()
MINTERS = [
    ["GoogleMinter()", "GoogleMinter()"],
    ["GoogleMinter()"],
    ["EntraMinter(login.microsoftonline.com)"],
    ["EntraMinter(login.microsoftonline.com)"],
    ["ManagedIdentityMinter(https://cognitiveservices.azure.com)"],
    ["AwsMinter(the default chain)"],
    ["AwsMinter(bedrock-prod)"],
    ["OAuthMinter(login.example.com)"],
    ["OAuthMinter(keycloak.internal)"],
]


def test_its_configurations_mint_with_what_it_says() -> None:
    """In the page's order, those that have no key."""
    found = []
    for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.S | re.M):
        if "models" not in yaml.safe_load(text):
            continue
        names = re.findall(r"\$\{(\w+)\}|api_key_env: (\w+)|\benv: (\w+)", text)
        config = loads(text, env={name: "value" for some in names for name in some if name})
        reach = Reach(config.security.allow_private)
        minters = [repr(minter_of(it, reach)) for it in config.providers.values() if not it.keys]
        if minters:
            found.append(minters)
    assert found == MINTERS


@pytest.mark.parametrize(
    "said",
    [
        f"has {token_http.TIMEOUT_SECS:.0f} seconds and {token_http.ANSWER_BYTES_MAX >> 10} KiB to answer",
        f"a metadata server {token_http.METADATA_TIMEOUT_SECS:.0f} seconds",
        f"after {token_answer.LIFETIME_SECS_DEFAULT / 60:.0f} minutes",
        f"`{gcp_grants.SCOPE}`",
        f"`{entra.SCOPE}`",
    ],
)
def test_its_numbers_and_names_are_the_program_s(said: str) -> None:
    assert said in re.sub(r"\s+", " ", PAGE)
