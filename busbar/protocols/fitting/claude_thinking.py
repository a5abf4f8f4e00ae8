"""How much to think, as Claude is asked for it: a budget of tokens under the answer's `max_tokens`.

It refuses a budget under 1024 or not under `max_tokens`, thinking in a conversation whose running tool turn does not
begin with thinking ("Expected `thinking` …, but found `tool_use`"), and thinking after a prefill. Where it would
refuse, the ask is dropped.
"""

from __future__ import annotations

from busbar.protocols.effort import EFFORT_BUDGETS, budget_of
from busbar.protocols.ir import Message, Reasoning, RedactedThinking, Thinking, ToolUse
from busbar.protocols.receipt import Receipt

BUDGET_TOKENS_MIN = 1024
ANSWER_TOKENS_MIN = 1024
"""What a budget leaves under `max_tokens` for the answer itself."""

UNSTATED_EFFORT = "medium"
"""For who wants thinking and does not say how much, or lets the model decide."""


def fit_claude_thinking(
    asked: Reasoning, messages: list[Message], max_tokens: int, receipt: Receipt
) -> Reasoning | None:
    """Thinking with a budget, thinking switched off, or None. `messages` fit already."""
    if is_off(asked):
        return Reasoning(enabled=False)
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


def is_off(asked: Reasoning) -> bool:
    """Thinking is switched off, in one of the ways of saying so."""
    return asked.enabled is False or asked.effort == "none" or asked.budget_tokens == 0


def _budget(asked: Reasoning, receipt: Receipt) -> int | None:
    if asked.budget_tokens is not None and asked.budget_tokens > 0:
        return asked.budget_tokens
    if asked.effort is None:
        if asked.adaptive:
            receipt.changed("reasoning", "a budget of medium effort")
        elif not asked.enabled:
            return None
        return EFFORT_BUDGETS[UNSTATED_EFFORT]
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
