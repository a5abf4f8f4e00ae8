"""Another dialect's settings, fitted to what this one accepts: clamped, changed or dropped, and reported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from busbar.protocols.bedrock.fit_reasoning import fit_reasoning
from busbar.protocols.bedrock.fit_tools import fit_tool_choice, fit_tools
from busbar.protocols.bedrock.models import Family, family_of
from busbar.protocols.bedrock.schema import output_schema
from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.fitting.settings import within_if_stated
from busbar.protocols.ir import Cache, OutputFormat, Request
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt

CACHE_POINTS_MAX = 4
STOP_SEQUENCES_MAX = 4
USER_CHARS_MAX = 256

_USER = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]+\Z")
_NOT_IN_OUTPUT_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NO_PLACE: Mapping[str, Any] = {
    "seed": None,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "parallel_tool_calls": True,
}
"""Settings that this dialect lacks, with the value that asks for nothing."""


def fit_settings(request: Request, hop: Hop, receipt: Receipt) -> Request:
    """`request`, whose turns fit already (`fit_turns`), with settings that fit."""
    report_leftovers(request, DIALECT, "", receipt)
    for name, idle in _NO_PLACE.items():
        if getattr(request, name) not in (None, idle):
            receipt.dropped(name, "no such setting")
    family = family_of(hop.model)
    max_tokens = _max_tokens(request, receipt)
    reasoning = fit_reasoning(request, family, max_tokens or hop.default_max_tokens, receipt)
    thinks = reasoning is not None and reasoning.budget_tokens is not None
    if thinks and max_tokens is None:
        receipt.added("max_tokens", "a thinking budget stands under it")
        max_tokens = hop.default_max_tokens
    temperature, top_p, top_k = _sampling(request, family, receipt, thinks=thinks)
    tools = fit_tools(request, family, receipt)
    fitted = msgspec.structs.replace(
        request,
        tools=tools,
        tool_choice=fit_tool_choice(request, tools, receipt, thinks=thinks),
        parallel_tool_calls=None,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        stop=_stop(request, receipt),
        output=_output(request, receipt),
        reasoning=reasoning,
        user=_user(request, receipt),
        native=None,
    )
    _limit_cache_points(fitted, receipt)
    return fitted


def _max_tokens(request: Request, receipt: Receipt) -> int | None:
    if request.max_tokens is not None and request.max_tokens < 1:
        receipt.clamped("max_tokens", "at least 1")
        return 1
    return request.max_tokens


def _sampling(
    request: Request, family: Family, receipt: Receipt, *, thinks: bool
) -> tuple[float | None, float | None, int | None]:
    """temperature, top_p, top_k. With thinking Claude takes only a high top_p. Its newer models refuse temperature
    and top_p together; a temperature of 1 is the default and gives way."""
    temperature = within_if_stated(request.temperature, "temperature", 0, 1, receipt)
    top_p = within_if_stated(request.top_p, "top_p", 0, 1, receipt)
    top_k = request.top_k
    if top_k is not None and (top_k < 1 or family not in ("claude", "nova")):
        receipt.dropped("top_k", "at least 1" if top_k < 1 else "not known to be a model that takes it")
        top_k = None
    if thinks:
        for name, value in (("temperature", temperature), ("top_k", top_k)):
            if value is not None:
                receipt.dropped(name, "not together with thinking")
        return None, within_if_stated(top_p, "top_p", 0.95, 1, receipt), None
    if family == "claude" and temperature is not None and top_p is not None:
        if temperature == 1:
            return None, top_p, top_k
        receipt.dropped("top_p", "not together with temperature")
        return temperature, None, top_k
    return temperature, top_p, top_k


def _stop(request: Request, receipt: Receipt) -> list[str]:
    kept: list[str] = []
    for index, sequence in enumerate(request.stop):
        if not sequence.strip():
            receipt.dropped(f"stop[{index}]", "a stop sequence holds more than white space")
        elif len(kept) == STOP_SEQUENCES_MAX:
            receipt.dropped(f"stop[{index}]", f"at most {STOP_SEQUENCES_MAX} stop sequences")
        else:
            kept.append(sequence)
    return kept


def _output(request: Request, receipt: Receipt) -> OutputFormat | None:
    asked = request.output
    if asked is None or asked.mode == "text":
        return None
    report_leftovers(asked, DIALECT, "output", receipt)
    if asked.mode == "json" or asked.schema is None:
        receipt.dropped("output", "output is plain or fits a schema")
        return None
    if request.messages[-1].role == "assistant":
        receipt.dropped("output", "not together with a prefill")
        return None
    schema = output_schema(asked.schema)
    if schema != asked.schema:
        receipt.changed("output.schema", "objects are closed, bounds are left out")
    name = None if asked.name is None else _NOT_IN_OUTPUT_NAMES.sub("_", asked.name)
    return OutputFormat(mode="schema", schema=schema, name=name or None, description=asked.description or None)


def _user(request: Request, receipt: Receipt) -> str | None:
    user = request.user
    if user and (len(user) > USER_CHARS_MAX or _USER.match(user) is None):
        receipt.dropped("user", f"at most {USER_CHARS_MAX} of letters, digits, white space and :_@$#=/+,-.")
        return None
    return user or None


def _limit_cache_points(request: Request, receipt: Receipt) -> None:
    """Keeps the last cache points: each covers everything before it, so the last ones cover most."""
    parts = [*request.system, *(part for message in request.messages for part in message.parts)]
    holders = [node for node in (*request.tools, *parts) if isinstance(getattr(node, "cache", None), Cache)]
    for node in holders[:-CACHE_POINTS_MAX]:
        node.cache = None  # type: ignore[union-attr]
        receipt.dropped("cache_control", f"at most {CACHE_POINTS_MAX} cache points")
