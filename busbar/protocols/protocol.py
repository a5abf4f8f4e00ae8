"""What it takes to speak a dialect: the one object that a dialect's folder ties together.

The rest of Busbar knows dialects only through this interface. Adding a seventh means one folder that makes a
`Protocol`, its entry in the registry (`busbar.protocols.registry`), and its name and usual auth style where the
configuration, which loads no dialect, lists them.

All of it is pure: bytes and values in, bytes and values out; time and randomness come in with the `Hop`.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from busbar.protocols.asked import Asked, TopFields
from busbar.protocols.errors import ErrorAnswer, ErrorReport
from busbar.protocols.failures import DialectKnowledge, FailureSignal
from busbar.protocols.framing.sse import events_as_values
from busbar.protocols.ids import IdStyle, fit_name
from busbar.protocols.ir import Chunk, Request, Response
from busbar.protocols.meter import Marks
from busbar.protocols.rate_limits import ACCOUNT_HEADERS, RateLimits, x_ratelimit_headers
from busbar.protocols.receipt import Receipt, joined
from busbar.protocols.usage import Usage

Document: typing.TypeAlias = dict[str, Any]
"""A JSON object, decoded."""

Headers: typing.TypeAlias = Mapping[str, str]
"""HTTP headers with lower-case names."""


Operation: typing.TypeAlias = typing.Literal["chat", "count_tokens"]
"""What is asked for. Only `chat` crosses between dialects."""


class InvalidRequest(Exception):
    """The caller's document is not one of its dialect. `path` names the field, `message` what was expected."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


class WireItem(Struct, frozen=True):
    """An item of a stream whose wire counts items, as the caller has it."""

    kind: str
    id: str
    done: bool = False


class Trace(Struct, frozen=True):
    """Where the wire of a stream stands, beyond what the events say: for a writer that is to go on with it."""

    number: int = 0
    """Of the next event, where events are numbered."""
    items: tuple[WireItem, ...] = ()
    """Those that the caller has, in their order. The IR knows no items that say nothing."""


class Hop(Struct, frozen=True, kw_only=True):
    """What a writer needs to know that is in no document.

    `model` is the upstream's name for the model when a request is written; the answer names its own. `now` is the
    wall clock in Unix seconds, `nonce` a unique text of letters and digits: from these two, ids and dates are
    minted where the target's dialect requires them and the source had none.
    """

    model: str = ""
    default_max_tokens: int = 4096
    stream_usage: bool = True
    """The caller wants usage at the end of its stream (dialects that always send it do not look)."""
    framing: str = ""
    """How the caller wants its stream framed, where its dialect has several ways; empty: the dialect's usual one."""
    now: int = 0
    nonce: str = "0"
    trace: Trace = Trace()
    """The stream has been begun already."""
    changes: Mapping[str, object] = {}
    """Fields of the request's top level that this provider wants otherwise; None: it wants none of that name."""


class Route(Struct, frozen=True, kw_only=True):
    """One way in. `path` may hold `{name}`, `{provider}` and `{model}`: each is one percent-encoded segment.

    `target_in` says where the request names its pool or model; a path target wins over the body's `model`. `stream`
    is what the path says of streaming; None: the body's `stream` does.
    """

    path: str
    target_in: typing.Literal["body", "path"] = "body"
    stream: bool | None = None
    operation: Operation = "chat"


class StreamReader(typing.Protocol):
    """Wire bytes of a dialect → chunks of IR events, on any split of the bytes."""

    malformed: int
    """Frames that could not be read and were skipped."""

    def feed(self, data: bytes) -> list[Chunk]:
        """Takes what arrived. Raises `framing.BrokenFraming`."""
        ...

    def close(self) -> list[Chunk]:
        """The connection ended. Gives what that proves: at the most, that a complete answer lacked its terminal
        event where the dialect's providers are known to omit it. Gives no `Ended` for an incomplete answer."""
        ...


class StreamWriter(typing.Protocol):
    """Chunks of IR events, from any dialect → wire bytes of this one."""

    def write(self, chunk: Chunk) -> bytes: ...

    def error(self, report: ErrorReport) -> bytes:
        """The native mid-stream error. Nothing may be written after it."""
        ...


class StreamPipe(typing.Protocol):
    """What stands between the provider's stream and the caller's: a tap (same dialect) or a translator.

    The attributes say what was seen so far. `content`: something that the model said (a delta, a tool call's
    start), not only preamble. `ended`: the terminal event; the answer is whole. `error`: an error event.
    """

    @property
    def content(self) -> bool: ...

    @property
    def ended(self) -> bool: ...

    @property
    def usage(self) -> Usage | None: ...

    @property
    def error(self) -> FailureSignal | None: ...

    def feed(self, data: bytes) -> bytes:
        """Takes what the provider sent, gives what the caller gets: whole frames only, so that a broken tail never
        reaches the caller. Raises `framing.BrokenFraming`."""
        ...

    def close(self) -> bytes:
        """The provider's connection ended; gives what is still owed to the caller."""
        ...

    def break_off(self, report: ErrorReport) -> bytes:
        """The answer is broken: gives the frame that tells the caller so in its dialect. It is the provider's own
        error event where that is of the caller's dialect."""
        ...


