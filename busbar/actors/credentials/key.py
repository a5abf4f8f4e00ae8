"""One key of an account: what it is now, until when, and since when the provider does not want it.

state       credential   usable
----------  -----------  ------------------------------------------------------------
missing     none         no: its source has given nothing yet, or no longer
ready       there        yes
throttled   there        for other models (429)
benched     there        not before its time is over (401, 403, 402), unless nothing else is left
suspect     there        no: refused, and its source is being asked for another
"""

from __future__ import annotations

import math
import random as _random
from collections.abc import Mapping
from typing import Any

from busbar.actors.credentials.messages import Held
from busbar.actors.credentials.wallet import KeyPlan
from busbar.actors.runtime import Timer
from busbar.actors.two_stage import HARD_DOWN_SECS, RETRY_AFTER_SECS_MAX
from busbar.protocols.failures import FailureClass

THROTTLED_SECS = 15.0
"""How long a key rests after a 429 that does not say."""

AHEAD_SECS = 225.0
"""A token is replaced so long before it expires; the same 3 min 45 s that Google's own library takes."""

AHEAD_SHARE = 0.05
AHEAD_SHARE_MAX = 0.2
"""… or earlier, for tokens that live for days; but never before so much of the lifetime is left."""

RETRY_SECS = (1.0, 60.0)
"""Between two attempts to get a credential that could not be had: from, doubling, up to."""

RETRY_AFTER_MAX_SECS = 3600.0
"""A source that asks for more patience is asked all the same."""

LIFETIME_SECS = (1.0, 366 * 86_400.0)
"""What is under or over this is no lifetime, but a mistake."""


_PASSING: Mapping[FailureClass | None, FailureClass] = {
    kind: kind for kind in (FailureClass.NETWORK, FailureClass.TIMEOUT, FailureClass.SERVER_ERROR)
}
"""Of what kept a source from giving one, what is told as it is."""


