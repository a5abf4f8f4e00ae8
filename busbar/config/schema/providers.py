"""Upstream accounts: as files write them (`ProviderEntry`), and resolved (`ProviderConfig`)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from busbar.config.schema.values import (
    AuthStyle,
    Command,
    EnvironmentName,
    FilePath,
    Name,
    PathTemplate,
    ProtocolName,
    Secs,
    Url,
)
from busbar.config.secret import Secret
from busbar.protocols.failures import ErrorRules, FailureClass


class HealthConfig(Struct, frozen=True, kw_only=True):
    """Active probes of a provider's members."""

    mode: Literal["none", "dead", "active"] = "none"
    """A request for one token each: `dead`, of members that have tripped; `active`, of all. One that is answered
    closes all of the member's cells; one that is refused as malformed (some models want room to think) says nothing.
    Not in mode `passthrough`, where there is no key to probe with."""
    interval_secs: Secs = 30
    """Between two probes of a member."""
    timeout_secs: Secs = 5
    """For a probe to be answered."""


class KeySource(Struct, frozen=True, kw_only=True):
    """Where one key comes from: one of `env`, `value`, `file` and `command`."""

    env: EnvironmentName | None = None
    """The variable that holds it."""
    value: Secret | None = None  # of a resolved source, also what the variable of `env` holds
    """The same, written inline."""
    file: FilePath | None = None
    """Its first line; read again when the file has changed."""
    command: Command | None = None
    """A program and its arguments, run without a shell. Its output's first line; run again each `refresh_secs`, and
    when the provider refuses the key."""
    refresh_secs: Annotated[float, Meta(ge=1, le=86_400)] = 300
    """Between two runs of `command`."""


class IdentityConfig(Struct, frozen=True, kw_only=True):
    """From what tokens are minted, where the credential is not a key. A key that does not go with the provider's
    `auth` is refused."""  # by `busbar.config.credentials`

    credentials_file: FilePath | None = None
    """`gcp-oauth`: a service account's key, a refresh token, or a workload identity; null: Google's own order."""
    scope: Name | None = None
    """`gcp-oauth`, `entra`, `oauth`: what the token is for, where the usual scope is not it; several, with spaces
    between."""
    tenant: Name | None = None
    """`entra`: the directory, by name or by number; required without `managed_identity`."""
    client_id: Name | None = None
    """`entra`, `oauth`: the application that asks; required, but with a `managed_identity` only where the machine has
    several."""
    client_secret: Secret | None = None
    """`entra`, `oauth`: how it proves itself."""
    client_secret_file: FilePath | None = None
    """`entra`, `oauth`: the same, the first line of a file."""
    client_assertion_file: FilePath | None = None
    """`entra`: a federated token, in place of a secret; read again for each token."""
    managed_identity: bool = False
    """`entra`: the token comes from the machine's metadata server."""
    authority: Url | None = None
    """`entra`: where the tenant is, if not at `https://login.microsoftonline.com`."""
    token_url: Url | None = None
    """`oauth`: where tokens are asked for; required."""
    audience: Name | None = None
    """`oauth`: whom the token is for, where the server wants to know."""
    client_auth: Literal["body", "basic"] = "body"
    """`oauth`: how the client proves itself at `token_url` (RFC 6749 §2.3.1)."""
    profile: Name | None = None
    """`sigv4`: of AWS's shared configuration."""
    region: Name | None = None
    """`sigv4`: where the host does not name it."""


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
    """An upstream account as files write it: the catalog's entry with the operator's laid over it."""

    name: str
    protocol: ProtocolName
    """The dialect spoken."""
    base_url: Annotated[str, Meta(title="http(s) URL")]
    """Where it is: a URL with a host, and without user, query or fragment."""
    path: PathTemplate | None = None
    """Replaces the protocol's path; the address is `base_url` + `path`. Null: `/v1/messages`, `/v1/chat/completions`,
    `/v1/responses`, `/v2/chat`; Gemini and Bedrock name the model in theirs."""
    stream_path: PathTemplate | None = None
    """The same for streams; null: as `path`."""
    count_path: PathTemplate | None = None
    """The same for counting tokens; null: the protocol's."""
    variables: dict[str, str] = {}
    """What stands in braces in the address: `https://{resource}.openai.azure.com` wants `variables: {resource: …}`.
    In the three paths `{model}` is the model's `upstream_model`, percent-encoded."""
    body: dict[str, BodyValue] = {}
    """Fields of the body's top level that are set in each request, or removed where null."""
    auth: AuthStyle | None = None
    """How the key is sent; null: as the protocol's own provider wants it. `sigv4` signs with
    `ACCESS:SECRET[:SESSION[:REGION]]`, or with what AWS's own chain of credentials gives; `gcp-oauth`, `entra` and
    `oauth` mint tokens from `identity`."""
    api_key_env: EnvironmentName | None = None
    """The variable that holds the key. It has to be set, unless `auth` is `none` or `auth.mode` is `passthrough`;
    with `sigv4` it may be left out."""
    api_key: Secret | None = None
    """The same, written inline."""
    api_key_file: FilePath | None = None
    """The first line of a file, read again when it has changed."""
    api_key_command: Command | None = None
    """A program and its arguments, run without a shell; the first line of its output."""
    api_keys: Annotated[tuple[KeySource, ...], Meta(max_length=64)] = ()
    """Several keys that take turns. Of these five ways to name a key one is written."""
    identity: IdentityConfig = IdentityConfig()
    display_name: str = ""
    """The provider's own name, for people."""
    docs: Annotated[str, Meta(title="http(s) URL")] | None = None
    """Its documentation, for people."""
    error_map: dict[Annotated[str, Meta(title="code or type")], FailureClass] = {}
    """What the provider's own words mean; they are compared as text."""
    error_status: dict[Annotated[int, Meta(ge=100, le=599)], FailureClass] = {}
    """What its HTTP statuses mean; a 5xx is never `context_length`."""
    error_texts: dict[Annotated[str, Meta(title="text")], FailureClass] = {}
    """What parts of its messages mean, in any case."""
    headers: dict[Annotated[str, Meta(title="header")], str] = {}
    """Sent with every request; not those of the connection, nor the one that `auth` sets. A credential comes from a
    variable."""
    health: HealthConfig = HealthConfig()
