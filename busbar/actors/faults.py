"""Faults on purpose: a member that refuses, freezes or breaks off for a while, so that one can watch what happens.

kind      what the member does meanwhile
--------  --------------------------------------------------------------------------
429       refuses every request: too many
500       fails every request
freeze    takes requests and does not answer, until the fault is over
cut       answers, and breaks off in the middle

The actor decides what is in force and publishes it on a `FaultBoard`; whoever sends to members looks there
(`busbar.http.faults`). What is said to this actor stands here, beside it: nobody else understands it.
"""

from __future__ import annotations

import typing
from collections.abc import Collection, Mapping
from types import MappingProxyType, TracebackType
from typing import Any

from msgspec import Struct

from busbar.actors.audit import record
from busbar.actors.messages import Snapshot
from busbar.actors.runtime import LoopActor, LoopFuture, Timer, handles

FaultKind: typing.TypeAlias = typing.Literal["429", "500", "freeze", "cut"]

FAULT_SECS_MAX = 3600
"""None is forgotten for longer than an hour."""

ITSELF = "busbar"
"""Who ends a fault that nobody lifted, in the audit log."""


class Fault(Struct, frozen=True, kw_only=True):
    """`ends_at` is of the system's clock, `by` says who wanted it."""

    member: str
    kind: FaultKind
    secs: float
    ends_at: float
    by: str


class Inject(Struct, frozen=True, kw_only=True):
    """In place of any fault that the member has. Answered with the fault as `Snapshot` shows it; None: there is no
    such member. Raises ValueError where it is made for a duration that is not within 1 s and `FAULT_SECS_MAX`."""

    member: str
    kind: FaultKind
    secs: float
    by: str

    def __post_init__(self) -> None:
        if not 1 <= self.secs <= FAULT_SECS_MAX:
            msg = f"a fault lasts from 1 to {FAULT_SECS_MAX} seconds"
            raise ValueError(msg)


class Lift(Struct, frozen=True, kw_only=True):
    """Ends the member's fault now. Answered with whether it had one."""

    member: str
    by: str


class Expire(Struct, frozen=True):
    """From the actor to itself: this fault's time is over. Another one of the same member goes on."""

    fault: Fault


class FaultBoard:
    """What is in force, for those who only look. Only the Faults actor changes it, and a change holds from that
    moment. Holds one fault for each member at most."""

    def __init__(self) -> None:
        self.in_force: Mapping[str, Fault] = MappingProxyType({})
        """By member; replaced as a whole, never changed."""
        self._changed: dict[str, LoopFuture] = {}

    def changed(self, member: str) -> LoopFuture:
        """Answered, with nothing, when the member next gets a fault or loses one."""
        return self._changed.setdefault(member, LoopFuture())

    def put(self, fault: Fault) -> None:
        self.in_force = MappingProxyType({**self.in_force, fault.member: fault})
        self._tell(fault.member)

    def remove(self, member: str) -> None:
        self.in_force = MappingProxyType({name: fault for name, fault in self.in_force.items() if name != member})
        self._tell(member)

    def _tell(self, member: str) -> None:
        waiting = self._changed.pop(member, None)
        if waiting is not None:
            waiting.set()

    def __repr__(self) -> str:
        return f"FaultBoard({', '.join(f'{fault.member}: {fault.kind}' for fault in self.in_force.values())})"


class Members(Struct, frozen=True):
    """To Faults: these are all that a fault may befall."""

    names: frozenset[str]


class Faults(LoopActor):
    """Understands Members, Inject, Lift, Snapshot. Each change is logged, once, by `busbar.audit`.

    Its faults end with it: nobody else would end them.
    """

    def __init__(self, board: FaultBoard, members: Collection[str]) -> None:
        super().__init__()
        self._board = board
        self._members = frozenset(members)
        self._timers: dict[str, Timer] = {}
        """One for each fault in force."""
        self._injected = self._lifted = self._expired = 0

    def on_stop(self) -> None:
        self._end_all()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del exception_type, exception_value, traceback
        self._end_all()

    @handles(Members)
    def members(self, message: Members) -> None:
        """The configuration has changed. Faults of members that are no more are lifted."""
        self._members = message.names
        self.renew_with(self._board, message.names)
        for fault in [fault for fault in self._board.in_force.values() if fault.member not in message.names]:
            self._end(fault)
            _log("lift", fault, ITSELF)

    @handles(Inject)
    def inject(self, message: Inject) -> dict[str, Any] | None:
        if message.member not in self._members:
            return None
        fault = Fault(
            member=message.member,
            kind=message.kind,
            secs=message.secs,
            ends_at=self.clock.now() + message.secs,
            by=message.by,
        )
        before = self._board.in_force.get(fault.member)
        if before is not None:
            self._timers[fault.member].cancel()
        self._timers[fault.member] = self.schedule(fault.secs, Expire(fault))
        self._board.put(fault)
        self._injected += 1
        instead = {} if before is None else {"instead_of": before.kind}
        _log("inject", fault, fault.by, secs=f"{fault.secs:g}", **instead)
        return self._shown(fault)

    @handles(Lift)
    def lift(self, message: Lift) -> bool:
        fault = self._board.in_force.get(message.member)
        if fault is None:
            return False
        self._end(fault)
        self._lifted += 1
        _log("lift", fault, message.by)
        return True

    @handles(Expire)
    def expire(self, message: Expire) -> None:
        fault = message.fault
        if self._board.in_force.get(fault.member) is not fault:
            return  # it was replaced, or lifted, while this waited in the mailbox
        self._end(fault)
        self._expired += 1
        _log("expire", fault, ITSELF)

    @handles(Snapshot)
    def snapshot(self, _message: Snapshot) -> dict[str, Any]:
        return {
            "in_force": [self._shown(fault) for fault in self._board.in_force.values()],
            "injected": self._injected,
            "lifted": self._lifted,
            "expired": self._expired,
        }

    def _end(self, fault: Fault) -> None:
        self._timers.pop(fault.member).cancel()
        self._board.remove(fault.member)

    def _end_all(self) -> None:
        for fault in list(self._board.in_force.values()):
            self._end(fault)
            _log("lift", fault, ITSELF)

    def _shown(self, fault: Fault) -> dict[str, Any]:
        return {
            "member": fault.member,
            "kind": fault.kind,
            "secs": fault.secs,
            "remaining_s": round(max(0.0, fault.ends_at - self.clock.now()), 3),
            "by": fault.by,
        }


def _log(action: str, fault: Fault, who: str, **moreover: object) -> None:
    record(who, action, member=fault.member, fault=fault.kind, **moreover)
