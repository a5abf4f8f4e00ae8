"""The actor runtime: pykka's vocabulary on one asyncio event loop.

Actors are subclasses of `LoopActor`, started with `ActorSystem.spawn`, known to each other by `LoopRef`. Handlers are
plain methods marked with `@handles(MessageType)`. Start with `actor.py`; then `delivery.py` tells what happens to a
message and `supervision.py` what happens to an actor.
"""

from busbar.actors.runtime.actor import Forward, LoopActor, UnhandledMessage, handles
from busbar.actors.runtime.future import LoopFuture
from busbar.actors.runtime.mailbox import Mailbox, MailboxFull, Overflow
from busbar.actors.runtime.node import ActorInfo, Reply
from busbar.actors.runtime.ports import Clock, Dispatcher, InlineDispatcher, LoopClock, Timer
from busbar.actors.runtime.ref import LoopRef
from busbar.actors.runtime.supervision import Crash
from busbar.actors.runtime.system import ActorSystem
from busbar.actors.runtime.tap import TapEntry

__all__ = [
    "ActorInfo",
    "ActorSystem",
    "Clock",
    "Crash",
    "Dispatcher",
    "Forward",
    "InlineDispatcher",
    "LoopActor",
    "LoopClock",
    "LoopFuture",
    "LoopRef",
    "Mailbox",
    "MailboxFull",
    "Overflow",
    "Reply",
    "TapEntry",
    "Timer",
    "UnhandledMessage",
    "handles",
]
