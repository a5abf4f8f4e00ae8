"""Google Cloud: access tokens for Vertex AI, from a credentials file or in Google's own order of looking.

The order is that of "application default credentials" (https://google.aip.dev/auth/4110): the file that
`GOOGLE_APPLICATION_CREDENTIALS` names, the one that `gcloud auth application-default login` wrote, the metadata
server. Files are read again for each token. What each kind of file means is in `gcp_grants`.

`GCE_METADATA_HOST` may name another metadata server, as in all of Google's tools. The request to it holds nothing
secret, so whoever sets the process's environment can only take its tokens away.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from busbar.config.reach import Reach
from busbar.config.schema import IdentityConfig
from busbar.credentials.gcp_grants import GoogleGrants
from busbar.credentials.minting import Minted, MintRefused
from busbar.credentials.proofs import read_document
from busbar.credentials.token_answer import read_token
from busbar.credentials.token_http import MetadataHttp, TokenHttp
from busbar.protocols.failures import FailureClass

METADATA_URL = "http://169.254.169.254"
"""By its address: the name `metadata.google.internal` is whatever the resolver says."""

_METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
_FLAVOR = "metadata-flavor"


def gcp_minter(identity: IdentityConfig, reach: Reach) -> GoogleMinter:
    """The minter of a checked configuration."""
    return GoogleMinter(identity, GoogleGrants(TokenHttp(reach)))


class GoogleMinter:
    """Asks whoever `identity.credentials_file`, or else the environment, says. `env` is for tests."""

    def __init__(
        self,
        identity: IdentityConfig,
        grants: GoogleGrants,
        *,
        env: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = identity.credentials_file
        self._scope = identity.scope
        self._grants = grants
        self._env = os.environ if env is None else env
        self._clock = clock

    def mint(self) -> Minted:
        if self._file is not None:
            return self._from_file(self._file, "identity.credentials_file")
        if named := self._env.get("GOOGLE_APPLICATION_CREDENTIALS"):
            return self._from_file(named, "the file of GOOGLE_APPLICATION_CREDENTIALS")
        gcloud = gcloud_file(self._env)
        if gcloud is not None and gcloud.is_file():
            return self._from_file(str(gcloud), "gcloud's application_default_credentials.json")
        return self._from_metadata()

    def _from_file(self, file: str, name: str) -> Minted:
        return self._grants.token(read_document(file, name), name, self._scope)

    def _from_metadata(self) -> Minted:
        """https://cloud.google.com/compute/docs/access/authenticate-workloads. Only who answers with the header
        that was sent is Google's server."""
        host = self._env.get("GCE_METADATA_HOST")
        server = MetadataHttp(f"http://{host}" if host else METADATA_URL)
        query = {"scopes": self._scope.replace(" ", ",")} if self._scope is not None else {}
        try:
            answer = server.get(_METADATA_PATH, query, {_FLAVOR: "Google"})
        except MintRefused as refused:
            message = f"neither a Google credentials file nor a metadata server ({refused})"
            raise MintRefused(message, refused.kind) from None
        if answer.headers.get(_FLAVOR) != "Google":
            raise MintRefused("who answers at the metadata server's address is not Google's", FailureClass.AUTH)
        return read_token(answer, "Google's metadata server", self._clock())

    def __repr__(self) -> str:
        return "GoogleMinter()"


def gcloud_file(env: Mapping[str, str]) -> Path | None:
    """Where gcloud leaves a user's own credential; None where there is no home to look in."""
    name = "application_default_credentials.json"
    if folder := env.get("CLOUDSDK_CONFIG"):
        return Path(folder) / name
    if sys.platform == "win32":
        return Path(env["APPDATA"]) / "gcloud" / name if "APPDATA" in env else None
    return Path(env["HOME"]) / ".config" / "gcloud" / name if "HOME" in env else None
