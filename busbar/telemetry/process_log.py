"""The process's own log, on standard error: for people or for programs, and never with a credential in it.

Every line is masked whole, as late as can be: the message with what was put into it, and the text of exceptions. So
no caller has to remember that something is a secret. What the configuration holds is masked wherever it occurs, and
so is whatever is shaped like a credential that somebody else has.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import queue
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Literal, TextIO
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import astuple

from busbar.config.secret import MASK, Secret
from busbar.telemetry.records import timestamp

SECRET_CHARS_MIN = 6
"""A configured secret that is shorter is masked by its shape alone: it would be found in every other word."""

PART_CHARS_MIN = 16
"""Of a credential made of parts (`AKIA…:secret:session:region`), those that are as long are masked alone, too."""

LINE_CHARS_MAX = 32_768
"""What is longer is cut, after it was masked: half a credential would not be known as one."""

SEARCHED_CHARS_MAX = 8 * LINE_CHARS_MAX
"""So much of a text is looked at."""

_HEADERS = (
    r"(?:proxy-)?authorization|(?:x-)?(?:goog-)?api[-_]?key|x-amz-security-token|aws_secret_access_key"
    r"|(?:set-)?cookie|(?:access|refresh|id|session)[-_]token|client[-_]secret|password"
)

_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[\w-]{8,}"  # OpenAI, Anthropic (sk-ant-), Busbar's own (sk-bb-)
    r"|AIza[\w-]{16,}|ya29\.[\w.-]{8,}"  # Google
    r"|(?:AKIA|ASIA|AKBB)[A-Z0-9]{12,}"  # AWS, and Busbar's own
    r"|gh[pousr]_\w{16,}"  # GitHub
    r"|eyJ[\w-]{8,1024}\.[\w-]+(?:\.[\w-]*)?"  # JSON Web Tokens
    r")"
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[^-]{0,16384}"
    r"|(?<=://)[^/\s@\"'?#]{1,1024}(?=@)"  # the user of a URL
    r"|(?<=\bSignature=)[0-9a-f]{16,}"  # AWS's header
    r"|(?i:(?<=\bbearer )[\w.~+/=:-]{6,}|(?<=\bbasic )[\w+/]{12,}={0,2})"
    r"|(?P<parameter>[?&](?i:(?:[\w-]{1,32}[-_])?(?:key|token|secret|signature|credential)|sig)=)[^&\s\"'#]+"
    # As a header, as a field of JSON, as items of Python's. Without quotes it may be prose, so there must be a digit.
    rf"|(?P<header>\b(?i:(?:{_HEADERS})(?:[\"']?\s{{0,4}}[:=]\s{{0,4}}|[\"'],\s{{0,4}})b?(?P<quote>[\"'])?"
    r"(?:(?:bearer|basic)\s)?))(?(quote)[^\"']+|(?=[^\s,;]{0,1024}[0-9])[^\s,;\"')}\]]{6,})",
    re.ASCII,
)

WAITING_MAX = 10_000
"""Records that wait to be written; further ones are dropped."""

FLUSH_SECS = 1.0

_HINTS = re.compile(
    r"sk-|AIza|ya29|AKIA|ASIA|AKBB|gh[pousr]_|eyJ|://|PRIVATE|="
    r"|(?i:bearer |basic |authori|api.?key|token|cookie|passw)",
    re.ASCII,
)
"""A text without any of these has nothing of such a shape; that is quicker to see."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those of Unicode that break a line or turn its direction."""


def configure(level: str, form: Literal["human", "json"] = "human", secrets: Iterable[Secret] = ()) -> None:
    """Log from `level` ("debug", "info", …) on to standard error. Called again, it replaces what it did before."""
    stream = _StandardError()
    stream.setFormatter((JsonFormatter if form == "json" else HumanFormatter)(Masker(secrets)))
    root = logging.getLogger()
    for other in [other for other in root.handlers if isinstance(other, Behind)]:
        root.removeHandler(other)
        other.close()
    root.addHandler(Behind(stream))
    root.setLevel(level.upper())
    sys.excepthook = _crashed
    threading.excepthook = _thread_crashed


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What the interpreter would print as it is goes through the log, and is masked there."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger("busbar").critical("the process crashed", exc_info=(kind, error, trace))


def _thread_crashed(crash: threading.ExceptHookArgs) -> None:
    name = "a thread" if crash.thread is None else crash.thread.name
    error = crash.exc_value or crash.exc_type()
    logging.getLogger("busbar").critical("%s crashed", name, exc_info=(crash.exc_type, error, crash.exc_traceback))


