"""How much to think: `reasoning_effort` at OpenAI, `reasoning` at OpenRouter, `thinking` at DeepSeek and Z.AI."""

from __future__ import annotations

from typing import Any

from busbar.protocols.effort import effort_of
from busbar.protocols.ir import Reasoning
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.openai.words import DIALECT
from busbar.protocols.receipt import Receipt

_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh"})


def read_reasoning(left: dict[str, Any]) -> Reasoning | None:
    """Takes the first of the three fields that says something; the form is its name."""
    effort = left.get("reasoning_effort")
    if isinstance(effort, str) and effort:
        del left["reasoning_effort"]
        native = Native(DIALECT, form="reasoning_effort")
        if effort == "none":
            return Reasoning(enabled=False, native=native)
        return Reasoning(effort=effort, native=native)
    return _read_openrouter(left) or _read_switch(left)


def _read_openrouter(left: dict[str, Any]) -> Reasoning | None:
    given = left.get("reasoning")
    if not isinstance(given, dict) or not given:
        return None
    del left["reasoning"]
    rest = dict(given)
    enabled = rest.pop("enabled") if isinstance(rest.get("enabled"), bool) else None
    effort = rest.pop("effort") if isinstance(rest.get("effort"), str) else None
    budget = rest.pop("max_tokens") if effort is None and isinstance(rest.get("max_tokens"), int) else None
    return Reasoning(enabled=enabled, effort=effort, budget_tokens=budget, native=Native(DIALECT, rest, "reasoning"))


def _read_switch(left: dict[str, Any]) -> Reasoning | None:
    given = left.get("thinking")
    if not isinstance(given, dict) or given.get("type") not in ("enabled", "disabled"):
        return None
    del left["thinking"]
    rest = dict(given)
    enabled = rest.pop("type") == "enabled"
    budget = rest.pop("budget_tokens") if isinstance(rest.get("budget_tokens"), int) else None
    return Reasoning(enabled=enabled, budget_tokens=budget, native=Native(DIALECT, rest, "thinking"))


def write_reasoning(reasoning: Reasoning, receipt: Receipt) -> dict[str, Any]:
    """The fields that say it: those that it came in, or `reasoning_effort` for another dialect's."""
    left = own_fields(reasoning, DIALECT)
    match own_form(reasoning, DIALECT):
        case "reasoning_effort":
            return {"reasoning_effort": "none" if reasoning.enabled is False else reasoning.effort}
        case "reasoning":
            given = {"enabled": reasoning.enabled, "effort": reasoning.effort, "max_tokens": reasoning.budget_tokens}
            return {"reasoning": {**left, **{key: value for key, value in given.items() if value is not None}}}
        case "thinking":
            switch: dict[str, Any] = {**left, "type": "enabled" if reasoning.enabled else "disabled"}
            if reasoning.budget_tokens is not None:
                switch["budget_tokens"] = reasoning.budget_tokens
            return {"thinking": switch}
        case _:
            return _write_effort(reasoning, receipt)


def _write_effort(reasoning: Reasoning, receipt: Receipt) -> dict[str, Any]:
    report_leftovers(reasoning, DIALECT, "reasoning", receipt)
    if reasoning.effort is not None:
        if reasoning.effort in _EFFORTS:
            return {"reasoning_effort": reasoning.effort}
        receipt.changed("reasoning.effort", f"{reasoning.effort} is called high here")
        return {"reasoning_effort": "high"}
    if reasoning.enabled is False or reasoning.budget_tokens is None:
        receipt.dropped("reasoning", "models of this dialect decide by themselves")
        return {}
    word = effort_of(reasoning.budget_tokens)
    receipt.changed("reasoning.budget_tokens", f"said as effort {word}")
    return {"reasoning_effort": word}
