"""Supervision policies by name: what stands in a pool's `supervision` section, as the policy that judges for it."""

from busbar.supervision.find import (
    BUILT_IN,
    GROUP,
    PolicyFactory,
    PolicyRejected,
    breaker_settings,
    complaints,
    find_policy,
)

__all__ = [
    "BUILT_IN",
    "GROUP",
    "PolicyFactory",
    "PolicyRejected",
    "breaker_settings",
    "complaints",
    "find_policy",
]
