"""The embedded providers: one port that speaks Anthropic Messages and OpenAI Chat Completions.

    async with DemoProviders() as demo:
        client = openai.AsyncOpenAI(base_url=f"{demo.base_url}/v1", api_key="demo-key")

Serves POST /v1/messages, POST /v1/messages/count_tokens, POST /v1/chat/completions and GET /v1/models. The model's
name chooses the script (`script.py`) and the faults (`faults.py`); requests are checked as strictly as the
providers check them.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import msgspec
from aiohttp import web

from . import faults
from .anthropic import Anthropic
from .dialect import JSON, Dialect, Refused, mint
from .faults import Cut, Hang, Head, Scene, Step, Wait, refusal
from .openai import OpenAI
from .script import play
from .usage import PromptCache, count

MODELS = ("demo-claude", "demo-gpt", "demo-gpt-reason")
BODY_BYTES_MAX = 64 << 20
REQUESTS_KEPT = 512
"""Requests remembered for tests to look at; the oldest go first."""
FLAKY_MAX = 1024
"""Names of flaky models whose failures are counted; beyond that all begin anew."""
UNREADABLE = {
    "anthropic": "The request body is not valid JSON.",
    "openai": (
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
        "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
    ),
}

GRACE_SECS = 0.05
"""What requests still running at `stop` are given before they are cancelled."""

ANTHROPIC = Anthropic()
OPENAI = OpenAI()


class ReceivedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came in, before anything was checked. `body` is None where it was not a JSON object."""

    dialect: str
    path: str
    headers: dict[str, str]
    """Names in lower case; of a repeated header the last."""
    body: JSON | None
    raw: bytes
    model: str | None


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
        app.router.add_get("/v1/models", self._list_models)
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
        self, dialect: Dialect, answer: Callable[[Dialect, ReceivedRequest], list[Step]]
    ) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.StreamResponse:
            received = await _receive(dialect, request)
            with self._open(received):
                try:
                    dialect.admit(received.headers, self.keys)
                    if received.body is None:
                        raise Refused(400, "invalid_request_error", UNREADABLE[dialect.name])
                    steps = answer(dialect, received)
                except Refused as refused:
                    steps = refusal(_scene(dialect, received), refused)
                return await self._send(request, steps)

        return handler

    def _messages(self, dialect: Dialect, received: ReceivedRequest) -> list[Step]:
        body = received.body or {}
        dialect.validate(body, received.headers)
        ask = dialect.read(body)
        answer = play(ask)
        usage = count(ask, answer, self._cache)
        if body.get("stream"):
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
        counted = ANTHROPIC.count_tokens(received.body or {}, received.headers)
        return _scene(dialect, received, document=counted).plain()

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        dialect: Dialect = ANTHROPIC if "anthropic-version" in request.headers else OPENAI
        received = await _receive(dialect, request)
        try:
            dialect.admit(received.headers, self.keys)
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


async def _receive(dialect: Dialect, request: web.Request) -> ReceivedRequest:
    raw = await request.read()
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        body = None
    model = body.get("model") if isinstance(body, dict) else None
    return ReceivedRequest(
        dialect=dialect.name,
        path=request.path_qs,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body if isinstance(body, dict) else None,
        raw=raw,
        model=model if isinstance(model, str) else None,
    )


def _scene(dialect: Dialect, received: ReceivedRequest, **answer: Any) -> Scene:
    request_id = mint("req_011", 21, dialect.name, received.raw)
    return Scene(dialect=dialect, request_id=request_id, model=received.model or "", **answer)
