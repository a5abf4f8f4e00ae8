"""The operator's file, section by section, and what is made of it."""

from __future__ import annotations

from msgspec import Struct

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
    notes: tuple[str, ...] = ()
    """What an operator may want to know and nothing has to be done about."""


class ConfigFile(Struct, frozen=True, kw_only=True):
    """The operator's file, section by section."""

    listen: str = "127.0.0.1:8080"
    auth: AuthConfig = AuthConfig()
    providers: dict[str, ProviderEntry] = {}
    models: dict[str, ModelConfig] = {}
    pools: dict[str, PoolConfig] = {}
    observability: ObservabilityConfig = ObservabilityConfig()
    governance: GovernanceConfig = GovernanceConfig()
    limits: LimitsConfig = LimitsConfig()
    upstream_engine: UpstreamEngine = "auto"
    tls: TlsConfig | None = None
    security: SecurityConfig = SecurityConfig()
