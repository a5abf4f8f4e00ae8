"""What one attempt used, for the bill: the usage that the provider states; where it does not, an estimate."""

from __future__ import annotations

from collections.abc import Awaitable

from busbar.http.bill import Bill
from busbar.http.ports import Sink
from busbar.protocols.meter import Meter, completed, estimate_of_text
from busbar.protocols.protocol import Protocol
from busbar.protocols.usage import Usage


class Spent:
    """Charges once, whichever of `whole_answer`, `whole_stream` and `cut` comes first."""

    __slots__ = ("_bill", "_charged", "_marks", "_meter", "_model")

    def __init__(self, bill: Bill, model: str, protocol: Protocol) -> None:
        self._bill = bill
        self._model = model
        self._marks = protocol.marks
        self._meter = Meter(protocol.marks)
        self._charged = False

    def metered(self, sink: Sink) -> Sink:
        """`sink`, with what goes into it measured."""
        feed = self._meter.feed

        def metered(data: bytes) -> Awaitable[None] | None:
            feed(data)
            return sink(data)

        return metered

    def whole_answer(self, usage: Usage | None, body: bytes) -> None:
        stated = usage is not None and usage.output_tokens is not None
        self._charge(usage, 0 if stated else estimate_of_text(body, self._marks.call_tokens), whole=True)

    def whole_stream(self, usage: Usage | None) -> None:
        stated = usage is not None and usage.output_tokens is not None
        self._charge(usage, 0 if stated else self._meter.output_tokens, whole=True)

    def cut(self, usage: Usage | None) -> None:
        """By either side."""
        self._charge(usage, self._meter.output_tokens, whole=False)

    async def settle(self) -> None:
        """Raises `Unrecorded`."""
        await self._bill.settle()

    def _charge(self, stated: Usage | None, metered_output: int, *, whole: bool) -> None:
        if self._charged:
            return
        self._charged = True
        usage, estimated = completed(
            stated, prompt_estimate=self._bill.input_tokens, metered_output=metered_output, whole=whole
        )
        self._bill.charge(self._model, usage, estimated=estimated)
