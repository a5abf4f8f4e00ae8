"""Faults by model name: a name that contains `fault-<word>` or `fault-<word>-<N>` misbehaves as the tables say.

What goes out is a list of steps (a head, bytes, a pause, a cut), and a fault is a function that makes or changes
that list. Refusals first:

| word | answer |
|---|---|
| `429` | rate limit, `retry-after: N` (7); gemini: RetryInfo of N seconds in the details |
| `429-ms` | rate limit, `retry-after-ms: N` (1500); gemini: RetryInfo of N milliseconds |
| `400` `401` `402` `403` `404` `408` `413` `500` `503` `529` | that status in the native envelope |
| `502-html` | a proxy's HTML page |
| `billing` | anthropic 400 "credit balance is too low", openai 429 `insufficient_quota`, cohere 402 |
| `context` | the native context-length error |
| `flaky` | 500 for the first N (1) requests to this model name, then the answer |

Then what goes wrong around a good answer. A JSON body counts as two halves:

| word | what happens |
|---|---|
| `slow` | waits N ms before the head; without N, until `DemoProviders.release()` |
| `paced` | waits N ms (10) between chunks |
| `hang` | never answers |
| `stall` / `stall-start` | stops for good in the middle / after the head |
| `cut` / `cut-start` | closes the connection in the middle / before any byte |
| `eof` | ends cleanly, but without anthropic's `message_stop`, the others' finish chunk and all after it |
| `eof-mid` | ends cleanly in the middle; for JSON both are this |
| `nodone` | openai, cohere: only `[DONE]` is missing |
| `error-first` / `error-mid` | 200, then an error event first / N ms after some content; JSON: as `error-200` |
| `error-200` | 200 with an `error` object as JSON, streams too |
| `garbage` | 200 with something that is not JSON |
| `malformed-chunk` | one frame of broken JSON between the good ones |
| `no-usage` | no usage anywhere |
| `split` | the bytes come in writes of 1 to 7 |
| `crlf` | lines end in CRLF |
| `comments` | comment lines (and pings) between server-sent events |
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from .dialect import JSON, Dialect, Frame, Refused
from .framing import SSE, Framing
from .refusals import REFUSALS, SAID

ERROR_TYPE_HEADERS = {"bedrock": "x-amzn-errortype"}
"""Dialects that tell the kind of an error in a header."""
ERROR_ORIGIN = ":http://internal.amazon.com/coral/com.amazon.bedrock/"
"""What stands behind the kind there, as AWS sends it."""
WITHOUT_RETRY_AFTER = frozenset({"gemini"})
"""Dialects that tell how long to wait in the body only."""
USAGE_KEYS = frozenset({"usage", "usageMetadata"})


class Head(msgspec.Struct, frozen=True):
    """Status line and headers. `length` None: chunked."""

    status: int
    headers: dict[str, str]
    length: int | None = None


class Wait(msgspec.Struct, frozen=True):
    """A pause of `ms` milliseconds; None: until the test releases it."""

    ms: int | None


class Hang(msgspec.Struct, frozen=True):
    """Nothing more comes, and the connection stays."""


class Cut(msgspec.Struct, frozen=True):
    """The connection closes without the end of the message."""


Step = Head | bytes | Wait | Hang | Cut


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """A good answer about to be sent: `frames` when it streams, else `document`. `number` is the fault's N."""

    dialect: Dialect
    request_id: str
    model: str
    frames: list[Frame] | None = None
    document: JSON | None = None
    number: int | None = None
    framing: Framing = SSE

    def chunks(self, newline: str = "\n") -> list[bytes]:
        """The body in the pieces it is written in."""
        if self.frames is not None:
            return self.framing.encode(self.frames, newline)
        whole = msgspec.json.encode(self.document)
        return [whole[: len(whole) // 2], whole[len(whole) // 2 :]]

    @property
    def middle(self) -> int:
        """How many chunks come before the middle: half of the content, the first piece at least."""
        if self.frames is None:
            return 1
        content = [at for at, frame in enumerate(self.frames) if frame.part == "content"]
        return content[len(content) // 2] if len(content) > 1 else len(self.frames) // 2

    def head(self, length: int | None = None) -> Head:
        kind = "application/json" if self.frames is None else self.framing.media_type
        return Head(200, {"content-type": kind, self.dialect.request_id_header: self.request_id}, length)

    def plain(self) -> list[Step]:
        """The answer as it should be."""
        chunks = self.chunks()
        return [self.head(sum(map(len, chunks)) if self.frames is None else None), *chunks]


def refusal(scene: Scene, refused: Refused, headers: dict[str, str] | None = None) -> list[Step]:
    """A native error answer."""
    body = scene.framing.error(scene.dialect.error(refused, scene.request_id))
    kind = ERROR_TYPE_HEADERS.get(scene.dialect.name)
    named = {
        "content-type": "application/json",
        scene.dialect.request_id_header: scene.request_id,
        **({kind: refused.kind + ERROR_ORIGIN} if kind else {}),
        **(headers or {}),
    }
    return [Head(refused.status, named, len(body)), body]


# --- refusals --------------------------------------------------------------------------------------------------


def _refused(word: str, scene: Scene) -> Refused:
    said = SAID[scene.dialect.name][word]
    return Refused(said.status, said.kind, said.message.format(model=scene.model), code=said.code)


def _refuses(word: str, header: str | None = None, default: int = 0) -> Callable[[Scene], list[Step]]:
    def steps(scene: Scene) -> list[Step]:
        number = default if scene.number is None else scene.number
        refused = _refused(word, scene)
        if header is None:
            return refusal(scene, refused)
        refused.retry_secs = number / 1000 if header.endswith("-ms") else number
        return refusal(scene, refused, None if scene.dialect.name in WITHOUT_RETRY_AFTER else {header: str(number)})

    return steps


def _html(scene: Scene) -> list[Step]:
    page = (
        b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body>\r\n</html>"
    )
    return [Head(502, {"content-type": "text/html"}, len(page)), page]


# --- what goes wrong around a good answer ----------------------------------------------------------------------


def _midway(end: Step | None) -> Callable[[Scene], list[Step]]:
    def steps(scene: Scene) -> list[Step]:
        head, *chunks = scene.plain()
        kept = chunks[: scene.middle]
        return [head, *kept, end] if end is not None else [scene.head(), *kept]

    return steps


def _paced(scene: Scene) -> list[Step]:
    head, *chunks = scene.plain()
    pause = Wait(10 if scene.number is None else scene.number)
    return [head, *(step for chunk in chunks for step in (chunk, pause))]


def _frames(change: Callable[[Scene, list[Frame]], list[Frame]]) -> Callable[[Scene], list[Step]]:
    """A fault of streams only: other answers are as they should be."""

    def steps(scene: Scene) -> list[Step]:
        if scene.frames is None:
            return scene.plain()
        return msgspec.structs.replace(scene, frames=change(scene, scene.frames)).plain()

    return steps


def _error_in_stream(after_content: bool) -> Callable[[Scene], list[Step]]:
    def steps(scene: Scene) -> list[Step]:
        if scene.frames is None:
            return _error_200(scene)
        before = scene.frames[: scene.middle] if after_content else []
        error = scene.dialect.error_frames(_refused("529", scene), scene.request_id, before)
        steps = msgspec.structs.replace(scene, frames=[*before, *error]).plain()
        at = len(steps) - len(error)
        return steps if scene.number is None else [*steps[:at], Wait(scene.number), *steps[at:]]

    return steps


def _error_200(scene: Scene) -> list[Step]:
    refused = _refused("529", scene)
    refused.status = 200
    return refusal(scene, refused)


def _eof(scene: Scene) -> list[Step]:
    if scene.frames is None:
        return _midway(None)(scene)
    anthropic = scene.dialect.name == "anthropic"
    kept = scene.frames[:-1] if anthropic else [frame for frame in scene.frames if frame.part != "close"]
    return msgspec.structs.replace(scene, frames=kept).plain()


def _garbage(scene: Scene) -> list[Step]:
    return [scene.head(), b"upstream says hello, and this is not JSON\n\n"]


def _malformed(scene: Scene, frames: list[Frame]) -> list[Frame]:
    broken = Frame('{"type":"content_block_delta","choices":[{"delta":', frames[scene.middle].event)
    return [*frames[: scene.middle], broken, *frames[scene.middle :]]


def _commented(scene: Scene) -> list[Step]:
    if scene.frames is None or scene.framing is not SSE:
        return scene.plain()
    between: list[bytes] = [b": keep-alive\n\n"]
    if scene.dialect.name == "anthropic":
        between.append(Frame({"type": "ping"}, "ping").encode())
    chunks = scene.chunks()
    spaced = [piece for chunk in chunks[:-1] for piece in (chunk, *between)]
    return [scene.head(), between[0], *spaced, chunks[-1]]


def _without_usage(scene: Scene) -> list[Step]:
    if scene.frames is None:
        return msgspec.structs.replace(scene, document=_no_usage(scene.document)).plain()
    kept = [
        msgspec.structs.replace(frame, data=_no_usage(frame.data))
        for frame in scene.frames
        if isinstance(frame.data, str) or frame.data.get("choices") != []
    ]
    return msgspec.structs.replace(scene, frames=kept).plain()


def _no_usage(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _no_usage(member) for key, member in value.items() if key not in USAGE_KEYS}
    return value


def _split(scene: Scene) -> list[Step]:
    def dribble(whole: bytes) -> Iterator[Step]:
        at, size = 0, 1
        while at < len(whole):
            yield whole[at : at + size]
            yield Wait(0)
            at, size = at + size, size % 7 + 1

    head = scene.plain()[0]
    return [head, *dribble(b"".join(scene.chunks()))]


FAULTS: dict[str, Callable[[Scene], list[Step]]] = {
    **{word: _refuses(word) for word in REFUSALS},
    "429": _refuses("429", "retry-after", 7),
    "429-ms": _refuses("429", "retry-after-ms", 1500),
    "502-html": _html,
    "flaky": _refuses("500"),  # the server counts, and asks for this only while it fails
    "slow": lambda scene: [Wait(scene.number), *scene.plain()],
    "paced": _paced,
    "hang": lambda scene: [Hang()],
    "stall": _midway(Hang()),
    "stall-start": lambda scene: [scene.plain()[0], Hang()],
    "cut": _midway(Cut()),
    "cut-start": lambda scene: [Cut()],
    "eof": _eof,
    "eof-mid": _midway(None),
    "nodone": _frames(lambda scene, frames: [frame for frame in frames if frame.data != "[DONE]"]),
    "error-first": _error_in_stream(after_content=False),
    "error-mid": _error_in_stream(after_content=True),
    "error-200": _error_200,
    "garbage": _garbage,
    "malformed-chunk": _frames(_malformed),
    "no-usage": _without_usage,
    "split": _split,
    "crlf": lambda scene: [scene.plain()[0], *scene.chunks("\r\n" if scene.frames is not None else "\n")],
    "comments": _commented,
}

_NAMED = re.compile(
    rf"(?<![a-z0-9])fault-({'|'.join(sorted(map(re.escape, FAULTS), key=len, reverse=True))})(?:-(\d+))?(?![a-z0-9])"
)


def named(model: str) -> tuple[str, int | None] | None:
    """The fault a model's name asks for, and its number; None for a healthy model."""
    match = _NAMED.search(model)
    return (match[1], int(match[2]) if match[2] else None) if match else None