class TapFactory(typing.Protocol):
    """Makes the tap for a same-dialect stream; the caller's `framing` may differ from the provider's."""

    def __call__(self, framing: str = "") -> StreamPipe: ...


class DocumentSpell(typing.Protocol):
    """Says where a document of this dialect (None: a stream) has what a receipt names as the IR does, as
    `receipt.Spell` does for one document."""

    def __call__(self, document: Request | Response | None, path: str, left: str = "") -> str: ...


class Inspection(Struct, frozen=True, kw_only=True):
    """What a look at a whole 200 answer found. `usage`: its counts; nobody asks for what else the dialect says
    there. `error`: the body is an error in spite of its status. Not `readable`: it is not JSON, or not an object."""

    readable: bool = True
    usage: Usage | None = None
    error: FailureSignal | None = None


def _usual_framing(_query: Mapping[str, str]) -> str:
    return ""


def _as_in_the_ir(document: Request | Response | None, path: str, left: str = "") -> str:
    del document
    return joined(path, left)


def _no_trace(trace: Trace, _chunk: Chunk) -> Trace:
    return trace


def _nothing_to_mend(_document: Document, _receipt: Receipt) -> Document | None:
    return None


class Protocol(Struct, frozen=True, kw_only=True):
    """A dialect."""

    name: str
    routes: tuple[Route, ...]
    knowledge: DialectKnowledge
    egress_path: Callable[[str, bool], str]
    """(upstream model, stream) → the path that follows a provider's base URL."""
    count_path: Callable[[str], str] | None = None
    """The same for counting tokens; None where the dialect has no such call."""
    model_in: typing.Literal["body", "path"] = "body"
    """Where a request to a provider names the model."""
    tool_call_ids: IdStyle
    """How tool calls are called."""
    signer: str
    """Whose signatures on thinking this dialect's providers give and take: mostly the dialect's own name."""
    fit_tool_name: Callable[[str], str] = partial(fit_name, chars_max=64)
    """What becomes of a tool's name on the way there; on the way back it is undone. A name that fits stays."""
    forwarded_headers: frozenset[str]
    """The caller's headers that go to a provider of the same dialect, lower-case."""
    required_headers: Headers
    """Sent to every provider, unless the caller's own were forwarded."""
    stream_content_type: str
    request_id_header: str
    """The header in which this dialect's SDKs look for the request id."""

    read_request: Callable[[Document], Request]
    """Raises `InvalidRequest`."""
    asked: Callable[[TopFields], Asked]
    """How much answer a request asks for, of which no more is read than says so. Raises `InvalidRequest` for a field
    that is no JSON, and for nothing else."""
    write_request: Callable[[Request, Hop, Receipt], Document]
    hop_traces: tuple[bytes, ...] = ()
    """A same-dialect request goes out as it came, unless its bytes hold one of these: then an earlier answer may have
    come over a hop and left something that this dialect's providers refuse."""
    mend_request: Callable[[Document, Receipt], Document | None] = _nothing_to_mend
    """Takes that out again; None when there was nothing after all."""
    read_response: Callable[[Document], Response]
    """Raises `InvalidRequest` for a document that is no answer of this dialect."""
    write_response: Callable[[Response, Hop, Receipt], Document]
    inspect_response: Callable[[bytes], Inspection]
    """A look for usage and in-band errors that decodes no more than it must. Never raises."""
    stream_reader: Callable[[], StreamReader]
    stream_writer: Callable[[Hop, Receipt], StreamWriter]
    stream_tap: TapFactory
    marks: Marks
    """By which a stream is metered that was cut, or states no usage."""
    stream_trace: Callable[[Trace, Chunk], Trace] = _no_trace
    """(the trace so far, the next chunk that this dialect's reader gave) → the trace after it, where the wire numbers
    its events and items."""
    stream_as_values: Callable[[bytes], list[Any]] = events_as_values
    """A whole stream's wire events as values that can be shown and compared. Raises `framing.BrokenFraming`."""
    framing_of: Callable[[Mapping[str, str]], str] = _usual_framing
    """(the query of a caller's request) → the framing of the stream that it wants (`Hop.framing`)."""
    framing_content_types: Mapping[str, str] = {}
    """The content type of each framing but the usual one (`stream_content_type`)."""
    read_error: Callable[[int, Headers, bytes, float], FailureSignal]
    """(status, headers, body, now in Unix seconds) → the signal. Never raises, whatever the body is."""
    write_error: Callable[[ErrorReport, Hop], ErrorAnswer]
    rate_limit_headers: Callable[[RateLimits, float], dict[str, str]] = x_ratelimit_headers
    """(the caller's limits, now in Unix seconds) → the headers that tell them to this dialect's callers."""
    account_header_prefixes: tuple[str, ...] = ACCOUNT_HEADERS
    """How the names of a provider's headers begin that speak of the account there, lower-case: it is not that of a
    caller with a virtual key. For `str.startswith`."""

    spell: DocumentSpell = _as_in_the_ir

    write_models: Callable[[Sequence[str], Hop], Document]
    """The names that a caller may use, as this dialect's SDKs list models."""
    models_path: str | None = None
    """A path of its own for that list; None: the shared `/v1/models` only."""
    telltale_header: str | None = None
    """A header by which this dialect's callers are known on paths that several dialects share, lower-case."""
