"""A deterministic world for actors: nothing happens that the test did not ask for, and all of it can be repeated."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pykka

from busbar.actors.runtime import ActorSystem, Crash, LoopActor, LoopRef
from busbar.testing.clock import Livelock, VirtualClock
from busbar.testing.dispatcher import Delivered, SteppingDispatcher
from busbar.testing.probe import Probe, ProbeActor

if TYPE_CHECKING:
    from types import TracebackType

    from busbar.actors.supervision import SupervisionPolicy

RUN_LIMIT = 100_000
SEED_VARIABLE = "BUSBAR_SEED"


class UnexpectedCrash(AssertionError):
    """An actor crashed and the test did not say that it would: see `Kit.expect_crash`."""


def seeds(count: int) -> list[int]:
    """Seeds to run one test with; only the one in the environment variable `BUSBAR_SEED` when that is set."""
    chosen = os.environ.get(SEED_VARIABLE)
    return [int(chosen)] if chosen else list(range(count))


class Kit:
    """An actor system on a virtual clock, with a seeded random source and a dispatcher that goes step by step.

    Without a seed, messages are handled in the order they were sent. With one, the actor that goes next is drawn, so
    that a test runs through interleavings of its actors; the same seed gives the same order, and the same numbers
    from `LoopActor.random`.

    Use it in a `with` statement: a failure in it then names the seed and the latest messages, a crash of an actor
    that nobody expected is a failure, and the actors are stopped at the end.
    """

    def __init__(self, seed: int | None = None, *, policy: SupervisionPolicy | None = None) -> None:
        """`policy` supervises the actors without a parent."""
        self.seed = seed
        self.clock = VirtualClock()
        self.random = random.Random(seed or 0)  # noqa: S311  # repeatable is the point
        # The order is drawn from a source of its own: an actor that draws one number more must not change it.
        order = None if seed is None else random.Random(f"order {seed}")  # noqa: S311
        self.dispatcher = SteppingDispatcher(order)
        self.system = ActorSystem(
            clock=self.clock,
            random=self.random,
            dispatcher=self.dispatcher,
            policy=policy,
            register=False,  # tests leave nothing behind in pykka's global registry
        )
        self._expected: list[Crash] = []

    def __repr__(self) -> str:
        return f"<Kit seed={self.seed} now={self.clock.now()} sent={self.system.sent}>"

    def spawn(
        self,
        actor_class: type[LoopActor],
        *args: Any,
        name: str | None = None,
        parent: LoopRef | None = None,
        policy: SupervisionPolicy | None = None,
        **kwargs: Any,
    ) -> LoopRef:
        """Start an actor, named like its class in small letters if not otherwise. See `ActorSystem.spawn`."""
        name = name if name is not None else actor_class.__name__.lower()
        return self.system.spawn(actor_class, *args, name=name, parent=parent, policy=policy, **kwargs)

    def probe(self, name: str) -> Probe:
        """Start an actor that records its messages and answers as it is told."""
        probe = Probe()
        probe.ref = self.system.spawn(ProbeActor, probe, name=name)
        return probe

    def step(self) -> Delivered | None:
        """Have one message handled, and say which; None when no message waits."""
        return self.dispatcher.step()

    def run(self, limit: int = RUN_LIMIT) -> list[Delivered]:
        """Step until no message waits, and say what was handled. Time stands still.

        Raises:
            Livelock: there is no end after `limit` messages.
        """
        handled: list[Delivered] = []
        while (delivered := self.step()) is not None:
            handled.append(delivered)
            if len(handled) >= limit and self.dispatcher.waiting():
                latest = ", ".join(f"{type(each.message).__name__} to {each.actor}" for each in handled[-4:])
                msg = f"no rest after {limit} messages (seed {self.seed}); the latest: {latest}"
                raise Livelock(msg)
        return handled

    def advance(self, secs: float) -> None:
        """Run until idle, then move the clock by `secs` seconds, firing timers in order and running after each."""
        self.clock.advance(secs, self.run)

    def ask(self, ref: LoopRef, message: Any) -> Any:
        """Ask, run until idle, and return the answer.

        Raises:
            pykka.Timeout: there is no answer, though nothing is left to do.
            Exception: the answer is an exception.
        """
        future = ref.ask(message)
        self.run()
        if not future.done():
            msg = f"{ref.name} has not answered {type(message).__name__}, and nothing is left to do"
            raise pykka.Timeout(msg)
        return future.get()

    def expect_crash(self, error_type: type[BaseException] = Exception) -> BaseException:
        """The error of the oldest crash not yet expected; what this has returned, the end of the test accepts.

        Raises:
            AssertionError: there was none, or with an error of another type.
        """
        crashes = self._unexpected()
        assert crashes, f"no actor has crashed with {error_type.__name__}"
        crash = crashes[0]
        assert isinstance(crash.error, error_type), f"{crash.actor} crashed with {crash.error!r}"
        self._expected.append(crash)
        return crash.error

    def __enter__(self) -> Kit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        crashes = self._unexpected()
        if error is not None:
            error.add_note(self._note(crashes))
        self.system.stop_now()
        if error is None and crashes:
            crash = crashes[0]
            unexpected = UnexpectedCrash(f"{crash.actor} crashed: {crash.error!r}")
            unexpected.add_note(self._note(crashes))
            raise unexpected from crash.error

    def _unexpected(self) -> list[Crash]:
        return [crash for crash in self.system.crashes() if not any(crash is seen for seen in self._expected)]

    def _note(self, crashes: list[Crash]) -> str:
        how = f"repeat it with {SEED_VARIABLE}={self.seed}" if self.seed is not None else "messages in order"
        lines = [f"Kit seed: {self.seed} ({how})"]
        lines += [f"  crashed: {crash.actor}: {crash.error!r}" for crash in crashes]
        lines += [f"  {entry.at:.3f}  {entry.actor} <- {entry.type}" for entry in self.system.tap.entries()[-10:]]
        return "\n".join(lines)
