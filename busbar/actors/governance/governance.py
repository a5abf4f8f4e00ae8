"""Governance: who may spend what. It decides in memory, and has the Ledger make what it decided last.

key → pool → budget → rate, for the key and then for each group above it. What a request may cost at most is reserved
when it is admitted; when it is over, the reservation is given back and what was used is charged to the day on which
it was admitted. Its place in the rate windows is never given back.
"""

from __future__ import annotations

import itertools
import logging
import math

from busbar.actors.governance.batch import RateCount, RateKey, UsageKey
from busbar.actors.governance.charging import charged, rates_of
from busbar.actors.governance.desk import Desk, Reservation
from busbar.actors.governance.keyring import Keyring
from busbar.actors.governance.level import Asked, tighter
from busbar.actors.governance.lobby import Lobby
from busbar.actors.governance.messages import (
    Admit,
    Admitted,
    Attach,
    ChangeGroup,
    ChangeKey,
    CreateGroup,
    CreateKey,
    DeleteGroup,
    DeleteKey,
    Denial,
    Denied,
    GiveUp,
    Health,
    ListGroups,
    ListKeys,
    NotDone,
    Page,
    Ready,
    Record,
    Retariff,
    Settle,
    Settled,
    Show,
    Standing,
    UsageOf,
    WhenReady,
    Wrong,
)
from busbar.actors.governance.money import Tariff
from busbar.actors.governance.periods import day_of, first_of_month, resets_at
from busbar.actors.governance.registry import Chain, Registry, no_such
from busbar.actors.governance.scopes import Group, VirtualKey
from busbar.actors.messages import Snapshot
from busbar.actors.runtime import Forward, LoopActor, LoopRef, handles

logger = logging.getLogger("busbar.governance")

PATIENCE_SECS = 5.0
"""So long a settlement waits for it to be known what there is."""

_TICKETS = itertools.count(1)
"""Of the whole process: a restarted instance gives no ticket that an earlier one gave."""

Stored = Forward | NotDone


