"""The gateway: the root of the tree. It makes the members, then the pools over them, and publishes who is where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from busbar.actors.continuity import Continuity
from busbar.actors.credentials.account import Credentials
from busbar.actors.credentials.wallet import CredentialPlan
from busbar.actors.governance.batch import Store
from busbar.actors.governance.desk import Desk
from busbar.actors.governance.governance import Governance
from busbar.actors.governance.keyring import Keyring
from busbar.actors.governance.ledger import Ledger
from busbar.actors.governance.messages import Retariff
from busbar.actors.governance.money import Tariff
from busbar.actors.governance.outbox import Outbox
from busbar.actors.journal import Journal
from busbar.actors.member import Member, MemberSpec
from busbar.actors.messages import (
    Directory,
    Drain,
    MemberStarted,
    Reload,
    Reshape,
    Resolve,
    Respec,
    Retire,
    Snapshot,
    Terms,
)
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
from busbar.actors.tallies import Labels, Relabel
from busbar.actors.two_stage import TwoStagePolicy

Kind: TypeAlias = Literal["pool", "direct"]
"""Of pools: those that are configured, and each model's own."""

Policies: TypeAlias = dict[tuple[Kind, str], SupervisionPolicy]
"""Of pools, by kind and name."""


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

    def is_judged_like(self, other: PoolPlan) -> bool:
        """Whether what a policy has learned for one holds for the other."""
        return self.breaker == other.breaker and _recipe(self.policy) == _recipe(other.policy)


class GatewayPlan(Struct, frozen=True, kw_only=True):
    """Everything that the tree is made from."""

    members: tuple[MemberSpec, ...]
    pools: tuple[PoolPlan, ...] = ()
    direct: Mapping[str, Terms] = {}
    """On which terms direct routes use a model; absent: no limits."""
    generation: int = 1
    governance: GovernancePlan | None = None
    credentials: tuple[CredentialPlan, ...] = ()
    """Of providers whose credential is not one fixed key. One that has not changed is the same object as before."""
    sinks: tuple[SinkPlan, ...] = ()
    protocols: tuple[str, ...] = ()
    """That callers may speak."""

    def own_pool(self, model: str) -> str:
        """The name of a model's implicit pool. A pool may be named like a model; the two keep separate cells."""
        return f"{model} (direct)" if any(pool.name == model for pool in self.pools) else model

    @property
    def own_pools(self) -> tuple[PoolPlan, ...]:
        """The implicit ones."""
        return tuple(
            PoolPlan(
                name=self.own_pool(spec.model),
                members=(PoolLine(model=spec.model, terms=self.direct.get(spec.model, Terms())),),
            )
            for spec in self.members
        )

    @property
    def every_pool(self) -> tuple[PoolPlan, ...]:
        """The configured ones, then the implicit ones."""
        return (*self.pools, *self.own_pools)

    def by_kind(self) -> dict[tuple[Kind, str], PoolPlan]:
        """Every pool, by kind and name."""
        own: dict[tuple[Kind, str], PoolPlan] = {("direct", pool.name): pool for pool in self.own_pools}
        return {**{("pool", pool.name): pool for pool in self.pools}, **own}

    def labels(self) -> Labels:
        """What metrics tell apart."""
        return Labels(
            self.protocols, {pool.name: tuple(line.model for line in pool.members) for pool in self.every_pool}
        )


def _recipe(policy: Callable[[PoolContext], SupervisionPolicy]) -> object:
    """`functools.partial` compares by identity; what it stands for does not."""
    if isinstance(policy, partial):
        return policy.func, policy.args, policy.keywords
    return policy


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


class PolicyUnusable(Exception):
    """A pool's supervision policy, the user's own code, cannot be made."""

    def __init__(self, pool: str, error: Exception) -> None:
        super().__init__(f"pools.{pool}.supervision: the policy cannot be made: {type(error).__name__}: {error}")


class GatewayPolicy(RestartPolicy):
    """Over the gateway's children. Who only tells what happened is started anew however often it crashes: telemetry
    never ends serving. Of the others, one that crashes again and again brings the gateway down."""

    max_restarts = 1_000_000
    others_max = RestartPolicy.max_restarts
    telling = frozenset({"Metrics", "Journal", "RequestLog", "Traces", "Faults"})
    mending = frozenset({"Credentials"})
    """These begin anew, and have what they need again: no provider's account may end the others."""

    def on_crash(self, child: ChildView, error: BaseException) -> Directive:
        del error
        for_ever = child.kind in self.telling or child.kind in self.mending
        return Restart() if for_ever or child.restarts < self.others_max else Escalate()


