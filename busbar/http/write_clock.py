"""How long a caller may leave what it was sent untaken."""

from __future__ import annotations

import asyncio


class WriteClock:
    """Of one connection: aborts it when something is to be taken, and is not within `limit_secs`."""

    __slots__ = ("_limit_secs", "_loop", "_wire", "timer")

    def __init__(self, wire: asyncio.Transport, loop: asyncio.AbstractEventLoop, limit_secs: float) -> None:
        self._wire = wire
        self._loop = loop
        self._limit_secs = limit_secs
        self.timer: asyncio.TimerHandle | None = None
        """None: it does not run."""

    def run(self) -> None:
        """There is something to take, and not for ever. A clock that runs goes on."""
        if self.timer is None:
            self.timer = self._loop.call_later(self._limit_secs, self._give_up)

    def stop(self) -> None:
        """All was taken, or as much as matters."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def look(self) -> None:
        """Runs on, or begins to, if there is something to take. Nobody tells when the last of a little is taken."""
        if self._wire.get_write_buffer_size():
            self.run()
        elif self.timer is not None:
            self.stop()

    def _give_up(self) -> None:
        self.timer = None
        if self._wire.is_closing() or self._wire.get_write_buffer_size():
            self._wire.abort()
