"""The journal: the latest requests, so that one can ask why a request went where it went."""

from __future__ import annotations

from collections import deque
from itertools import islice

from busbar.actors.runtime import LoopActor, Overflow, handles
from busbar.actors.telemetry import Find, Recent, RequestDone, RequestsDone

REQUESTS_KEPT = 1000
"""Older ones are forgotten. A kilobyte or two each."""


class Journal(LoopActor):
    """Understands RequestsDone, Find, Recent. Like all telemetry it never slows serving: its mailbox drops.

    Requests are kept as they were told; nothing is worked out before somebody asks.
    """

    overflow = Overflow.DROP
    mailbox_limit = 256

    def __init__(self) -> None:
        super().__init__()
        self._requests: deque[RequestDone] = deque(maxlen=REQUESTS_KEPT)

    @handles(RequestsDone)
    def requests_done(self, message: RequestsDone) -> None:
        self._requests.extend(message.requests)

    @handles(Find)
    def find(self, message: Find) -> RequestDone | None:
        return next((it for it in reversed(self._requests) if it.request_id == message.request_id), None)

    @handles(Recent)
    def recent(self, message: Recent) -> list[RequestDone]:
        return list(islice(reversed(self._requests), message.limit))
