"""The credentials of one provider account, while the gateway runs.

A key is used until the provider refuses it; then the next is. What a source gives (a token server, a file, a
program) is asked for ahead of its end, one question at a time, and again after a refusal. What can be used now is
published in the account's `Wallet`, so that a request asks here only when there is nothing.
"""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import Any

from busbar.actors.credentials.key import LIFETIME_SECS, Key, choose
from busbar.actors.credentials.messages import Answered, Due, Given, Held, KeyRefused, NotGiven, Obtain, Withheld
from busbar.actors.credentials.wallet import CredentialPlan
from busbar.actors.messages import Expire, Retire, Snapshot
from busbar.actors.pool import RETIRED_SECS
from busbar.actors.runtime import LoopActor, Reply, handles
from busbar.protocols.failures import Disposition, FailureClass, disposition

logger = logging.getLogger("busbar.credentials")

WAITING_MAX = 10_000
"""Requests that wait for a credential; further ones are told to come back."""

RUSH_SECS = 1.0
"""… after so long."""


class Credentials(LoopActor):
    """Understands Obtain, KeyRefused, Retire, Snapshot; Answered and Due, from its sources and itself.

    Bounds: the keys that are configured, one question to each one's source, `WAITING_MAX` answers owed.
    """

    mailbox_limit = 100_000

    def __init__(self, plan: CredentialPlan) -> None:
        super().__init__()
        self._plan = plan
        self._wallet = plan.wallet
        self._keys = [Key(number, it) for number, it in enumerate(plan.keys, 1)]
        self._first = 1
        """The number of the key that is used, …"""
        self._first_of: dict[str, int] = {}
        """… and of those models for which that one was throttled."""
        self._waiting: list[tuple[Obtain, Reply]] = []
        self._serial = 0
        # A restarted instance must not take answers to the questions of the one before it.
        self._errand = self.random.getrandbits(62)

    def on_start(self) -> None:
        for key in self._keys:
            if key.plan.source is None:
                key.take(key.plan.credential, self._next_serial(), None, self.clock.now())
            else:
                self._ask_source(key)
        self._publish()
        self._wallet.ref = self.ref

    @handles(Obtain)
    def obtain(self, message: Obtain) -> Held | Withheld | None:
        if len(self._waiting) >= WAITING_MAX:
            self._waiting = [waiting for waiting in self._waiting if waiting[1].open]
        answer = self._answer(message)
        if answer is None and len(self._waiting) >= WAITING_MAX:
            return Withheld(FailureClass.OVERLOADED, RUSH_SECS)
        if answer is None:
            self._waiting.append((message, self.defer()))
        elif isinstance(answer, Held):
            self._publish()  # what was in the wallet has expired
        return answer

    @handles(KeyRefused)
    def key_refused(self, message: KeyRefused) -> None:
        key, now = self._keys[message.number - 1], self.clock.now()
        if key.held is None or key.held.serial != message.serial or key.suspect:
            return
        match message.kind:
            case FailureClass.RATE_LIMIT:
                secs = key.throttle(message.model, message.retry_after_secs, now)
                self._first_of.setdefault(message.model, self._first)
                logger.info("%s: key %d rests for %s: %.0f s", self._plan.provider, key.number, message.model, secs)
            case FailureClass.AUTH if key.may_renew(now):
                key.suspect, key.outdated = True, key.errand
                logger.info("%s: key %d is refused: another one is asked for", self._plan.provider, key.number)
                self._ask_source(key)
            case FailureClass.AUTH | FailureClass.BILLING:
                key.bench(message.kind, now)
                self._tell_benched(key)
            case _:
                return
        self._publish()

    @handles(Answered)
    def answered(self, message: Answered) -> None:
        key, now = self._keys[message.number - 1], self.clock.now()
        if key.errand != message.errand:
            return
        key.errand = None
        if key.suspect and key.outdated == message.errand and not _is_another(message.answer, key):
            self._ask_source(key)
            return
        match _plausible(message.answer):
            case Given(credential=credential, lifetime_secs=lifetime_secs):
                self._take(key, credential, lifetime_secs, now)
            case NotGiven() as none:
                suspect = key.suspect
                key.miss(none.kind, now)
                if key.failing == 1:  # what goes on is seen in /stats
                    logger.warning("%s: no credential for key %d: %s", self._plan.provider, key.number, none.why)
                if suspect and key.held is not None:
                    self._tell_benched(key)
                self._set_timer(key, key.retry_secs(none.retry_after_secs, self.random))
        self._publish()
        self._serve_waiting()

    @handles(Due)
    def due(self, message: Due) -> None:
        self._ask_source(self._keys[message.number - 1])

    @handles(Retire)
    def retire(self, _message: Retire) -> None:
        """Requests of the configuration before may come until then."""
        self.schedule(RETIRED_SECS, Expire())

    @handles(Expire)
    def expire(self, _message: Expire) -> None:
        self.stop()

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        now = self.clock.now()
        return {
            "kind": self._plan.kind,
            "used": self._first,
            "used_by_model": dict(self._first_of),
            "waiting": sum(reply.open for _, reply in self._waiting),
            "keys": [key.shown(now) for key in self._keys],
        }

    # --- sources

    def _ask_source(self, key: Key) -> None:
        """Unless it is busy with the question already."""
        source = key.plan.source
        assert source is not None, "only keys with a source fall due"
        if key.errand is not None:
            return
        self._set_timer(key, None)
        self._errand += 1
        key.errand = self._errand
        source.begin(partial(self._bring, self.ref, key.number, self._errand))

    @staticmethod
    def _bring(ref: Any, number: int, errand: int, answer: Given | NotGiven) -> None:
        ref.tell(Answered(number=number, errand=errand, answer=answer))

    def _take(self, key: Key, credential: Any, lifetime_secs: float | None, now: float) -> None:
        failing, refused = key.failing, key.suspect
        if key.take(credential, self._next_serial(), lifetime_secs, now):
            key.mints += 1
            if key.mints > 1 or failing:
                logger.info("%s: key %d is a new one", self._plan.provider, key.number)
        elif refused:
            self._tell_benched(key)
        self._set_timer(key, key.refresh_secs(lifetime_secs, self.random))

    def _set_timer(self, key: Key, secs: float | None) -> None:
        if key.timer is not None:
            key.timer.cancel()
        key.timer = None if secs is None else self.schedule(secs, Due(key.number))
        key.due_at = math.inf if secs is None else self.clock.now() + secs

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    # --- who uses what

    def _answer(self, asked: Obtain) -> Held | Withheld | None:
        """None: not yet."""
        now = self.clock.now()
        first = self._first_of.get(asked.model, self._first)
        key = choose(self._keys, first, asked.model, now, asked.tried)
        if key is not None:
            return key.held
        if any(key.errand is not None and not key.ready(now) for key in self._keys):
            return None
        until, kind = min((key.ailment(asked.model, now) for key in self._keys), key=_gravity)
        return Withheld(kind, max(0.0, min(until, now + LIFETIME_SECS[1]) - now))

    def _serve_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for asked, reply in waiting:
            answer = self._answer(asked)
            if answer is not None:
                reply.set(answer)
            elif reply.open:
                self._waiting.append((asked, reply))

    def _publish(self) -> None:
        """What requests use from now on. Whoever had to go on to another key stays with that one."""
        now = self.clock.now()
        common = choose(self._keys, self._first, None, now)
        if common is not None:
            self._first = common.number
        by_model: dict[str, Held | None] = {}
        for model, first in self._first_of.items():
            key = choose(self._keys, first, model, now)
            if key is not None:
                self._first_of[model] = key.number
            by_model[model] = None if key is None else key.held
        self._wallet.publish(None if common is None else common.held, by_model)

    def _tell_benched(self, key: Key) -> None:
        name, kind = self._plan.provider, key.benched_for.value
        logger.warning("%s: the provider refuses key %d (%s): it rests", name, key.number, kind)


def _is_another(answer: Given | NotGiven, key: Key) -> bool:
    return isinstance(answer, Given) and (key.held is None or answer.credential is not key.held.credential)


def _gravity(ailment: tuple[float, FailureClass]) -> tuple[bool, float]:
    """What passes by itself comes before what does not: a key that the provider has turned down is not back when its
    rest is over, it is tried again."""
    until, kind = ailment
    return disposition(kind) is Disposition.HARD_DOWN, until


def _plausible(answer: Given | NotGiven) -> Given | NotGiven:
    """A lifetime that cannot be is a failure of whoever stated it."""
    if isinstance(answer, Given) and answer.lifetime_secs is not None:
        least, most = LIFETIME_SECS
        if not least <= answer.lifetime_secs <= most:  # nor is "not a number" between them
            return NotGiven(FailureClass.SERVER_ERROR, f"a lifetime of {answer.lifetime_secs} s cannot be")
    return answer
