"""Governance: who may spend what. It decides in memory, and has the Ledger make what it decided last.

key → pool → budget → rate, for the key and then for each group above it. What a request may cost at most is reserved
when it is admitted; when it is over, the reservation is given back and what was used is charged to the day on which
it was admitted. Its place in the rate windows is never given back.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

from busbar.actors.governance.batch import RateCount, RateKey, Tokens, UsageKey
from busbar.actors.governance.keyring import Keyring
from busbar.actors.governance.level import Asked, Level, tighter
from busbar.actors.governance.messages import (
    Admit,
    Admitted,
    Attach,
    ChangeGroup,
    ChangeKey,
    Charge,
    CreateGroup,
    CreateKey,
    DeleteGroup,
    DeleteKey,
    Denial,
    Denied,
    Health,
    ListGroups,
    ListKeys,
    NotDone,
    Page,
    Ready,
    Record,
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
from busbar.actors.governance.windows import WINDOW_SECS, Counted
from busbar.actors.messages import Snapshot
from busbar.actors.runtime import Forward, LoopActor, LoopRef, Reply, handles
from busbar.protocols.usage import Usage

TOKENS_MAX = 10**12
"""Of one kind in one answer: what a provider states beyond it (or below 0) is not believed."""

_TICKETS = itertools.count(1)
"""Of the whole process: a restarted instance gives no ticket that an earlier one gave."""

S = TypeVar("S", VirtualKey, Group)
Stored = Forward | NotDone


class Reservation(Struct):
    """What was taken for one running request, to be given back."""

    chain: Chain
    windows: tuple[int, ...]
    picodollars: int
    second: int
    """When it was counted, as the store tells it."""
    input_tokens: int
    counted_tokens: int
    counted: tuple[Counted | None, ...]


class Governance(LoopActor):
    """Understands Admit, Settle; CreateKey, ChangeKey, DeleteKey, ListKeys and the same for groups, Show, UsageOf;
    Ready and Health from the Ledger; Snapshot.

    Until the Ledger has said what there was, and while the store fails, it admits nobody: never does a counter start
    at zero because nobody could be asked. `strict`: an answer to `Settle`, or to a change, waits for the commit.
    """

    mailbox_limit = 100_000

    def __init__(self, ledger: LoopRef, tariff: Tariff, keyring: Keyring, *, strict: bool) -> None:
        super().__init__()
        self._ledger = ledger
        self._tariff = tariff
        self._keyring = keyring
        self._strict = strict
        self._registry: Registry | None = None
        self._healthy = True
        self._early: list[tuple[Settle, Reply]] = []
        """Of requests that an earlier instance admitted; as many as were running then."""
        self._waiting: list[Reply] = []
        """For it to be ready; a few, when the gateway starts."""
        self._reservations: dict[int, Reservation] = {}

    def on_start(self) -> None:
        self._keyring.clear()
        today = day_of(self.clock.time())
        self._ledger.tell(Attach(self.ref, self._tariff.price, first_of_month(today)))

    # --- from the ingress

    @handles(Admit)
    def admit(self, message: Admit) -> Admitted | Denied:
        registry = self._registry
        if registry is None or not self._healthy:
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
        if self._registry is None:
            self._early.append((message, self.defer()))
            return None
        return self._settled(message, self._registry)

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

    @handles(WhenReady)
    def when_ready(self, _message: WhenReady) -> None:
        if self._registry is None:
            self._waiting.append(self.defer())

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, object]:
        registry = self._registry
        return {
            "ready": registry is not None,
            "store_ok": self._healthy,
            "keys": 0 if registry is None else len(registry.keys),
            "groups": 0 if registry is None else len(registry.groups),
            "reservations": len(self._reservations),
        }

    # --- from the Ledger

    @handles(Ready)
    def ready(self, message: Ready) -> None:
        loaded = message.loaded
        self._registry = registry = Registry(loaded.keys, loaded.groups)
        for (scope, day), picodollars in loaded.spent.items():
            if scope in registry.levels:
                registry.levels[scope].spending.add(day, picodollars)
        self._recall_rates(registry, loaded.rates)
        for key in loaded.keys:
            self._keyring.put(key)
        self._keyring.ready = True
        while self._waiting:
            self._waiting.pop().set()
        early, self._early = self._early, []
        for settle, reply in early:
            settled = self._settled(settle, registry)
            if isinstance(settled, Forward):
                reply.forward(settled.to, settled.message)
            else:
                reply.set(settled)

    @handles(Health)
    def health(self, message: Health) -> None:
        self._healthy = message.ok

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
        reservation = Reservation(
            chain=chain,
            windows=tuple(level.reserve(asked.day, asked.picodollars) for level in chain),
            picodollars=asked.picodollars,
            second=second,
            input_tokens=message.input_tokens,
            counted_tokens=asked.tokens,
            counted=tuple(level.count(asked) for level in chain),
        )
        ticket = next(_TICKETS)
        self._reservations[ticket] = reservation
        requests = tokens = None
        limited = [level for level in chain if level.counts]
        if limited:
            self._ledger.tell(Record(rates=_rates(limited, second, 1, asked.tokens)))
            for level in limited:
                level_requests, level_tokens = level.quotas(asked.now)
                requests, tokens = tighter(requests, level_requests), tighter(tokens, level_tokens)
        return Admitted(ticket=ticket, day=asked.day, requests=requests, tokens=tokens)

    # --- settlement

    def _settled(self, message: Settle, registry: Registry) -> Settled | Forward:
        reservation = self._reservations.pop(message.ticket, None)
        chain = registry.chain(message.key) if reservation is None else reservation.chain
        scopes = [level.scope.id for level in chain] or [message.key]
        usage: list[tuple[UsageKey, Tokens]] = []
        picodollars = used = 0
        counted = _counted(message.charges)
        for charge in message.charges:
            tokens = _tokens(charge.usage, requests=int(charge is counted))
            tier = self._tariff.tier_of(charge.model, tokens.prompt)
            own = UsageKey(message.key, message.day, charge.model, tier, charge.estimated)
            picodollars += self._tariff.price(own, tokens)
            used += tokens.total
            usage.extend((own._replace(scope=scope), tokens) for scope in scopes)
        rates = () if reservation is None else self._give_back(reservation, used, answered=bool(usage))
        for level in chain:
            level.spending.add(message.day, picodollars)
        settled = Settled(picodollars)
        if not usage:
            if rates:
                self._ledger.tell(Record(rates=rates))
            return settled
        if self._strict:
            return Forward(self._ledger, Record(usage=tuple(usage), rates=rates, answer=settled))
        self._ledger.tell(Record(usage=tuple(usage), rates=rates))
        return settled

    def _give_back(
        self, reservation: Reservation, used: int, *, answered: bool
    ) -> tuple[tuple[RateKey, RateCount], ...]:
        """The money; and of the tokens what was not used. What a request that failed had sent stays counted."""
        by = (used if answered else reservation.input_tokens) - reservation.counted_tokens
        limited = []
        for level, window, counted in zip(reservation.chain, reservation.windows, reservation.counted, strict=True):
            level.release(window, reservation.picodollars)
            if counted is not None:
                level.tokens.correct(counted, by)
                limited.append(level)
        return _rates(limited, reservation.second, 0, by) if limited and by else ()

    # --- changes

    @property
    def _known(self) -> Registry:
        assert self._registry is not None, "asked only when it is there"
        return self._registry

    def _open(self) -> NotDone | None:
        """Whether changes can be made to last."""
        return None if self._registry is not None and self._healthy else _unavailable()

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

    def _recall_rates(self, registry: Registry, rates: Mapping[RateKey, RateCount]) -> None:
        """What counted before a restart goes on counting, for as long as it would have."""
        now, unix_secs = self.clock.now(), self.clock.time()
        for rate, count in sorted(rates.items(), key=lambda item: item[0].second):
            age_secs = max(0.0, unix_secs - rate.second)
            level = registry.levels.get(rate.scope)
            if level is not None and age_secs < WINDOW_SECS:
                level.recall(now - age_secs, count)


def _rates(levels: list[Level], second: int, requests: int, tokens: int) -> tuple[tuple[RateKey, RateCount], ...]:
    return tuple((RateKey(level.scope.id, second), RateCount(requests, tokens)) for level in levels)


def _counted(charges: tuple[Charge, ...]) -> Charge | None:
    """The one that the request is counted with: of several, one that is an estimate, as then the whole is."""
    return next((charge for charge in charges if charge.estimated), charges[-1] if charges else None)


def _tokens(usage: Usage, requests: int) -> Tokens:
    output, cache_write = _count(usage.output_tokens), _count(usage.cache_write_tokens)
    if usage.billed_input_tokens is not None:  # the provider itself says what counts
        output = output if usage.billed_output_tokens is None else _count(usage.billed_output_tokens)
        return Tokens(requests=requests, input=_count(usage.billed_input_tokens), output=output)
    return Tokens(
        requests=requests,
        input=_count(usage.input_tokens),
        output=output,
        cache_read=_count(usage.cache_read_tokens),
        cache_write=cache_write,
        cache_write_1h=min(_count(usage.cache_write_1h_tokens), cache_write),
        reasoning=min(_count(usage.reasoning_tokens), output),
    )


def _count(stated: int | None) -> int:
    return 0 if stated is None else min(max(stated, 0), TOKENS_MAX)


def _unavailable() -> NotDone:
    return NotDone(Wrong.UNAVAILABLE, "What there is cannot be read or recorded at the moment. Nothing was changed.")
