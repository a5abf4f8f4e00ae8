"""Recorded provider traffic, as tests read it.

The recordings lie beside the repository, in `../shared/fixtures/<dialect>/NNN-<features>--<name>.json`. Where they
are absent, `recordings` gives one placeholder whose test is skipped with the reason, so that nobody mistakes a
missing corpus for a passing one.

    @pytest.mark.parametrize("recording", recordings("anthropic"))
    def test_something(recording: Recording) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "shared" / "fixtures"


class RecordedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is None where only the answer was recorded."""

    method: str = "POST"
    path: str = ""
    query: dict[str, Any] = {}
    headers: dict[str, str] = {}
    body: Any = None


class RecordedResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of the bodies is not None: JSON, server-sent events as they came, or eventstream bytes."""

    status: int
    headers: dict[str, str] = {}
    body: Any = None
    body_text: str | None = None
    body_base64: str | None = None

    @property
    def streamed(self) -> bool:
        return self.status < 400 and self.body_text is not None

    @property
    def wire(self) -> bytes:
        """The body as bytes; a JSON body is encoded again."""
        if self.body_text is not None:
            return self.body_text.encode()
        return b"" if self.body is None else msgspec.json.encode(self.body)


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange. `name` is the file's name without its ending, `number` its first three digits."""

    name: str = ""
    protocol: str
    request: RecordedRequest
    response: RecordedResponse
    meta: dict[str, Any] = {}

    @property
    def number(self) -> int:
        return int(self.name[:3])


@cache
def load(dialect: str) -> tuple[Recording, ...]:
    """Every recording of `dialect` in the order of the files; empty where the recordings are absent."""
    decoder = msgspec.json.Decoder(Recording)
    return tuple(
        msgspec.structs.replace(decoder.decode(path.read_bytes()), name=path.stem)
        for path in sorted((FIXTURES / dialect).glob("*.json"))
    )


def recordings(dialect: str, when: Callable[[Recording], bool] = lambda recording: True) -> list[Any]:
    """The recordings of `dialect` for which `when` holds, as pytest parameters named by file; or one skipped."""
    found = load(dialect)
    if not found:
        absent = pytest.mark.skip(reason=f"no recordings at ../shared/fixtures/{dialect}")
        return [pytest.param(None, marks=[absent, pytest.mark.fixtures], id="absent")]
    return [
        pytest.param(recording, marks=pytest.mark.fixtures, id=recording.name)
        for recording in found
        if when(recording)
    ]


def with_request(recording: Recording) -> bool:
    return isinstance(recording.request.body, dict)


def with_answer(recording: Recording) -> bool:
    """A whole answer that is no error."""
    return recording.response.status < 400 and isinstance(recording.response.body, dict)


def with_stream(recording: Recording) -> bool:
    return recording.response.streamed


def with_error(recording: Recording) -> bool:
    return recording.response.status >= 400
