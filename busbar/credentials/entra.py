"""Microsoft Entra ID: an application's token for Azure OpenAI and Foundry, and a managed identity's.

An application proves itself with a secret or with a federated token (workload identity on Kubernetes, GitHub, …):
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow. A managed identity is given its
token by the machine: the instance metadata service at a fixed address, or, in App Service, Functions and Container
Apps, the server that `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` name:
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token and
https://learn.microsoft.com/azure/app-service/overview-managed-identity. That variable is the platform's word, but it
may only lead to this machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from busbar.config.reach import Reach
from busbar.config.schema import IdentityConfig
from busbar.credentials.minting import Minted, MintRefused
from busbar.credentials.proofs import read_proof
from busbar.credentials.token_answer import read_token, refusal
from busbar.credentials.token_http import Answer, MetadataHttp, TokenHttp
from busbar.protocols.failures import FailureClass

AUTHORITY = "https://login.microsoftonline.com"
SCOPE = "https://cognitiveservices.azure.com/.default"
METADATA_URL = "http://169.254.169.254"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def entra_minter(identity: IdentityConfig, reach: Reach) -> EntraMinter | ManagedIdentityMinter:
    """The minter of a checked configuration."""
    return ManagedIdentityMinter(identity) if identity.managed_identity else EntraMinter(identity, TokenHttp(reach))


class EntraMinter:
    """Asks the tenant's token endpoint as an application."""

    def __init__(self, identity: IdentityConfig, http: TokenHttp, clock: Callable[[], float] = time.time) -> None:
        assert identity.tenant is not None, "the configuration was checked"
        authority = identity.authority or AUTHORITY
        base = authority if "://" in authority else f"https://{authority}"
        self._url = f"{base.rstrip('/')}/{quote(identity.tenant, safe='')}/oauth2/v2.0/token"
        self._identity = identity
        self._http = http
        self._clock = clock

    def mint(self) -> Minted:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._identity.client_id or "",
            "scope": self._identity.scope or SCOPE,
            **self._proof(),
        }
        return read_token(self._http.post_form(self._url, form), urlsplit(self._url).hostname or "", self._clock())

    def _proof(self) -> Mapping[str, str]:
        identity = self._identity
        if identity.client_assertion_file is not None:
            assertion = read_proof(identity.client_assertion_file, "identity.client_assertion_file")
            return {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}
        if identity.client_secret_file is not None:
            return {"client_secret": read_proof(identity.client_secret_file, "identity.client_secret_file")}
        if identity.client_secret is not None:
            return {"client_secret": identity.client_secret.reveal()}
        raise MintRefused("there is no proof of who asks", FailureClass.AUTH)

    def __repr__(self) -> str:
        return f"EntraMinter({urlsplit(self._url).hostname})"


class ManagedIdentityMinter:
    """Asks the machine for its own identity's token; `client_id` chooses among several. `env` and `metadata_url` are
    for tests."""

    def __init__(
        self,
        identity: IdentityConfig,
        *,
        env: Mapping[str, str] | None = None,
        metadata_url: str = METADATA_URL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        scope = identity.scope or SCOPE
        self._resource = scope.removesuffix("/.default")
        self._client_id = identity.client_id
        self._env = os.environ if env is None else env
        self._metadata_url = metadata_url
        self._clock = clock

    def mint(self) -> Minted:
        query = {"resource": self._resource}
        if self._client_id is not None:
            query["client_id"] = self._client_id
        endpoint, proof = self._env.get("IDENTITY_ENDPOINT"), self._env.get("IDENTITY_HEADER")
        if endpoint and proof:
            answer = _ask_platform(endpoint, proof, query)
        else:
            version = {"api-version": "2018-02-01"}
            path = "/metadata/identity/oauth2/token"
            answer = MetadataHttp(self._metadata_url).get(path, {**version, **query}, {"metadata": "true"})
        if answer.status in _STARTING:
            told = refusal(answer, _ISSUER, self._clock())
            raise MintRefused(str(told), FailureClass.SERVER_ERROR, told.retry_after_secs)
        return read_token(answer, _ISSUER, self._clock())

    def __repr__(self) -> str:
        return f"ManagedIdentityMinter({self._resource})"


_ISSUER = "Azure's metadata server"
_STARTING = (404, 410)
"""While it starts or is updated: to be asked again (Microsoft's "Retry guidance" on the page named above)."""


def _ask_platform(endpoint: str, proof: str, query: Mapping[str, str]) -> Answer:
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or not _is_this_machine(parts.hostname or ""):
        raise MintRefused("IDENTITY_ENDPOINT does not lead to this machine", FailureClass.AUTH)
    base, path = f"http://{parts.netloc}", parts.path
    return MetadataHttp(base).get(path, {"api-version": "2019-08-01", **query}, {"x-identity-header": proof})


def _is_this_machine(host: str) -> bool:
    """Loopback, or link-local: where the platform puts such servers."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local
