"""AWS Signature Version 4 for Bedrock, by botocore's own signer.

A configured credential is `ACCESS:SECRET`, `ACCESS:SECRET:SESSION` or `ACCESS:SECRET:SESSION:REGION` (the session
may be empty). What AWS's own chain gives is fetched elsewhere (`busbar.credentials.aws`): nothing here asks anybody.
The region is the credential's, else the one that the host names (`bedrock-runtime.eu-central-1.amazonaws.com`), else
that of the chain. botocore is imported only when a provider is signed for this way.

What is signed: method, the URL exactly as it is sent (a percent-encoded path is encoded once more, as AWS does for
all services but S3), host, content type, the `x-amz-*` headers and the body's hash. Headers that a proxy may touch
stay outside of the signature.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from datetime import UTC, datetime

from busbar.protocols.signing import MalformedCredential

SERVICE = "bedrock"

_ACCESS = re.compile(r"\w{4,128}\Z", re.ASCII)
_SECRET = re.compile(r"[\x21-\x39\x3b-\x7e]+\Z")
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d\Z")
_HOST = re.compile(r"(?:^|\.)(bedrock[a-z-]*)\.([a-z]{2,}(?:-[a-z]+)+-\d)\.", re.ASCII)
_SERVICES = {"bedrock-mantle": "bedrock-mantle"}
"""Hosts whose service is not simply `bedrock`."""
_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_FORMAT = "a SigV4 credential is ACCESS:SECRET, with :SESSION and :REGION where there are any"


class SigV4Signer:
    """Signs with one of botocore's `Credentials`, which never change."""

    __slots__ = ("_credentials", "_default_region", "_region", "_service")

    def __init__(
        self,
        credentials: typing.Any,
        default_region: str | None = None,
        *,
        region: str | None = None,
        service: str | None = None,
    ) -> None:
        """`default_region` is for hosts that name none; `region` and `service` win over the host's."""
        self._credentials = credentials
        self._default_region = default_region
        self._region = region
        self._service = service

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes, now: float) -> Mapping[str, str]:
        """`authorization`, `x-amz-date` and, for a session's credential, `x-amz-security-token`. Raises
        `MalformedCredential` when no region is known."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        host_service, host_region = _place(url)
        service, region = self._service or host_service, self._region or host_region or self._default_region
        if region is None:
            raise MalformedCredential("the region is named neither by the credential nor by the host")
        credentials = self._credentials.get_frozen_credentials()
        added = {"x-amz-date": datetime.fromtimestamp(now, UTC).strftime(_TIMESTAMP)}
        if credentials.token:
            added["x-amz-security-token"] = credentials.token
        signed = {name: value for name, value in headers.items() if _is_signed(name.lower())}
        request = AWSRequest(method=method, url=url, headers={**signed, **added}, data=body)
        request.context["timestamp"] = added["x-amz-date"]
        auth = SigV4Auth(credentials, service, region)
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        names = auth.signed_headers(auth.headers_to_sign(request))
        authorization = f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}"
        return {**added, "authorization": f"{authorization}, Signature={signature}"}

    def __repr__(self) -> str:
        return f"SigV4Signer(region={self._region or self._default_region})"


def _is_signed(name: str) -> bool:
    return name in ("host", "content-type") or name.startswith("x-amz-")


def sigv4_signer(credential: str, default_region: str | None = None) -> SigV4Signer:
    """Raises `MalformedCredential`."""
    from botocore.credentials import Credentials

    access, secret, session, region = _taken_apart(credential)
    return SigV4Signer(Credentials(access, secret, session or None), default_region, region=region or None)


def _taken_apart(credential: str) -> tuple[str, str, str, str]:
    pieces = credential.split(":")
    if not 2 <= len(pieces) <= 4:
        raise MalformedCredential(_FORMAT)
    access, secret, session, region = [*pieces, "", ""][:4]
    if (
        not _ACCESS.match(access)
        or not _SECRET.match(secret)
        or (session and not _SECRET.match(session))
        or (region and not _REGION.match(region))
    ):
        raise MalformedCredential(_FORMAT)
    return access, secret, session, region


def _place(url: str) -> tuple[str, str | None]:
    """(service, region) as the host names them; hosts that are not AWS's own name no region."""
    found = _HOST.search(url.partition("://")[2].partition("/")[0].lower())
    if found is None:
        return SERVICE, None
    return _SERVICES.get(found[1], SERVICE), found[2]
