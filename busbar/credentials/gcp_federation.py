"""Workload identity federation, by google-auth: another issuer's token, exchanged at Google's STS (RFC 8693).

google-auth reads the file, fetches the other token and asks; it does so over our own client, which keeps the rules of
where a secret may be sent. The other token comes from a file, or from a URL, which must be a public one by https, or
named in `security.allow_private`; never a metadata server. Programs and certificates as sources are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.auth import exceptions, external_account_authorized_user, identity_pool
from msgspec import Struct

from busbar.credentials.minting import Minted, MintRefused
from busbar.credentials.proofs import read_proof
from busbar.credentials.token_answer import not_a_token, read_token, refusal
from busbar.credentials.token_http import Answer, TokenHttp
from busbar.protocols.failures import FailureClass

Allowed = Callable[[str, str], str]
"""A URL that a secret is sent to, and the name of the file that says so -> the URL. Raises `MintRefused`."""

_ISSUER = "Google's STS"


def exchanged(document: Mapping[str, object], name: str, scope: str, http: TokenHttp, allowed: Allowed) -> Minted:
    """Google's own token for the other one. Raises `MintRefused`."""
    source = document.get("credential_source")
    by_person = document.get("type") == "external_account_authorized_user"
    if not by_person and not (isinstance(source, dict) and ("file" in source or "url" in source)):
        raise MintRefused(f"{name}: credential_source must be a file or a URL", FailureClass.AUTH)
    if isinstance(source, dict) and "environment_id" in source:
        raise MintRefused(f"{name}: AWS as a source of federated tokens is not supported", FailureClass.AUTH)
    if isinstance(source, dict) and isinstance(source.get("file"), str) and "url" not in source:
        read_proof(source["file"], f"{name}: the file of credential_source")  # google-auth would wait for a pipe
    without_acting = {key: value for key, value in document.items() if not key.startswith("service_account_imp")}
    line = _Transport(http, allowed, name, source.get("url") if isinstance(source, dict) else None)
    kind: Any = external_account_authorized_user.Credentials if by_person else identity_pool.Credentials
    options = {} if by_person else {"scopes": scope.split()}
    try:
        credentials = kind.from_info(without_acting, **options)
    except (exceptions.GoogleAuthError, ValueError, TypeError, KeyError, AttributeError):
        raise MintRefused(f"{name} is no {document.get('type')} file", FailureClass.AUTH) from None
    try:
        credentials.refresh(line)
    except exceptions.GoogleAuthError:
        raise MintRefused(f"{name}: the other issuer's token cannot be read", FailureClass.AUTH) from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise not_a_token(_ISSUER) from None
    return line.minted()


class _Response(Struct, frozen=True):
    """As google-auth wants it (`google.auth.transport.Response`)."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Transport:
    """As google-auth wants it (`google.auth.transport.Request`): the one URL that a foreign token comes from, and
    Google's. An answer that is no 200 never reaches google-auth, which would try it again."""

    def __init__(self, http: TokenHttp, allowed: Allowed, name: str, source_url: object) -> None:
        self._http = http
        self._allowed = allowed
        self._name = name
        self._source_url = source_url
        self._last: Answer | None = None

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **others: object,
    ) -> _Response:
        del others  # timeouts and certificates
        foreign = method == "GET" and url == self._source_url
        target = url if foreign else self._allowed(url, self._name)
        answer = self._http.request(method, target, headers or {}, body)
        if answer.status != 200:
            raise refusal(answer, "the other issuer" if foreign else _ISSUER, 0.0)
        if not foreign:
            self._last = answer
        return _Response(answer.status, answer.headers, answer.body)

    def minted(self) -> Minted:
        """What Google answered last. Raises `MintRefused`."""
        if self._last is None:
            raise not_a_token(_ISSUER)
        return read_token(self._last, _ISSUER, 0.0)
