"""How much to think: an effort in words and a budget in tokens, each said as the other."""

from __future__ import annotations

from collections.abc import Mapping

EFFORT_BUDGETS: Mapping[str, int] = {
    "minimal": 1024,
    "low": 4096,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 32768,
}
"""Thinking tokens that each word stands for, from little to much."""

_WORDS_FOR_BUDGETS = ("minimal", "low", "medium")
"""What every dialect with effort words has; a larger budget is `high`."""


def budget_of(effort: str) -> int | None:
    """Tokens for a word, or None for a word of no known size."""
    return EFFORT_BUDGETS.get(effort)


def effort_of(budget_tokens: int) -> str:
    """The least effort that `budget_tokens` does not exceed."""
    return next((word for word in _WORDS_FOR_BUDGETS if budget_tokens <= EFFORT_BUDGETS[word]), "high")
