"""An actor that stands where another would, remembers what it is sent, and answers as the test says."""

from __future__ import annotations

from collections import deque
from typing import Any

from busbar.actors.runtime import LoopActor, LoopRef, Reply


class Probe:
    """A test's handle on such an actor; `ref` is what the actors under test get.

    It answers None to everything until told otherwise with `answer` or `hold`.
    """

    ref: LoopRef

    def __init__(self) -> None:
        self.messages: list[Any] = []
        """What it was sent, oldest first."""
        self._answers: dict[type, Any] = {}
        self._held: deque[tuple[Any, Reply]] = deque()

    def __repr__(self) -> str:
        return f"<Probe {self.ref.name}: {len(self.messages)} messages, {len(self._held)} held>"

    def take(self) -> list[Any]:
        """What it was sent since the last time, oldest first."""
        messages, self.messages = self.messages, []
        return messages

    def answer(self, message_type: type, answer: Any) -> None:
        """Answer messages of this type from now on: with a value, a `Forward`, or what a function of the message
        returns. An exception instance is what the asker gets; one that a function raises crashes the probe."""
        self._answers[message_type] = answer

    def hold(self, message_type: type) -> None:
        """Keep messages of this type unanswered from now on, until `release`."""
        self._answers[message_type] = _HOLD

    @property
    def held(self) -> list[Any]:
        """The messages that wait for `release`, oldest first."""
        return [message for message, _ in self._held]

    def release(self, value: Any = None) -> bool:
        """Answer the oldest held message; an exception instance is what the asker gets. False: nobody waits for it.

        Raises:
            IndexError: nothing is held.
        """
        _, reply = self._held.popleft()
        return reply.set_exception(value) if isinstance(value, BaseException) else reply.set(value)

    def receive(self, actor: LoopActor, message: Any) -> Any:
        """What the actor behind this probe does with a message."""
        self.messages.append(message)
        answer = self._answers.get(type(message))
        if answer is _HOLD:
            self._held.append((message, actor.defer()))
            return None
        if isinstance(answer, BaseException):
            actor.defer().set_exception(answer)
            return None
        return answer(message) if callable(answer) else answer


class ProbeActor(LoopActor):
    """Hands everything to its probe."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self._probe = probe

    def on_receive(self, message: Any) -> Any:
        return self._probe.receive(self, message)


_HOLD = object()
