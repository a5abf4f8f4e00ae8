"""One event of a new stream → events of the caller's answer.

    skipping   what comes is compared with what the caller has (`prefix`), and gives nothing
    going on   what comes is new, and is put in its place (`places`)

After a prefill it goes on from the first word (`onward`). Thinking before that is not told: the answer has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from busbar.protocols.ids import IdStyle, mint_id
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    CitationDelta,
    Ended,
    Event,
    Ping,
    RedactedThinking,
    Refusal,
    RefusalDelta,
    SignatureDelta,
    Started,
    Stop,
    Stopped,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.resume.delivered import Delivered
from busbar.protocols.resume.onward import Onward
from busbar.protocols.resume.places import Places
from busbar.protocols.resume.prefix import Diverged, ExpectedCall, Prefix
from busbar.protocols.usage import Usage, added

_CALL = IdStyle("call_")
_DECLINES = frozenset({StopReason.REFUSAL, StopReason.CONTENT_FILTER})


class Joint:
    """Between an answer's two halves. `prefill` and `own_names` as for `Resumption`; `seal` gives a new call the id
    that the caller gets, `on_heard` is called when the provider says something for the first time."""

    __slots__ = (
        *("_expected", "_kinds", "_made", "_nonce", "_on_heard", "_onward", "_onward_in", "_own_names"),
        *("_places", "_prefix", "_seal", "_spent", "goes_on", "usage"),
    )

    def __init__(
        self,
        delivered: Delivered,
        prefill: str | None,
        own_names: Mapping[str, str],
        seal: Callable[[ToolUse], str],
        on_heard: Callable[[], None],
    ) -> None:
        self._prefix = Prefix(delivered.blocks if prefill is None else ())
        self._onward = None if prefill is None else Onward(delivered.text, prefill)
        self._onward_in = 0
        """The block in which that text comes."""
        self._places = Places(delivered.blocks)
        self._expected: dict[int, ExpectedCall] = {}
        """Calls that the caller has, or has a part of, by their index in the new stream."""
        self._kinds: dict[int, type] = {}
        self._spent = delivered.spent
        self._made = delivered.calls
        self._nonce = delivered.hop.nonce
        self._own_names = own_names
        self._seal = seal
        self._on_heard: Callable[[], None] | None = on_heard
        self.goes_on = False
        """Something new was said that is not thinking. (Until then a provider thinks what was thought before.)"""
        self.usage: Usage | None = None
        """The new provider's own."""

    @property
    def matched(self) -> bool:
        """All that the caller has was said again: what comes now is new."""
        return self._prefix.matched

    def place(self, event: Event) -> list[Event]:
        """Raises `Diverged`."""
        match event:
            case Started(usage=Usage() as usage) | UsageSeen(usage=usage):
                self.usage = usage if self.usage is None else self.usage.merged(usage)
                return [UsageSeen(usage=added(self._spent, self.usage))]
            case BlockStart(choice=0):
                return self._begin(event)
            case TextDelta(choice=0, index=index, text=said):
                return self._text(index, said)
            case ThinkingDelta(choice=0, index=index, text=said):
                return self._thought(index, said)
            case ArgumentsDelta(choice=0, index=index, fragment=said):
                return self._arguments(index, said)
            case SignatureDelta(choice=0) | CitationDelta(choice=0) | RefusalDelta(choice=0):
                return self._attach(event)
            case BlockStop(choice=0, index=index):
                return self._end(index)
            case Stopped(choice=0, stop=stop):
                return self._stop(stop)
            case Ping():
                return [event] if self.goes_on else []
            case Ended():
                self._must_match()
                return [event]
            case _:
                return []

    def _begin(self, event: BlockStart) -> list[Event]:
        index, part = event.index, event.part
        self._kinds[index] = type(part)
        match part:
            case Text(text=said):
                return self._text(index, said)
            case Thinking(text=said):
                return self._thought(index, said)
            case ToolUse():
                return self._call(index, part)
            case RedactedThinking() if not self.goes_on:
                return []
            case _:
                self._must_match(declines=isinstance(part, Refusal))
                self.goes_on = True
                return self._places.begin(index, part)

    def _text(self, index: int, said: str) -> list[Event]:
        if not said:
            return []
        self._hear()
        if self._prefix.thinks and not self._prefix.matched:
            raise Diverged
        said = said if self._prefix.thinks else self._prefix.text(said)
        if self._onward is not None:
            self._onward_in = index
            said = self._onward.take(said)
        return self._say(index, said)

    def _say(self, index: int, said: str) -> list[Event]:
        if not said:
            return []
        self.goes_on = True
        begun = self._places.ensure(index, Text(text=""))
        return [*begun, TextDelta(index=self._known(index), text=said)]

    def _thought(self, index: int, said: str) -> list[Event]:
        if not said:
            return []
        self._hear()
        if not self.goes_on:
            if not self._prefix.thinks:
                return []
            said = self._prefix.text(said)
        if not said:
            return []
        begun = self._places.ensure(index, Thinking(text=""))
        return [*begun, ThinkingDelta(index=self._known(index), text=said)]

    def _call(self, index: int, use: ToolUse) -> list[Event]:
        self._hear()
        waiting = self._rest()
        use.name = self._own_names.get(use.name, use.name)
        expected = self._prefix.call(use.name)
        if expected is not None:
            self._expected[index] = expected
            if not expected.whole:
                self._places.take(index, expected.index)
            return self._arguments(index, use.arguments)
        use.id = use.id or mint_id(_CALL, self._nonce, self._made)
        self._made += 1
        use.id = self._seal(use)
        self.goes_on = True
        return [*waiting, *self._places.begin(index, use)]

    def _arguments(self, index: int, said: str) -> list[Event]:
        expected = self._expected.get(index)
        if expected is not None:
            said = expected.take(said)
        place = self._places.get(index)
        if not said or place is None:
            return []
        self.goes_on = True
        return [ArgumentsDelta(index=place, fragment=said)]

    def _attach(self, event: SignatureDelta | CitationDelta | RefusalDelta) -> list[Event]:
        """To a block that goes on, or that the new stream has just said the last word of."""
        kind = self._kinds.get(event.index, Text)
        if not self._prefix.matched or not self._is_new(kind):
            return []
        place = self._places.go_on(event.index, kind)
        if place is None:
            return []
        match event:
            case SignatureDelta(signature=signature, signer=signer):
                return [SignatureDelta(index=place, signature=signature, signer=signer)]
            case CitationDelta(citation=citation):
                return [CitationDelta(index=place, citation=citation)]
            case RefusalDelta(text=said):
                return [RefusalDelta(index=place, text=said)]

    def _rest(self) -> list[Event]:
        """Text that was kept back, and that has now ended."""
        return [] if self._onward is None else self._say(self._onward_in, self._onward.rest())

    def _end(self, index: int) -> list[Event]:
        waiting = self._rest() if self._kinds.get(index) is Text else []
        expected = self._expected.pop(index, None)
        if expected is not None:
            expected.end()
        elif self._prefix.matched and self._is_new(kind := self._kinds.get(index, Text)):
            self._places.go_on(index, kind)
        return [*waiting, *self._places.end(index)]

    def _is_new(self, kind: type) -> bool:
        """Whether a block of that kind, now that all was said again, is what the caller's answer goes on with."""
        return kind is not Thinking or self.goes_on or self._prefix.thinks

    def _stop(self, stop: Stop) -> list[Event]:
        self._must_match(declines=stop.reason in _DECLINES)
        return [*self._places.end_all(), Stopped(stop=stop)]

    def _must_match(self, *, declines: bool = False) -> None:
        """`declines`: the model says that it will not go on."""
        said_nothing = not self.goes_on and not self._prefix.thinks
        if not self._prefix.matched or (declines and said_nothing):
            raise Diverged

    def _known(self, index: int) -> int:
        place = self._places.get(index)
        assert place is not None, "the block has begun"
        return place

    def _hear(self) -> None:
        heard, self._on_heard = self._on_heard, None
        if heard is not None:
            heard()
