"""The actors that the tests of supervision and of stopping share."""

from __future__ import annotations

import msgspec

from busbar.actors.runtime import LoopActor, Reply, handles
from busbar.actors.supervision import ChildView, Directive, RestartPolicy


class Boom(Exception):
    pass


class Fail(msgspec.Struct, frozen=True):
    pass


class Count(msgspec.Struct, frozen=True):
    pass


class Wait(msgspec.Struct, frozen=True):
    pass


class Worker(LoopActor):
    """Counts; writes its life into a trace."""

    def __init__(self, trace: list[str]) -> None:
        super().__init__()
        self.trace = trace
        self.count = 0
        self.waiting: list[Reply] = []

    def on_start(self) -> None:
        self.trace.append(f"{self.name} starts")

    def on_stop(self) -> None:
        self.trace.append(f"{self.name} stops")

    def on_failure(self, *_args: object) -> None:
        self.trace.append(f"{self.name} fails")

    @handles(Count)
    def counted(self, _message: Count) -> int:
        self.count += 1
        self.trace.append(f"{self.name} counts {self.count}")
        return self.count

    @handles(Fail)
    def fail(self, _message: Fail) -> None:
        raise Boom(self.name)

    @handles(Wait)
    def wait(self, _message: Wait) -> None:
        self.waiting.append(self.defer())


class Boss(Worker):
    """A worker with two children."""

    def on_start(self) -> None:
        super().on_start()
        for name in ("first", "second"):
            self.spawn(Worker, self.trace, name=name)


class Says(RestartPolicy):
    """Answers every crash alike, and keeps what it was shown."""

    def __init__(self, directive: Directive) -> None:
        self.directive = directive
        self.seen: list[tuple[ChildView, str]] = []

    def on_crash(self, child: ChildView, error: BaseException) -> Directive:
        self.seen.append((child, repr(error)))
        return self.directive
