"""Reading a stream of the Chat Completions dialect: chunks in, events out, block boundaries made up.

A chunk states deltas per choice; it never says where a block begins or ends. The reader infers it:

    content, refusal or thinking arrives   → the open block of another such kind ends, its own begins
    a tool call with a new index or id     → its block begins once its name is known; it stays open
    a finish reason                        → every open block of the choice ends, then the choice

Tool calls stay open until the finish because the deltas of parallel calls may interleave. A finish reason beside a
tool call waits for the next chunk, as some providers (Gemini behind OpenRouter) finish after each parallel call.

    preamble ──choices──► answering ──[DONE]──► over
                              └──────error─────► over
"""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.failures import FailureSignal
from busbar.protocols.framing.sse import SseDecoder, SseEvent
from busbar.protocols.ir import Chunk, Ended, Errored, Event, Started, UsageSeen
from busbar.protocols.native import Native
from busbar.protocols.openai.errors import error_in_answer
from busbar.protocols.openai.stream_alike import Alike, like
from busbar.protocols.openai.stream_choice import ChoiceState
from busbar.protocols.openai.stream_form import ENVELOPE, ChunkForm, Draft
from busbar.protocols.openai.usage import read_usage
from busbar.protocols.openai.words import DIALECT, OWN

CHOICES_MAX = 128
"""OpenAI's own bound for `n`; deltas of further choices are skipped."""

DONE = b"[DONE]"
ALIKE_TRIES_MAX = 8
"""After so many chunks none of which was like the one before, no more are compared: some providers put random bytes
into each, against those who guess from lengths."""
_SKELETON_KEYS = frozenset({"id", "model", "created", "object", "choices", "error"})
_DECODER = msgspec.json.Decoder()


