"""A caller that speaks bare HTTP/1.1 on one connection, and knows what it has heard when that ends in the middle.

connection = await Connection.to(url)
heard = await connection.ask(*question("openai", "gpt", words=7, stream=True), secret)
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec

from busbar.protocols.ir import Message, Request, Text
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS

TERMINAL = {
    "anthropic": b"event: message_stop",
    "bedrock": b'"outputTokens"',
    "cohere": b'"message-end"',
    "openai": b"data: [DONE]",
    "responses": b"event: response.completed",
}
"""What a stream has at its end, and nowhere before: who has it has a whole answer. (Gemini's has no such event: what
comes after its `finishReason` may still say how much was used. It is whole when HTTP says so.)"""

MAX_TOKENS = 500
"""Of every question."""


def question(
    dialect: str, model: str, words: int, *, stream: bool, max_tokens: int = MAX_TOKENS
) -> tuple[str, bytes]:
    """A path and a body. The embedded providers count `words` tokens in it, and two more in the answer."""
    protocol = PROTOCOLS[dialect]
    text = " ".join(["lantern"] * words)
    request = Request(
        model=model, messages=[Message(role="user", parts=[Text(text=text)])], max_tokens=max_tokens, stream=stream
    )
    document = protocol.write_request(request, Hop(model=model), Receipt())
    return protocol.egress_path(model, stream), msgspec.json.encode(document)


class Heard:
    """As much of an answer as came."""

    def __init__(self) -> None:
        self.status = 0
        """0: not even a header."""
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.ended = False
        """It came to its end, as HTTP tells it."""

    def whole(self, dialect: str, *, stream: bool) -> bool:
        return self.ended or (stream and dialect in TERMINAL and TERMINAL[dialect] in self.body)

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def __repr__(self) -> str:
        return f"Heard({self.status}, {bytes(self.body[-300:])!r}{'' if self.ended else ', cut'})"


class Connection:
    """One, kept alive from request to request. `lost`: nothing more can be asked on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.lost = False

    @classmethod
    async def to(cls, url: str) -> Connection:
        """Raises OSError."""
        place = urlsplit(url)
        return cls(*await asyncio.open_connection(place.hostname, place.port))

    async def ask(self, path: str, body: bytes, secret: str) -> Heard:
        """Whatever happens to the connection, what was heard until then."""
        heard = Heard()
        self.say(path, body, secret)
        await self.listen(heard)
        return heard

    def say(self, path: str, body: bytes, secret: str) -> None:
        """The question alone."""
        head = (
            f"POST {path} HTTP/1.1\r\nhost: busbar\r\nauthorization: Bearer {secret}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)

    async def listen(self, heard: Heard) -> None:
        """Puts the next answer into `heard` as it comes."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *fields = head.split("\r\n")[:-2]
            pairs = (field.partition(":") for field in fields)
            heard.headers = {name.lower(): value.strip() for name, _, value in pairs}
            heard.status = int(first.split()[1])
            if "content-length" in heard.headers:
                await self._more(heard, int(heard.headers["content-length"]))
            else:
                while size := int(await self._reader.readline() or b"-", 16):
                    await self._more(heard, size)
                    await self._reader.readexactly(2)
                await self._reader.readexactly(2)
            heard.ended = True
            self.lost = heard.headers.get("connection", "").lower() == "close"
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.lost = True

    async def _more(self, heard: Heard, size: int) -> None:
        while size:
            data = await self._reader.read(size)
            if not data:
                raise ConnectionResetError
            heard.body += data
            size -= len(data)

    def hang_up(self) -> None:
        self.lost = True
        self._writer.transport.abort()
