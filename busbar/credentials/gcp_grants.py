"""What each kind of Google credentials file is exchanged for a token with.

    service_account               an assertion, signed RS256 with the file's key (RFC 7523; https://google.aip.dev/auth/4112)
    authorized_user               a refresh token (https://google.aip.dev/auth/4113)
    impersonated_service_account  another credential, then the IAM API for the account that it may act as
    external_account              another cloud's token, by Google's STS (https://google.aip.dev/auth/4117)
    external_account_authorized_user   the same for people

The last two are google-auth's work (`gcp_federation`), and so is the signing. The file says where all this is sent,
and it may come from anywhere: secrets go to Google's own hosts, and to those that `security.allow_private` names.

Google refuses an assertion whose times are off by more than some minutes. It is dated half a minute back; and where
Google's own `Date` shows that the clock here is wrong, it is dated by Google's from then on.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from busbar.config.secret import Secret
from busbar.credentials.minting import Minted, MintRefused
from busbar.credentials.token_answer import LIFETIME_SECS_MAX, as_token, not_a_token, read_token, refusal
from busbar.credentials.token_http import Answer, TokenHttp
from busbar.protocols.failures import FailureClass

TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ASSERTION_SECS = 3600
"""As long as Google allows."""

BACKDATED_SECS = 30
SKEW_SECS = 60.0
"""A clock that is off by more is corrected."""

GOOGLE_HOSTS = re.compile(
    r"(?:[a-z0-9-]+[.-])?(?:oauth2|sts|iamcredentials)(?:[.-][a-z0-9-]+)?(?:\.p|\.rep)?(?:\.mtls)?\.googleapis\.com"
    r"|accounts\.google\.com|www\.googleapis\.com"  # in key files of long ago
)
"""The token, STS and IAM hosts, global and regional (`sts.us-east1.rep.googleapis.com`)."""

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_REFRESHED = ("refresh_token", "client_id", "client_secret")


class GoogleGrants:
    """Exchanges credentials files for tokens."""

    def __init__(self, http: TokenHttp, clock: Callable[[], float] = time.time) -> None:
        self._http = http
        self._clock = clock
        self._behind_secs = 0.0
        """How far Google's clock is ahead of this one."""

    def token(self, document: Mapping[str, object], name: str, scope: str | None) -> Minted:
        """`name` says in a refusal which file is meant; `scope` None: Google's usual one. Raises `MintRefused`."""
        match document.get("type"):
            case "service_account":
                return self._service_account(document, name, scope or SCOPE)
            case "authorized_user":
                return self._authorized_user(document, name, scope)
            case "impersonated_service_account":
                return self._impersonated(document, name, scope or SCOPE)
            case "external_account" | "external_account_authorized_user":
                return self._external(document, name, scope or SCOPE)
            case _:
                raise MintRefused(f"{name} is of no type that is known", FailureClass.AUTH)

    def allowed(self, url: str, name: str) -> str:
        """`url` itself. Raises `MintRefused` when a secret must not be sent there."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower()
        except ValueError:
            host = ""
        if (GOOGLE_HOSTS.fullmatch(host) and parts.scheme == "https") or (host and self._http.named(host)):
            return url
        raise MintRefused(f"{name} names a token URL that is not Google's", FailureClass.AUTH)

    # --- a service account's key

    def _service_account(self, document: Mapping[str, object], name: str, scope: str) -> Minted:
        url = self.allowed(_text(document, "token_uri", name, TOKEN_URL), name)
        for trial in range(2):
            answer = self._http.post_form(
                url, {"grant_type": _JWT_GRANT, "assertion": self._assertion(document, name, scope, url)}
            )
            if answer.status != 400 or trial == 1 or not self._has_set_the_clock(answer):
                break
        return read_token(answer, urlsplit(url).hostname or "", self._clock())

    def _assertion(self, document: Mapping[str, object], name: str, scope: str, url: str) -> str:
        from google.auth import crypt, jwt
        from google.auth.exceptions import GoogleAuthError

        issued = int(self._clock() + self._behind_secs) - BACKDATED_SECS
        google = GOOGLE_HOSTS.fullmatch(urlsplit(url).hostname or "")
        claims = {
            "iss": _text(document, "client_email", name),
            "aud": TOKEN_URL if google else url,
            "scope": scope,
            "iat": issued,
            "exp": issued + ASSERTION_SECS,
        }
        key = _text(document, "private_key", name)
        try:
            signer = crypt.RSASigner.from_string(key, document.get("private_key_id"))  # type: ignore[no-untyped-call]
            return str(jwt.encode(signer, claims), "ascii")  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, GoogleAuthError):
            raise MintRefused(f"{name}: private_key is no RSA key in PEM", FailureClass.AUTH) from None

    def _has_set_the_clock(self, answer: Answer) -> bool:
        """Whether the refused assertion was dated by a clock that is wrong, which by now it is not any more."""
        if answer.date is None:
            return False
        behind_secs = answer.date - self._clock()
        if abs(behind_secs - self._behind_secs) <= SKEW_SECS:
            return False
        self._behind_secs = behind_secs
        return True

    # --- a person's refresh token

    def _authorized_user(self, document: Mapping[str, object], name: str, scope: str | None) -> Minted:
        form = {"grant_type": "refresh_token", **{key: _text(document, key, name) for key in _REFRESHED}}
        if scope is not None:
            form["scope"] = scope
        return read_token(self._http.post_form(TOKEN_URL, form), urlsplit(TOKEN_URL).hostname or "", self._clock())

    # --- acting as a service account

    def _impersonated(self, document: Mapping[str, object], name: str, scope: str) -> Minted:
        source = document.get("source_credentials")
        if not isinstance(source, dict) or source.get("type") == "impersonated_service_account":
            raise MintRefused(f"{name}: source_credentials cannot be used", FailureClass.AUTH)
        first = self.token(source, name, SCOPE if source.get("type") != "authorized_user" else None)
        return self._act_as(first, document, name, scope)

    def _act_as(self, first: Minted, document: Mapping[str, object], name: str, scope: str) -> Minted:
        """https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken"""
        assert isinstance(first.value, Secret), "Google's credentials are tokens"
        url = self.allowed(_text(document, "service_account_impersonation_url", name), name)
        options = document.get("service_account_impersonation")
        secs = options.get("token_lifetime_seconds") if isinstance(options, dict) else None
        asked = {
            "scope": scope.split(),
            "delegates": document.get("delegates") or [],
            "lifetime": f"{secs if isinstance(secs, int) else ASSERTION_SECS}s",
        }
        headers = {"content-type": "application/json", "authorization": f"Bearer {first.value.reveal()}"}
        answer = self._http.request("POST", url, headers, json.dumps(asked).encode("utf-8"))
        return self._read_acting(answer, urlsplit(url).hostname or "")

    def _read_acting(self, answer: Answer, issuer: str) -> Minted:
        """The API says when a token ends, by its own clock, which `Date` shows."""
        if answer.status != 200:
            raise refusal(answer, issuer, self._clock())
        said = answer.json()
        token = as_token(said.get("accessToken")) if isinstance(said, dict) else None
        if not isinstance(said, dict) or token is None:
            raise not_a_token(issuer)
        try:
            left_secs = datetime.fromisoformat(str(said.get("expireTime"))).timestamp()
        except (ValueError, OverflowError):
            raise not_a_token(issuer) from None
        left_secs -= answer.date or self._clock()
        if left_secs <= 0:
            raise not_a_token(issuer)
        return Minted(token, min(left_secs, LIFETIME_SECS_MAX))

    # --- another cloud's token

    def _external(self, document: Mapping[str, object], name: str, scope: str) -> Minted:
        from busbar.credentials.gcp_federation import exchanged

        acting = document.get("service_account_impersonation_url") is not None
        first = exchanged(document, name, SCOPE if acting else scope, self._http, self.allowed)
        return self._act_as(first, document, name, scope) if acting else first


def _text(document: Mapping[str, object], key: str, name: str, default: str | None = None) -> str:
    value = document.get(key, default)
    if not isinstance(value, str) or not value:
        raise MintRefused(f"{name}: {key} is missing", FailureClass.AUTH)
    return value