class Governance(LoopActor):
    """Understands Admit, Settle; CreateKey, ChangeKey, DeleteKey, ListKeys and the same for groups, Show, UsageOf;
    Ready and Health from the Ledger; Snapshot.

    Until the Ledger has said what there was, and while the store fails, it admits nobody: never does a counter start
    at zero because nobody could be asked. `strict`: an answer to `Settle`, or to a change, waits for the commit.
    """

    mailbox_limit = 100_000

    def __init__(self, ledger: LoopRef, tariff: Tariff, keyring: Keyring, desk: Desk, *, strict: bool) -> None:
        super().__init__()
        self._desk = desk
        self._ledger = ledger
        self._tariff = tariff
        self._keyring = keyring
        self._strict = strict
        self._registry: Registry | None = None
        self._health = Health(ok=True)
        self._lobby = Lobby()
        self._repricing = False
        """It is being read what there is, though all was well: who wants to be admitted waits."""
        self._next_tariff: Tariff | None = None

    def on_start(self) -> None:
        self._keyring.clear()
        self._attach()

    def _attach(self) -> None:
        # A month more than is needed today: the clock may be set back.
        this_month = first_of_month(day_of(self.clock.time()))
        self._ledger.tell(Attach(self.ref, self._tariff.price, first_of_month(this_month - 1)))

    # --- from the ingress

    @handles(Admit)
    def admit(self, message: Admit) -> Admitted | Denied | None:
        registry = self._registry
        if self._repricing:
            self._lobby.admissions.append((self.defer(), message))
            return None
        if registry is None or not self._health.ok:
            return Denied(reason=Denial.STORE)
        key, unix_secs = registry.keys.get(message.key), self.clock.time()
        if key is None or not key.enabled or (key.expires_at is not None and key.expires_at <= unix_secs):
            return Denied(reason=Denial.KEY)
        if key.allowed_pools is not None and message.pool not in key.allowed_pools:
            return Denied(reason=Denial.POOL, level=registry.levels[key.id].title)
        chain, day = registry.chain(key.id), day_of(unix_secs)
        asked = Asked(
            day=day,
            now=self.clock.now(),
            picodollars=self._worst(message, day),
            tokens=message.input_tokens + message.output_tokens,
        )
        return self._refusal(chain, asked, message.billed) or self._take(chain, asked, message, unix_secs)

    @handles(Settle)
    def settle(self, message: Settle) -> Settled | Forward | None:
        if self._registry is not None:
            return self._settled(message, self._registry)
        self._wait()
        self._desk.early[message.ticket] = message
        self._lobby.settlements[message.ticket] = self.defer()
        return None

    @handles(GiveUp)
    def give_up(self, _message: GiveUp) -> None:
        """It takes too long: they are told so, and settled without them."""
        self._repricing = False
        self._lobby.give_up()

    def _wait(self) -> None:
        self._lobby.wait(lambda: self.schedule(PATIENCE_SECS, GiveUp()))

    # --- from operators

    @handles(CreateKey)
    def create_key(self, message: CreateKey) -> Stored:
        return self._stored_key(None, self._open() or self._known.create_key(message.key))

    @handles(ChangeKey)
    def change_key(self, message: ChangeKey) -> Stored:
        before = self._known.keys.get(message.id) if self._registry else None
        return self._stored_key(before, self._open() or self._known.change_key(message.id, message.changes))

    @handles(DeleteKey)
    def delete_key(self, message: DeleteKey) -> Stored:
        """Even while the store fails: it takes a right away, and is recorded as soon as it can be."""
        key = _unavailable() if self._registry is None else self._registry.delete_key(message.id)
        if isinstance(key, NotDone):
            return key
        self._keyring.remove(key)
        return Forward(self._ledger, Record(keys={key.id: None}, answer=key))

    @handles(CreateGroup)
    def create_group(self, message: CreateGroup) -> Stored:
        return self._stored_group(self._open() or self._known.create_group(message.group))

    @handles(ChangeGroup)
    def change_group(self, message: ChangeGroup) -> Stored:
        return self._stored_group(self._open() or self._known.change_group(message.id, message.changes))

    @handles(DeleteGroup)
    def delete_group(self, message: DeleteGroup) -> Stored:
        group = self._open() or self._known.delete_group(message.id)
        if isinstance(group, NotDone):
            return group
        return Forward(self._ledger, Record(groups={group.id: None}, answer=group))

    @handles(ListKeys)
    def list_keys(self, message: ListKeys) -> Page | NotDone:
        registry = self._registry
        if registry is None:
            return _unavailable()
        return registry.page(registry.keys, message.after, message.limit, message.group)

    @handles(ListGroups)
    def list_groups(self, message: ListGroups) -> Page | NotDone:
        registry = self._registry
        return _unavailable() if registry is None else registry.page(registry.groups, message.after, message.limit)

    @handles(Show)
    def show(self, message: Show) -> Standing | NotDone:
        if self._registry is None:
            return _unavailable()
        level = self._registry.levels.get(message.id)
        if level is None:
            return no_such("key or group", message.id)
        scope, day, now = level.scope, day_of(self.clock.time()), self.clock.now()
        assert isinstance(scope, VirtualKey | Group), "there are no other scopes"
        return Standing(
            scope=scope,
            spent=level.spending.within(scope.budget_period, day),
            reserved=level.reserved(day),
            resets_at=resets_at(scope.budget_period, day),
            requests=level.requests.sum(now),
            tokens=level.tokens.sum(now),
        )

    @handles(UsageOf)
    def usage_of(self, message: UsageOf) -> Forward:
        return Forward(self._ledger, message)

    @handles(Retariff)
    def retariff(self, message: Retariff) -> None:
        """A price that changes changes what was spent: that is reckoned anew, and requests wait until it is."""
        tariff = message.tariff
        self.renew_with(self._ledger, tariff, self._keyring, self._desk, strict=self._strict)
        if self._registry is None:
            self._next_tariff = tariff  # what is being read must not be mistaken for what will be read next
            return
        if tariff == self._tariff:
            return
        self._tariff, self._registry, self._repricing = tariff, None, True
        self._wait()
        self._attach()

    @handles(WhenReady)
    def when_ready(self, _message: WhenReady) -> None:
        if self._registry is None:
            self._lobby.others.append(self.defer())

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, object]:
        registry = self._registry
        return {
            "ready": registry is not None,
            "store_ok": self._health.ok,
            "store_failure": self._health.reason or None,
            "keys": 0 if registry is None else len(registry.keys),
            "groups": 0 if registry is None else len(registry.groups),
            "reservations": len(self._desk.reservations),
        }

    # --- from the Ledger

    @handles(Ready)
    def ready(self, message: Ready) -> None:
        loaded = message.loaded
        self._registry = registry = Registry(loaded.keys, loaded.groups)
        for key in registry.close_broken():
            logger.error("the key %s is refused: its groups in the database are damaged", key.id)
        for (scope, day), picodollars in loaded.spent.items():
            if scope in registry.levels:
                registry.levels[scope].spending.add(day, picodollars)
        registry.recall(loaded.rates, self.clock.now(), self.clock.time())
        self._recall_reservations(registry)
        for key in registry.keys.values():
            self._keyring.put(key)
        self._keyring.ready = True
        self._repricing = False
        self._lobby.open()
        while self._lobby.others:
            self._lobby.others.pop().set()
        while self._desk.early:
            ticket, settle = self._desk.early.popitem()
            self._lobby.answer(ticket, self._settled(settle, registry))
        for reply, admit in self._lobby.admitted():
            reply.set(self.admit(admit))
        if self._next_tariff is not None:
            tariff, self._next_tariff = self._next_tariff, None
            self.retariff(Retariff(tariff))

    @handles(Health)
    def health(self, message: Health) -> None:
        self._health = message

    # --- admission

    def _worst(self, message: Admit, day: int) -> int:
        if not message.billed:
            return 0
        return self._tariff.worst(message.models, day, message.input_tokens, message.output_tokens)

    def _refusal(self, chain: Chain, asked: Asked, billed: bool) -> Denied | None:
        for level in chain if billed else ():
            denied = level.over_budget(asked)
            if denied is not None:
                return denied
        for level in chain:
            denied = level.over_rate(asked)
            if denied is not None:
                return denied
        return None

    def _take(self, chain: Chain, asked: Asked, message: Admit, unix_secs: float) -> Admitted:
        second = math.ceil(unix_secs)
        for level in chain:
            level.reserve(asked.day, asked.picodollars)
        reservation = Reservation(
            scopes=tuple(level.scope.id for level in chain),
            day=asked.day,
            picodollars=asked.picodollars,
            second=second,
            input_tokens=message.input_tokens,
            counted_tokens=asked.tokens,
            counted=tuple(level.count(asked) for level in chain),
        )
        ticket = next(_TICKETS)
        self._desk.reservations[ticket] = reservation
        requests = tokens = None
        limited = [level for level in chain if level.counts]
        if limited:
            self._ledger.tell(Record(rates=rates_of(limited, second, asked.tokens, requests=1)))
            for level in limited:
                level_requests, level_tokens = level.quotas(asked.now)
                requests, tokens = tighter(requests, level_requests), tighter(tokens, level_tokens)
        return Admitted(ticket=ticket, day=asked.day, requests=requests, tokens=tokens)

    # --- settlement

    def _settled(self, message: Settle, registry: Registry) -> Settled | Forward:
        reservation = self._desk.reservations.pop(message.ticket, None)
        scopes = self._scopes_of(message.key, registry) if reservation is None else reservation.scopes
        own = charged(message.charges, message.key, message.day, self._tariff)
        usage = [
            (UsageKey(scope, row.day, row.model, row.context_tier, row.estimated), tokens)
            for row, tokens in own.rows
            for scope in scopes
        ]
        rates = (
            () if reservation is None else self._give_back(registry, reservation, own.tokens, answered=bool(usage))
        )
        for scope in scopes:
            if scope in registry.levels:
                registry.levels[scope].spending.add(message.day, own.picodollars)
        settled = Settled(own.picodollars)
        if not usage:
            if rates:
                self._ledger.tell(Record(rates=rates))
            return settled
        if self._strict:
            return Forward(self._ledger, Record(usage=tuple(usage), rates=rates, answer=settled))
        self._ledger.tell(Record(usage=tuple(usage), rates=rates))
        return settled

    def _scopes_of(self, key: str, registry: Registry) -> tuple[str, ...]:
        """As they are now; of a key that is no more, only itself."""
        return tuple(level.scope.id for level in registry.chain(key)) or (key,)

    def _give_back(
        self, registry: Registry, reservation: Reservation, used: int, *, answered: bool
    ) -> tuple[tuple[RateKey, RateCount], ...]:
        """The money; and of the tokens what was not used. What a request that failed had sent stays counted."""
        by = (used if answered else reservation.input_tokens) - reservation.counted_tokens
        limited = []
        for scope, counted in zip(reservation.scopes, reservation.counted, strict=True):
            level = registry.levels.get(scope)
            if level is not None:
                level.release(reservation.day, reservation.picodollars)
                if counted is not None:
                    level.tokens.correct(counted, by)
                    limited.append(level)
        return rates_of(limited, reservation.second, by) if by else ()

    # --- changes

    @property
    def _known(self) -> Registry:
        assert self._registry is not None, "asked only when it is there"
        return self._registry

    def _open(self) -> NotDone | None:
        """Whether changes can be made to last."""
        return None if self._registry is not None and self._health.ok else _unavailable()

    def _stored_key(self, before: VirtualKey | None, key: VirtualKey | NotDone) -> Stored:
        if isinstance(key, NotDone):
            return key
        self._keyring.put(key, before)
        return Forward(self._ledger, Record(keys={key.id: key}, answer=key))

    def _stored_group(self, group: Group | NotDone) -> Stored:
        if isinstance(group, NotDone):
            return group
        return Forward(self._ledger, Record(groups={group.id: group}, answer=group))

    # --- the start

    def _recall_reservations(self, registry: Registry) -> None:
        """Those of requests that are still running. What they counted for is among the rates that were recalled."""
        for reservation in self._desk.reservations.values():
            reservation.counted = (None,) * len(reservation.scopes)
            for scope in reservation.scopes:
                if scope in registry.levels:
                    registry.levels[scope].reserve(reservation.day, reservation.picodollars)


def _unavailable() -> NotDone:
    return NotDone(Wrong.UNAVAILABLE, "What there is cannot be read or recorded at the moment. Nothing was changed.")