class Gateway(LoopActor):
    """Understands Resolve, Reload, Drain, MemberStarted, Snapshot.

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
        self._policies: Policies = {}
        self._listing: dict[str, list[LoopRef]] = {}
        self._metrics: LoopRef | None = None
        self._continuity: LoopRef | None = None
        self._sinks: tuple[LoopRef, ...] = ()
        self._governance: dict[str, LoopRef] = {}
        self._credentials: dict[str, LoopRef] = {}
        self._of_name: dict[str, LoopRef] = {}
        """The pool of each name, implicit ones and those that retire included. Members know pools by name, so there
        are never two of one: one that comes back is the same, and who waits there is served."""
        self._draining = False

    def on_start(self) -> None:
        plan = self._plan
        self._sinks = tuple(self.spawn(sink.actor, *sink.arguments, name=sink.name) for sink in plan.sinks)
        self._metrics = self.spawn(
            Metrics, self.spawn(Journal, name="journal"), self._sinks, plan.labels(), name="metrics"
        )
        self._continuity = self.spawn(Continuity, name="continuity")
        if plan.governance is not None:
            self._spawn_governance(plan.governance)
        self._lay_out(None, self._policies_of(plan, None))

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
            credentials=dict(self._credentials),
        )

    @handles(Reload)
    def reload(self, message: Reload) -> Directory | None:
        """What lasts as long as the process (the store, the sinks) stays as it is. Answered with `PolicyUnusable`
        when a pool's policy cannot be made: then nothing has changed."""
        before, plan = self._plan, message.plan
        assert isinstance(plan, GatewayPlan), "nothing else describes a tree"
        assert self._metrics is not None, "on_start has run"
        try:
            policies = self._policies_of(plan, before)
        except PolicyUnusable as unusable:
            self.defer().set_exception(unusable)
            return None
        self._plan = replace(plan, generation=before.generation + 1, sinks=before.sinks)
        self.renew_with(self._plan)
        self._lay_out(before, policies)
        self._metrics.tell(Relabel(self._plan.labels()))
        if plan.governance is not None and self._governance:
            self._governance["governance"].tell(Retariff(plan.governance.tariff))
        return self.resolve(Resolve())

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

    def _spawn_governance(self, plan: GovernancePlan) -> None:
        ledger = self.spawn(Ledger, plan.store, Outbox(), name="ledger")
        governance = self.spawn(
            Governance, ledger, plan.tariff, plan.keyring, Desk(), strict=plan.strict, name="governance"
        )
        self._governance = {"governance": governance, "ledger": ledger}

    # --- members, and the pools over them

    def _policies_of(self, plan: GatewayPlan, before: GatewayPlan | None) -> Policies:
        """Each pool's: the one that it has, where that still holds. Making one is the user's code, and may fail.
        Raises `PolicyUnusable`."""
        known = {} if before is None else before.by_kind()
        policies: Policies = {}
        for place, pool in plan.by_kind().items():
            earlier = known.get(place)
            if earlier is not None and earlier.is_judged_like(pool):
                policies[place] = self._policies[place]
                continue
            try:
                policies[place] = pool.policy(PoolContext(pool=pool.name, breaker=pool.breaker, random=self.random))
            except Exception as error:
                raise PolicyUnusable(pool.name, error) from error
        return policies

    def _lay_out(self, before: GatewayPlan | None, policies: Policies) -> None:
        """Makes the tree what the plan says, from what it was `before`."""
        plan, self._policies = self._plan, policies
        retiring = [*self._place_accounts(before), *self._place_members(before)]
        in_use = {*self._pools.values(), *self._direct.values()}
        self._of_name = {name: ref for name, ref in self._of_name.items() if ref.is_alive()}
        self._pools = {pool.name: self._place(pool, "pool") for pool in plan.pools}
        self._direct = {pool.members[0].model: self._place(pool, "direct") for pool in plan.own_pools}
        gone = in_use - {*self._pools.values(), *self._direct.values()}
        for ref in (*(ref for ref in self._of_name.values() if ref in gone), *retiring):
            ref.tell(Retire())
        there = {**self._pools, **{f"direct:{model}": ref for model, ref in self._direct.items()}}
        listing: dict[str, list[LoopRef]] = {}
        for pool, ref in zip(plan.every_pool, there.values(), strict=True):
            for line in pool.members:
                listing.setdefault(line.model, []).append(ref)
        self._listing = listing

    def _place_accounts(self, before: GatewayPlan | None) -> list[LoopRef]:
        """Gives those that the plan knows no more, or otherwise."""
        known = {} if before is None else {plan.provider: plan for plan in before.credentials}
        accounts, self._credentials = self._credentials, {}
        for plan in self._plan.credentials:
            if known.get(plan.provider) is plan and plan.provider in accounts:
                ref = accounts.pop(plan.provider)
            else:
                ref = self.spawn(Credentials, plan, name=self._free_name(f"credentials:{plan.provider}"))
            self._credentials[plan.provider] = ref
        return list(accounts.values())

    def _place_members(self, before: GatewayPlan | None) -> list[LoopRef]:
        """Gives those that the plan knows no more."""
        known = {} if before is None else {spec.model: spec for spec in before.members}
        members, self._members = self._members, {}
        for spec in self._plan.members:
            earlier, ref = known.get(spec.model), members.get(spec.model)
            if earlier is not None and ref is not None and ref.is_alive() and spec.is_same_backend(earlier):
                del members[spec.model]
                if spec != earlier:
                    ref.tell(Respec(spec))
            else:
                ref = self.spawn(Member, spec, name=self._free_name(f"member:{spec.model}"))
            self._members[spec.model] = ref
        return list(members.values())

    def _place(self, plan: PoolPlan, kind: Kind) -> LoopRef:
        """Reshapes the pool that is there, or starts one."""
        spec = self._pool_spec(plan, self._policies[kind, plan.name])
        ref = self._of_name.get(plan.name)
        if ref is not None:
            ref.tell(Reshape(spec))
            return ref
        title = plan.members[0].model if kind == "direct" else plan.name
        ref = self._of_name[plan.name] = self.spawn(Pool, spec, name=self._free_name(f"{kind}:{title}"))
        return ref

    def _pool_spec(self, plan: PoolPlan, policy: SupervisionPolicy) -> PoolSpec:
        return PoolSpec(
            name=plan.name,
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
            policy=policy,
            window_secs=plan.breaker.window_secs,
            strategy=plan.strategy,
            least_bad=plan.least_bad,
            queue_secs=plan.queue_secs,
        )

    def _free_name(self, name: str) -> str:
        """One that retires keeps its name until it has stopped."""
        number, free = self._plan.generation, name
        while free in self._node.children:  # a model may be called `gpt#2`
            free, number = f"{name}#{number}", number + 1
        return free
