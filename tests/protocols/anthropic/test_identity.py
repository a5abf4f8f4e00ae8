"""Recorded traffic of this dialect comes back equal: the checks of `tests.protocols.identity`."""

from __future__ import annotations

import re
from functools import partial
from itertools import pairwise

import pytest

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.ir import BlockStart, Ended, Stopped
from busbar.protocols.native import own_fields
from tests.protocols import identity
from tests.protocols.identity import events_of, read, wire_events, write
from tests.recordings import Recording, recordings, with_answer, with_request, with_stream


def messages_of(recording: Recording) -> list[bytes]:
    """The recorded streams. One recording holds the answers of several requests behind one another."""
    text = recording.response.body_text or ""
    starts = [found.start() for found in re.finditer(r"^event: message_start$", text, re.MULTILINE)]
    edges = [0, *starts[1:], len(text)]
    return [text[begin:end].encode() for begin, end in pairwise(edges)]


@pytest.mark.parametrize("recording", recordings("anthropic", with_request))
def test_request_comes_back_equal(recording: Recording) -> None:
    identity.check_request(PROTOCOL, recording)


@pytest.mark.parametrize("recording", recordings("anthropic", with_answer))
def test_response_comes_back_equal(recording: Recording) -> None:
    identity.check_response(PROTOCOL, recording)


@pytest.mark.parametrize("recording", recordings("anthropic", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    for message in messages_of(recording):
        assert wire_events(write(PROTOCOL, read(PROTOCOL, [message]))) == wire_events(message)
        identity.check_splits(PROTOCOL, message)


@pytest.mark.parametrize("recording", recordings("anthropic", lambda r: r.number in (38, 66, 109, 140)))
def test_stream_is_read_byte_by_byte(recording: Recording) -> None:
    (message,) = messages_of(recording)
    identity.check_byte_by_byte(PROTOCOL, message)


@pytest.mark.parametrize("recording", recordings("anthropic", with_stream))
def test_blocks_of_recorded_streams_are_balanced(recording: Recording) -> None:
    for message in messages_of(recording):
        events = events_of(read(PROTOCOL, [message]))
        identity.check_balance(events)
        if isinstance(events[-1], Ended):
            assert sum(isinstance(event, Stopped) for event in events) == 1


@pytest.mark.parametrize("recording", recordings("anthropic", with_request))
def test_nothing_that_the_ir_can_say_is_left_over_on_a_request(recording: Recording) -> None:
    request = PROTOCOL.read_request(recording.request.body)
    left = own_fields(request, "anthropic")
    assert not {key for key, value in left.items() if value is not None} & {
        *("model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p", "top_k"),
        *("stop_sequences", "stream", "thinking", "output_format"),
    }
    assert not {"user_id"} & set(left.get("metadata", {}))
    assert not {"format"} & set(left.get("output_config", {}))
    allowed = {"caller", "tool_name", "citations"}
    for message in request.messages:
        assert own_fields(message, "anthropic") == {}
        for part in message.parts:
            kept = getattr(part, "native", None)
            assert kept is None or set(kept.fields) <= allowed


@pytest.mark.parametrize("recording", recordings("anthropic", with_stream))
def test_tap_sees_what_the_reader_reads(recording: Recording) -> None:
    for message in messages_of(recording):
        events = events_of(read(PROTOCOL, [message]))
        begun = any(isinstance(event, BlockStart) for event in events)
        identity.check_tap(PROTOCOL, message, content=begun, passes=partial(but_for_blank_lines, message))


def but_for_blank_lines(message: bytes, passed: bytes) -> bool:
    """Those behind the last event need not pass."""
    return message.startswith(passed) and passed.strip() == message.strip()
