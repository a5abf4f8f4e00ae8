"""The embedded providers: one port that speaks the dialects of six providers.

    async with DemoProviders() as demo:
        client = openai.AsyncOpenAI(base_url=f"{demo.base_url}/v1", api_key="demo-key")

Serves POST /v1/messages and /v1/messages/count_tokens, /v1/chat/completions, /v1/responses, /v2/chat, Gemini's
/v1beta/models/MODEL:generateContent, :streamGenerateContent and :countTokens (under /v1, too), Bedrock's
/model/MODEL/converse and /converse-stream; GET /v1/models and /v1beta/models. The model's name chooses the script
(`script.py`) and the faults (`faults.py`); requests are checked as strictly as the providers check them.
"""

import asyncio
import hashlib
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import msgspec
from aiohttp import web

from . import faults
from .anthropic import Anthropic
from .bedrock import Bedrock
from .cohere import Cohere
from .dialect import JSON, PATH_MODEL, Dialect, Refused, digest, mint
from .faults import Cut, Hang, Head, Scene, Step, Wait, refusal
from .framing import SSE, Framing, framing
from .gemini import Gemini
from .openai import OpenAI
from .refusals import unreadable
from .responses import Responses
from .script import play
from .usage import PromptCache, count

MODELS = ("demo-claude", "demo-gpt", "demo-gpt-reason")
BODY_BYTES_MAX = 64 << 20
REQUESTS_KEPT = 512
"""Requests remembered for tests to look at; the oldest go first."""
FLAKY_MAX = 1024
"""Names of flaky models whose failures are counted; beyond that all begin anew."""
GRACE_SECS = 0.05
"""What requests still running at `stop` are given before they are cancelled."""

ANTHROPIC = Anthropic()
OPENAI = OpenAI()
GEMINI = Gemini()
BEDROCK = Bedrock()
COUNTERS = {"anthropic": ANTHROPIC.count_tokens, "gemini": GEMINI.count_tokens}
"""dialect → what answers its count of tokens."""
RESPONSES = Responses()
COHERE = Cohere()


class ReceivedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came in, before anything was checked. `body` is None where it was not a JSON object."""

    dialect: str
    path: str
    headers: dict[str, str]
    """Names in lower case; of a repeated header the last."""
    body: JSON | None
    raw: bytes
    model: str | None
    path_model: bool = False
    """Whether the path names the model."""
    streams: bool = False
    framing: Framing = SSE

    @property
    def message(self) -> JSON:
        """The body, and with it the model where the path names it."""
        body = self.body or {}
        return {**body, PATH_MODEL: self.model} if self.path_model else body


class DemoProviders:
    """The server and what tests watch about it. Use as an async context manager, or `start` and `stop`."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        keys: frozenset[str] = frozenset({"demo-key"}),
        models: tuple[str, ...] = MODELS,
    ) -> None:
        self.host, self.port = host, port
        self.keys, self.models = keys, models
        self.requests: deque[ReceivedRequest] = deque(maxlen=REQUESTS_KEPT)
        self.open_requests = 0
        """Requests that are being answered right now."""
        self.cancelled = 0
        """Requests whose client went away before the end."""
        self._cache = PromptCache()
        self._failures: Counter[str] = Counter()
        self._released = asyncio.Event()
        self._changed = asyncio.Event()
        self._stopping = False
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def base_url(self) -> str:
        """`http://HOST:PORT`; SDKs of OpenAI add `/v1`, those of Anthropic do not."""
        return f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        """Bind and serve. Port 0 takes a free one, `port` then says which. Raises OSError when taken."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/v1/messages", self._serve(ANTHROPIC, self._messages))
        app.router.add_post("/v1/messages/count_tokens", self._serve(ANTHROPIC, self._count_tokens))
        app.router.add_post("/v1/chat/completions", self._serve(OPENAI, self._messages))
        app.router.add_post("/v1/responses", self._serve(RESPONSES, self._messages))
        app.router.add_post("/v2/chat", self._serve(COHERE, self._messages))
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/v1beta/models", self._list_models)
        for at in ("/v1beta/models/{model:[^/]+}:", "/v1/models/{model:[^/]+}:"):
            app.router.add_post(f"{at}generateContent", self._serve(GEMINI, self._messages, streams=False))
            app.router.add_post(f"{at}streamGenerateContent", self._serve(GEMINI, self._messages, streams=True))
            app.router.add_post(f"{at}countTokens", self._serve(GEMINI, self._count_tokens))
        for operation, streams in (("converse", False), ("converse-stream", True)):
            path = f"/model/{{model:.+}}/{operation}"
            app.router.add_post(path, self._serve(BEDROCK, self._messages, streams))
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=GRACE_SECS, handle_signals=False
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection, hanging ones too."""
        self._stopping = True
        if self._runner is not None:
            await self._runner.cleanup()

    def release(self) -> None:
        """Let go every `fault-slow` request that is waiting now."""
        self._released.set()
        self._released = asyncio.Event()

    async def until(self, predicate: Callable[[], bool], timeout_secs: float = 5.0) -> None:
        """Wait until `predicate` holds; it is asked again when a request comes or ends. Raises TimeoutError."""
        async with asyncio.timeout(timeout_secs):
            while not predicate():
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @contextmanager
    def _open(self, received: ReceivedRequest) -> Iterator[None]:
        self.requests.append(received)
        self.open_requests += 1
        self._notify()
        try:
            yield
        except (asyncio.CancelledError, ConnectionError):
            self.cancelled += not self._stopping
            raise
        finally:
            self.open_requests -= 1
            self._notify()

    def _serve(
        self,
        dialect: Dialect,
        answer: Callable[[Dialect, ReceivedRequest], list[Step]],
        streams: bool | None = None,
    ) -> Callable[[web.Request], Any]:
        """A handler. `streams` says what the path says about streaming; None where the body says it."""

        async def handler(request: web.Request) -> web.StreamResponse:
            received = await _receive(dialect, request, streams)
            with self._open(received):
                try:
                    dialect.admit(_with_request_line(request, received), self.keys)
                    if received.body is None:
                        raise unreadable(dialect.name)
                    steps = answer(dialect, received)
                except Refused as refused:
                    steps = refusal(_scene(dialect, received), refused)
                return await self._send(request, steps)

        return handler

    def _messages(self, dialect: Dialect, received: ReceivedRequest) -> list[Step]:
        body = received.message
        dialect.validate(body, received.headers)
        ask = dialect.read(body)
        answer = play(ask)
        usage = count(ask, answer, self._cache)
        if received.streams:
            scene = _scene(dialect, received, frames=dialect.frames(body, ask, answer, usage))
        else:
            scene = _scene(dialect, received, document=dialect.document(body, ask, answer, usage))
        match faults.named(ask.model):
            case None:
                return scene.plain()
            case "flaky", times if not self._fails(ask.model, times or 1):
                return scene.plain()
            case word, number:
                return faults.FAULTS[word](msgspec.structs.replace(scene, number=number))

    def _fails(self, model: str, times: int) -> bool:
        """Whether a flaky model fails once more."""
        if len(self._failures) >= FLAKY_MAX:
            self._failures.clear()
        self._failures[model] += 1
        return self._failures[model] <= times

    def _count_tokens(self, dialect: Dialect, received: ReceivedRequest) -> list[Step]:
        counted = COUNTERS[dialect.name](received.message, received.headers)
        return _scene(dialect, received, document=counted).plain()

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        dialect: Dialect = ANTHROPIC if "anthropic-version" in request.headers else OPENAI
        if "x-goog-api-key" in request.headers or "key" in request.query or request.path.startswith("/v1beta/"):
            dialect = GEMINI
        received = await _receive(dialect, request)
        try:
            dialect.admit(_with_request_line(request, received), self.keys)
            steps = _scene(dialect, received, document=dialect.models(self.models)).plain()
        except Refused as refused:
            steps = refusal(_scene(dialect, received), refused)
        return await self._send(request, steps)

    async def _send(self, request: web.Request, steps: list[Step]) -> web.StreamResponse:
        response = web.StreamResponse()
        for step in steps:
            match step:
                case Head(status, headers, length):
                    response = web.StreamResponse(status=status, headers=headers)
                    response.content_length = length
                    await response.prepare(request)
                case bytes():
                    await response.write(step)
                case Wait(None):
                    await self._released.wait()
                case Wait(ms):
                    await asyncio.sleep((ms or 0) / 1000)
                case Hang():
                    await asyncio.Event().wait()
                case Cut():
                    if request.transport is not None:
                        request.transport.close()  # what was written still goes out
        return response


async def _receive(dialect: Dialect, request: web.Request, streams: bool | None = None) -> ReceivedRequest:
    raw = await request.read()
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        body = None
    said = body if isinstance(body, dict) else {}
    model = request.match_info.get("model", said.get("model"))
    streams = bool(said.get("stream")) if streams is None else streams
    return ReceivedRequest(
        dialect=dialect.name,
        path=request.path_qs,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body if isinstance(body, dict) else None,
        raw=raw,
        model=model if isinstance(model, str) else None,
        path_model="model" in request.match_info,
        streams=streams,
        framing=framing(dialect.name, request.query) if streams else SSE,
    )


def _with_request_line(request: web.Request, received: ReceivedRequest) -> dict[str, str]:
    """The headers with the request line and the digest of the body, as `Dialect.admit` wants them."""
    line = {":method": request.method, ":path": request.raw_path}
    return {**received.headers, **line, ":sha256": hashlib.sha256(received.raw).hexdigest()}


def _scene(dialect: Dialect, received: ReceivedRequest, **answer: Any) -> Scene:
    request_id = mint("req_011", 21, dialect.name, received.raw)
    if dialect is BEDROCK:
        request_id = str(uuid.UUID(digest([received.path, request_id])[:32]))
    return Scene(
        dialect=dialect, request_id=request_id, model=received.model or "", framing=received.framing, **answer
    )
