"""What the system under the gateway has: a faster loop, signals that wake the loop, a signal that says "reload".

Linux has all of it. Where something is missing, something plainer is done, and stated here:

| Missing | Where | Instead |
|---|---|---|
| `uvloop` | Windows, PyPy, where it is not installed | asyncio's own loop |
| `signal-handlers` | Windows | `signal.signal`, whose handler hands over to the loop |
| `hangup` (SIGHUP) | Windows | `POST /admin/config/reload` |
| `reuse-port` (SO_REUSEPORT) | Windows, macOS | one process, whatever `workers` says |

`BUSBAR_WITHOUT=uvloop,signal-handlers,hangup,reuse-port` switches the plainer ways on anywhere, each by its name: to
test them, or to look for a mistake. `os.fork` is used nowhere, so that nothing takes its place.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType

from msgspec import Struct

WITHOUT = "BUSBAR_WITHOUT"
"""The environment variable that names what is not to be used, with commas between."""


class Platform(Struct, frozen=True, kw_only=True):
    """What there is, and may be used."""

    uvloop: bool
    signal_handlers: bool
    """The loop's own, `loop.add_signal_handler`."""
    hangup: bool
    """SIGHUP, which terminals and service managers send."""
    reuse_port: bool
    """SO_REUSEPORT, and a kernel that spreads connections over all who listen by it: Linux, and FreeBSD with its
    `_LB` kin; macOS gives them all to one."""

    @property
    def stop_signals(self) -> tuple[signal.Signals, ...]:
        """What asks for an end. Windows has Ctrl-Break besides: it is what one process can send to another there."""
        names = ("SIGTERM", "SIGINT", "SIGBREAK")
        return tuple(signal.Signals[name] for name in names if name in signal.Signals.__members__)

    @property
    def reload_signal(self) -> signal.Signals | None:
        return signal.Signals["SIGHUP"] if self.hangup else None

    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """uvloop's; None: asyncio's own."""
        if not self.uvloop:
            return None
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return factory

    def add_signal_handler(self, number: signal.Signals, callback: Callable[[], None]) -> None:
        """From now on `number` calls `callback` in the running loop, in place of what it did before. From the main
        thread only."""
        loop = asyncio.get_running_loop()
        if self.signal_handlers:
            loop.add_signal_handler(number, callback)
            return

        def hand_over(_number: int, _frame: FrameType | None) -> None:
            # Between any two instructions of the main thread: only what may be called from anywhere.
            loop.call_soon_threadsafe(callback)

        signal.signal(number, hand_over)

    def remove_signal_handler(self, number: signal.Signals) -> None:
        """`number` does again what it does in every Python program: KeyboardInterrupt, or the end."""
        if self.signal_handlers:
            asyncio.get_running_loop().remove_signal_handler(number)
        else:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


def this_platform(env: Mapping[str, str] | None = None) -> Platform:
    """What this system has, less what `BUSBAR_WITHOUT` names. Raises ValueError for a name that is none."""
    without = {name.strip() for name in (os.environ if env is None else env).get(WITHOUT, "").split(",")} - {""}
    had = {
        "uvloop": importlib.util.find_spec("uvloop") is not None,
        "signal-handlers": sys.platform != "win32",
        "hangup": "SIGHUP" in signal.Signals.__members__,
        "reuse-port": sys.platform == "linux",
    }
    if strange := without - had.keys():
        raise ValueError(f"{WITHOUT} names {', '.join(sorted(strange))}: expected some of {', '.join(had)}")
    there = {name.replace("-", "_"): has and name not in without for name, has in had.items()}
    return Platform(**there)
