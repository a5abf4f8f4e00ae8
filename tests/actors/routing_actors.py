"""Worlds for the tests of pools and members: a few actors on the kit, and what one does with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from busbar.actors.member import Member, MemberSpec
from busbar.actors.messages import (
    Assignment,
    Examination,
    Examine,
    Exhausted,
    Release,
    Report,
    Route,
    Snapshot,
    Terms,
)
from busbar.actors.pool import Pool, PoolMember, PoolSpec
from busbar.actors.runtime import LoopFuture, LoopRef
from busbar.actors.supervision import BreakerSettings, CellView, Directive, Outcome, SupervisionPolicy
from busbar.actors.two_stage import TwoStagePolicy
from busbar.protocols.failures import FailureClass
from busbar.testing import Kit

DOWN = FailureClass.SERVER_ERROR
CONSECUTIVE = BreakerSettings(mode="consecutive")
"""Trips after three failures in a row, for 15 s."""


class NoJitter:
    """Stands for the random source of a policy whose cooldowns a test wants to know to the second."""

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


def two_stage(settings: BreakerSettings | None = None) -> TwoStagePolicy:
    return TwoStagePolicy(settings or BreakerSettings(), NoJitter())  # type: ignore[arg-type]


class Says(SupervisionPolicy):
    """A user's policy: a function of the cell and the outcome."""

    def __init__(self, decide: Callable[[CellView, Outcome], Directive]) -> None:
        self._decide = decide
        self.seen: list[CellView] = []

    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        self.seen.append(cell)
        return self._decide(cell, outcome)


class World:
    """Members by name and pools over them, each pool with a policy of its own."""

    def __init__(self, kit: Kit, **members: Mapping[str, Any]) -> None:
        self.kit = kit
        self.members: dict[str, LoopRef] = {}
        self.pools: dict[str, LoopRef] = {}
        for model, fields in members.items():
            spec = MemberSpec(model=model, provider="acme", protocol="openai", **fields)
            self.members[model] = kit.spawn(Member, spec, name=f"member:{model}")

    def pool(
        self,
        name: str,
        *lines: str | PoolMember,
        policy: SupervisionPolicy | None = None,
        window_secs: float = 30.0,
        **fields: Any,
    ) -> LoopRef:
        """A pool over members named `a`, or `a*5` for a weight of 5."""
        spec = PoolSpec(
            name=name,
            members=tuple(line if isinstance(line, PoolMember) else self.line(line) for line in lines),
            policy=policy or two_stage(),
            window_secs=window_secs,
            **fields,
        )
        self.pools[name] = self.kit.spawn(Pool, spec, name=f"pool:{name}")
        self.kit.run()
        return self.pools[name]

    def line(self, text: str, *, context_max: int | None = None, **fields: Any) -> PoolMember:
        if context_max is not None:
            fields["terms"] = Terms(context_max=context_max)
        model, _, weight = text.partition("*")
        return PoolMember(model=model, ref=self.members[model], weight=int(weight or 1), **fields)

    def route(self, pool: str, **fields: Any) -> Assignment | Exhausted:
        reply: Assignment | Exhausted = self.kit.ask(self.pools[pool], Route(**fields))
        return reply

    def take(self, pool: str, **fields: Any) -> Assignment:
        reply = self.route(pool, **fields)
        assert isinstance(reply, Assignment), reply
        return reply

    def refused(self, pool: str, **fields: Any) -> Exhausted:
        reply = self.route(pool, **fields)
        assert isinstance(reply, Exhausted), reply
        return reply

    def report(
        self,
        taken: Assignment | Examination,
        failure: FailureClass | None = None,
        *,
        refund: bool = False,
        **fields: Any,
    ) -> None:
        outcome = Outcome(failure=failure, **fields)
        taken.ref.tell(Report(permit=taken.permit, outcome=outcome, refund=refund))
        self.kit.run()

    def release(self, taken: Assignment | Examination, *, refund: bool = False) -> None:
        taken.ref.tell(Release(permit=taken.permit, refund=refund))
        self.kit.run()

    def send(self, pool: str, failure: FailureClass | None = None, times: int = 1, **fields: Any) -> None:
        """Whole requests, one after the other."""
        for _ in range(times):
            self.report(self.take(pool), failure, **fields)

    def show(self, model: str) -> dict[str, Any]:
        snapshot: dict[str, Any] = self.kit.ask(self.members[model], Snapshot())
        return snapshot

    def cell(self, model: str, pool: str) -> dict[str, Any]:
        cell: dict[str, Any] = self.show(model)["cells"][pool]
        return cell

    def trip(self, model: str, pool: str) -> None:
        """For a pool of this one member, judged by `CONSECUTIVE`."""
        self.send(pool, DOWN, times=3)
        assert self.cell(model, pool)["state"] == "open"

    def probe(self, model: str, pool: str) -> Assignment:
        """The first request after the cooldown, which is still out."""
        self.trip(model, pool)
        self.kit.advance(15.0)
        probe = self.take(pool)
        assert probe.probe
        return probe

    def ask(self, pool: str, **fields: Any) -> LoopFuture:
        """A request that may have to wait."""
        future = self.pools[pool].ask(Route(**fields))
        self.kit.run()
        return future

    def examine(self, model: str, *, only_open: bool = False) -> Examination | None:
        reply: Examination | None = self.kit.ask(self.members[model], Examine(only_open=only_open))
        return reply

    def examined(self, model: str) -> Examination:
        """An active probe that is out."""
        examination = self.examine(model)
        assert examination is not None
        return examination

    def waiting(self, pool: str) -> int:
        count: int = self.kit.ask(self.pools[pool], Snapshot())["waiting"]
        return count
