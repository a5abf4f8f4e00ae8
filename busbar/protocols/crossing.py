"""One request on its way to another dialect, and its answer on the way back.

What the answer's way needs to know of the request's way is held here: whether the caller wants usage, which tools had
to be renamed, and what of the answer has to be kept aside for the next turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec.structs import replace

from busbar.protocols.continuity import Kept, TurnCollector, asked_text
from busbar.protocols.ir import Chunk, Ended, FunctionTool, Request
from busbar.protocols.protocol import Hop, Protocol, StreamWriter
from busbar.protocols.receipt import Receipt
from busbar.protocols.resume import Delivered, Resumption, caught_up, prefilled
from busbar.protocols.translate import StreamTranslator, translate_response, write_request
from busbar.protocols.usage import Usage


class Crossing:
    """From `source`, the caller's dialect, to `target`, the provider's, and back. `body` is what the provider gets.

    `request` has been read from the caller's document (and what was kept aside has been restored to it). `prefill`
    is what a model has said of the answer already: the provider is asked to go on from there.
    """

    def __init__(
        self, source: Protocol, target: Protocol, request: Request, hop: Hop, prefill: str | None = None
    ) -> None:
        asked = request if prefill is None else prefilled(request, prefill, source, hop)
        written = write_request(source, target, asked, hop)
        self.body = written.body
        self._receipt = written.receipt
        self._answer_receipt = Receipt("response.")
        self._source = source
        self._target = target
        usage = written.stream_usage
        self._hop = hop if hop.stream_usage is usage else replace(hop, stream_usage=usage)
        self._own_names = _own_names(request, target)
        self._turn = TurnCollector(asked_text(request.messages), source.tool_call_ids, source.signer)

    @property
    def dropped_fields(self) -> tuple[str, ...]:
        """What had no place on the other side: the request's fields, then the answer's."""
        return self._receipt.dropped_paths + self._answer_receipt.dropped_paths

    def answer(self, body: bytes) -> tuple[bytes, Usage | None]:
        """A provider's whole answer, for the caller, and the usage it states. Raises `Unreadable`."""
        return translate_response(
            self._target, self._source, body, self._hop, self._answer_receipt, self._own_names, self._turn
        )

    def stream(self, on_whole: Callable[[], None]) -> StreamTranslator:
        """A provider's streamed answer. `on_whole` is called when it is whole, before its end is written."""
        return StreamTranslator(
            self._target, self._source, self._hop, self._answer_receipt, self._own_names, self._turn, on_whole
        )

    def resume(
        self, delivered: Delivered, prefill: str | None, *, on_whole: Callable[[], None], on_heard: Callable[[], None]
    ) -> Resumption:
        """A provider's stream that goes on with an answer which another one began."""
        return Resumption(
            self._target.stream_reader(),
            self._writer(delivered),
            delivered,
            prefill,
            turn=self._turn,
            own_names=self._own_names,
            on_whole=on_whole,
            on_heard=on_heard,
        )

    def closing(self, delivered: Delivered) -> bytes:
        """The end of an answer of which nothing but the end is missing."""
        return self._writer(delivered).write(Chunk(events=[Ended()]))

    def _writer(self, delivered: Delivered) -> StreamWriter:
        return caught_up(delivered, self._source, self._answer_receipt, stream_usage=self._hop.stream_usage)

    def kept_aside(self) -> dict[str, Kept]:
        """What of the answer, now that it is whole, the caller's dialect cannot carry: by the keys of its turn."""
        return self._turn.entries()


_NONE_RENAMED: Mapping[str, str] = MappingProxyType({})


def _own_names(request: Request, target: Protocol) -> Mapping[str, str]:
    """The tools whose names the target cannot take: the name it gets → the caller's own."""
    if not request.tools:
        return _NONE_RENAMED
    names = (tool.name for tool in request.tools if isinstance(tool, FunctionTool))
    fitted = {target.fit_tool_name(name): name for name in names}
    return {fitting: name for fitting, name in fitted.items() if fitting != name}
