"""What the runtime takes from the outside world: time, and turns on the loop. (Randomness is a `random.Random`.)

Production runs on the asyncio loop; `busbar.testing` has the virtual clock and the stepping dispatcher.
"""

from __future__ import annotations

import abc
import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from busbar.actors.runtime.mailbox import Mailbox

TURN_BUDGET: Final = 128
"""Messages handled in one turn of the loop before the rest waits for the next."""

TURN_DEPTH: Final = 32
"""Actors that may be nested in one turn: A tells B, whose handler tells C... Five frames each, far from Python's
limit of a thousand."""


class Timer(abc.ABC):
    """Something that will happen once."""

    @abc.abstractmethod
    def cancel(self) -> None:
        """Do not let it happen. Harmless when it has happened already, or was cancelled."""


class Clock(abc.ABC):
    """Where time comes from. Intervals are measured with `now()`, dates are told with `time()`."""

    @abc.abstractmethod
    def now(self) -> float:
        """Seconds that never go backwards, from an arbitrary start."""

    @abc.abstractmethod
    def time(self) -> float:
        """Unix time in seconds (UTC)."""

    @abc.abstractmethod
    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back when `now()` has reached `when`, never earlier; at the next turn if it is past."""

    def call_later(self, delay_secs: float, callback: Callable[[], None]) -> Timer:
        """Call back in `delay_secs` seconds."""
        return self.call_at(self.now() + delay_secs, callback)


class LoopClock(Clock):
    """The clock of the running asyncio loop, looked up when a timer is set.

    `call_at` raises RuntimeError when no loop is running.
    """

    # The functions themselves: every message asks for the time.
    now = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return _LoopTimer(when, callback)


class _LoopTimer(Timer):
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self._when = when
        self._callback = callback
        self._handle = self._arm()

    def cancel(self) -> None:
        self._handle.cancel()

    def _arm(self) -> asyncio.TimerHandle:
        delay_secs = max(0.0, self._when - time.monotonic())
        return asyncio.get_running_loop().call_later(delay_secs, self._fire)

    def _fire(self) -> None:
        # uvloop counts whole milliseconds on a cached clock and may be early; whoever set the timer relies on it.
        if time.monotonic() < self._when:
            self._handle = self._arm()
        else:
            self._callback()


class Dispatcher(abc.ABC):
    """How a message with an idle receiver is run."""

    depth_limit: int
    """Actors that may be nested in the sender's turn; 0: no message is handled in the sender's turn."""

    budget: int
    """Messages per turn, at least 1."""

    @abc.abstractmethod
    def call_soon(self, turn: Callable[[Mailbox], None], mailbox: Mailbox) -> None:
        """Call `turn(mailbox)` once, later. A mailbox that got a turn some other way meanwhile ignores it."""


class InlineDispatcher(Dispatcher):
    """Run to completion in the sender's turn; what is over the budget waits for the loop's next turn."""

    def __init__(self, budget: int = TURN_BUDGET, depth_limit: int = TURN_DEPTH) -> None:
        assert budget >= 1, "a turn handles at least one message"
        self.budget = budget
        self.depth_limit = depth_limit

    def call_soon(self, turn: Callable[[Mailbox], None], mailbox: Mailbox) -> None:
        """Raises RuntimeError when no loop is running."""
        asyncio.get_running_loop().call_soon(turn, mailbox)
