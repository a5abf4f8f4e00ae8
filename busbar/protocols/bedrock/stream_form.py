"""How the events of this dialect's streams look on the wire: the headers of a message, and what a chunk remembers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.framing.eventstream import frame_of
from busbar.protocols.framing.eventstream_headers import HeaderValue, encode_headers
from busbar.protocols.native import Native

EVENTS = ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata")
PADDING = "p"
"""A field of every event whose length hides the length of what the model said. It says nothing."""


class EventForm(Struct, frozen=True):
    """The form of a chunk: which event it was (`exception` and `error` too; empty: none at all), its padding, and its
    headers where they are not the usual three."""

    kind: str
    padding: str | None = None
    headers: Mapping[str, HeaderValue] | None = None


NOT_ON_WIRE = Native(DIALECT, {}, EventForm(""))
"""Of chunks that the reader inferred from the end of the stream."""


def usual_headers(kind: str) -> dict[str, HeaderValue]:
    return {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}


def form_of(kind: str, headers: Mapping[str, HeaderValue], value: Mapping[str, Any]) -> EventForm:
    usual = len(headers) == 3 and headers.get(":content-type") == "application/json"
    padding = value.get(PADDING)
    return EventForm(kind, padding if isinstance(padding, str) else None, None if usual else headers)


def event_frame(kind: str, payload: bytes) -> bytes:
    """A message with the usual headers."""
    headers = _HEADERS.get(kind)
    return frame_of(encode_headers(usual_headers(kind)) if headers is None else headers, payload)


_HEADERS = {kind: encode_headers(usual_headers(kind)) for kind in EVENTS}
