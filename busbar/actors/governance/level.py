"""One key's, or one group's, live figures: what was spent, what is reserved, what counted in the last minute."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from busbar.actors.governance.batch import RateCount
from busbar.actors.governance.messages import Budget, Denial, Denied, Quota, Rate
from busbar.actors.governance.money import picodollars_of_cents
from busbar.actors.governance.periods import Spending, first_of_month, resets_at
from busbar.actors.governance.scopes import Scope, VirtualKey
from busbar.actors.governance.windows import Counted, SlidingWindow


class Asked(Struct, frozen=True, kw_only=True):
    """What a request asks of each level."""

    day: int
    now: float
    """On the clock that never goes back."""
    picodollars: int
    tokens: int


class Level:
    """Where a request is admitted or refused. It says no before it changes anything."""

    __slots__ = ("_limit_picodollars", "_reserved", "_scope", "requests", "spending", "tokens")

    def __init__(self, scope: Scope) -> None:
        self.spending = Spending()
        self.requests = SlidingWindow()
        self.tokens = SlidingWindow()
        self._reserved: dict[int, int] = {}
        """By the day of admission; as many entries as days have running requests: one, and two after midnight."""
        self.scope = scope

    @property
    def scope(self) -> Scope:
        return self._scope

    @scope.setter
    def scope(self, scope: Scope) -> None:
        self._scope = scope
        cents = scope.max_budget_cents
        self._limit_picodollars = None if cents is None else picodollars_of_cents(cents)

    @property
    def counts(self) -> bool:
        """Whether it has rate windows."""
        return self._scope.rpm_limit is not None or self._scope.tpm_limit is not None

    @property
    def title(self) -> str:
        kind = "key" if isinstance(self._scope, VirtualKey) else "group"
        return f'{kind} "{self._scope.name}"'

    # --- budget

    def over_budget(self, asked: Asked) -> Denied | None:
        """A request fits while its worst case does, on top of what is spent and reserved."""
        limit, period = self._limit_picodollars, self._scope.budget_period
        if limit is None:
            return None
        spent, reserved = self.spending.within(period, asked.day), self.reserved(asked.day)
        if spent + reserved + asked.picodollars <= limit and spent < limit:
            return None
        budget = Budget(
            period=period,
            limit=limit,
            spent=spent,
            reserved=reserved,
            needed=asked.picodollars,
            resets_at=resets_at(period, asked.day),
        )
        return Denied(reason=Denial.BUDGET, level=self.title, budget=budget)

    def reserve(self, day: int, picodollars: int) -> None:
        self._reserved[day] = self._reserved.get(day, 0) + picodollars

    def release(self, day: int, picodollars: int) -> None:
        left = self._reserved.get(day, 0) - picodollars
        if left > 0:
            self._reserved[day] = left
        else:
            self._reserved.pop(day, None)

    def reserved(self, day: int) -> int:
        """In the budget's window that `day` is in."""
        match self._scope.budget_period:
            case "total":
                return sum(self._reserved.values())
            case "daily":
                return self._reserved.get(day, 0)
            case "monthly":
                month = first_of_month(day)
                return sum(amount for that, amount in self._reserved.items() if first_of_month(that) == month)

    # --- rate

    def over_rate(self, asked: Asked) -> Denied | None:
        scope = self._scope
        if scope.rpm_limit is not None:
            denied = self._over("requests", self.requests, scope.rpm_limit, 1, asked.now)
            if denied is not None:
                return denied
        if scope.tpm_limit is not None:
            return self._over("tokens", self.tokens, scope.tpm_limit, asked.tokens, asked.now)
        return None

    def count(self, asked: Asked) -> Counted | None:
        """Takes the request's place in the windows; gives the tokens' entry, which may be corrected later."""
        if self._scope.rpm_limit is not None:
            self.requests.add(asked.now, 1)
        return self.tokens.add(asked.now, asked.tokens) if self._scope.tpm_limit is not None else None

    def counting(self, requests: int, tokens: int) -> RateCount:
        """What of it this level counts, as the store keeps it."""
        scope = self._scope
        return RateCount(0 if scope.rpm_limit is None else requests, 0 if scope.tpm_limit is None else tokens)

    def recall(self, at: float, count: RateCount) -> None:
        """What counted before a restart, in order of time."""
        counts = self.counting(count.requests, count.tokens)
        if counts.requests > 0:
            self.requests.add(at, counts.requests)
        if counts.tokens > 0:
            self.tokens.add(at, counts.tokens)

    def quotas(self, now: float) -> tuple[Quota | None, Quota | None]:
        """Of requests and of tokens."""
        scope = self._scope
        return _quota(self.requests, scope.rpm_limit, now), _quota(self.tokens, scope.tpm_limit, now)

    def _over(
        self, unit: Literal["requests", "tokens"], window: SlidingWindow, limit: int, amount: int, now: float
    ) -> Denied | None:
        used = window.sum(now)
        if used + amount <= limit:
            return None
        rate = Rate(
            unit=unit,
            limit=limit,
            used=used,
            asked=amount,
            retry_after_secs=window.wait_secs(now, amount, limit),
            reset_secs=window.reset_secs(now),
        )
        return Denied(reason=Denial.RATE, level=self.title, rate=rate)


def _quota(window: SlidingWindow, limit: int | None, now: float) -> Quota | None:
    if limit is None:
        return None
    return Quota(limit, max(0, limit - window.sum(now)), window.reset_secs(now))


def tighter(first: Quota | None, second: Quota | None) -> Quota | None:
    """The one that leaves less."""
    if first is None or second is None:
        return second if first is None else first
    return second if second.remaining < first.remaining else first
