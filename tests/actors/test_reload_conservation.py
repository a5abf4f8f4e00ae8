"""Nothing is lost and nothing invented while the configuration changes again and again: slots, budgets, the probe's
place, who waits, and what pools believe of members.

Random walks over random plans. Requests of several generations are under way at once; whatever they, probers,
operators and crashes can do is done at random, in an order that the kit shuffles by seed. After every single message
the books have to balance, and in the end nobody is left who is not in the last plan.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from typing import Any

import pykka
import pytest

from busbar.actors.gateway import Gateway, GatewayPlan, GatewayPolicy, PoolLine, PoolPlan
from busbar.actors.member import UNLIMITED, Member, MemberSpec
from busbar.actors.membership import RequestPermit
from busbar.actors.messages import (
    Acquire,
    Assignment,
    Directory,
    Examination,
    Examine,
    Exhausted,
    Reinstate,
    Release,
    Reload,
    Report,
    Resolve,
    Route,
    Snapshot,
    Withdraw,
)
from busbar.actors.pool import RETIRED_SECS, Pool
from busbar.actors.runtime import LoopFuture, LoopRef
from busbar.actors.supervision import (
    BreakerSettings,
    CellView,
    Directive,
    Drain,
    Outcome,
    PoolContext,
    SupervisionPolicy,
    Throttle,
)
from busbar.actors.two_stage import TwoStagePolicy
from busbar.protocols.failures import FailureClass
from busbar.testing import Delivered, Kit, seeds

MODELS, POOLS = "abcd", ("plain", "line", "a")
"""One pool is named like a model: then the model's own is called otherwise."""
GENERATIONS_ALIVE = 3
"""Of so many there may still be requests."""
CRASHES_MAX = 3
QUEUE_SECS = 3.0
LAST_SECS = 2_000.0
"""After so long every cell admits its probe."""
FAILURES = [None, None, FailureClass.SERVER_ERROR, FailureClass.SERVER_ERROR, FailureClass.RATE_LIMIT]
FAILURES += [FailureClass.CLIENT_ERROR, FailureClass.AUTH]


class Moody(SupervisionPolicy):
    """Throttles by rate limits, and drains once for a refused key; else the usual one."""

    def __init__(self, context: PoolContext) -> None:
        self._usual = TwoStagePolicy.create(context)
        self._drained = False

    @classmethod
    def create(cls, context: PoolContext, **options: Any) -> Moody:
        del options
        return cls(context)

    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        if outcome.failure is FailureClass.RATE_LIMIT:
            return Throttle(1)
        if outcome.failure is FailureClass.AUTH and not self._drained:
            self._drained = True
            return Drain()
        if outcome.failure is None and cell.slots < cell.max_concurrent:
            return Throttle(cell.slots + 1)
        return self._usual.on_outcome(cell, outcome, now)


