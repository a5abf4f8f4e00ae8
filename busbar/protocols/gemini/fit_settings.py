"""Another dialect's settings, as this one accepts them: clamped, changed or dropped, and reported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from busbar.protocols.effort import budget_of
from busbar.protocols.fitting.settings import within
from busbar.protocols.gemini.schema_write import write_schema
from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.ir import OutputFormat, Reasoning, Request
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt

STOPS_MAX = 5
CANDIDATES_MAX = 8
LOGPROBS_MAX = 20
SEED_MIN, SEED_MAX = -(2**31), 2**31 - 1
ANSWER_TOKENS_MIN = 1024
"""What thinking leaves under `maxOutputTokens`, which bounds both, for the answer itself."""
THINKING_TOKENS_MIN = 1024

_RANGES: Mapping[str, tuple[str, float, float]] = {
    "temperature": ("temperature", 0, 2),
    "top_p": ("topP", 0, 1),
    "presence_penalty": ("presencePenalty", -2, 1.99),  # the upper bound, 2, is not in the range
    "frequency_penalty": ("frequencyPenalty", -2, 1.99),
}
_GEMINI_3 = re.compile(r"gemini-(?:[3-9]|\d\d)")
_NEVER_THINKS = re.compile(r"gemini-(?:1\.|2\.0)")
_ALWAYS_THINKS = re.compile(r"gemini-2\.5-pro")
_LEAST_BUDGET_OF_PRO = 128
_LEVELS = {"minimal": "LOW", "low": "LOW", "medium": "HIGH", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}
"""What every Gemini 3 takes; only some know the levels between."""


def fit_settings(request: Request, hop: Hop, receipt: Receipt) -> dict[str, Any]:
    """`generationConfig`, where there is anything to say."""
    config: dict[str, Any] = {}
    if request.max_tokens is not None:
        config["maxOutputTokens"] = max(1, request.max_tokens)
    for name, (key, low, high) in _RANGES.items():
        value = getattr(request, name)
        if value is not None:
            config[key] = within(value, name, low, high, receipt)
    _fit_counts(request, config, receipt)
    _fit_stops(request.stop, config, receipt)
    if request.output is not None:
        config |= _fit_output(request.output, request, hop, receipt)
    if request.reasoning is not None:
        thinking = _fit_reasoning(request.reasoning, request.max_tokens, hop.model, receipt)
        if thinking:
            config["thinkingConfig"] = thinking
    if request.user is not None:
        receipt.dropped("user", "no place in this dialect")
    return {"generationConfig": config} if config else {}


def _fit_counts(request: Request, config: dict[str, Any], receipt: Receipt) -> None:
    if request.top_k is not None:
        if request.top_k >= 1:
            config["topK"] = request.top_k
        else:
            receipt.dropped("top_k", "at least 1 here")
    if request.n is not None and request.n != 1:
        config["candidateCount"] = int(within(request.n, "n", 1, CANDIDATES_MAX, receipt))
    if request.seed is not None:
        if SEED_MIN <= request.seed <= SEED_MAX:
            config["seed"] = request.seed
        else:
            receipt.dropped("seed", "32 bits here")
    if request.logprobs:
        config["responseLogprobs"] = True
        if request.top_logprobs:
            config["logprobs"] = int(within(request.top_logprobs, "top_logprobs", 1, LOGPROBS_MAX, receipt))


def _fit_stops(stops: list[str], config: dict[str, Any], receipt: Receipt) -> None:
    """The first five; an empty one is refused."""
    kept = [(at, stop) for at, stop in enumerate(stops) if stop]
    for at, _ in kept[STOPS_MAX:]:
        receipt.dropped(f"stop[{at}]", f"at most {STOPS_MAX} here")
    if kept:
        config["stopSequences"] = [stop for _, stop in kept[:STOPS_MAX]]


def _fit_output(output: OutputFormat, request: Request, hop: Hop, receipt: Receipt) -> dict[str, Any]:
    """JSON beside functions is refused before Gemini 3 ("Function calling with a response mime type … is
    unsupported")."""
    report_leftovers(output, DIALECT, "output", receipt)
    if output.mode == "text":
        return {}
    if request.tools and not _GEMINI_3.search(hop.model):
        receipt.dropped("output", "not together with tools before Gemini 3")
        return {}
    config: dict[str, Any] = {"responseMimeType": "application/json"}
    for name in ("name", "description"):
        if getattr(output, name) is not None:
            receipt.dropped(f"output.{name}", "a schema alone")
    if output.schema is not None:
        config["responseSchema"] = write_schema(output.schema, "output.schema", receipt)
    return config


def _fit_reasoning(asked: Reasoning, max_tokens: int | None, model: str, receipt: Receipt) -> dict[str, Any]:
    report_leftovers(asked, DIALECT, "reasoning", receipt)
    if _NEVER_THINKS.search(model):
        if asked.enabled is not False:
            receipt.dropped("reasoning", "this model does not think")
        return {}
    if asked.enabled is False or asked.effort == "none" or asked.budget_tokens == 0:
        return _no_thinking(model, receipt)
    if asked.effort is not None and _GEMINI_3.search(model):
        return _level(asked.effort, receipt)
    budget = _budget(asked, max_tokens, model, receipt)
    if budget is not None:
        return {"includeThoughts": True, "thinkingBudget": budget}
    return {"includeThoughts": True} if asked.enabled or asked.adaptive else {}


def _no_thinking(model: str, receipt: Receipt) -> dict[str, Any]:
    if _GEMINI_3.search(model):
        receipt.changed("reasoning", "this model always thinks: as little as it can")
        return {"thinkingLevel": "LOW"}
    if _ALWAYS_THINKS.search(model):
        receipt.changed("reasoning", "this model always thinks: as little as it can")
        return {"thinkingBudget": _LEAST_BUDGET_OF_PRO}
    return {"thinkingBudget": 0}


def _level(effort: str, receipt: Receipt) -> dict[str, Any]:
    level = _LEVELS.get(effort, "HIGH")
    if level.lower() != effort:
        receipt.changed("reasoning.effort", f"{effort} is called {level} here")
    return {"includeThoughts": True, "thinkingLevel": level}


def _budget(asked: Reasoning, max_tokens: int | None, model: str, receipt: Receipt) -> int | None:
    budget = asked.budget_tokens
    if asked.effort is not None and (budget := budget_of(asked.effort)) is None:
        receipt.dropped("reasoning.effort", "an effort of no known size")
    if budget is None:
        return None
    most = 32768 if _ALWAYS_THINKS.search(model) or _GEMINI_3.search(model) else 24576
    room = most if max_tokens is None else min(most, max_tokens - ANSWER_TOKENS_MIN)
    if room < THINKING_TOKENS_MIN:
        receipt.dropped("reasoning", f"max_tokens {max_tokens} leaves no room for thinking")
        return None
    if budget > room:
        receipt.clamped("reasoning", f"at most {room} tokens here")
    return min(budget, room)
