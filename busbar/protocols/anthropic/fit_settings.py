"""Another dialect's settings, fitted to what this one accepts: clamped, changed or dropped, and reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from busbar.protocols.anthropic.fit_tools import fit_tool_choice, fit_tools
from busbar.protocols.anthropic.schema import output_schema
from busbar.protocols.anthropic.words import DIALECT
from busbar.protocols.fitting.claude_thinking import fit_claude_thinking
from busbar.protocols.fitting.settings import within_if_stated
from busbar.protocols.ir import FunctionTool, OutputFormat, Part, Reasoning, Request, ToolChoice, ToolResult
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt

CACHE_BREAKPOINTS_MAX = 4
USER_ID_CHARS_MAX = 256

_NO_PLACE: Mapping[str, Any] = {
    "seed": None,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
}
"""Settings that this dialect lacks, with the value that asks for nothing."""


def fit_settings(request: Request, hop: Hop, receipt: Receipt) -> Request:
    """`request`, whose turns fit already (`fitting.turns`), with settings that fit."""
    report_leftovers(request, DIALECT, "", receipt)
    for name, idle in _NO_PLACE.items():
        stated = getattr(request, name)
        if stated is not None and stated != idle:
            receipt.dropped(name, "no such setting")
    max_tokens = _max_tokens(request, hop, receipt)
    reasoning = None if request.reasoning is None else _reasoning(request.reasoning, request, max_tokens, receipt)
    thinks = reasoning is not None and reasoning.enabled is True
    temperature, top_p, top_k = _sampling(request, receipt, thinks=thinks)
    tools = fit_tools(request, receipt)
    choice = fit_tool_choice(request, tools, receipt, thinks=thinks)
    fitted = msgspec.structs.replace(
        request,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=False if request.parallel_tool_calls is False and _may_say_serial(choice) else None,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        stop=_stop(request.stop, receipt) if request.stop else [],
        output=None if request.output is None else _output(request.output, request, receipt),
        reasoning=reasoning,
        user=_user(request, receipt),
        native=None,
    )
    _limit_breakpoints(fitted, receipt)
    return fitted


def _may_say_serial(choice: ToolChoice | None) -> bool:
    return choice is not None and choice.mode != "none"


def _max_tokens(request: Request, hop: Hop, receipt: Receipt) -> int:
    if request.max_tokens is None:
        receipt.added("max_tokens", "required")
        return hop.default_max_tokens
    if request.max_tokens < 1:
        receipt.clamped("max_tokens", "at least 1")
        return 1
    return request.max_tokens


def _sampling(request: Request, receipt: Receipt, *, thinks: bool) -> tuple[float | None, float | None, int | None]:
    """temperature, top_p, top_k. With thinking only a high top_p may be sent.

    Newer models refuse temperature and top_p together; a temperature of 1 is the default and gives way.
    """
    temperature = within_if_stated(request.temperature, "temperature", 0, 1, receipt)
    top_p = within_if_stated(request.top_p, "top_p", 0, 1, receipt)
    top_k = request.top_k
    if top_k is not None and top_k < 1:
        receipt.dropped("top_k", "at least 1")
        top_k = None
    if thinks:
        for name, value in (("temperature", temperature), ("top_k", top_k)):
            if value is not None:
                receipt.dropped(name, "not together with thinking")
        temperature = top_k = None
        top_p = within_if_stated(top_p, "top_p", 0.95, 1, receipt)
    elif temperature is not None and top_p is not None:
        if temperature == 1:
            temperature = None
        else:
            receipt.dropped("top_p", "not together with temperature")
            top_p = None
    return temperature, top_p, top_k


def _reasoning(asked: Reasoning, request: Request, max_tokens: int, receipt: Receipt) -> Reasoning | None:
    report_leftovers(asked, DIALECT, "reasoning", receipt)
    return fit_claude_thinking(asked, request.messages, max_tokens, receipt)


def _stop(stop: list[str], receipt: Receipt) -> list[str]:
    for index, sequence in enumerate(stop):
        if not sequence.strip():
            receipt.dropped(f"stop[{index}]", "a stop sequence holds more than white space")
    return [sequence for sequence in stop if sequence.strip()]


def _output(asked: OutputFormat, request: Request, receipt: Receipt) -> OutputFormat | None:
    if asked.mode == "text":
        return None
    report_leftovers(asked, DIALECT, "output", receipt)
    if asked.mode == "json" or asked.schema is None:
        receipt.dropped("output", "output is plain or fits a schema")
        return None
    if request.messages[-1].role == "assistant":
        receipt.dropped("output", "not together with a prefill")
        return None
    for name in ("name", "description"):
        if getattr(asked, name) is not None:
            receipt.dropped(f"output.{name}", "a schema alone")
    schema = output_schema(asked.schema)
    if schema != asked.schema:
        receipt.changed("output.schema", "objects are closed, bounds are left out")
    return OutputFormat(mode="schema", schema=schema)


def _user(request: Request, receipt: Receipt) -> str | None:
    if request.user is not None and len(request.user) > USER_ID_CHARS_MAX:
        receipt.dropped("user", f"at most {USER_ID_CHARS_MAX} characters")
        return None
    return request.user


def _limit_breakpoints(request: Request, receipt: Receipt) -> None:
    """Keeps the last breakpoints: each covers everything before it, so the last ones cover most."""
    holders: list[Any] = [tool for tool in request.tools if isinstance(tool, FunctionTool) and tool.cache is not None]
    holders += _cached(request.system)
    for message in request.messages:
        holders += _cached(message.parts)
    for node in holders[:-CACHE_BREAKPOINTS_MAX]:
        node.cache = None
        receipt.dropped("cache_control", f"at most {CACHE_BREAKPOINTS_MAX} breakpoints")


def _cached(parts: list[Part]) -> list[Part]:
    """Those that bear a breakpoint; what a tool's result holds comes before the result."""
    found: list[Part] = []
    for part in parts:
        if isinstance(part, ToolResult):
            found += _cached(part.content)
        if getattr(part, "cache", None) is not None:
            found.append(part)
    return found
