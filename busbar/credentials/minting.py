"""What a source of credentials is: something that can be asked for one, and may take its time.

A `Minter` talks to a token server, a metadata server, a file or a program. It knows nothing of requests, of time
ahead or of trying again: that is `busbar.actors.credentials`.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from busbar.config.secret import Secret
from busbar.protocols.failures import FailureClass


class AwsKeys(Struct, frozen=True, kw_only=True):
    """AWS's own kind of credential, as a chain gave it at one moment. `region`: where the chain knows one."""

    access_key: str
    secret_key: Secret
    session_token: Secret | None = None
    region: str | None = None


class Minted(Struct, frozen=True):
    """A credential that was given."""

    value: Secret | AwsKeys
    lifetime_secs: float | None = None
    """From now on; None: until it is refused. What an issuer says of absolute dates is not trusted: its clock may
    not be ours."""


class MintRefused(Exception):
    """No credential was given. The text is for logs: it names who refused and with what code, never a secret.

    `kind` is AUTH when asking again is of no use until somebody changes something (`invalid_grant`,
    `invalid_client`, a key file that cannot be read), and NETWORK, TIMEOUT, SERVER_ERROR or RATE_LIMIT when it may
    pass by itself.
    """

    def __init__(self, message: str, kind: FailureClass, retry_after_secs: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_secs = retry_after_secs


class Minter(Protocol):
    """Gives credentials, one at a time."""

    def mint(self) -> Minted:
        """A fresh credential. Blocks; runs in a thread that is not the loop's. Raises `MintRefused`."""
        ...
