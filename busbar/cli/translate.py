"""`busbar translate`: shows offline what Busbar would send."""

from __future__ import annotations

import argparse
import difflib
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from busbar.protocols.errors import report_of
from busbar.protocols.failures import ErrorRules, Failure, classify
from busbar.protocols.framing import BrokenFraming
from busbar.protocols.protocol import Hop, InvalidRequest, Protocol
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.translate import StreamTranslator, Unreadable, translate_request, translate_response

if TYPE_CHECKING:
    from busbar.cli.options import Commands

_decode = msgspec.json.decode
_encode = msgspec.json.encode

PIECE_BYTES_MAX = 64
"""A stream is read in random pieces of at most so many bytes."""


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "translate",
        help="show what Busbar would send, offline",
        description="Reads a document of one dialect and writes it in another: the document or stream on standard "
        "output, the receipt of what was mapped, changed or dropped as JSON on standard error. With equal dialects "
        "it still goes through the IR, so that --check can show that nothing was lost.",
    )
    dialects = sorted(PROTOCOLS)
    command.add_argument("--from", dest="source", required=True, choices=dialects)
    command.add_argument("--to", dest="target", required=True, choices=dialects)
    command.add_argument("--kind", required=True, choices=sorted(_KINDS))
    command.add_argument("--model", metavar="NAME", help="the upstream model of a request (default: its own)")
    framings = sorted({framing for protocol in PROTOCOLS.values() for framing in protocol.framing_content_types})
    command.add_argument(
        "--framing",
        choices=framings,
        default="",
        help="how a stream is written, where a dialect has several ways (gemini: array instead of events)",
    )
    command.add_argument("--status", type=int, default=400, help="the HTTP status of an error (default: 400)")
    command.add_argument("--seed", type=int, default=0, help="of the random splits of a stream (default: 0)")
    command.add_argument(
        "--check",
        action="store_true",
        help="compare with the input; exit 1 with a diff when they differ (not: error)",
    )
    command.add_argument("file", metavar="FILE", help="the document, or - for standard input")
    command.set_defaults(run=translate)


def translate(arguments: argparse.Namespace) -> int:
    if arguments.check and arguments.kind == "error":
        print(
            "--check compares requests, responses and streams; an error is told anew in every dialect",
            file=sys.stderr,
        )
        return 2
    if arguments.framing and arguments.framing not in PROTOCOLS[arguments.target].framing_content_types:
        print(f"{arguments.target} has no framing {arguments.framing}", file=sys.stderr)
        return 2
    try:
        given = sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
    except OSError as error:
        print(f"{arguments.file}: {error.strerror}", file=sys.stderr)
        return 2
    source, target = PROTOCOLS[arguments.source], PROTOCOLS[arguments.target]
    receipt = Receipt()
    try:
        written, extra = _KINDS[arguments.kind](source, target, given, arguments, receipt)
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidRequest, Unreadable, BrokenFraming) as error:
        print(f"{arguments.file}: {error}", file=sys.stderr)
        return 2
    sys.stdout.buffer.write(written)
    if arguments.kind != "stream":
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    print(_receipt_text(receipt, extra), file=sys.stderr)
    return _compare(_comparable(arguments.kind, source, target), given, written) if arguments.check else 0


# --- the four kinds: (source, target, given bytes) → written bytes, and what else the receipt should say

Written = tuple[bytes, dict[str, Any]]


def _request(
    source: Protocol, target: Protocol, given: bytes, arguments: argparse.Namespace, receipt: Receipt
) -> Written:
    document = _decode(given)
    if not isinstance(document, dict):
        raise InvalidRequest("", "expected a JSON object")
    model = arguments.model or document.get("model") or ""
    translated = translate_request(source, target, document, _hop(model))
    for entry in translated.receipt.entries:
        getattr(receipt, entry.change)(entry.path, entry.why)
    return translated.body, {}


def _response(
    source: Protocol, target: Protocol, given: bytes, arguments: argparse.Namespace, receipt: Receipt
) -> Written:
    written, usage = translate_response(source, target, given, _hop(arguments.model or ""), receipt)
    return written, {"usage": _usage(usage)}


def _stream(
    source: Protocol, target: Protocol, given: bytes, arguments: argparse.Namespace, receipt: Receipt
) -> Written:
    hop = msgspec.structs.replace(_hop(arguments.model or ""), framing=arguments.framing)
    translator = StreamTranslator(source, target, hop, receipt)
    out = [translator.feed(piece) for piece in _pieces(given, random.Random(arguments.seed))]  # noqa: S311
    out.append(translator.close())
    if translator.error is not None:
        failure = Failure(kind=classify(translator.error, source.knowledge, ErrorRules()), signal=translator.error)
        out.append(translator.break_off(report_of(failure)))
    extra = {"usage": _usage(translator.usage), "ended": translator.ended, "malformed_frames": translator.malformed}
    return b"".join(out), extra


def _error(
    source: Protocol, target: Protocol, given: bytes, arguments: argparse.Namespace, receipt: Receipt
) -> Written:
    del receipt
    now = time.time()
    signal = source.read_error(arguments.status, {}, given, now)
    kind = classify(signal, source.knowledge, ErrorRules())
    answer = target.write_error(report_of(Failure(kind=kind, signal=signal)), _hop(""))
    told = {"status": answer.status, "headers": dict(answer.headers)}
    return answer.body, {"class": kind.value, "signal": msgspec.to_builtins(signal), "answer": told}


_KINDS: Mapping[str, Callable[[Protocol, Protocol, bytes, argparse.Namespace, Receipt], Written]] = {
    "request": _request,
    "response": _response,
    "stream": _stream,
    "error": _error,
}


def _hop(model: str) -> Hop:
    return Hop(model=model, now=int(time.time()), nonce="translate")


def _usage(usage: Any) -> Any:
    if usage is None:
        return None
    return {
        name: value
        for name in usage.__struct_fields__
        if name != "native" and (value := getattr(usage, name)) is not None
    }


def _pieces(given: bytes, rng: random.Random) -> list[bytes]:
    pieces = []
    start = 0
    while start < len(given):
        end = start + rng.randint(1, PIECE_BYTES_MAX)
        pieces.append(given[start:end])
        start = end
    return pieces


def _receipt_text(receipt: Receipt, extra: Mapping[str, Any]) -> str:
    entries = [{"change": entry.change, "path": entry.path, "why": entry.why} for entry in receipt.entries]
    return msgspec.json.format(
        _encode({"receipt": entries, "not_listed": receipt.overflow, **extra}), indent=2
    ).decode()


# --- the identity


def _compare(read: Callable[[bytes, str], Any], given: bytes, written: bytes) -> int:
    """0 when both say the same: JSON is compared as values, a stream as its events."""
    before, after = read(given, "given"), read(written, "written")
    if before == after:
        return 0
    diff = difflib.unified_diff(_lines(before), _lines(after), "given", "written", lineterm="")
    print("\n".join(diff), file=sys.stderr)
    return 1


def _comparable(kind: str, source: Protocol, target: Protocol) -> Callable[[bytes, str], Any]:
    def read(data: bytes, which: str) -> Any:
        if kind != "stream":
            return _decode(data)
        return (source if which == "given" else target).stream_as_values(data)

    return read


def _lines(value: Any) -> list[str]:
    return msgspec.json.format(_encode(value, order="sorted"), indent=2).decode().splitlines()
