"""What to do about failures: the public extension point.

A policy decides two things, and the actors do what it says:

- `on_outcome`: an attempt at a provider ended. Keep the member, prefer its siblings for a while, or trip its breaker?
- `on_crash`: an actor below the one that owns this policy raised. Restart it, stop it, carry on, or escalate?

Both are plain functions of what they are given: no clock, no I/O, no waiting. A policy may keep state of its own;
it is called on the event loop, from one thread. The built-in policy, `busbar.actors.two_stage`, is written against
this interface like any other. A user's own is named in the configuration as `package.module:Class`.
"""

from __future__ import annotations

import abc
import random
from typing import Any, ClassVar, Literal, Self, TypeAlias

import msgspec

from busbar.protocols.failures import FailureClass


class Resume(msgspec.Struct, frozen=True, tag=True):
    """Carry on. After a crash: the same instance goes on with the next message, its state as the crash left it."""


class Bench(msgspec.Struct, frozen=True, tag=True):
    """Prefer the member's siblings for `secs` seconds; when it is alone it is still used."""

    secs: float


class Trip(msgspec.Struct, frozen=True, tag=True):
    """Open the cell: no traffic for `cooldown_secs` seconds, then one probe."""

    cooldown_secs: float


class Throttle(msgspec.Struct, frozen=True, tag=True):
    """Let the pool use at most `slots` of the member's slots at once, from now on. Kept within 1 and its
    `max_concurrent`; requests in flight are left alone. `bench_secs`: and prefer its siblings for so long."""

    slots: int
    bench_secs: float = 0.0


class Drain(msgspec.Struct, frozen=True, tag=True):
    """No new traffic from the pool to the member, until an operator reinstates it. Requests in flight end as they
    would."""


class Restart(msgspec.Struct, frozen=True, tag=True):
    """Make the actor anew from its class and arguments. Its ref stays valid and its mailbox is kept."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End the actor. What it was asked and had not answered is answered with `pykka.ActorDeadError`."""


class Escalate(msgspec.Struct, frozen=True, tag=True):
    """End the actor, and let its parent fail with the same error. At the root, the system stops."""


Directive: TypeAlias = Resume | Bench | Trip | Throttle | Drain | Restart | Stop | Escalate
"""What a policy may say. `on_outcome` may answer with any: Restart and Escalate make the member crash, and its
parent's policy decides. `on_crash` answers with Resume, Restart, Stop or Escalate."""


class Outcome(msgspec.Struct, frozen=True):
    """How one attempt at a provider ended."""

    failure: FailureClass | None
    """None: success."""
    retry_after_secs: float | None = None
    """What the provider asked for, already read from whichever form it came in."""
    latency_ms: float | None = None
    """Until the first byte of the answer."""


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A pool's `breaker` section: when a cell trips and for how long. Times in seconds."""

    base_cooldown_secs: float = 15.0
    max_cooldown_secs: float = 120.0
    mode: Literal["error_rate", "consecutive"] = "error_rate"
    window_secs: float = 30.0
    threshold: float = 0.5
    min_requests: int = 5
    consecutive_n: int = 3


class PoolContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy may know of the pool that it judges for."""

    pool: str
    breaker: BreakerSettings = BreakerSettings()
    random: random.Random
    """The system's source of randomness: with this one, a simulation or a test can be repeated."""


class CellView(msgspec.Struct, frozen=True):
    """The breaker cell of one member in one pool, with this outcome counted."""

    member: str
    pool: str
    state: str
    """`closed`, `open` or `half_open`."""
    streak: int
    """Trips in a row without a recovery between them."""
    consecutive_failures: int
    outcomes: int
    """Inside the window."""
    failures: int
    """Inside the window."""
    probe: bool
    """Whether this outcome is the half-open probe's."""
    busy: int = 0
    """The pool's other requests that are at the member now."""
    slots: int = 1
    """How many it may have there at once: what the last `Throttle` said, else `max_concurrent`."""
    max_concurrent: int = 1
    """The member's own limit, which all pools share."""


class ChildView(msgspec.Struct, frozen=True):
    """An actor that crashed, as its parent's policy sees it."""

    name: str
    kind: str
    """Its class's name."""
    restarts: int
    """Within the policy's `restart_window_secs`, not counting what is decided now."""
    started_at: float
    """When the instance that crashed was made: the clock's `now()`, in seconds."""


class SupervisionPolicy(abc.ABC):
    """Decides on failed attempts and on crashed actors. Subclass it, and write `on_outcome`."""

    max_restarts: int = 5
    restart_window_secs: float = 30.0
    """Restart intensity: a child that was restarted `max_restarts` times within this window is not restarted again;
    its crash escalates. The runtime sees to it whatever `on_crash` says, so that no policy can restart for ever."""

    passes_success: ClassVar[bool] = False
    """Whether `on_outcome` says `Resume` to each success and remembers nothing of it: then it need not be asked about
    those in a closed cell. Holds for the class that says so, and for those below it that keep its `on_outcome`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        nearest = next(base for base in cls.__mro__ if not {"passes_success", "on_outcome"}.isdisjoint(vars(base)))
        if "passes_success" not in vars(nearest):
            cls.passes_success = False

    @classmethod
    def create(cls, context: PoolContext, **options: Any) -> Self:
        """One policy for one pool, with the options of the configuration. Policies that need to know the pool, its
        `breaker` section or the source of randomness override this. What it raises as ValueError or TypeError is
        reported as a mistake in the configuration."""
        del context
        return cls(**options)

    @abc.abstractmethod
    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        """What becomes of a member after one attempt. `now` is the clock's, in seconds. What it raises is logged, and
        counts as Resume."""

    def on_crash(self, child: ChildView, error: BaseException) -> Directive:
        """What becomes of a child whose handler raised `error`. Restarts it, up to the restart intensity.

        An exception from here escalates, and so does a directive that makes no sense for a crash.
        """
        del error
        return Restart() if child.restarts < self.max_restarts else Escalate()


class RestartPolicy(SupervisionPolicy):
    """Restarts what crashes and leaves members alone: for actors that supervise no attempts at providers."""

    passes_success = True

    def on_outcome(self, cell: CellView, outcome: Outcome, now: float) -> Directive:
        del cell, outcome, now
        return Resume()


class EscalatePolicy(RestartPolicy):
    """Passes every crash on: for the root, whose refs the rest of the process holds. The system stops."""

    def on_crash(self, child: ChildView, error: BaseException) -> Directive:
        del child, error
        return Escalate()