class Key:
    """One key's state. Only its actor changes it."""

    def __init__(self, number: int, plan: KeyPlan) -> None:
        self.number = number
        self.plan = plan
        self.held: Held | None = None
        self.suspect = False
        self.renewed_at = -math.inf
        """When its source was last asked because it was refused."""
        self.errand: int | None = None
        """The question that its source is busy with."""
        self.outdated: int | None = None
        """The one that it was busy with when the provider refused the key: its answer may be from before that."""
        self.timer: Timer | None = None
        self.due_at = math.inf
        """When its source is asked next."""
        self.mints = 0
        self.failures = 0
        self.failing = 0
        """Failures in a row."""
        self.failed: FailureClass | None = None
        self.benched_until = -math.inf
        self.benched_for = FailureClass.AUTH
        self.throttled_until: dict[str, float] = {}
        """By model, of those that are configured."""

    def ready(self, now: float) -> bool:
        """Whether it can be sent at all."""
        return self.held is not None and not self.suspect and now < self.held.expires_at

    def free_at(self, model: str | None) -> float:
        """From when on it is as good as any; None: for a model that it is not throttled for."""
        throttled = -math.inf if model is None else self.throttled_until.get(model, -math.inf)
        return max(self.benched_until, throttled)

    def ailment(self, model: str, now: float) -> tuple[float, FailureClass]:
        """(until when, what) it cannot be used for `model`. What a source has not given may be there at its next
        look, and no request is spent on that: whatever the reason, it passes, and is neither the caller's limit nor
        worth half an hour of the member's."""
        if self.held is None or now >= self.held.expires_at:
            return self.due_at, _PASSING.get(self.failed, FailureClass.OVERLOADED)
        throttled = self.throttled_until.get(model, -math.inf)
        if throttled > self.benched_until:
            return throttled, FailureClass.RATE_LIMIT
        return self.benched_until, self.benched_for

    # --- refused

    def throttle(self, model: str, retry_after_secs: float | None, now: float) -> float:
        """For one model, as long as the provider asks. Gives the seconds."""
        secs = THROTTLED_SECS if retry_after_secs is None else max(0.0, min(retry_after_secs, RETRY_AFTER_SECS_MAX))
        self.throttled_until[model] = max(self.throttled_until.get(model, -math.inf), now + secs)
        return secs

    def bench(self, kind: FailureClass, now: float) -> None:
        """For all models."""
        self.suspect = False
        self.benched_until = now + HARD_DOWN_SECS
        self.benched_for = kind

    def may_renew(self, now: float) -> bool:
        """Whether its source is worth asking after a refusal."""
        return self.plan.source is not None and now - self.renewed_at >= self.plan.renewal_secs

    # --- given

    def take(self, credential: Any, serial: int, lifetime_secs: float | None, now: float) -> bool:
        """What its source gave. Says whether it is another one than before: that one has nothing against it yet."""
        expires_at = math.inf if lifetime_secs is None else now + lifetime_secs
        before, refused = self.held, self.suspect
        self.failing, self.failed = 0, None
        self.suspect = False
        if before is not None and before.credential is credential:
            self.held = Held(number=self.number, serial=before.serial, credential=credential, expires_at=expires_at)
            if refused:
                self.renewed_at = now
                self.bench(FailureClass.AUTH, now)
            return False
        self.renewed_at = now if refused else -math.inf
        self.held = Held(number=self.number, serial=serial, credential=credential, expires_at=expires_at)
        self.benched_until = -math.inf
        self.throttled_until.clear()
        return True

    def miss(self, kind: FailureClass, now: float) -> None:
        """Its source gave none. A key that was refused is then all there is; a token that was, is thrown away."""
        self.failures += 1
        self.failing += 1
        self.failed = kind
        if self.suspect and self.held is not None:
            self.renewed_at = now
            if self.held.expires_at == math.inf:
                self.bench(FailureClass.AUTH, now)
            else:
                self.held = None
        self.suspect = False

    # --- when to ask again

    def refresh_secs(self, lifetime_secs: float | None, rng: _random.Random) -> float | None:
        """After an answer; None: not before it is refused. Instances that began together drift apart."""
        if self.plan.refresh_secs is not None:
            return self.plan.refresh_secs
        if lifetime_secs is None:
            return None
        ahead = min(max(AHEAD_SECS, AHEAD_SHARE * lifetime_secs), AHEAD_SHARE_MAX * lifetime_secs)
        return max(RETRY_SECS[0], lifetime_secs - ahead * rng.uniform(1.0, 1.1))

    def retry_secs(self, asked: float | None, rng: _random.Random) -> float:
        """After a failure: twice as long each time, never more seldom than a key is looked at anyway."""
        least, most = RETRY_SECS
        most = min(most, self.plan.refresh_secs or most)
        backoff = min(most, least * 2.0 ** min(self.failing - 1, 16)) * rng.uniform(0.8, 1.0)
        return max(backoff, least, min(asked or 0.0, RETRY_AFTER_MAX_SECS))

    def shown(self, now: float) -> dict[str, Any]:
        """For `/stats`; never what it is."""
        lasting = self.held is None or self.held.expires_at == math.inf
        held_secs = None if self.held is None or lasting else round(max(0.0, self.held.expires_at - now), 3)
        return {
            "number": self.number,
            "origin": self.plan.origin,
            "ready": self.ready(now),
            "remaining_s": held_secs,
            "benched_s": round(max(0.0, self.benched_until - now), 3),
            "benched_for": self.benched_for.value if self.benched_until > now else None,
            "throttled_s": {model: round(at - now, 3) for model, at in self.throttled_until.items() if at > now},
            "minting": self.errand is not None,
            "mints": self.mints,
            "failures": self.failures,
            "failing": None if self.failed is None else self.failed.value,
        }


def choose(
    keys: list[Key], first: int, model: str | None, now: float, tried: frozenset[int] = frozenset()
) -> Key | None:
    """The first that may be used, going round from the `first` number; for a request that has tried none, if all are
    resting, the one that is back the soonest. None: there is none."""
    around = [*keys[first - 1 :], *keys[: first - 1]]
    ready = [key for key in around if key.ready(now) and key.held is not None and key.held.serial not in tried]
    rested = next((key for key in ready if key.free_at(model) <= now), None)
    if rested is not None or tried:
        return rested
    return min(ready, key=lambda key: key.free_at(model), default=None)