class OpenaiStreamReader:
    """A `StreamReader`: wire bytes to chunks of events."""

    __slots__ = ("_alike", "_choices", "_frames", "_over", "_started", "_tries", "malformed")

    def __init__(self) -> None:
        self._frames = SseDecoder()
        self._choices: dict[int, ChoiceState] = {}
        self._started: Started | None = None
        self._over = False
        self._alike: Alike | None = None
        self._tries = ALIKE_TRIES_MAX
        self.malformed = 0

    def feed(self, data: bytes) -> list[Chunk]:
        """Raises `FrameTooLarge`."""
        return self._read_all(self._frames.feed(data))

    def close(self) -> list[Chunk]:
        """The connection ended. Some providers omit `[DONE]`: an answer whose choices all finished is whole."""
        chunks = self._read_all(self._frames.close())
        states = self._choices.values()
        if not self._over and states and all(state.finished for state in states):
            self._over = True
            chunks.append(Chunk(events=self._ending(Ended()), native=OWN))
        return chunks

    def _read_all(self, frames: list[SseEvent]) -> list[Chunk]:
        chunks = []
        for frame in frames:
            if self._over:
                break
            if (chunk := self._read(frame)) is not None:
                chunks.append(chunk)
        return chunks

    def _read(self, frame: SseEvent) -> Chunk | None:
        if self._alike is not None:
            chunk = self._alike.read(frame.event, frame.data)
            if chunk is not None:
                self._tries = ALIKE_TRIES_MAX
                return chunk
            self._alike = None
        chunk = self._read_closely(frame)
        if chunk is not None and self._tries:
            self._alike = like(frame.event, frame.data, chunk)
            self._tries -= self._alike is not None
        return chunk

    def _read_closely(self, frame: SseEvent) -> Chunk | None:
        if frame.data.strip() == DONE:
            self._over = True
            return Chunk(events=self._ending(Ended()), native=Native(DIALECT, {}, ChunkForm(done=True)))
        try:
            document = _DECODER.decode(frame.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            document = None
        if not isinstance(document, dict):
            self.malformed += 1
            return None
        return self._read_document(document, frame.event)

    def _read_document(self, document: dict[str, Any], event_name: str) -> Chunk:
        draft = Draft()
        repeats: tuple[str, ...] = ()
        choices = document.get("choices")
        if self._started is not None:
            repeats = self._take_repeats(document)
        elif choices or document.get("id"):
            self._start(document, draft)
        error = error_of(document, event_name)
        self._release_unless_continued(choices, draft)
        for position, entry in enumerate(choices) if isinstance(choices, list) else ():
            self._read_entry(entry, position, draft)
        _take_usage(document, draft)
        if error is not None:
            draft.events = [*draft.events, *self._ending(Errored(signal=error))]
            self._over = True
        left = {key: value for key, value in document.items() if key not in _SKELETON_KEYS and value is not None}
        for key in left:
            del document[key]
        form = ChunkForm(document, draft.slots, repeats, event_name)
        return Chunk(events=draft.events, native=Native(DIALECT, left, form))

    def _start(self, document: dict[str, Any], draft: Draft) -> None:
        given_id, model, created = (document.get(key) for key in ENVELOPE)
        self._started = Started(
            id=given_id if isinstance(given_id, str) else "",
            model=model if isinstance(model, str) else "",
            created=created if type(created) is int else None,
            native=OWN,
        )
        draft.add(self._started)
        for key in self._take_repeats(document):
            draft.slots.append((0, key, (key,)))

    def _take_repeats(self, document: dict[str, Any]) -> tuple[str, ...]:
        """Takes what `Started` says already."""
        repeats = tuple([key for key in ENVELOPE if key in document and document[key] == getattr(self._started, key)])
        for key in repeats:
            del document[key]
        return repeats

    def _read_entry(self, entry: Any, position: int, draft: Draft) -> None:
        if not isinstance(entry, dict):
            return
        index = choice_index(entry)
        state = self._choices.get(index)
        if state is None:
            if len(self._choices) >= CHOICES_MAX:
                return
            state = self._choices[index] = ChoiceState(index)
        state.read(entry, position, draft)

    def _release_unless_continued(self, choices: Any, draft: Draft) -> None:
        """Lets go of held finishes, but for those of choices whose tool calls go on in this chunk."""
        for state in self._choices.values():
            if state.held is not None and not _calls_go_on(choices, state.index):
                state.release(draft)

    def _ending(self, last: Event) -> list[Event]:
        """What a stream still owes before its `last` event, and that."""
        draft = Draft()
        for state in self._choices.values():
            if isinstance(last, Ended):
                state.conclude(draft)
            else:
                state.release(draft)
        return [*draft.events, last]


def choice_index(entry: dict[str, Any]) -> int:
    index = entry.get("index")
    return index if type(index) is int else 0


def _calls_go_on(choices: Any, index: int) -> bool:
    return isinstance(choices, list) and any(
        isinstance(entry, dict)
        and choice_index(entry) == index
        and isinstance(delta := entry.get("delta"), dict)
        and bool(delta.get("tool_calls"))
        for entry in choices
    )


def error_of(document: dict[str, Any], event_name: str) -> FailureSignal | None:
    """An error stands at the top, in a choice, or is the whole of an event that is called `error`."""
    if event_name == "error" and not document.get("error"):
        return error_in_answer({"error": document})
    if (found := error_in_answer(document)) is not None:
        return found
    choices = document.get("choices")
    for entry in choices if isinstance(choices, list) else ():
        if isinstance(entry, dict) and (error := entry.get("error")):
            return error_in_answer({"error": error})
    return None


def usage_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Usage stands at the top; Groq has it in `x_groq` where the caller did not ask for it."""
    usage = document.get("usage")
    if not isinstance(usage, dict) and isinstance(groq := document.get("x_groq"), dict):
        usage = groq.get("usage")
    return usage if isinstance(usage, dict) else None


def _take_usage(document: dict[str, Any], draft: Draft) -> None:
    if (usage := usage_of(document)) is None:
        return
    seen = UsageSeen(usage=read_usage(usage))
    if usage is document.get("usage"):
        draft.take(seen, "usage", document, ("usage",))
    else:
        draft.take(seen, "usage", document["x_groq"], ("x_groq", "usage"))
