"""Who waits for it to be known what there is: when the gateway starts, after a crash, and while prices change."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from busbar.actors.governance.messages import Admit, Denial, Denied, NotRecorded, Settled
from busbar.actors.runtime import Forward, Reply, Timer


class Lobby:
    """Holds replies; each is answered once. As many wait as callers have connections."""

    __slots__ = ("_patience", "admissions", "others", "settlements")

    def __init__(self) -> None:
        self.settlements: dict[int, Reply] = {}
        """By ticket, to those whose settlement is on the desk."""
        self.admissions: list[tuple[Reply, Admit]] = []
        self.others: list[Reply] = []
        """Who only wants to know when."""
        self._patience: Timer | None = None

    def wait(self, begin: Callable[[], Timer]) -> None:
        """Not for ever: `begin` starts the clock, unless it runs."""
        if self._patience is None:
            self._patience = begin()

    def open(self) -> None:
        """It is known now. Who waits another time has a time of their own."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def give_up(self) -> None:
        """It takes too long: who wanted to be admitted or settled is told that it cannot be known."""
        self.open()
        while self.admissions:
            self.admissions.pop()[0].set(Denied(reason=Denial.STORE))
        for reply in self.settlements.values():
            reply.set(NotRecorded())
        self.settlements.clear()

    def admitted(self) -> Iterator[tuple[Reply, Admit]]:
        """Those that still wait to be admitted, in the order in which they came, each once."""
        admissions, self.admissions = self.admissions, []
        return ((reply, admit) for reply, admit in admissions if reply.open)

    def answer(self, ticket: int, settled: Settled | Forward) -> None:
        """To a settlement that had to wait, if somebody still wants to know."""
        reply = self.settlements.pop(ticket, None)
        if isinstance(settled, Forward):
            if reply is None or not reply.forward(settled.to, settled.message):
                settled.to.tell(settled.message)
        elif reply is not None:
            reply.set(settled)
