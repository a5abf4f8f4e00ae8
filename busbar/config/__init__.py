"""What an operator writes, as typed and checked values.

`load` finds and reads the two files; `loads` takes their texts. Both give a `Config`, or raise `ConfigErrors` with
every problem at once.
"""

from busbar.config.load import load, loads, parse_listen
from busbar.config.problems import ConfigErrors, Problem
from busbar.config.schema import (
    AffinityConfig,
    AuthConfig,
    BreakerConfig,
    Config,
    FailoverConfig,
    HealthConfig,
    LimitsConfig,
    MemberConfig,
    ModelConfig,
    PoolConfig,
    ProviderConfig,
    TripConfig,
)
from busbar.config.secret import Secret, encode_hook
from busbar.config.support import SUPPORTED_PROTOCOLS

__all__ = [
    "SUPPORTED_PROTOCOLS",
    "AffinityConfig",
    "AuthConfig",
    "BreakerConfig",
    "Config",
    "ConfigErrors",
    "FailoverConfig",
    "HealthConfig",
    "LimitsConfig",
    "MemberConfig",
    "ModelConfig",
    "PoolConfig",
    "Problem",
    "ProviderConfig",
    "Secret",
    "TripConfig",
    "encode_hook",
    "load",
    "loads",
    "parse_listen",
]