def secrets_in(value: object) -> Iterator[Secret]:
    """Every `Secret` in a configuration, however deep."""
    match value:
        case Secret():
            yield value
        case Struct():
            yield from secrets_in(astuple(value))
        case Mapping():
            yield from secrets_in(tuple(value.values()))
        case list() | tuple() | frozenset():
            for item in value:
                yield from secrets_in(item)


class Masker:
    """Puts `***` in place of credentials: those that it was given, and what looks like one."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        spelled = {spelling for secret in secrets for spelling in _spellings(secret.reveal())}
        # The longest first: one may be part of another.
        self._known = sorted(spelled, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """`text`, at most `LINE_CHARS_MAX` characters of it."""
        text = text[:SEARCHED_CHARS_MAX]
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, MASK)
        if _HINTS.search(text):
            text = _SHAPES.sub(_masked, text)
        return text if len(text) <= LINE_CHARS_MAX else f"{text[:LINE_CHARS_MAX]}… (cut)"


class HumanFormatter(logging.Formatter):
    """`2026-01-01 12:00:00,000 INFO    busbar: message`, in local time. Whatever a message holds, only the text of an
    exception goes on on further lines, and these are indented: no line can be forged."""

    def __init__(self, mask: Masker) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        # Not the base class's: it keeps the text of the exception on the record, unmasked.
        line = f"{self.formatTime(record)} {record.levelname:<7} {record.name}: "
        line += _escaped(self._mask(record.getMessage()))
        trace = _trace(self, record)
        if trace is not None:
            lines = self._mask(trace).split("\n")
            line += "".join(f"\n    {_escaped(each)}" for each in lines)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: `ts` (RFC 3339, UTC), `level`, `logger`, `message`, and `exception` where
    there is one."""

    def __init__(self, mask: Masker) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "ts": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._mask(record.getMessage()),
        }
        trace = _trace(self, record)
        if trace is not None:
            document["exception"] = self._mask(trace)
        return json.dumps(document)


class Behind(logging.Handler):
    """Has records written by a thread of its own: whoever logs never waits for whoever reads the log. What is too
    much is dropped, and counted in a line when there is room again."""

    def __init__(self, stream: logging.Handler) -> None:
        super().__init__()
        self._stream = stream
        self._records: queue.Queue[logging.LogRecord | threading.Event | None] = queue.Queue(WAITING_MAX)
        self._dropped = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="busbar-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            record.msg, record.args = record.getMessage(), None  # what it speaks of may change meanwhile
        except Exception:  # noqa: BLE001  # whatever the mistake of who logs: the library's way
            self._stream.handleError(record)
            return
        try:
            self._records.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Until what was logged is written, but not longer than `FLUSH_SECS`: nobody may be reading."""
        if self._closed:  # `logging` flushes once more when the process ends, and nobody would answer
            return
        written = threading.Event()
        with contextlib.suppress(queue.Full):
            self._records.put_nowait(written)
            written.wait(FLUSH_SECS)

    def close(self) -> None:
        """Idempotent."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self.flush()
            self._closed = True
            with contextlib.suppress(queue.Full):
                self._records.put_nowait(None)
        atexit.unregister(self.close)
        super().close()

    def _work(self) -> None:
        while (item := self._records.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._stream.handle(item)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                text = f"{dropped} messages were dropped: nobody read the log"
                lost = logging.LogRecord("busbar.log", logging.WARNING, "", 0, text, None, None)
                self._stream.handle(lost)


class _StandardError(logging.StreamHandler[TextIO]):
    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the library's name
        """The library's own prints the message and its arguments as they are."""
        with contextlib.suppress(OSError, ValueError):  # nobody reads standard error any more
            self.stream.write(f"a message of {record.name} cannot be logged: {type(sys.exception()).__name__}\n")


def _spellings(secret: str) -> Iterator[str]:
    """How it may occur: as it is, in a URL, and its long parts alone."""
    for part in {secret, *(part for part in secret.split(":") if len(part) >= PART_CHARS_MIN)}:
        if len(part) >= SECRET_CHARS_MIN:
            yield part
            yield quote(part, safe="", errors="replace")


def _masked(found: re.Match[str]) -> str:
    """The word before a credential stays, so that one sees what was there."""
    return f"{found['parameter'] or found['header'] or ''}{MASK}"


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    """The text of the record's exception, and of its stack."""
    exception = formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else None
    texts = [text for text in (exception, record.stack_info) if text]
    return "\n".join(texts) if texts else None


def _escaped(text: str) -> str:
    return text if text.isprintable() else _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
