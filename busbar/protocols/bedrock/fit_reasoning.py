"""How much to think, as each family of models asks for it. Models of other families have no such setting."""

from __future__ import annotations

from busbar.protocols.bedrock.models import Family
from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.effort import effort_of
from busbar.protocols.fitting.claude_thinking import UNSTATED_EFFORT, fit_claude_thinking, is_off
from busbar.protocols.ir import Reasoning, Request
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt

_GPT_OSS_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium"}
"""Any more is `high`."""


def fit_reasoning(request: Request, family: Family, max_tokens: int, receipt: Receipt) -> Reasoning | None:
    """`max_tokens` bounds the answer of `request`, stated or not."""
    asked = request.reasoning
    if asked is None:
        return None
    report_leftovers(asked, DIALECT, "reasoning", receipt)
    if family == "claude":
        return fit_claude_thinking(asked, request.messages, max_tokens, receipt)
    if is_off(asked) or (asked.effort is None and asked.budget_tokens is None and not asked.enabled):
        return None
    if family == "gpt-oss":
        effort = asked.effort or (UNSTATED_EFFORT if not asked.budget_tokens else effort_of(asked.budget_tokens))
        return Reasoning(effort=_GPT_OSS_EFFORTS.get(effort, "high"))
    receipt.dropped("reasoning", "not known to be a model that is told how much to think")
    return None
