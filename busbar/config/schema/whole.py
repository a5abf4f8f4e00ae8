"""The operator's file, section by section, and what is made of it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from busbar.config.schema.governance import GovernanceConfig
from busbar.config.schema.operations import AuthConfig, LimitsConfig, ObservabilityConfig, SecurityConfig, TlsConfig
from busbar.config.schema.providers import ProviderConfig, ProviderEntry
from busbar.config.schema.routing import ModelConfig, PoolConfig
from busbar.config.schema.values import UpstreamEngine

SHORTHANDS = {"pools.*.on_exhausted": "action", "pools.*.supervision": "policy"}
"""Sections that may be written as one word: pattern → the key that the word stands for."""


class Config(Struct, frozen=True, kw_only=True):
    """Everything an operator said, checked and complete."""

    listen_host: str
    listen_port: int
    """0 lets the system choose."""
    auth: AuthConfig = AuthConfig()
    providers: dict[str, ProviderConfig] = {}
    models: dict[str, ModelConfig] = {}
    pools: dict[str, PoolConfig] = {}
    limits: LimitsConfig = LimitsConfig()
    observability: ObservabilityConfig = ObservabilityConfig()
    governance: GovernanceConfig = GovernanceConfig()
    upstream_engine: UpstreamEngine = "auto"
    tls: TlsConfig | None = None
    security: SecurityConfig = SecurityConfig()
    workers: int = 1
    workers_control: tuple[str, int] | None = None
    """Host, and the first worker's port."""
    worker: int | None = None
    """Which of the workers this is, from 1 on, and what it says here is its share; None: it is the whole."""
    notes: tuple[str, ...] = ()
    """What an operator may want to know and nothing has to be done about."""


class ConfigFile(Struct, frozen=True, kw_only=True):
    """The operator's file, section by section."""

    listen: Annotated[str, Meta(title="`HOST:PORT`")] = "127.0.0.1:8080"
    """Address to serve on; IPv6 as `[::1]:8080`. Port 0 lets the system choose."""
    auth: AuthConfig = AuthConfig()
    providers: dict[str, ProviderEntry] = {}
    """Upstream accounts you use. A name from the catalog needs nothing more than `{}`."""
    models: dict[str, ModelConfig] = {}
    """Models you offer, by the names that callers ask for."""
    pools: dict[str, PoolConfig] = {}
    """Weighted lists of models, by the names that callers ask for."""
    observability: ObservabilityConfig = ObservabilityConfig()
    governance: GovernanceConfig = GovernanceConfig()
    limits: LimitsConfig = LimitsConfig()
    upstream_engine: UpstreamEngine = "auto"
    """The HTTP client that speaks to providers: `lean` is the fast one and knows no proxies; `aiohttp` honours
    `HTTPS_PROXY` and its kin; `auto` is `lean` wherever no proxy is named."""
    tls: TlsConfig | None = None
    security: SecurityConfig = SecurityConfig()
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    """Processes on this machine that serve one address together, each with its share of every model's slots. More
    than one needs a system whose SO_REUSEPORT spreads connections, and no governance."""
    workers_control: Annotated[str, Meta(title="`HOST:PORT`")] | None = None
    """Where each worker can be asked by itself, for `/metrics` and `/stats`: the first at this port, the next at the
    next one. On the common address whichever worker answers shows its own figures."""
