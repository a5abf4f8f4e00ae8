"""What the server asks of a dialect, and the few values they share."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from .script import Answer, Ask
from .usage import Usage

JSON = dict[str, Any]
PATH_MODEL = ":model"
"""Where a body tells the model that its request named in the path. No JSON body has a member of this name."""
CREATED = 1_790_000_000
"""`created` of every answer, Unix seconds: answers do not depend on the clock."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Refused(Exception):
    """The provider answers with an error.

    `kind` is the dialect's error type, `param` and `code` are openai's; gemini tells `code` as the reason in its
    details, and `retry_secs` as the delay.
    """

    retry_secs: float | None = None

    def __init__(
        self, status: int, kind: str, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.param, self.code = status, kind, message, param, code


class Frame(msgspec.Struct, frozen=True):
    """One server-sent event. `part` says where in the stream it stands: `close` from the finish reason on."""

    data: JSON | str
    event: str | None = None
    part: Literal["open", "content", "close"] = "content"

    def encode(self, newline: str = "\n") -> bytes:
        data = self.data if isinstance(self.data, str) else msgspec.json.encode(self.data).decode()
        lines = [f"event: {self.event}"] if self.event else []
        return newline.join([*lines, f"data: {data}", "", ""]).encode()


class Dialect(Protocol):
    """One provider protocol: reads and checks requests, writes answers and errors."""

    name: str
    request_id_header: str

    def admit(self, headers: Mapping[str, str], keys: frozenset[str]) -> None:
        """Check credentials and required headers. Raises `Refused`.

        Names of headers are in lower case; beside them stand `:method`, `:path` (as it came, with the query) and
        `:sha256`, the hex digest of the body.
        """

    def validate(self, body: JSON, headers: Mapping[str, str]) -> None:
        """Check the body as strictly as the provider does. Raises `Refused`."""

    def read(self, body: JSON) -> Ask:
        """A valid body, dialect-neutral."""

    def document(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> JSON:
        """The answer to a request that does not stream."""

    def frames(self, body: JSON, ask: Ask, answer: Answer, usage: Usage) -> list[Frame]:
        """The answer to a request that streams."""

    def error(self, refused: Refused, request_id: str) -> JSON:
        """The native error envelope."""

    def error_frames(self, refused: Refused, request_id: str, before: list[Frame]) -> list[Frame]:
        """The native error inside a stream that has already answered 200 and sent the frames `before`."""

    def models(self, names: tuple[str, ...]) -> JSON:
        """The answer to GET /v1/models."""


def digest(value: object) -> str:
    """A stable hex digest of a JSON value; key order does not matter."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def seed(body: JSON) -> str:
    """A digest of a request; streamed or not, it is the same request and gets the same ids."""
    return digest({key: value for key, value in body.items() if key not in ("stream", "stream_options")})


def mint(prefix: str, length: int, *parts: object) -> str:
    """An id that looks native: `prefix` and `length` letters and digits, derived from `parts`."""
    number = int.from_bytes(hashlib.sha512(repr(parts).encode()).digest())
    letters = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return prefix + "".join(letters)


def fragments(text: str, size: int = 7) -> list[str]:
    """`text` in pieces of `size` characters, as streamed tool arguments come."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def bearer(headers: Mapping[str, str], *others: str) -> str | None:
    """The key a request carries: `Authorization: Bearer`, or one of the headers named."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return next((headers[name] for name in others if headers.get(name)), None)
