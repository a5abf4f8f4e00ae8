"""Who has budgets and limits: virtual keys, and the groups that they belong to."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

BudgetPeriod = Literal["total", "daily", "monthly"]

GROUP_DEPTH_MAX = 8
"""Groups above one another, so that a walk up the tree is short."""

SCOPES_MAX = 100_000
"""Keys and groups together: all of them are in memory."""


class Scope(Struct, frozen=True, kw_only=True):
    """What may be spent and asked for in one name. None: as much as one likes."""

    id: str
    name: str
    max_budget_cents: int | None = None
    budget_period: BudgetPeriod = "total"
    """Days and months are those of UTC."""
    rpm_limit: int | None = None
    """Requests in any 60 seconds."""
    tpm_limit: int | None = None
    """Tokens in any 60 seconds, of prompts and answers together."""
    created_at: int
    """Unix seconds, like every time of day here."""


class VirtualKey(Scope, frozen=True, kw_only=True):
    """A key that Busbar gave out. The secret itself is nowhere: only its SHA-256 is kept."""

    secret_hash: bytes
    group: str | None = None
    """The id of the group whose budget and limits hold besides its own."""
    allowed_pools: tuple[str, ...] | None = None
    """Names of pools and models; None: all. An empty list is none."""
    enabled: bool = True
    expires_at: int | None = None
    aws_access_key_id: str | None = None
    """Of the pair that it may sign with. The other half is derived from it, see `busbar.governance.aws_pair`."""

    def __repr__(self) -> str:
        return f"VirtualKey({self.id})"


class Group(Scope, frozen=True, kw_only=True):
    """Keys and groups that share a budget and limits."""

    parent: str | None = None
