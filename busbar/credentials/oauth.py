"""OAuth 2.0 client credentials (RFC 6749 §4.4), for providers behind an identity server of their own."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from urllib.parse import quote_plus, urlsplit

from busbar.config.reach import Reach
from busbar.config.schema import IdentityConfig
from busbar.credentials.minting import Minted, MintRefused
from busbar.credentials.proofs import read_proof
from busbar.credentials.token_answer import read_token
from busbar.credentials.token_http import TokenHttp
from busbar.protocols.failures import FailureClass


def oauth_minter(identity: IdentityConfig, reach: Reach) -> OAuthMinter:
    """The minter of a checked configuration."""
    return OAuthMinter(identity, TokenHttp(reach))


class OAuthMinter:
    """Asks `identity.token_url` as a client with a secret."""

    def __init__(self, identity: IdentityConfig, http: TokenHttp, clock: Callable[[], float] = time.time) -> None:
        assert identity.token_url is not None, "the configuration was checked"
        assert identity.client_id is not None, "the configuration was checked"
        self._identity = identity
        self._url = identity.token_url
        self._client_id = identity.client_id
        self._http = http
        self._clock = clock

    def mint(self) -> Minted:
        secret = self._secret()
        form = {"grant_type": "client_credentials"}
        if self._identity.scope is not None:
            form["scope"] = self._identity.scope
        if self._identity.audience is not None:
            form["audience"] = self._identity.audience
        headers = {}
        if self._identity.client_auth == "basic":
            headers["authorization"] = basic(self._client_id, secret)
        else:
            form |= {"client_id": self._client_id, "client_secret": secret}
        answer = self._http.post_form(self._url, form, headers)
        return read_token(answer, urlsplit(self._url).hostname or "", self._clock())

    def _secret(self) -> str:
        identity = self._identity
        if identity.client_secret is not None:
            return identity.client_secret.reveal()
        if identity.client_secret_file is not None:
            return read_proof(identity.client_secret_file, "identity.client_secret_file")
        raise MintRefused("there is no client secret", FailureClass.AUTH)

    def __repr__(self) -> str:
        return f"OAuthMinter({urlsplit(self._url).hostname})"


def basic(client_id: str, secret: str) -> str:
    """RFC 6749 §2.3.1: id and secret are encoded as in a form first, so a colon in either is no separator."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(pair.encode('ascii')).decode('ascii')}"
