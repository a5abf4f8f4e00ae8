"""Who may call, how much, and what is seen of it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from busbar.config.schema.values import Bytes, Count, FilePath, HeaderName, Secs, Url
from busbar.config.secret import Secret


class AuthConfig(Struct, frozen=True, kw_only=True):
    """Who may call the gateway."""

    mode: Literal["none", "token", "passthrough"] = "none"
    """`none`: everybody; `token`: callers bring one of `client_tokens`; `passthrough`: the caller's own key goes
    upstream."""
    client_tokens: tuple[Secret, ...] = ()
    """At least one in mode `token`. With [governance](governance.md) these are the operator's own, let in beside
    virtual keys and not governed."""
    open_telemetry_routes: bool = False
    """Serve `/stats` and `/metrics` without a credential. Else they want what callers need; with governance the admin
    token, or one of `client_tokens`."""


class LimitsConfig(Struct, frozen=True, kw_only=True):
    """Bounds on what callers and providers can make the gateway hold."""

    body_max_bytes: Bytes = 32 << 20
    """A caller's body; above it 413."""
    json_depth_max: Annotated[int, Meta(ge=8, le=512)] = 128
    """Nesting of a caller's JSON; above it 400."""
    headers_max_bytes: Bytes = 64 << 10
    """All of a request's headers together, at most 100 and each within 32 KiB; above it 431."""
    header_timeout_secs: Secs = 30
    """For a caller to send its headers, or to finish the handshake of TLS."""
    body_timeout_secs: Secs = 30
    """For a caller to send its body."""
    write_timeout_secs: Secs = 60
    """For a caller to take what it was sent; one that stops reading is cut off, and its provider with it."""
    idle_timeout_secs: Secs = 75
    """For the next request on a kept connection. Longer than that of a load balancer in front."""
    connections_max: Count = 10_000
    """Callers' connections open at once."""
    upstream_connections_max: Count = 1_000
    """Connections to all providers together."""
    connect_timeout_secs: Annotated[float, Meta(gt=0, le=600)] = 10
    """To reach a provider, TLS included."""
    drain_timeout_secs: Annotated[float, Meta(ge=0, le=3600)] = 30
    """For running requests to finish at shutdown."""
    answer_max_bytes: Bytes = 64 << 20
    """A provider's answer that has to be held whole (errors, translated JSON)."""


class ObservabilityConfig(Struct, frozen=True, kw_only=True):
    """Where telemetry goes. Whatever becomes of it there, requests are served."""

    otlp_endpoint: Url | None = None
    """Base URL of an OpenTelemetry receiver (OTLP over HTTP), such as `http://localhost:4318`; spans go to
    `/v1/traces` beneath it."""
    otlp_headers: dict[HeaderName, Secret] = {}
    """Sent with each export: `authorization`, say."""
    capture_content: bool = False
    """Whether spans hold what was asked and answered, up to 64 KiB of each: it may be personal, or secret."""
    request_log_webhook_url: Url | None = None
    """Gets a record of each request, in batches: a JSON array in a POST."""
    request_log_webhook_secret: Secret | None = None
    """Signs them: `x-busbar-signature: sha256=<HMAC of the body, in hex>`."""
    request_log_file: FilePath | None = None
    """Gets the same records, one a line."""
    request_log_file_max_bytes: Annotated[int, Meta(ge=4096, le=1 << 40)] = 100 << 20
    """A file that would become larger is put aside (`.1`, `.2`, …), and another is begun."""
    request_log_files_kept: Annotated[int, Meta(ge=0, le=1000)] = 5
    """Files that were put aside; older ones are deleted."""
    log_format: Literal["human", "json"] = "human"
    """Of the process's own log, on standard error."""
    audit_log_file: FilePath | None = None
    """A JSON record of each change that an administrator makes, and of each reload, one a line."""


class TlsConfig(Struct, frozen=True, kw_only=True):
    """The listener speaks TLS. The files are read again when they have changed."""

    certificate: FilePath
    """A file with the chain, in PEM, the server's own first."""
    key: FilePath
    """A file with the private key, in PEM, without a passphrase."""
    client_ca: FilePath | None = None
    """A file with the authorities, in PEM, whose clients are let in."""
    client_certificates: Literal["none", "optional", "required"] = "none"
    """Whether callers show a certificate; one that is shown has to be from `client_ca`."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is spoken."""


class SecurityConfig(Struct, frozen=True, kw_only=True):
    """Whom the gateway may be made to call."""

    allow_private: Annotated[
        tuple[Annotated[str, Meta(min_length=1, title="hosts, addresses and networks")], ...], Meta(max_length=256)
    ] = ()
    """Where on this side of the firewall webhooks, telemetry and token URLs may lead to, and by plain http. Providers
    may anyway; metadata servers' addresses never."""
