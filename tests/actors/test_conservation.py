"""Nothing is lost and nothing invented, in whatever order it happens: slots, the lifetime budget, the probe's place.

Random walks over pools that share their members. All that a request, a prober or a crash can do is done at random, in
an order that the kit shuffles by seed; after every single message the books have to balance.
"""

from __future__ import annotations

import random
from collections import Counter

import pykka
import pytest
from routing_actors import DOWN, NoJitter, World

from busbar.actors.breaker import BreakerCell, CellState
from busbar.actors.member import Member
from busbar.actors.messages import (
    Acquire,
    Assignment,
    Examination,
    Examine,
    Exhausted,
    MemberStarted,
    Reinstate,
    Release,
    Report,
    Route,
    Withdraw,
)
from busbar.actors.pool import Pool
from busbar.actors.runtime import LoopFuture
from busbar.actors.supervision import BreakerSettings, CellView, Directive, Outcome, Throttle
from busbar.actors.two_stage import TwoStagePolicy
from busbar.protocols.failures import FailureClass
from busbar.testing import Delivered, Kit, seeds

SLOTS = {"a": 1, "b": 2, "c": 3}
LISTS = {"plain": "abc", "line": "ca", "bold": "bca"}
"""Who is in which pool; a has weight 0 in the last."""
BUDGET = 1_000
"""Of member c, which no walk can use up."""
CRASHES_MAX = 4
"""Below the restart intensity."""
LAST_SECS = 2_000.0
"""After so long every cell admits its probe."""


class Moody(TwoStagePolicy):
    """Trips easily, and throttles by rate limits."""

    def __init__(self) -> None:
        settings = BreakerSettings(mode="consecutive", consecutive_n=2, base_cooldown_secs=2.0)
        super().__init__(settings, NoJitter())  # type: ignore[arg-type]

    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        if outcome.failure is FailureClass.RATE_LIMIT:
            return Throttle(1)
        if outcome.failure is None and cell.slots < cell.max_concurrent:
            return Throttle(cell.slots + 1)
        return super().on_outcome(cell, outcome, now)


