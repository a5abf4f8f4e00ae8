"""One question to a gateway, as an SDK would ask it, and what came of it: for `busbar try` and `busbar check --live`.

The gateway is one that runs somewhere, or a private one: the configuration's own members and pools behind a door that
nobody else can open, for as long as the question takes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from busbar.config import AuthConfig, Config, HealthConfig, Secret
from busbar.config.schema import GovernanceConfig, ObservabilityConfig
from busbar.gateway import BusbarGateway
from busbar.http.relay import REQUEST_ID
from busbar.protocols.framing import BrokenFraming
from busbar.protocols.ir import Errored, Message, Request, Started, Text, TextDelta, UsageSeen
from busbar.protocols.protocol import Hop, InvalidRequest, Protocol
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage

if TYPE_CHECKING:
    import aiohttp

ANSWER_BYTES_MAX = 16 << 20
"""Of an answer that is read whole."""

TRACE_TRIES, TRACE_WAIT_SECS = 20, 0.05
"""A request's trace is there a moment after its answer."""

Trace: TypeAlias = dict[str, Any]
"""As `/stats/requests/ID` shows it."""


class Unreachable(Exception):
    """There was no answer at all; the text says why."""


class Door(Struct, frozen=True):
    """Where a gateway is, and what opens it."""

    url: str
    key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.key is None else {"authorization": f"Bearer {self.key}"}

    def __repr__(self) -> str:
        return f"Door({self.url})"


class Question(Struct, frozen=True, kw_only=True):
    """`path` and `body` are of the dialect `protocol`."""

    protocol: Protocol
    path: str
    body: bytes
    stream: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """What came of a question. Times are in milliseconds since it was sent."""

    status: int
    """0: a stream broke off without a word."""
    text: str = ""
    error: str | None = None
    """The error in the dialect's own words, whole; None: all well."""
    message: str = ""
    """What of the error is for people."""
    usage: Usage | None = None
    first_ms: float = 0.0
    total_ms: float = 0.0
    trace: Trace | None = None
    """None: the gateway does not show it to this key."""


@asynccontextmanager
async def private_gateway(config: Config, callers_key: str | None = None) -> AsyncIterator[Door]:
    """A gateway of `config` on a free port of this machine: its models and pools, none of its doors, files and
    telemetry, so that one that runs beside it is left in peace. In mode `passthrough` the caller's own key goes on.

    Raises `MalformedCredential`, OSError.
    """
    if config.auth.mode == "passthrough":
        auth, key = AuthConfig(mode="passthrough", open_telemetry_routes=True), callers_key or ""
    else:
        key = secrets.token_urlsafe(32)  # for nobody else on this machine
        auth = AuthConfig(mode="token", client_tokens=(Secret(key),))
    private = replace(
        config,
        listen_host="127.0.0.1",
        listen_port=0,
        tls=None,
        auth=auth,
        governance=GovernanceConfig(prices=config.governance.prices),
        observability=ObservabilityConfig(),
        limits=replace(config.limits, drain_timeout_secs=1),
        providers={name: replace(it, health=HealthConfig()) for name, it in config.providers.items()},
    )
    async with BusbarGateway(private) as gateway:
        yield Door(gateway.url, key)


def question(protocol: Protocol, model: str, text: str, *, max_tokens: int, stream: bool = False) -> Question:
    """A user's one line, in a dialect."""
    request = Request(
        model=model,
        messages=[Message(role="user", parts=[Text(text=text)])],
        max_tokens=max_tokens,
        stream=stream or None,
    )
    hop = Hop(model=model, default_max_tokens=max_tokens, now=int(time.time()), nonce=secrets.token_hex(8))
    body = msgspec.json.encode(protocol.write_request(request, hop, Receipt()))
    return Question(protocol=protocol, path=protocol.egress_path(model, stream), body=body, stream=stream)


async def ask(
    http: aiohttp.ClientSession, door: Door, asked: Question, on_text: Callable[[str], None] = lambda _text: None
) -> Answer:
    """Sends the question; `on_text` hears the answer's text as it comes. Raises `Unreachable`."""
    import aiohttp
    from yarl import URL

    headers = {"content-type": "application/json", **asked.protocol.required_headers, **door.headers}
    began = time.monotonic()
    try:
        async with http.post(
            URL(door.url + asked.path, encoded=True), data=asked.body, headers=headers, allow_redirects=False
        ) as reply:
            reading = _Reading(asked, began, on_text)
            answer = await reading.read(reply)
            request_id = reply.headers.get(REQUEST_ID)
    except TimeoutError:
        raise Unreachable(f"{door.url} did not answer in time") from None
    except aiohttp.ClientError as error:
        raise Unreachable(f"{door.url}: {_why(error)}") from None
    return answer if request_id is None else replace(answer, trace=await _trace(http, door, request_id))