class Plans:
    """Draws plans, each a few changes away from the one before it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._members: dict[str, MemberSpec] = {}
        self._pools: dict[str, PoolPlan] = {}
        for model in MODELS[:3]:
            self._members[model] = self._member(model)
        for name in POOLS[:2]:
            self._pools[name] = self._pool(name)

    def next(self) -> GatewayPlan:
        for _ in range(self._chance.randrange(4)):
            self._chance.choice([self._change_member, self._change_pool])()
        members = tuple(self._chance.sample(list(self._members.values()), len(self._members)))
        return GatewayPlan(members=members, pools=tuple(self._pools.values()), protocols=("openai",))

    def _change_member(self) -> None:
        model = self._chance.choice(MODELS)
        if model in self._members and len(self._members) > 1 and self._chance.random() < 0.3:
            del self._members[model]
            for name, pool in list(self._pools.items()):
                lines = tuple(line for line in pool.members if line.model != model)
                if lines:
                    self._pools[name] = PoolPlan(**{**_fields(pool), "members": lines})
                else:
                    del self._pools[name]
        else:
            self._members[model] = self._member(model)

    def _change_pool(self) -> None:
        name = self._chance.choice(POOLS)
        if name in self._pools and self._chance.random() < 0.3:
            del self._pools[name]
        else:
            self._pools[name] = self._pool(name)

    def _member(self, model: str) -> MemberSpec:
        return MemberSpec(
            model=model,
            provider="acme",
            protocol="openai",
            max_concurrent=self._chance.choice([1, 2, 3]),
            max_requests=self._chance.choice([UNLIMITED, UNLIMITED, 1_000, 8]),
            identity=self._chance.choice([1, 1, 1, 2]),
        )

    def _pool(self, name: str) -> PoolPlan:
        chance = self._chance
        models = chance.sample(list(self._members), chance.randint(1, len(self._members)))
        breaker = BreakerSettings(
            mode="consecutive", consecutive_n=2, base_cooldown_secs=chance.choice([2.0, 2.0, 9.0])
        )
        return PoolPlan(
            name=name,
            members=tuple(PoolLine(model=model, weight=chance.choice([0, 1, 1, 2, 1000])) for model in models),
            breaker=breaker,
            policy=functools.partial(Moody.create, step=chance.randrange(2)),
            strategy=chance.choice(["weighted", "weighted", "least_busy", "fastest"]),
            least_bad=chance.random() < 0.3,
            queue_secs=QUEUE_SECS if name == "line" or chance.random() < 0.3 else None,
        )


def _fields(pool: PoolPlan) -> dict[str, Any]:
    return {name: getattr(pool, name) for name in pool.__struct_fields__}


class Walk:
    """A gateway, and all that somebody holds in it."""

    def __init__(self, kit: Kit, seed: int) -> None:
        self.kit = kit
        self.chance = random.Random(f"walk {seed}")
        self.plans = Plans(self.chance)
        self.root = kit.spawn(Gateway, self.plans.next(), policy=GatewayPolicy())
        self.asked: dict[LoopFuture, str] = {}
        """What is not answered yet, and under which request id."""
        self.held: list[Assignment | Examination] = []
        self.void: list[Assignment | Examination] = []
        """Given by instances that have crashed since, or given back already."""
        self.spent: Counter[LoopRef] = Counter()
        """Of lifetime budgets."""
        self.restarts: Counter[LoopRef] = Counter()
        self.crashes = 0
        self.alive: list[Directory] = [kit.ask(self.root, Resolve())]
        """The last is the one in effect."""
        self.reloading: LoopFuture | None = None
        self.before: dict[LoopRef, int] = {}
        """Permits of each member before the message at hand."""

    # --- what may happen

    def act(self) -> None:
        act = self.chance.choices(
            [self.ask, self.end, self.examine, self.reinstate, self.withdraw, self.crash, self.wait, self.reload],
            [40, 40, 8, 2, 4, 2, 6, 8],
        )
        act[0]()

    def reload(self) -> None:
        if self.reloading is None:
            self.reloading = self.root.ask(Reload(self.plans.next()))

    def ask(self) -> None:
        there = self.chance.choice(self.alive)
        pools = [*there.pools.values(), *there.direct.values()]
        request_id = f"r{self.chance.random()}"
        session = self.chance.choice([None, None, "s1", "s2"])
        route = Route(request_id=request_id, session=session, fresh=self.chance.random() < 0.8)
        self.asked[self.chance.choice(pools).ask(route)] = request_id

    def end(self) -> None:
        """Somebody is done: well, badly, by the caller's fault, without a verdict; or says so once too often."""
        if self.void and self.chance.random() < 0.2:
            self._tell_end(self.void.pop())
        elif self.held:
            ended = self.held.pop(self.chance.randrange(len(self.held)))
            refund = self._tell_end(ended)
            if isinstance(ended, Assignment):
                self.spent[ended.ref] -= refund
            self.void.append(ended)

    def _tell_end(self, ended: Assignment | Examination) -> bool:
        refund = self.chance.random() < 0.3
        if not ended.ref.is_alive():
            return False
        if self.chance.random() < 0.25:
            ended.ref.tell(Release(permit=ended.permit, refund=refund))
        else:
            outcome = Outcome(self.chance.choice(FAILURES), latency_ms=self.chance.choice([None, 5.0, 50.0]))
            ended.ref.tell(Report(permit=ended.permit, outcome=outcome, refund=refund))
        return refund

    def examine(self) -> None:
        member = self.chance.choice(list(self.chance.choice(self.alive).members.values()))
        self.asked[member.ask(Examine(only_open=self.chance.random() < 0.5))] = ""

    def reinstate(self) -> None:
        member = self.chance.choice(list(self.alive[-1].members.values()))
        member.ask(Reinstate(self.chance.choice([None, "plain"])))

    def withdraw(self) -> None:
        for request_id in list(self.asked.values())[:1]:
            for ref in {ref for there in self.alive for ref in there.pools.values()}:
                ref.ask(Withdraw(request_id))

    def crash(self) -> None:
        if self.crashes < CRASHES_MAX:
            self.crashes += 1
            there = self.chance.choice(self.alive)
            if self.chance.random() < 0.6:
                poison = Acquire(pool=[], ref=self.root, route=Route())  # type: ignore[arg-type]
                self.chance.choice(list(there.members.values())).ask(poison)
            elif there.pools:
                self.chance.choice(list(there.pools.values())).ask(Route(tried=None))  # type: ignore[arg-type]

    def wait(self) -> None:
        self.settle()
        self.kit.advance(self.chance.choice([0.5, 2.0, 5.0, 30.0]))
        self.settle()

    # --- and what came of it

    def step(self) -> bool:
        self.before = {ref: len(member._permits) for ref, member in self.members()}
        delivered = self.kit.step()
        if delivered is None:
            return False
        self._notice_crash(delivered)
        self._gather()
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
                continue  # a pool that crashed, or a member that has stopped
            if isinstance(reply, Assignment):
                self.spent[reply.ref] += 1
            if isinstance(reply, Assignment | Examination):
                self.held.append(reply)
        if self.reloading is not None and self.reloading.done():
            self.alive = [*self.alive, self.reloading.get()][-GENERATIONS_ALIVE:]
            self.reloading = None

    def _notice_crash(self, delivered: Delivered) -> None:
        match delivered.message:
            case Acquire(pool=[]) | Route(tried=None):
                if self.kit.system.crashes() and self.kit._unexpected():
                    self.kit.expect_crash(TypeError)
        for ref in {held.ref for held in self.held}:
            if ref.node.restarts != self.restarts[ref] or not ref.is_alive():
                self._gather()  # given before it crashed
                self.void += [each for each in self.held if each.ref == ref]
                self.held = [each for each in self.held if each.ref != ref]
        for ref, _ in self.members():
            if ref.node.restarts != self.restarts[ref]:
                self.restarts[ref] = ref.node.restarts
                self.spent[ref] = 0

    # --- the books

    def members(self) -> list[tuple[LoopRef, Member]]:
        actors = [(ref, ref.node.actor) for ref in self.kit.system.children(self.root)]
        return [(ref, actor) for ref, actor in actors if isinstance(actor, Member)]

    def pools(self) -> list[Pool]:
        actors = [ref.node.actor for ref in self.kit.system.children(self.root)]
        return [actor for actor in actors if isinstance(actor, Pool)]

    def balance(self) -> None:
        for ref, member in self.members():
            permits = list(member._permits.values())
            memberships = member._pools
            requests = [permit for permit in permits if isinstance(permit, RequestPermit)]
            busy = Counter(permit.pool for permit in requests)
            assert busy.keys() <= memberships.keys(), "none forgets a pool whose requests are with it"
            assert {pool: it.busy for pool, it in memberships.items()} == {pool: busy[pool] for pool in memberships}
            assert len(permits) - len(requests) <= 1, "one examination at a time"
            if len(permits) > self.before.get(ref, 0):
                assert len(permits) <= member._spec.max_concurrent, "never one more than it may have"
            for pool, it in memberships.items():
                out = [
                    each
                    for each in requests
                    if each.pool == pool and each.ticket.probe and each.ticket.epoch == it.cell.epoch
                ]
                held = it.cell._held
                assert len(out) + held <= 1, "never two probes for one cell"
                assert (len(out) == 1) == it.cell._probe_out
                assert not it.leaving or it.busy, "who has left and holds nothing is forgotten"
        for actor in self.pools():
            assert sum(actor._currents.values()) == 0, "credits add up to nothing"
            assert actor._currents.keys() <= actor._lines.keys()

    def rest(self) -> None:
        """Everything is done: only what the last plan says is there, and all of it."""
        self.settle()
        self.kit.advance(QUEUE_SECS + 1)
        for _ in range(50):
            self.settle()
            while self.held:
                self.end()
        self.settle()
        assert self.asked == {}, "everybody was answered"
        self.alive = self.alive[-1:]
        self.kit.advance(RETIRED_SECS + LAST_SECS)
        self.settle()
        (there,) = self.alive
        assert self.kit.ask(self.root, Resolve()).members == there.members
        expected = {*there.members.values(), *there.pools.values(), *there.direct.values()}
        kinds = {ref for ref in self.kit.system.children(self.root) if ref.actor_class in (Member, Pool)}
        assert kinds == expected, "nobody is left who is not in the plan, and nobody is missing"
        for ref, member in self.members():
            shown = self.kit.ask(ref, Snapshot())
            assert shown["inflight"] == 0
            assert shown["free_slots"] == member._spec.max_concurrent
            limit = member._spec.max_requests
            assert shown["budget"] == (None if limit == UNLIMITED else max(0, limit - self.spent[ref]))
            assert set(shown["cells"]) == {pool._spec.name for pool in self.pools() if shown["model"] in pool._lines}
        for pool in self.pools():
            assert len(pool._waiting) == 0
            for line in pool._lines.values():
                actor = line.spec.ref.node.actor
                assert isinstance(actor, Member)
                membership = actor._pools[pool._spec.name]
                free = actor._spec.max_concurrent - len(actor._permits)
                true = membership.availability(free, budget_left=actor._budget != 0, ttft_ms=actor._ttft_ms)
                assert line.availability == true, "each pool believes of each member what is so"

    def serve(self) -> None:
        """Every member that may take requests takes one from each pool."""
        for ref in self.alive[-1].members.values():
            self.kit.ask(ref, Reinstate(None))
        for pool in self.pools():
            for model, line in pool._lines.items():
                member = line.spec.ref.node.actor
                assert isinstance(member, Member)
                if line.spec.weight and member._budget != 0:
                    taken = self.kit.ask(pool.ref, Route(only=frozenset({model}), fresh=False))
                    assert isinstance(taken, Assignment), taken
                    assert taken.ref == self.alive[-1].members[model]
                    self.kit.ask(taken.ref, Snapshot())
                    taken.ref.tell(Release(permit=taken.permit, refund=True))
                    self.kit.run()


@pytest.mark.parametrize("seed", seeds(100))
def test_slots_budgets_probes_and_actors_are_conserved_across_reloads(seed: int) -> None:
    with Kit(seed) as kit:
        walk = Walk(kit, seed)
        for _ in range(120):
            walk.act()
            for _ in range(walk.chance.randrange(6)):
                walk.step()
        walk.rest()
        walk.serve()
