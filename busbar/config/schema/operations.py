"""Who may call, how much, and what is seen of it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from busbar.config.schema.values import Bytes, Count, HeaderName, Name, Secs
from busbar.config.secret import Secret


class AuthConfig(Struct, frozen=True, kw_only=True):
    """Who may call the gateway."""

    mode: Literal["none", "token", "passthrough"] = "none"
    client_tokens: tuple[Secret, ...] = ()
    open_telemetry_routes: bool = False
    """`/stats` and `/metrics` without a credential."""


class LimitsConfig(Struct, frozen=True, kw_only=True):
    """Bounds on what callers and providers can make the gateway hold."""

    body_max_bytes: Bytes = 32 << 20
    json_depth_max: Annotated[int, Meta(ge=8, le=512)] = 128
    header_timeout_secs: Secs = 30
    body_timeout_secs: Secs = 30
    connections_max: Count = 10_000
    """Callers' connections open at once."""
    upstream_connections_max: Count = 1_000
    """Connections to all providers together."""
    connect_timeout_secs: Annotated[float, Meta(gt=0, le=600)] = 10
    drain_timeout_secs: Annotated[float, Meta(ge=0, le=3600)] = 30
    answer_max_bytes: Bytes = 64 << 20
    """A provider's answer that has to be held whole (errors, translated JSON)."""


class ObservabilityConfig(Struct, frozen=True, kw_only=True):
    """Where telemetry goes. Whatever becomes of it there, requests are served."""

    otlp_endpoint: Name | None = None
    """Base URL of an OTLP receiver over HTTP, such as http://localhost:4318; spans go to `/v1/traces` beneath it."""
    otlp_headers: dict[HeaderName, Secret] = {}
    """Sent with each export: `authorization`, say."""
    capture_content: bool = False
    """Whether spans hold what was asked and answered, up to 64 KiB of each: it may be personal, or secret."""
    request_log_webhook_url: Name | None = None
    """Gets batches of records, a JSON array in a POST."""
    request_log_webhook_secret: Secret | None = None
    """Signs them: `x-busbar-signature: sha256=<HMAC of the body, in hex>`."""
    request_log_file: Name | None = None
    """One JSON record a line."""
    request_log_file_max_bytes: Annotated[int, Meta(ge=4096, le=1 << 40)] = 100 << 20
    """A file that would become larger is put aside (`.1`, `.2`, …), and another is begun."""
    request_log_files_kept: Annotated[int, Meta(ge=0, le=1000)] = 5
    """Files that were put aside; older ones are deleted."""
    log_format: Literal["human", "json"] = "human"
    """Of the process's own log, on standard error."""
    audit_log_file: Name | None = None
    """One JSON record a line, for each change that an administrator makes, and each reload."""


class TlsConfig(Struct, frozen=True, kw_only=True):
    """The listener speaks TLS. The files are read again when they have changed."""

    certificate: Name
    """A file with the chain, in PEM, the server's own first."""
    key: Name
    """A file with the private key, in PEM, without a passphrase."""
    client_ca: Name | None = None
    """A file with the authorities, in PEM, whose clients are let in."""
    client_certificates: Literal["none", "optional", "required"] = "none"
    min_version: Literal["1.2", "1.3"] = "1.2"


class SecurityConfig(Struct, frozen=True, kw_only=True):
    """Whom the gateway may be made to call."""

    allow_private: Annotated[tuple[Name, ...], Meta(max_length=256)] = ()
    """Hosts, addresses and networks on this side of the firewall that webhooks, telemetry and token URLs may lead
    to, and by plain http. (Providers may anyway; addresses of metadata servers never.)"""
