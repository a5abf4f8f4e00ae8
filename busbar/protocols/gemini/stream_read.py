"""Reading a stream: each chunk is a whole `GenerateContentResponse` that holds what is new.

A chunk states parts per candidate; it never says where a block begins or ends. The reader infers it:

    text or a thought arrives     → the open block of the other kind ends, its own begins
    anything else                 → the open block ends; a block of its own begins and ends at once
    the stream ends               → every open block ends, then every candidate stops, with the last reason it stated

There is no terminal event: the stream ends with its connection. It is whole when every candidate said why it stopped,
or when the prompt was blocked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from busbar.protocols.gemini.errors import error_in_answer
from busbar.protocols.gemini.response import blocked, read_time
from busbar.protocols.gemini.stream_choice import ChoiceState
from busbar.protocols.gemini.stream_form import ENVELOPE, ChunkForm, Draft, repeated
from busbar.protocols.gemini.stream_frames import Frame, Frames
from busbar.protocols.gemini.usage import read_usage
from busbar.protocols.gemini.words import DIALECT, OWN
from busbar.protocols.ir import Chunk, Ended, Errored, Started, UsageSeen
from busbar.protocols.native import Native

CANDIDATES_MAX = 128
"""Far over what any model gives; chunks of further candidates are skipped."""

_SKELETON_KEYS = frozenset({"candidates", "error", *ENVELOPE})
_ANSWERS = ("candidates", "promptFeedback", "usageMetadata", "responseId", "modelVersion")
_DECODER = msgspec.json.Decoder()


class GeminiStreamReader:
    """A `StreamReader`: wire bytes, as server-sent events or as a JSON array, to chunks of events."""

    __slots__ = ("_choices", "_frames", "_over", "_started", "malformed")

    def __init__(self) -> None:
        self._frames = Frames()
        self._choices: dict[int, ChoiceState] = {}
        self._started: Started | None = None
        self._over = False
        self.malformed = 0

    def feed(self, data: bytes) -> list[Chunk]:
        """Raises `FrameTooLarge`."""
        return [] if self._over else self._read_all(self._frames.feed(data))

    def close(self) -> list[Chunk]:
        chunks = self._read_all(self._frames.close())
        states = self._choices.values()
        if not self._over and states and all(state.finished for state in states):
            self._over = True
            draft = Draft()
            for state in states:
                state.conclude(draft)
            chunks.append(Chunk(events=[*draft.events, Ended()], native=OWN))
        return chunks

    def _read_all(self, frames: list[Frame]) -> list[Chunk]:
        chunks = []
        for frame in frames:
            if self._over:
                break
            if frame.data is None:
                continue
            try:
                document = _DECODER.decode(frame.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                document = None
            if isinstance(document, dict):
                chunks.append(self._read(document))
            else:
                self.malformed += 1
        return chunks

    def _read(self, document: dict[str, Any]) -> Chunk:
        draft = Draft()
        if self._started is None and any(key in document for key in _ANSWERS):
            self._start(document, draft)
        repeats = self._take_repeats(document)
        candidates = document.get("candidates")
        for position, entry in enumerate(candidates if isinstance(candidates, list) else ()):
            if isinstance(entry, dict):
                self._read_entry(entry, position, draft)
        if (stop := blocked(document)) is not None:
            self._choice(0).stop = stop
        usage = document.get("usageMetadata")
        if isinstance(usage, dict):
            del document["usageMetadata"]
            draft.take(UsageSeen(usage=read_usage(usage)), ("usageMetadata",))
        if (error := error_in_answer(document)) is not None:
            draft.add(Errored(signal=error))
            self._over = True
        left = {key: value for key, value in document.items() if key not in _SKELETON_KEYS}
        for key in left:
            del document[key]
        return Chunk(events=draft.events, native=Native(DIALECT, left, ChunkForm(document, draft.slots, repeats)))

    def _start(self, document: dict[str, Any], draft: Draft) -> None:
        given_id, model, time = (document.get(key) for key in ENVELOPE)
        self._started = Started(
            id=given_id if isinstance(given_id, str) else "",
            model=model if isinstance(model, str) else "",
            created=read_time(time),
            native=Native(DIALECT, form=time),
        )
        draft.add(self._started)

    def _take_repeats(self, document: dict[str, Any]) -> tuple[str, ...]:
        """Takes what `Started` says already."""
        started = self._started
        if started is None:
            return ()
        repeats = tuple([key for key in ENVELOPE if key in document and document[key] == repeated(started, key)])
        for key in repeats:
            del document[key]
        return repeats

    def _read_entry(self, entry: dict[str, Any], position: int, draft: Draft) -> None:
        index = candidate_index(entry)
        if index in self._choices or len(self._choices) < CANDIDATES_MAX:
            self._choice(index).read(entry, ("candidates", position), draft)

    def _choice(self, index: int) -> ChoiceState:
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = ChoiceState(index)
        return state


def candidate_index(entry: dict[str, Any]) -> int:
    """Many services leave out the index of the first, and mostly only, candidate."""
    index = entry.get("index")
    return index if type(index) is int else 0
