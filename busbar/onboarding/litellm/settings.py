"""`litellm_settings`, `general_settings` and what else stands at the top → sections of Busbar's."""

from __future__ import annotations

from typing import Any, TypeAlias

from busbar.config.problems import shown
from busbar.onboarding.litellm.accounts import Accounts, Literals
from busbar.onboarding.litellm.advice import CALLBACKS, GENERAL, LITELLM, ROUTER, TOP, Advice
from busbar.onboarding.litellm.params import Params, named, reference
from busbar.onboarding.litellm.report import Findings
from busbar.onboarding.litellm.source import Values
from busbar.onboarding.yaml_text import Value, Variable

Section: TypeAlias = dict[str, Value]

SECTIONS = ("model_list", "router_settings", "litellm_settings", "general_settings", "credential_list")

_CALLBACKS = ("callbacks", "success_callback", "failure_callback", "service_callback", "audit_log_callbacks")
_HEALTH_SECS = 300.0
"""LiteLLM's interval of health checks, where the file says none."""


def general(given: Params, accounts: Accounts, literals: Literals, findings: Findings) -> Section:
    """Sections that `general_settings` become; health checks go to every account."""
    sections: Section = {}
    master = given.take("master_key")
    with_keys = given.take("database_url") is not None
    if master is not None:
        sections |= _master_key(str(master), with_keys, literals, findings)
    elif not with_keys:
        findings.changed(
            "general_settings.master_key", "there is none: without `auth`, whoever reaches the gateway can use it"
        )
    if with_keys:
        kind, advice = GENERAL["database_url"]
        findings.add(kind, "general_settings.database_url", advice, "")
    if (size := given.number("max_request_size_mb")) is not None and size > 0:
        sections["limits"] = {"body_max_bytes": min(max(int(size * (1 << 20)), 1024), 1 << 30)}
    secs = given.number("health_check_interval")
    if given.flag("background_health_checks"):
        interval = min(secs or _HEALTH_SECS, 86_400)
        for entry in accounts.entries.values():
            entry["health"] = {"mode": "active", "interval_secs": interval}
    _leftovers(given, GENERAL, "general_settings", findings)
    return sections


def _master_key(master: str, with_keys: bool, literals: Literals, findings: Findings) -> Section:
    """It opened everything there: the gateway as a client token, and the administration where there are keys."""
    held = reference(master)
    if held is None:
        held = Variable(literals.variable(master, "LITELLM_MASTER_KEY"))
        findings.to_do("master_key", f"a secret stands in LiteLLM's file; it was not copied: set ${held.name} to it")
    findings.changed(
        "general_settings.master_key",
        "it is a client token here"
        + (
            ", and the admin token: better two different ones"
            if with_keys
            else "; keys for others: docs/governance.md"
        ),
    )
    auth: Section = {"mode": "token", "client_tokens": [held]}
    return {"auth": auth, **({"governance": {"enabled": True, "admin_token": held}} if with_keys else {})}


def litellm(given: Params, findings: Findings) -> Section:
    """What of `litellm_settings` is neither routing nor callbacks."""
    for key in _CALLBACKS:
        for word in given.items(key):
            kind, advice = CALLBACKS.get(str(word), CALLBACKS["*"])
            findings.add(kind, f"callback {named(word)}", advice, key)
    sections: Section = {"observability": {"log_format": "json"}} if given.flag("json_logs") else {}
    _leftovers(given, LITELLM, "litellm_settings", findings)
    return sections


def router_leftovers(given: Params, findings: Findings) -> None:
    _leftovers(given, ROUTER, "router_settings", findings)


def top(values: Values, findings: Findings) -> None:
    """Whatever else stands at the top of the file."""
    for key, value in values.items():
        if key == "environment_variables" and isinstance(value, dict):
            names = ", ".join(f"${named(name)}" for name in value)
            findings.to_do(
                key, f"their values were not copied: set them in Busbar's environment where needed: {names}"
            )
        elif key not in SECTIONS and value:
            kind, advice = TOP.get(key, TOP["*"])
            findings.add(kind, named(key), advice, "")


def credentials(written: Any) -> dict[str, Values]:
    """`credential_list` by name."""
    found: dict[str, Values] = {}
    for entry in written if isinstance(written, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("credential_values"), dict):
            found[str(entry.get("credential_name"))] = entry["credential_values"]
    return found


def _leftovers(given: Params, advice: Advice, section: str, findings: Findings) -> None:
    for key in given.left():
        kind, words = advice.get(key, advice["*"])
        findings.add(kind, f"{section}.{shown(key).strip('`')}", words, "")
