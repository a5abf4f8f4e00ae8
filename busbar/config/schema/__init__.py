"""The configuration, typed: these structs are the schema that files are read by and what the gateway is built from.

Types, defaults and ranges stand here and nowhere else; `read.py` derives the legal keys and the error texts from
them. The text below a field of `ConfigFile` and its sections is what an operator reads about the key, in the
reference and in an editor (`describe.py`). A field called `name` is not a key: it takes the key under which its
section stands. Cross-references are resolved by `load`, so that a user of a `Config` needs no further look-ups.
"""

from busbar.config.schema.governance import (
    Cents,
    Dollars,
    GovernanceConfig,
    PriceChange,
    PriceConfig,
    Prices,
    PriceTier,
    TiersOfPrices,
)
from busbar.config.schema.operations import (
    AuthConfig,
    LimitsConfig,
    ObservabilityConfig,
    SecurityConfig,
    TlsConfig,
)
from busbar.config.schema.providers import (
    BodyValue,
    HealthConfig,
    IdentityConfig,
    KeySource,
    ProviderConfig,
    ProviderEntry,
)
from busbar.config.schema.routing import (
    AffinityConfig,
    BreakerConfig,
    ExhaustedConfig,
    FailoverConfig,
    MemberConfig,
    ModelConfig,
    PoolConfig,
    RetryConfig,
    SupervisionConfig,
    TripConfig,
)
from busbar.config.schema.values import (
    HEADER_NAME_PATTERN,
    AuthStyle,
    Bytes,
    Command,
    Count,
    EnvironmentName,
    FilePath,
    HeaderName,
    Millis,
    Name,
    PathTemplate,
    ProtocolName,
    Secs,
    Tokens,
    UpstreamEngine,
    Url,
)
from busbar.config.schema.whole import (
    SHORTHANDS,
    Config,
    ConfigFile,
)

__all__ = [
    "HEADER_NAME_PATTERN",
    "SHORTHANDS",
    "AffinityConfig",
    "AuthConfig",
    "AuthStyle",
    "BodyValue",
    "BreakerConfig",
    "Bytes",
    "Cents",
    "Command",
    "Config",
    "ConfigFile",
    "Count",
    "Dollars",
    "EnvironmentName",
    "ExhaustedConfig",
    "FailoverConfig",
    "FilePath",
    "GovernanceConfig",
    "HeaderName",
    "HealthConfig",
    "IdentityConfig",
    "KeySource",
    "LimitsConfig",
    "MemberConfig",
    "Millis",
    "ModelConfig",
    "Name",
    "ObservabilityConfig",
    "PathTemplate",
    "PoolConfig",
    "PriceChange",
    "PriceConfig",
    "PriceTier",
    "Prices",
    "ProtocolName",
    "ProviderConfig",
    "ProviderEntry",
    "RetryConfig",
    "Secs",
    "SecurityConfig",
    "SupervisionConfig",
    "TiersOfPrices",
    "TlsConfig",
    "Tokens",
    "TripConfig",
    "UpstreamEngine",
    "Url",
]
