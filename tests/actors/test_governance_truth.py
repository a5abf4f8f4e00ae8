"""The ledger against the truth, under everything that can happen: interleavings, failures of the store, crashes of
the actors, kills of the process. Every request uses a model of its own, so that the ledger says of each what became
of it: once what it used, if it was answered; that or nothing, if it was not; never twice."""

from __future__ import annotations

import random

import pykka
import pytest

from busbar.actors.governance.batch import RateKey, Tokens
from busbar.actors.governance.messages import Admitted, ChangeKey, NotRecorded, Record, Settle, Settled
from busbar.actors.governance.money import Rates, Tariff
from busbar.actors.runtime import LoopFuture
from busbar.actors.supervision import RestartPolicy
from busbar.testing import Kit, seeds
from busbar.testing.store import MemoryStore

from .governance_world import CENT, Bank, charge, group, key

BUDGET = 400
PRICES = Tariff({}, Rates(output=CENT))
"""Whatever the model, a token is a cent."""

SCOPES = (
    group("org"),
    group("team", parent="grp_org", max_budget_cents=BUDGET),
    key("a", group="grp_team", max_budget_cents=BUDGET // 2),
    key("b", group="grp_team", rpm_limit=40),
)


class Request:
    def __init__(self, number: int, owner: str, admitted: Admitted, asked: int) -> None:
        self.model = f"m{number}"
        self.owner = owner
        self.admitted = admitted
        self.asked = asked
        self.used = 0
        self.reply: LoopFuture | None = None
        self.lasts = False
        """It was settled, answered or not, in a process that ended well."""

    def told(self, what: type) -> bool:
        """Whether the answer to the settlement is a `what`."""
        if self.reply is None or not self.reply.done():
            return False
        try:
            return isinstance(self.reply.get(), what)
        except pykka.ActorDeadError:
            return False


class Patient(RestartPolicy):
    """However often they crash."""

    max_restarts = 10_000


class Life:
    """One ledger's, through several processes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.requests: list[Request] = []
        self.born = 0
        """So many requests were admitted before this process."""

    def run(self) -> None:
        store: MemoryStore | None = None
        for process in range(4):
            with Kit(self.seed * 10 + process, policy=Patient()) as kit:
                if store is None:
                    store = MemoryStore(kit.clock)
                    bank = Bank(kit, *SCOPES, store=store, tariff=PRICES)
                else:
                    store.restart(kit.clock)
                    bank = Bank(kit, store=store, tariff=PRICES)
                    self._check_spent(bank)
                self._live(bank)
                if self.random.random() < 0.5:
                    self._end_well(bank)
                written = self.random.randint(0, store.waiting)
                store.heal()
                store.restart(kit.clock, written=written)
        assert store is not None
        self._check_ledger(store)

    def _live(self, bank: Bank) -> None:
        self.born = len(self.requests)
        running: list[Request] = []
        deeds = [self._admit] * 6 + [self._settle] * 5 + [self._drop, self._advance, self._trouble]
        deeds += [self._crash_governance, self._crash_ledger]
        for _ in range(120):
            self.random.choice(deeds)(bank, running)
            self._check_budget(bank)

    def _admit(self, bank: Bank, running: list[Request]) -> None:
        owner, asked = self.random.choice("ab"), self.random.randint(1, 20)
        reply = bank.admit(owner, models=("m",), output_tokens=asked)
        if isinstance(reply, Admitted):
            request = Request(len(self.requests), owner, reply, asked)
            self.requests.append(request)
            running.append(request)

    def _settle(self, bank: Bank, running: list[Request]) -> None:
        if running:
            request = running.pop(self.random.randrange(len(running)))
            request.used = self.random.randint(1, request.asked)
            request.reply = bank.governance.ask(
                Settle(
                    ticket=request.admitted.ticket,
                    key=f"vk_{request.owner}",
                    day=request.admitted.day,
                    charges=(charge(request.used, request.model),),
                )
            )
            if self.random.random() < 0.5:
                bank.kit.run()

    def _drop(self, bank: Bank, running: list[Request]) -> None:
        """A request that failed: it gives back what was reserved."""
        if running:
            request = running.pop()
            bank.governance.tell(
                Settle(ticket=request.admitted.ticket, key=f"vk_{request.owner}", day=request.admitted.day)
            )

    def _advance(self, bank: Bank, running: list[Request]) -> None:
        bank.kit.advance(self.random.choice((0.001, 0.05, 1.0, 7.0, 30.0)))

    def _trouble(self, bank: Bank, running: list[Request]) -> None:
        if self.random.random() < 0.5:
            bank.store.fail("trouble", after_writing=self.random.random() < 0.5)
        else:
            bank.store.heal()
        bank.store.latency_secs = self.random.choice((0.0, 0.002, 0.5, 8.0))

    def _crash_ledger(self, bank: Bank, running: list[Request]) -> None:
        if self.random.random() < 0.3:
            bank.ledger.tell(Record(rates=((RateKey("vk_a", 0), None),)))  # type: ignore[arg-type]
            bank.kit.run()
            bank.kit.expect_crash(AttributeError)

    def _crash_governance(self, bank: Bank, running: list[Request]) -> None:
        if self.random.random() < 0.3:
            told = bank.ask(ChangeKey("vk_a", {"nonsense": 1}))
            if self._died_of_it(told):
                bank.kit.expect_crash(TypeError)

    def _died_of_it(self, told: LoopFuture) -> bool:
        try:
            told.get()
        except TypeError:
            return True
        return False

    def _end_well(self, bank: Bank) -> None:
        bank.store.heal()
        bank.store.latency_secs = 0.0
        bank.kit.advance(20)
        for request in self.requests[self.born :]:
            request.lasts = request.lasts or request.told(Settled) or request.told(NotRecorded)

    # --- what must hold

    def _check_budget(self, bank: Bank) -> None:
        """No level ever promises more than its budget: used by no more than asked for, and that reserved."""
        registry = getattr(bank.governance.node.actor, "_registry", None)
        if registry is not None:
            for scope in ("vk_a", "grp_team"):
                level = registry.levels[scope]
                limit = level.scope.max_budget_cents * CENT
                assert level.spending.total + level.reserved(0) <= limit

    def _check_spent(self, bank: Bank) -> None:
        """What the new process starts from is what the store says."""
        for scope in ("vk_a", "vk_b", "grp_team", "grp_org"):
            assert bank.standing(scope).spent == sum(each.output for each in bank.ledger_of(scope).values()) * CENT

    def _check_ledger(self, store: MemoryStore) -> None:
        usage = store.usage()
        for request in self.requests:
            rows = {
                usage_key.scope: tokens for usage_key, tokens in usage.items() if usage_key.model == request.model
            }
            once = Tokens(requests=1, output=request.used)
            expected = dict.fromkeys((f"vk_{request.owner}", "grp_team", "grp_org"), once)
            if request.told(Settled) or request.lasts or rows:
                assert rows == expected, f"request {request.model}, answered: {request.told(Settled)}"


@pytest.mark.parametrize("seed", seeds(150))
def test_the_ledger_equals_the_truth(seed: int) -> None:
    Life(seed).run()


def test_nothing_in_the_check_is_vacuous() -> None:
    """Of the many requests of these lives, most were answered, and some were told that they are not recorded."""
    lives = [Life(seed) for seed in range(15)]
    for life in lives:
        life.run()
    settled = [request for life in lives for request in life.requests if request.reply is not None]
    assert sum(request.told(Settled) for request in settled) > len(settled) / 4 > 100
    assert sum(request.told(NotRecorded) for request in settled) > 5
