"""The gateway's own actors on virtual time, without a loop and without sockets."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from busbar.actors.gateway import Gateway
from busbar.actors.messages import Assignment, Directory, Exhausted, Resolve, Route
from busbar.actors.runtime import ActorSystem, Dispatcher, LoopFuture, LoopRef
from busbar.actors.runtime.mailbox import Mailbox
from busbar.actors.runtime.ports import TURN_BUDGET, TURN_DEPTH
from busbar.actors.supervision import EscalatePolicy
from busbar.config import Config
from busbar.http.destinations import Destinations
from busbar.plan import plan_of
from busbar.testing import VirtualClock
from busbar.testing.clock import START_SECS


class TurnDispatcher(Dispatcher):
    """Messages are handled in the sender's turn, as in production; what is over the budget gets a turn when
    `run` is called, in the order in which it became ready."""

    budget = TURN_BUDGET
    depth_limit = TURN_DEPTH

    def __init__(self) -> None:
        self._turns: deque[tuple[Callable[[Mailbox], None], Mailbox]] = deque()  # at most one for each actor

    def call_soon(self, turn: Callable[[Mailbox], None], mailbox: Mailbox) -> None:
        self._turns.append((turn, mailbox))

    def run(self) -> None:
        """Until every message is handled."""
        turns = self._turns
        while turns:
            turn, mailbox = turns.popleft()
            turn(mailbox)


class Answered(LoopFuture):
    """The reply to one ask; `late` is called when it comes after the asker has looked for it in vain."""

    late: Callable[[], None] | None = None

    def set(self, value: Any = None) -> None:
        super().set(value)
        self._tell()

    def set_exception(self, exc_info: Any = None) -> None:
        super().set_exception(exc_info)
        self._tell()

    def _tell(self) -> None:
        late, self.late = self.late, None
        if late is not None:
            late()


class World:
    """The actors of one configuration, the clock, and how to speak with them."""

    def __init__(self, config: Config, seed: int) -> None:
        """Raises what a supervision policy of the configuration raises when it is made."""
        self.clock = VirtualClock()
        self._dispatcher = TurnDispatcher()
        self.system = ActorSystem(
            clock=self.clock,
            random=random.Random(f"{seed} gateway"),  # noqa: S311  # repeatable is the point
            dispatcher=self._dispatcher,
            policy=EscalatePolicy(),
            register=False,
        )
        root = self.system.spawn(Gateway, plan_of(config), name="gateway")
        self._dispatcher.run()
        self.directory: Directory = root.ask(Resolve(), block=True)
        self.destinations = Destinations(config, self.directory)

    @property
    def now(self) -> float:
        """Seconds since the start of the simulation."""
        return self.clock.now() - START_SECS

    def ask(self, pool: LoopRef, route: Route) -> Answered:
        """Which member takes the request? The answer is there at once, unless the request waits in a queue."""
        future = Answered()
        self.system.deliver(pool.actor_inbox, route, future)
        self._dispatcher.run()
        return future

    def tell(self, ref: LoopRef, message: object) -> None:
        ref.tell(message)
        self._dispatcher.run()

    def settle(self) -> None:
        """What a timer set off comes to its end."""
        self._dispatcher.run()


Reply = Assignment | Exhausted
