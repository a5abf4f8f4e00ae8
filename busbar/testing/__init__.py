"""The deterministic testing kit: public API, documented in `docs/testing.md`.

`Kit` is an actor system on a virtual clock whose messages are delivered one at a time, in order or shuffled by seed.
"""

from busbar.testing.clock import Livelock, VirtualClock
from busbar.testing.dispatcher import Delivered, SteppingDispatcher
from busbar.testing.kit import Kit, UnexpectedCrash, seeds
from busbar.testing.probe import Probe

__all__ = [
    "Delivered",
    "Kit",
    "Livelock",
    "Probe",
    "SteppingDispatcher",
    "UnexpectedCrash",
    "VirtualClock",
    "seeds",
]
