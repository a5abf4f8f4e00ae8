"""Keys, groups and their usage as JSON documents. No document holds a secret, or the hash of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from busbar.actors.governance.batch import Tokens, UsageKey
from busbar.actors.governance.messages import Standing
from busbar.actors.governance.money import Tariff, cents, nanodollars
from busbar.actors.governance.scopes import Group, Scope, VirtualKey
from busbar.http.administration_bodies import day_text

Document = dict[str, Any]


def document_of(scope: VirtualKey | Group) -> Document:
    match scope:
        case VirtualKey():
            return {
                **_name_of(scope),
                "group": scope.group,
                "allowed_pools": None if scope.allowed_pools is None else list(scope.allowed_pools),
                **_limits_of(scope),
                "enabled": scope.enabled,
                "expires_at": scope.expires_at,
                "created_at": scope.created_at,
                "aws_access_key_id": scope.aws_access_key_id,
            }
        case Group():
            return {
                **_name_of(scope),
                "parent": scope.parent,
                **_limits_of(scope),
                "created_at": scope.created_at,
            }


def usage_document(
    scope_id: str, rows: Iterable[tuple[UsageKey, Tokens]], tariff: Tariff, standing: Standing | None
) -> Document:
    """What was used, in all, by model and by day, at the prices that hold for each day. `standing` None: the key or
    group was deleted."""
    whole = Sum()
    models: dict[str, Sum] = {}
    days: dict[int, Sum] = {}
    for key, tokens in rows:
        picodollars = tariff.price(key, tokens)
        for part in (whole, models.setdefault(key.model, Sum()), days.setdefault(key.day, Sum())):
            part.add(key, tokens, picodollars)
    return {
        "id": scope_id,
        **whole.document(),
        **({"deleted": True} if standing is None else _standing_document(standing)),
        "models": [{"model": model, **part.document()} for model, part in sorted(models.items())],
        "days": [{"day": day_text(day), **part.document()} for day, part in sorted(days.items())],
    }


class Sum(Struct, kw_only=True):
    """Usage and what it costs, of several rows of the ledger."""

    tokens: Tokens = field(default_factory=Tokens)
    picodollars: int = 0
    estimated_requests: int = 0

    def add(self, key: UsageKey, tokens: Tokens, picodollars: int) -> None:
        self.tokens.add(tokens)
        self.picodollars += picodollars
        if key.estimated:
            self.estimated_requests += tokens.requests

    def document(self) -> Document:
        """`input_tokens` are those that were neither read from a cache nor written to one. `cache_write_1h_tokens`
        are part of `cache_write_tokens`, and `reasoning_tokens` of `output_tokens`."""
        tokens = self.tokens
        return {
            "spend_cents": cents(self.picodollars),
            "spend_nanodollars": nanodollars(self.picodollars),
            "tokens": tokens.total,
            "requests": tokens.requests,
            "input_tokens": tokens.input,
            "output_tokens": tokens.output,
            "cache_read_tokens": tokens.cache_read,
            "cache_write_tokens": tokens.cache_write,
            "cache_write_1h_tokens": tokens.cache_write_1h,
            "reasoning_tokens": tokens.reasoning,
            "estimated_requests": self.estimated_requests,
        }


def _standing_document(standing: Standing) -> Document:
    """A rate that nothing limits is not counted: null."""
    scope = standing.scope
    budget = None
    if scope.max_budget_cents is not None:
        budget = {
            "period": scope.budget_period,
            "limit_cents": scope.max_budget_cents,
            "spent_cents": cents(standing.spent),
            "reserved_cents": cents(standing.reserved),
            "resets_at": standing.resets_at,
        }
    return {
        "budget": budget,
        "rate": {
            "requests_last_minute": None if scope.rpm_limit is None else standing.requests,
            "tokens_last_minute": None if scope.tpm_limit is None else standing.tokens,
        },
    }


def _name_of(scope: Scope) -> Document:
    return {"id": scope.id, "name": scope.name}


def _limits_of(scope: Scope) -> Document:
    return {
        "max_budget_cents": scope.max_budget_cents,
        "budget_period": scope.budget_period,
        "rpm_limit": scope.rpm_limit,
        "tpm_limit": scope.tpm_limit,
    }
