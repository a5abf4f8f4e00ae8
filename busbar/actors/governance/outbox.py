"""What is still to be written: it outlives a crash of the Ledger, so that nothing that was decided is lost."""

from __future__ import annotations

from busbar.actors.governance.batch import Batch, RateCount, Tokens
from busbar.actors.governance.messages import Attach, Record


class Outbox:
    """One batch that is gathered, and at most one that is being written. Made once for all instances of a Ledger.

    The one that is being written never changes and keeps its number until the store has it, however often that takes.
    """

    __slots__ = ("attached", "gathering", "number", "to_load", "writing")

    def __init__(self) -> None:
        self.gathering = Batch()
        self.writing: Batch | None = None
        self.number: int | None = None
        """Of the latest batch; None: not known yet, so nothing can be written."""
        self.attached: Attach | None = None
        """Who wants to know what there is,"""
        self.to_load = False
        """and does not know it yet."""

    def gather(self, record: Record) -> None:
        batch = self.gathering
        batch.keys.update(record.keys)
        batch.groups.update(record.groups)
        for usage_key, tokens in record.usage:
            batch.usage.setdefault(usage_key, Tokens()).add(tokens)
        for rate_key, count in record.rates:
            sums = batch.rates.setdefault(rate_key, RateCount())
            sums.requests += count.requests
            sums.tokens += count.tokens

    def next_batch(self, *, even_empty: bool = False) -> Batch | None:
        """The one to be written: the same until `writing` is None again. None: there is nothing, or the number is not
        known yet."""
        if self.writing is None and self.number is not None and (self.gathering or even_empty):
            self.number += 1
            self.writing, self.gathering = self.gathering, Batch()
            self.writing.number = self.number
        return self.writing

    @property
    def unwritten(self) -> int:
        """Sums of usage that are only in memory."""
        return len(self.gathering.usage) + (0 if self.writing is None else len(self.writing.usage))
