"""A machine that has Google's credentials, and tells whether it was given a token."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from busbar.config import Secret
from busbar.config.schema import IdentityConfig
from busbar.credentials.gcp import GoogleMinter
from busbar.credentials.gcp_grants import GoogleGrants
from busbar.credentials.minting import Minted, MintRefused
from busbar.protocols.failures import FailureClass

from .issuers import LIFETIME_SECS, POOL
from .token_server import TokenServer

FIRST = Minted(Secret("ya29.token-0"), LIFETIME_SECS)
SECOND = Minted(Secret("ya29.token-1"), LIFETIME_SECS)
NOBODY = "127.0.0.1:1"


class Machine:
    """Where a minter runs: files, an environment, a clock, and a server that is the whole internet."""

    def __init__(self, server: TokenServer, folder: Path, clock: Callable[[], float], *allowed: str) -> None:
        self._server = server
        self._folder = folder
        self._clock = clock
        self._grants = GoogleGrants(server.client(*allowed), clock)

    def file(self, document: Mapping[str, object], name: str = "credentials.json") -> str:
        place = self._folder / name
        place.write_text(json.dumps(document))
        return str(place)

    def minter(
        self, document: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None, scope: Any = None
    ) -> GoogleMinter:
        file = None if document is None else self.file(document)
        nobody = {"GCE_METADATA_HOST": NOBODY}
        identity = IdentityConfig(credentials_file=file, scope=scope)
        return GoogleMinter(identity, self._grants, env={**nobody, **(env or {})}, clock=self._clock)


def refusal(minter: GoogleMinter) -> tuple[str, FailureClass]:
    with pytest.raises(MintRefused) as refused:
        minter.mint()
    return str(refused.value), refused.value.kind


def federated(source: Mapping[str, object], **changed: object) -> dict[str, object]:
    return {
        "type": "external_account",
        "audience": POOL,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": source,
        **changed,
    }
