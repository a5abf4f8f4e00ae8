"""`router_settings`, and those of `litellm_settings` that say the same → what pools share."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.onboarding.litellm.deployments import millis
from busbar.onboarding.litellm.params import Params, named
from busbar.onboarding.litellm.report import Findings
from busbar.onboarding.yaml_text import Value

STRATEGIES = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "latency-based-routing": "fastest",
    "cost-based-routing": "cheapest",
}
_BY_USAGE = ("usage-based-routing", "usage-based-routing-v2")

CAP_MAX, SAME_MEMBER_MAX, CONSECUTIVE_MAX = 64, 16, 1024
COOLDOWN_SECS_MAX, DEADLINE_SECS_MAX = 86_400, 3600


class Routing(Struct, frozen=True, kw_only=True):
    """What applies to all groups."""

    strategy: str = "weighted"
    retries: int | None = None
    """None: LiteLLM's default, two."""
    breaker: dict[str, Value] = {}
    deadline_secs: float | None = None
    stream_timeout_ms: int | None = None
    fallbacks: dict[str, tuple[str, ...]] = {}
    default_fallbacks: tuple[str, ...] = ()
    aliases: dict[str, str] = {}


def read_routing(router: Params, litellm: Params, findings: Findings) -> Routing:
    """The router's own word comes first."""

    def first(key: str, other: str | None = None) -> float | None:
        mine, theirs = router.number(key), litellm.number(other or key)
        return theirs if mine is None else mine

    retries = first("num_retries")
    deadline = first("timeout", "request_timeout")
    return Routing(
        strategy=_strategy(router, findings),
        retries=None if retries is None else int(retries),
        breaker=_breaker(first("allowed_fails"), first("cooldown_time"), router.flag("disable_cooldowns"), findings),
        deadline_secs=min(deadline, DEADLINE_SECS_MAX) if deadline else None,
        stream_timeout_ms=millis(router.number("stream_timeout")),
        fallbacks=_fallbacks(router.items("fallbacks") or litellm.items("fallbacks"), litellm, findings),
        default_fallbacks=_names([*router.items("default_fallbacks"), *litellm.items("default_fallbacks")]),
        aliases=_aliases(router.table("model_group_alias"), findings),
    )


def _strategy(router: Params, findings: Findings) -> str:
    written = router.take("routing_strategy")
    if written is None:
        return "weighted"
    if isinstance(written, str) and written in STRATEGIES:
        return STRATEGIES[written]
    if isinstance(written, str) and written in _BY_USAGE:
        findings.changed(
            "routing_strategy",
            "least_busy goes by requests that are running, not by tokens a minute",
            "router_settings",
        )
        return "least_busy"
    findings.changed("routing_strategy", f"{named(written)} is not known here; members are picked by weight")
    return "weighted"


def _breaker(
    allowed_fails: float | None, cooldown: float | None, disabled: bool, findings: Findings
) -> dict[str, Value]:
    breaker: dict[str, Value] = {}
    if disabled:
        findings.changed(
            "disable_cooldowns", "there is always a breaker; it opens here only when all of many requests fail"
        )
        return {"trip": {"mode": "error_rate", "threshold": 1, "min_requests": 1024}}
    if cooldown is not None:
        secs = min(max(cooldown, 1.0), COOLDOWN_SECS_MAX)
        breaker |= {"base_cooldown_secs": secs, "max_cooldown_secs": secs}
    if allowed_fails is not None:
        breaker["trip"] = {"mode": "consecutive", "consecutive_n": min(int(allowed_fails) + 1, CONSECUTIVE_MAX)}
        findings.changed("allowed_fails", "failures in a row are counted, not failures a minute", "router_settings")
    return breaker


def _fallbacks(written: list[Any], litellm: Params, findings: Findings) -> dict[str, tuple[str, ...]]:
    """`[{group: [others]}]` as one table; "*" speaks for all others."""
    litellm.take("fallbacks")
    found: dict[str, tuple[str, ...]] = {}
    for entry in written:
        for group, targets in entry.items() if isinstance(entry, dict) else ():
            if any(not isinstance(target, str) for target in (targets if isinstance(targets, list) else [])):
                findings.changed("fallbacks", "a fallback with parameters of its own needs a model_name of its own")
            found.setdefault(str(group), _names(targets if isinstance(targets, list) else [targets]))
    if any(len(targets) > 1 for targets in found.values()):
        findings.changed(
            "fallbacks", "a pool falls back on one other, and that on the next: only the first was taken"
        )
    return found


def _aliases(written: dict[str, Any], findings: Findings) -> dict[str, str]:
    found = {}
    for alias, target in written.items():
        model = target.get("model") if isinstance(target, dict) else target
        if isinstance(target, dict) and target.get("hidden"):
            findings.changed("model_group_alias", "an alias is listed like any other name; `hidden` is not known")
        if isinstance(model, str):
            found[str(alias)] = model
    return found


def _names(written: list[Any]) -> tuple[str, ...]:
    return tuple(name for name in written if isinstance(name, str))