class Walk:
    """One world and all that somebody holds in it."""

    def __init__(self, kit: Kit, seed: int) -> None:
        self.kit = kit
        self.chance = random.Random(f"walk {seed}")
        self.world = World(
            kit,
            a={"max_concurrent": SLOTS["a"]},
            b={"max_concurrent": SLOTS["b"]},
            c={"max_concurrent": SLOTS["c"], "max_requests": BUDGET},
        )
        self.world.pool("plain", "a*3", "b", "c*2", policy=Moody(), strategy="least_busy")
        self.world.pool("line", "c", "a", policy=Moody(), queue_secs=3.0, strategy="fastest")
        self.world.pool("bold", "b*2", "c", "a*0", policy=Moody(), least_bad=True)
        self.asked: dict[LoopFuture, str] = {}
        """What is not answered yet, and under which request id."""
        self.held: list[Assignment | Examination] = []
        self.void: list[Assignment | Examination] = []
        """Given by instances that have crashed since."""
        self.spent = 0
        """Of the lifetime budget of c."""
        self.crashes = 0

    # --- what may happen

    def act(self) -> None:
        act = self.chance.choices(
            [self.ask, self.end, self.examine, self.reinstate, self.withdraw, self.crash, self.wait],
            [40, 40, 8, 2, 4, 2, 6],
        )
        act[0]()

    def ask(self) -> None:
        pool = self.chance.choice(["plain", "line", "bold"])
        request_id = f"r{self.chance.random()}"
        session = self.chance.choice([None, None, "s1", "s2"])
        fresh = self.chance.random() < 0.8
        future = self.world.pools[pool].ask(Route(request_id=request_id, session=session, fresh=fresh))
        self.asked[future] = request_id

    def end(self) -> None:
        """Somebody is done: well, badly, by the caller's fault, without a verdict; or says so once too often."""
        if self.void and self.chance.random() < 0.2:
            self._tell_end(self.void.pop())
        elif self.held:
            ended = self.held.pop(self.chance.randrange(len(self.held)))
            refund = self._tell_end(ended)
            if isinstance(ended, Assignment) and ended.member == "c":
                self.spent -= refund
            self.void.append(ended)

    def _tell_end(self, ended: Assignment | Examination) -> bool:
        refund = self.chance.random() < 0.3
        if self.chance.random() < 0.25:
            ended.ref.tell(Release(permit=ended.permit, refund=refund))
        else:
            failures = [None, None, DOWN, DOWN, FailureClass.CLIENT_ERROR, FailureClass.RATE_LIMIT, FailureClass.AUTH]
            outcome = Outcome(self.chance.choice(failures), latency_ms=self.chance.choice([None, 5.0, 50.0]))
            ended.ref.tell(Report(permit=ended.permit, outcome=outcome, refund=refund))
        return refund

    def examine(self) -> None:
        member = self.world.members[self.chance.choice("abc")]
        self.asked[member.ask(Examine(only_open=self.chance.random() < 0.5))] = ""

    def reinstate(self) -> None:
        self.world.members[self.chance.choice("abc")].tell(Reinstate(self.chance.choice([None, "plain"])))

    def withdraw(self) -> None:
        for request_id in list(self.asked.values())[:1]:
            self.world.pools["line"].tell(Withdraw(request_id))

    def crash(self) -> None:
        if self.crashes < CRASHES_MAX:
            self.crashes += 1
            poison = Acquire(pool=[], ref=self.world.pools["line"], route=Route())  # type: ignore[arg-type]
            anybody = [*self.world.members.values(), self.world.pools["line"]]
            victim = self.chance.choice(anybody)
            victim.tell(Route(tried=None) if victim is anybody[-1] else poison)  # type: ignore[arg-type]

    def wait(self) -> None:
        self.settle()
        self.kit.advance(self.chance.choice([0.5, 2.0, 5.0, 30.0]))
        self.settle()

    # --- and what came of it

    def step(self) -> bool:
        delivered = self.kit.step()
        if delivered is None:
            return False
        self._gather()
        self._notice_crash(delivered)
        self.balance()
        return True

    def settle(self) -> None:
        while self.step():
            pass
        self._gather()  # what was answered while the clock moved

    def _gather(self) -> None:
        for future in [future for future in self.asked if future.done()]:
            del self.asked[future]
            try:
                reply: Assignment | Examination | Exhausted | None = future.get()
            except pykka.ActorDeadError:
                continue  # it waited in the line of a pool that crashed
            if isinstance(reply, Assignment) and reply.member == "c":
                self.spent += 1
            if isinstance(reply, Assignment | Examination):
                self.held.append(reply)

    def _notice_crash(self, delivered: Delivered) -> None:
        match delivered.message:
            case Acquire(pool=[]) | Route(tried=None):
                self.kit.expect_crash(TypeError)
            case _:
                return
        if not delivered.actor.startswith("member:"):
            return
        name = delivered.actor.removeprefix("member:")
        gone = [each for each in self.held if each.ref is self.world.members[name]]
        self.held = [each for each in self.held if each.ref is not self.world.members[name]]
        self.void += gone
        if name == "c":
            self.spent = 0
        for pool, models in LISTS.items():
            if name in models:  # as the gateway does
                self.world.pools[pool].tell(MemberStarted(name))

    # --- the books

    def balance(self) -> None:
        given = Counter(each.ref.name.removeprefix("member:") for each in self.held)
        assert all(given[model] <= slots for model, slots in SLOTS.items()), given
        for ref in self.world.members.values():
            member = ref.node.actor
            assert isinstance(member, Member)
            permits = list(member._permits.values())
            memberships = member._pools
            requests = [permit for permit in permits if hasattr(permit, "ticket")]
            busy = Counter(permit.pool for permit in requests)
            assert {pool: it.busy for pool, it in memberships.items()} == {pool: busy[pool] for pool in memberships}
            assert len(permits) - len(requests) <= 1, "one examination at a time"
            for pool, it in memberships.items():
                out = [each for each in requests if each.pool == pool and current_probe(each.ticket, it.cell)]
                held = it.cell._held
                assert len(out) + held <= 1, "never two probes for one cell"
                assert (len(out) == 1) == it.cell._probe_out
                assert not (held or out) or it.cell.state is not CellState.CLOSED
                free = member._spec.max_concurrent - len(permits)
                true = it.availability(free, budget_left=member._budget != 0, ttft_ms=member._ttft_ms)
                assert it.told == true, "nothing that a pool is to know is kept from it"
        for ref in self.world.pools.values():
            pool_actor = ref.node.actor
            assert isinstance(pool_actor, Pool)
            now = self.kit.clock.now()
            assert pool_actor._survey(Route(), now) == pool_actor._survey_each(Route(), now), "with and without haste"

    def rest(self) -> None:
        """Everything is done, and everything is there again."""
        self.settle()
        for _ in range(50):
            while self.held:
                self.end()
            self.settle()
        assert self.asked == {}, "everybody was answered"
        shown = {model: self.world.show(model) for model in SLOTS}
        assert {model: show["free_slots"] for model, show in shown.items()} == SLOTS
        assert {model: show["inflight"] for model, show in shown.items()} == dict.fromkeys(SLOTS, 0)
        assert shown["c"]["budget"] == BUDGET - self.spent
        assert self.world.waiting("line") == 0


def current_probe(ticket: object, cell: BreakerCell) -> bool:
    return bool(ticket.probe and ticket.epoch == cell.epoch)  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", seeds(80))
def test_slots_budget_and_probes_are_conserved_in_any_order(seed: int) -> None:
    with Kit(seed) as kit:
        walk = Walk(kit, seed)
        for _ in range(100):
            walk.act()
            for _ in range(walk.chance.randrange(5)):
                walk.step()
        walk.settle()
        kit.advance(5.0)  # nobody waits longer than three seconds
        walk.rest()
        kit.advance(LAST_SECS)
        for pool, models in LISTS.items():
            for model in models.replace("a", "") if pool == "bold" else models:
                walk.world.release(walk.world.take(pool, only=frozenset(model)))
        for model in SLOTS:
            walk.world.release(walk.world.examined(model))


@pytest.mark.parametrize("seed", seeds(40))
def test_nobody_waits_while_somebody_is_free(seed: int) -> None:
    """No wake-up is lost, whoever else takes and gives back the slots of the shared member."""
    with Kit(seed) as kit:
        world = World(kit, a={"max_concurrent": 2}, b={"max_concurrent": 1})
        world.pool("line", "a", "b", queue_secs=1_000.0)
        world.pool("other", "a", "b")
        asked: list[LoopFuture] = []
        held: list[Assignment] = []
        for _ in range(60):
            if kit.random.random() < 0.55:
                asked.append(world.pools[kit.random.choice(["line", "line", "other"])].ask(Route()))
            elif held:
                taken = held.pop(kit.random.randrange(len(held)))
                taken.ref.tell(Release(permit=taken.permit))
            for _ in range(kit.random.randrange(4)):
                kit.step()
            held += [each.get() for each in asked if each.done() and isinstance(each.get(), Assignment)]
            asked = [each for each in asked if not each.done()]
        kit.run()
        free = sum(world.show(model)["free_slots"] for model in "ab")
        assert not (world.waiting("line") and free)
