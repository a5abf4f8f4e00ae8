"""What requests that are running have reserved: it outlives a crash of Governance, so that no budget forgets them."""

from __future__ import annotations

from msgspec import Struct

from busbar.actors.governance.messages import Settle
from busbar.actors.governance.windows import Counted


class Reservation(Struct):
    """What was taken for one running request, to be given back."""

    scopes: tuple[str, ...]
    """The key's id, then those of the groups above it, as they were when it was admitted."""
    day: int
    picodollars: int
    second: int
    """When it was counted, as the store tells it."""
    input_tokens: int
    counted_tokens: int
    counted: tuple[Counted | None, ...]
    """In the token windows of those scopes; None where there is no limit, or no window any more."""


class Desk:
    """Made once for all instances of Governance. As many entries as requests are running."""

    __slots__ = ("early", "reservations")

    def __init__(self) -> None:
        self.reservations: dict[int, Reservation] = {}
        """By ticket."""
        self.early: dict[int, Settle] = {}
        """By ticket: settlements that came while it was not known what there is."""