class _Reading:
    """One answer, while it is read."""

    def __init__(self, asked: Question, began: float, on_text: Callable[[str], None]) -> None:
        self._protocol = asked.protocol
        self._stream = asked.stream
        self._began = began
        self._on_text = on_text
        self._text: list[str] = []
        self._usage: Usage | None = None
        self._first_ms: float | None = None
        self._broken: str | None = None

    async def read(self, reply: aiohttp.ClientResponse) -> Answer:
        headers = {name.lower(): value for name, value in reply.headers.items()}
        if reply.status != 200:
            body = await reply.content.read(ANSWER_BYTES_MAX)
            return self._error(reply.status, headers, body)
        if self._stream:
            await self._events(reply)
        else:
            self._whole(await _whole(reply))
        return self._answer(reply.status)

    async def _events(self, reply: aiohttp.ClientResponse) -> None:
        reader = self._protocol.stream_reader()
        try:
            async for data in reply.content.iter_any():
                for chunk in reader.feed(data):
                    self._events_of(chunk.events)
            for chunk in reader.close():
                self._events_of(chunk.events)
        except BrokenFraming as error:
            self._broken = f"the stream cannot be read: {error}"

    def _events_of(self, events: list[Any]) -> None:
        for event in events:
            match event:
                case TextDelta(text=text):
                    self._heard(text)
                case UsageSeen(usage=usage) | Started(usage=Usage() as usage):
                    self._usage = usage if self._usage is None else self._usage.merged(usage)
                case Errored(signal=signal):
                    self._broken = signal.message or signal.code or signal.type or "the stream broke off"
                case _:
                    pass

    def _whole(self, body: bytes) -> None:
        try:
            response = self._protocol.read_response(msgspec.json.decode(body))
        except (msgspec.DecodeError, InvalidRequest) as error:
            self._broken = f"the answer cannot be read: {error}"
            return
        self._usage = response.usage
        for part in response.choices[0].parts if response.choices else []:
            if isinstance(part, Text):
                self._heard(part.text)

    def _heard(self, text: str) -> None:
        if self._first_ms is None:
            self._first_ms = self._ms()
        self._text.append(text)
        self._on_text(text)

    def _answer(self, status: int) -> Answer:
        total_ms = self._ms()
        return Answer(
            status=status if self._broken is None else 0,
            text="".join(self._text),
            error=self._broken,
            message=self._broken or "",
            usage=self._usage,
            first_ms=total_ms if self._first_ms is None else self._first_ms,
            total_ms=total_ms,
        )

    def _error(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        signal = self._protocol.read_error(status, headers, body, time.time())
        return Answer(
            status=status,
            error=body.decode("utf-8", "replace") or f"HTTP {status} without a word",
            message=signal.message or "",
            first_ms=self._ms(),
            total_ms=self._ms(),
        )

    def _ms(self) -> float:
        return (time.monotonic() - self._began) * 1000


async def _whole(reply: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for data in reply.content.iter_any():
        body += data
        if len(body) > ANSWER_BYTES_MAX:
            raise Unreachable(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)


async def _trace(http: aiohttp.ClientSession, door: Door, request_id: str) -> Trace | None:
    """Why the request went where it went; None when the gateway does not show it."""
    import aiohttp

    for _ in range(TRACE_TRIES):
        try:
            async with http.get(
                f"{door.url}/stats/requests/{quote(request_id, safe='')}", headers=door.headers, allow_redirects=False
            ) as reply:
                if reply.status == 200:
                    found: Trace = msgspec.json.decode(await _whole(reply), type=dict)
                    return found
                if reply.status != 404:
                    return None
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
            return None
        await asyncio.sleep(TRACE_WAIT_SECS)
    return None


def _why(error: aiohttp.ClientError) -> str:
    """What went wrong, without the library's name for it."""
    cause = getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLError):
        return f"it does not speak TLS as it should ({cause.reason or 'handshake failed'})"
    return system_words(cause) if isinstance(cause, OSError) else str(cause) or type(error).__name__


def system_words(error: OSError) -> str:
    """`Connection refused`, where asyncio has words of its own, with addresses in them."""
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
