"""Upstream accounts: as files write them (`ProviderEntry`), and resolved (`ProviderConfig`)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from busbar.config.schema.values import AuthStyle, Command, EnvironmentName, Name, PathTemplate, ProtocolName, Secs
from busbar.config.secret import Secret
from busbar.protocols.failures import ErrorRules, FailureClass


class HealthConfig(Struct, frozen=True, kw_only=True):
    """Active probes of a provider's members."""

    mode: Literal["none", "dead", "active"] = "none"
    interval_secs: Secs = 30
    timeout_secs: Secs = 5


class KeySource(Struct, frozen=True, kw_only=True):
    """Where one key comes from: one of `env`, `value`, `file` and `command`."""

    env: EnvironmentName | None = None
    value: Secret | None = None
    """Written as `${VAR}`; of a resolved source, what the variable holds."""
    file: Name | None = None
    """Its first line; read again when the file has changed."""
    command: Command | None = None
    """Its output's first line; run again each `refresh_secs`, and when the provider refuses the key."""
    refresh_secs: Annotated[float, Meta(ge=1, le=86_400)] = 300


class IdentityConfig(Struct, frozen=True, kw_only=True):
    """From what tokens are minted, where the credential is not a key. Which of these go with which `auth`, the
    resolver checks (`busbar.config.credentials`)."""

    credentials_file: Name | None = None
    """gcp-oauth: a service account's key, a refresh token, or a workload identity; None: Google's own order."""
    scope: Name | None = None
    """What the token is for, where the usual scope is not it; several, with spaces between."""
    tenant: Name | None = None
    client_id: Name | None = None
    client_secret: Secret | None = None
    client_secret_file: Name | None = None
    client_assertion_file: Name | None = None
    """entra: a federated token, in place of a secret; read again for each token."""
    managed_identity: bool = False
    """entra: the token comes from the machine's metadata server."""
    authority: Name | None = None
    """entra: where the tenant is, if not at login.microsoftonline.com."""
    token_url: Name | None = None
    audience: Name | None = None
    client_auth: Literal["body", "basic"] = "body"
    """oauth: how the client proves itself at the token URL (RFC 6749 §2.3.1)."""
    profile: Name | None = None
    """sigv4: of AWS's shared configuration."""
    region: Name | None = None
    """sigv4: where the host does not name it."""


BodyValue = str | int | float | bool | None


class ProviderConfig(Struct, frozen=True, kw_only=True):
    """An upstream account, resolved: the catalog's entry, the operator's overrides, the key."""

    name: str
    protocol: ProtocolName
    base_url: str
    """http or https, without a slash at the end, without credentials."""
    path: str | None = None
    """Replaces the protocol's default path; None keeps it. May hold `{model}`."""
    stream_path: str | None = None
    """The same for streams; None: as `path`."""
    count_path: str | None = None
    """The same for counting tokens; None: the protocol's own."""
    body: dict[str, BodyValue] = {}
    """Fields of the body's top level that are set; None removes one."""
    auth: AuthStyle
    keys: tuple[KeySource, ...] = ()
    """Several take turns. None with auth styles that need none, and whenever `auth.mode` is `passthrough`."""
    identity: IdentityConfig = IdentityConfig()
    display_name: str = ""
    docs: str | None = None
    error_map: dict[str, FailureClass] = {}
    error_status: dict[int, FailureClass] = {}
    error_texts: dict[str, FailureClass] = {}
    """Lower-case substrings of the message."""
    headers: dict[str, str | Secret] = {}
    """Lower-case names. A value that came out of a variable is a Secret; see `wire_headers`."""
    health: HealthConfig = HealthConfig()

    @property
    def api_key(self) -> Secret | None:
        """The first key, where it is known from the start: not one that a file or a command gives."""
        return self.keys[0].value if self.keys else None

    @property
    def error_rules(self) -> ErrorRules:
        """The three error tables as failure classification takes them."""
        return ErrorRules(words=self.error_map, statuses=self.error_status, texts=self.error_texts)

    def wire_headers(self) -> dict[str, str]:
        """`headers` with their secrets revealed, for the request that goes out."""
        return {name: value.reveal() if isinstance(value, Secret) else value for name, value in self.headers.items()}


class ProviderEntry(Struct, frozen=True, kw_only=True):
    """A provider as files write it: the catalog's entry with the operator's laid over it."""

    name: str
    protocol: ProtocolName
    base_url: str
    path: PathTemplate | None = None
    stream_path: PathTemplate | None = None
    count_path: PathTemplate | None = None
    variables: dict[str, str] = {}
    """What stands in `{braces}` in the address."""
    body: dict[str, BodyValue] = {}
    auth: AuthStyle | None = None
    api_key_env: EnvironmentName | None = None
    api_key: Secret | None = None
    api_key_file: Name | None = None
    api_key_command: Command | None = None
    api_keys: Annotated[tuple[KeySource, ...], Meta(max_length=64)] = ()
    identity: IdentityConfig = IdentityConfig()
    display_name: str = ""
    docs: str | None = None
    error_map: dict[str, FailureClass] = {}
    error_status: dict[Annotated[int, Meta(ge=100, le=599)], FailureClass] = {}
    error_texts: dict[str, FailureClass] = {}
    headers: dict[str, str] = {}
    health: HealthConfig = HealthConfig()
