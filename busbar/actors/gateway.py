"""The gateway: the root of the tree. It makes the members, then the pools over them, and publishes who is where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from busbar.actors.continuity import Continuity
from busbar.actors.governance.batch import Store
from busbar.actors.governance.desk import Desk
from busbar.actors.governance.governance import Governance
from busbar.actors.governance.keyring import Keyring
from busbar.actors.governance.ledger import Ledger
from busbar.actors.governance.money import Tariff
from busbar.actors.governance.outbox import Outbox
from busbar.actors.journal import Journal
from busbar.actors.member import Member, MemberSpec
from busbar.actors.messages import Directory, Drain, MemberStarted, Resolve, Snapshot, Terms
from busbar.actors.metrics import Metrics
from busbar.actors.pool import Pool, PoolMember, PoolSpec
from busbar.actors.runtime import LoopActor, LoopRef, handles
from busbar.actors.selection import Price, StrategyName
from busbar.actors.supervision import (
    BreakerSettings,
    ChildView,
    Directive,
    Escalate,
    PoolContext,
    Restart,
    RestartPolicy,
    SupervisionPolicy,
)
from busbar.actors.tallies import Labels
from busbar.actors.two_stage import TwoStagePolicy


class PoolLine(Struct, frozen=True, kw_only=True):
    """One member of a planned pool."""

    model: str
    weight: int = 1
    excluded: bool = False
    terms: Terms = Terms()
    price: Price | None = None


class PoolPlan(Struct, frozen=True, kw_only=True):
    """A pool as the configuration describes it."""

    name: str
    members: tuple[PoolLine, ...]
    breaker: BreakerSettings = BreakerSettings()
    policy: Callable[[PoolContext], SupervisionPolicy] = TwoStagePolicy.create
    strategy: StrategyName = "weighted"
    least_bad: bool = False
    queue_secs: float | None = None


class GatewayPlan(Struct, frozen=True, kw_only=True):
    """Everything that the tree is made from."""

    members: tuple[MemberSpec, ...]
    pools: tuple[PoolPlan, ...] = ()
    direct: Mapping[str, Terms] = {}
    """On which terms direct routes use a model; absent: no limits."""
    generation: int = 1
    governance: GovernancePlan | None = None
    sinks: tuple[SinkPlan, ...] = ()
    protocols: tuple[str, ...] = ()
    """That callers may speak."""

    def own_pool(self, model: str) -> str:
        """The name of a model's implicit pool. A pool may be named like a model; the two keep separate cells."""
        return f"{model} (direct)" if any(pool.name == model for pool in self.pools) else model


class SinkPlan(Struct, frozen=True, kw_only=True):
    """An actor that is told of requests that are over (`RequestsDone`)."""

    name: str
    actor: type[LoopActor]
    arguments: tuple[Any, ...] = ()


class GovernancePlan(Struct, frozen=True, kw_only=True):
    """Virtual keys, budgets and limits. `strict`: an answer waits until what it cost is recorded."""

    store: Store
    tariff: Tariff
    keyring: Keyring
    strict: bool = True


class GatewayPolicy(RestartPolicy):
    """Over the gateway's children. Who only tells what happened is started anew however often it crashes: telemetry
    never ends serving. Of the others, one that crashes again and again brings the gateway down."""

    max_restarts = 1_000_000
    others_max = RestartPolicy.max_restarts
    telling = frozenset({"Metrics", "Journal", "RequestLog", "Traces", "Faults"})

    def on_crash(self, child: ChildView, error: BaseException) -> Directive:
        del error
        return Restart() if child.kind in self.telling or child.restarts < self.others_max else Escalate()


