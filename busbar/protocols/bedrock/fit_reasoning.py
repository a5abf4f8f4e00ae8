"""How much to think, as each family of models asks for it. Models of other families have no such setting.

Claude takes a budget of tokens under `maxTokens`. It refuses one under 1024, thinking in a conversation whose running
tool turn does not begin with thinking, and thinking after a prefill; where it would refuse, the ask is dropped.
"""

from __future__ import annotations

from busbar.protocols.bedrock.models import Family
from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.effort import EFFORT_BUDGETS, budget_of, effort_of
from busbar.protocols.ir import Message, Reasoning, RedactedThinking, Request, Thinking, ToolUse
from busbar.protocols.leftovers import report_leftovers
from busbar.protocols.receipt import Receipt

BUDGET_TOKENS_MIN = 1024
ANSWER_TOKENS_MIN = 1024
"""What a budget leaves under `maxTokens` for the answer itself."""

_UNSTATED_EFFORT = "medium"
"""For who wants thinking and does not say how much, or lets the model decide."""
_GPT_OSS_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium"}
"""Any more is `high`."""


def fit_reasoning(request: Request, family: Family, max_tokens: int, receipt: Receipt) -> Reasoning | None:
    """`max_tokens` bounds the answer of `request`, stated or not."""
    asked = request.reasoning
    if asked is None:
        return None
    report_leftovers(asked, DIALECT, "reasoning", receipt)
    off = asked.enabled is False or asked.effort == "none" or asked.budget_tokens == 0
    if family == "claude":
        return Reasoning(enabled=False) if off else _claude(asked, request.messages, max_tokens, receipt)
    if off or (asked.effort is None and asked.budget_tokens is None and not asked.enabled):
        return None
    if family == "gpt-oss":
        effort = asked.effort or (_UNSTATED_EFFORT if not asked.budget_tokens else effort_of(asked.budget_tokens))
        return Reasoning(effort=_GPT_OSS_EFFORTS.get(effort, "high"))
    receipt.dropped("reasoning", "not known to be a model that is told how much to think")
    return None


def _claude(asked: Reasoning, messages: list[Message], max_tokens: int, receipt: Receipt) -> Reasoning | None:
    budget = _budget(asked, receipt)
    if budget is None:
        return None
    if not _may_think(messages):
        receipt.dropped("reasoning", "the last assistant turn has no thinking of this provider to go on from")
        return None
    room = max_tokens - ANSWER_TOKENS_MIN
    if room < BUDGET_TOKENS_MIN:
        receipt.dropped("reasoning", f"max_tokens {max_tokens} leaves no room for thinking")
        return None
    if not BUDGET_TOKENS_MIN <= budget <= room:
        receipt.clamped("reasoning", f"between {BUDGET_TOKENS_MIN} and {ANSWER_TOKENS_MIN} under max_tokens")
        budget = min(max(budget, BUDGET_TOKENS_MIN), room)
    return Reasoning(enabled=True, budget_tokens=budget)


def _budget(asked: Reasoning, receipt: Receipt) -> int | None:
    if asked.budget_tokens is not None and asked.budget_tokens > 0:
        return asked.budget_tokens
    if asked.effort is None:
        if asked.adaptive:
            receipt.changed("reasoning", "a budget of medium effort")
        elif not asked.enabled:
            return None
        return EFFORT_BUDGETS[_UNSTATED_EFFORT]
    budget = budget_of(asked.effort)
    if budget is None:
        receipt.dropped("reasoning", "an effort of no known size")
    return budget


def _may_think(messages: list[Message]) -> bool:
    last = next((message for message in reversed(messages) if message.role == "assistant"), None)
    if last is None:
        return True
    to_go_on = messages[-1] is last or any(isinstance(part, ToolUse) for part in last.parts)
    return not to_go_on or isinstance(last.parts[0], Thinking | RedactedThinking)
