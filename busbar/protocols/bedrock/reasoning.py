"""How much to think, both ways. The API has no field of its own for it: each family of models takes its own.

    thinking {type, budget_tokens}                  Claude; `reasoning_config` in older callers
    output_config.effort, outputConfig.effort       Claude, where the model decides how much
    reasoning_effort                                gpt-oss
    reasoning_config                                Qwen: the effort alone
    reasoningConfig {type, maxReasoningEffort}      Nova

The form of a `Reasoning` is the two places that it was read from: of the object, and of the effort (None: not there).
"""

from __future__ import annotations

from typing import Any

from busbar.protocols.bedrock.places import EXTRA, Place, look_at, put_at, take_from
from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.fields import take_int
from busbar.protocols.ir import Reasoning
from busbar.protocols.native import Native, own_fields, own_form

THINKING: Place = (EXTRA, "thinking")
REASONING_EFFORT: Place = (EXTRA, "reasoning_effort")
_NOVA: Place = (EXTRA, "reasoningConfig")
_CONFIGS: tuple[Place, ...] = (THINKING, (EXTRA, "reasoning_config"), _NOVA)
_EFFORTS: tuple[Place, ...] = (
    (EXTRA, "output_config", "effort"),
    ("outputConfig", "effort"),
    REASONING_EFFORT,
    (EXTRA, "reasoning_config"),
)
_NOVA_EFFORT: Place = (*_NOVA, "maxReasoningEffort")
_KINDS = ("enabled", "disabled", "adaptive")


def take_reasoning(left: dict[str, Any]) -> Reasoning | None:
    """Takes what asks for thinking. Another kind than the known ones stays a leftover. Raises `InvalidRequest`."""
    config = next((place for place in _CONFIGS if _is_config(look_at(left, place))), None)
    if config is None:
        effort = next((place for place in _EFFORTS if isinstance(look_at(left, place), str)), None)
        if effort is None:
            return None
        return Reasoning(effort=take_from(left, effort), native=Native(DIALECT, {}, (None, effort)))
    inner = dict(take_from(left, config))
    kind = inner.pop("type")
    reasoning = Reasoning(enabled=kind != "disabled", adaptive=kind == "adaptive")
    reasoning.budget_tokens = take_int(inner, "budget_tokens", ".".join(config))
    effort = None
    if config == _NOVA and isinstance(inner.get("maxReasoningEffort"), str):
        reasoning.effort, effort = inner.pop("maxReasoningEffort"), _NOVA_EFFORT
    elif reasoning.budget_tokens is None:
        effort = next((place for place in _EFFORTS if isinstance(look_at(left, place), str)), None)
        reasoning.effort = None if effort is None else take_from(left, effort)
    reasoning.native = Native(DIALECT, inner, (config, effort))
    return reasoning


def put_reasoning(document: dict[str, Any], reasoning: Reasoning) -> None:
    """Puts it where it was, or where another dialect's belongs: Claude's object, gpt-oss's effort."""
    config, effort = own_form(reasoning, DIALECT) or (THINKING, REASONING_EFFORT)
    if reasoning.enabled is not None:
        kind = "disabled" if reasoning.enabled is False else "adaptive" if reasoning.adaptive else "enabled"
        written: dict[str, Any] = {"type": kind}
        if reasoning.budget_tokens is not None:
            written["budget_tokens"] = reasoning.budget_tokens
        put_at(document, config, {**written, **own_fields(reasoning, DIALECT)})
    if reasoning.effort is not None:
        put_at(document, effort, reasoning.effort)


def _is_config(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") in _KINDS