class Gateway(LoopActor):
    """Understands Resolve, Drain, MemberStarted, Snapshot.

    Besides the configured pools there is an implicit pool of one for each model: the cell that direct routes use.
    """

    mailbox_limit = 100_000
    """Each member says that it has started while the tree is still being made: so many models may be configured."""

    def __init__(self, plan: GatewayPlan) -> None:
        super().__init__()
        self._plan = plan
        self._members: dict[str, LoopRef] = {}
        self._pools: dict[str, LoopRef] = {}
        self._direct: dict[str, LoopRef] = {}
        self._listing: dict[str, list[LoopRef]] = {}
        self._metrics: LoopRef | None = None
        self._continuity: LoopRef | None = None
        self._sinks: tuple[LoopRef, ...] = ()
        self._governance: dict[str, LoopRef] = {}
        self._draining = False

    def on_start(self) -> None:
        self._sinks = tuple(self.spawn(sink.actor, *sink.arguments, name=sink.name) for sink in self._plan.sinks)
        self._metrics = self.spawn(
            Metrics, self.spawn(Journal, name="journal"), self._sinks, self._labels(), name="metrics"
        )
        self._continuity = self.spawn(Continuity, name="continuity")
        if self._plan.governance is not None:
            self._spawn_governance(self._plan.governance)
        for spec in self._plan.members:
            self._members[spec.model] = self.spawn(Member, spec, name=f"member:{spec.model}")
        for pool in self._plan.pools:
            self._pools[pool.name] = self._spawn_pool(pool, pool.name, f"pool:{pool.name}")
        for spec in self._plan.members:
            name = self._plan.own_pool(spec.model)
            alone = PoolPlan(
                name=name, members=(PoolLine(model=spec.model, terms=self._plan.direct.get(spec.model, Terms())),)
            )
            self._direct[spec.model] = self._spawn_pool(alone, name, f"direct:{spec.model}")

    @handles(Resolve)
    def resolve(self, _message: Resolve) -> Directory:
        assert self._metrics is not None, "on_start has run"
        assert self._continuity is not None, "on_start has run"
        return Directory(
            generation=self._plan.generation,
            pools=dict(self._pools),
            direct=dict(self._direct),
            members=dict(self._members),
            metrics=self._metrics,
            continuity=self._continuity,
            sinks=self._sinks,
            governance=dict(self._governance),
        )

    @handles(MemberStarted)
    def member_started(self, message: MemberStarted) -> None:
        """A member that starts anew has lost its pools: each that lists it joins it again."""
        for pool in self._listing.get(message.member, ()):
            pool.tell(message)

    @handles(Drain)
    def drain(self, _message: Drain) -> None:
        self._draining = True

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        return {"generation": self._plan.generation, "draining": self._draining}

    def _labels(self) -> Labels:
        plan = self._plan
        pools = {pool.name: tuple(line.model for line in pool.members) for pool in plan.pools}
        own = {plan.own_pool(spec.model): (spec.model,) for spec in plan.members}
        return Labels(plan.protocols, {**pools, **own})

    def _spawn_governance(self, plan: GovernancePlan) -> None:
        ledger = self.spawn(Ledger, plan.store, Outbox(), name="ledger")
        governance = self.spawn(
            Governance, ledger, plan.tariff, plan.keyring, Desk(), strict=plan.strict, name="governance"
        )
        self._governance = {"governance": governance, "ledger": ledger}

    def _spawn_pool(self, plan: PoolPlan, name: str, actor_name: str) -> LoopRef:
        spec = PoolSpec(
            name=name,
            members=tuple(
                PoolMember(
                    model=line.model,
                    ref=self._members[line.model],
                    weight=line.weight,
                    excluded=line.excluded,
                    terms=line.terms,
                    price=line.price,
                )
                for line in plan.members
            ),
            policy=plan.policy(PoolContext(pool=name, breaker=plan.breaker, random=self.random)),
            window_secs=plan.breaker.window_secs,
            strategy=plan.strategy,
            least_bad=plan.least_bad,
            queue_secs=plan.queue_secs,
        )
        ref = self.spawn(Pool, spec, name=actor_name)
        for line in plan.members:
            self._listing.setdefault(line.model, []).append(ref)
        return ref
