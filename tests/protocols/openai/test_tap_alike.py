"""Frames that differ from the one before in their text alone pass unseen; what passes, and what is noted, stays the
same as when each is looked at."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.framing import tap as tap_module
from busbar.protocols.framing.tap import SseTap
from busbar.protocols.openai.stream_tap import stream_tap


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]
    document = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
TEXTS = st.one_of(
    st.text(max_size=12), st.sampled_from(['"', "\\", "a\nb", '","finish_reason":"stop"', "data: [DONE]\n\n", ""])
)
FRAMES = st.one_of(
    TEXTS.map(lambda text: chunk({"content": text})),
    TEXTS.map(lambda text: chunk({"content": text})),
    TEXTS.map(lambda text: chunk({"reasoning_content": text})),
    TEXTS.map(lambda text: chunk({"content": text}).replace(b"\n", b"\r\n")),
    TEXTS.map(lambda text: chunk({"content": text}, usage=USAGE)),
    TEXTS.map(lambda text: chunk({"content": text}, "stop")),
    st.sampled_from(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "a"})[:-12] + b"\n\n",
            chunk({"content": "a"}).replace(b"}\n\n", b"\n\n"),
            b'data: {"error":{"message":"overloaded","code":503}}\n\n',
            b"data: [DONE]\n\n",
            b": ping\n\n",
            b"event: x\n" + chunk({"content": "b"}),
            b"data: nonsense\n\n",
        ]
    ),
)


@given(st.lists(FRAMES, max_size=14), st.lists(st.integers(1, 400), max_size=8), st.booleans())
def test_nothing_is_overlooked(frames: list[bytes], cuts: list[int], whole: bool) -> None:
    pieces = frames if whole else _cut(b"".join(frames), cuts)
    quick = stream_tap()
    with patch.object(tap_module, "TRIES_MAX", 0):
        careful = stream_tap()
    for piece in pieces:
        assert quick.feed(piece) == careful.feed(piece)
        assert _notes(quick) == _notes(careful)
    assert quick.close() == careful.close()
    assert _notes(quick) == _notes(careful)


def test_frames_that_are_alike_are_not_looked_at() -> None:
    tap = stream_tap()
    tap.feed(chunk({"content": "first"}))
    tap.feed(chunk({"content": "second"}))
    with patch.object(tap_module.SseSplitter, "feed", side_effect=AssertionError("it was looked at")):
        assert tap.feed(chunk({"content": "third"})) == chunk({"content": "third"})


def _notes(tap: SseTap) -> tuple[object, ...]:
    return (tap.content, tap.finished, tap.ended, tap.usage, tap.error, tap.malformed)


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    pieces = []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    return [piece for piece in (*pieces, data) if piece]
