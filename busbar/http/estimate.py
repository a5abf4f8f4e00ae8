"""What a request will use, roughly, before it is sent: to choose by price, and to reserve its money."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from busbar.actors.selection import Demand
from busbar.protocols.asked import Asked
from busbar.protocols.body import Body
from busbar.protocols.protocol import InvalidRequest, Protocol

BYTES_PER_TOKEN = 4
"""A rule of thumb for English in any tokeniser of today; settled is what the provider counted."""

OUTPUT_TOKENS = 1024
"""Assumed of a request that names no maximum."""

MEDIA_BODY_BYTES = 16 * 1024
"""A smaller body is taken for text as a whole: whatever it holds, it is little."""

MEDIA_BYTES = 1024
"""Of encoded media. Shorter ones are taken for text, too."""


class Medium(NamedTuple):
    """What media cost: so many tokens, and one more for so many bytes as they stand in the body (base64)."""

    tokens: int
    bytes_per_token: int


_FLAT = 1 << 40
MEDIA = {
    "image": Medium(tokens=1600, bytes_per_token=_FLAT),
    "document": Medium(tokens=1600, bytes_per_token=32),
    "sound": Medium(tokens=0, bytes_per_token=256),
}
"""From what providers publish. Images: Anthropic scales them down to about 1,600 tokens (width x height / 750), and
Google counts 258 a tile. PDFs: Anthropic says 1,500 to 3,000 tokens a page, and a page is 20 to 100 kB.
Sound and film: Google counts 32 tokens a second of the one and 263 of the other; in base64, the usual encodings take
5 to 40 kB for it and 160 to 330 kB."""

_BEGINNINGS = re.compile(
    rb"(?P<image>iVBORw0KGgo|/9j/|R0lGOD|UklGR.{7}RUJQ)"  # PNG, JPEG, GIF, RIFF that is WebP
    rb"|(?P<document>JVBERi)"  # PDF
    rb"|(?P<sound>UklGR|SUQz|//[A-Za-z]|T2dnUw|ZkxhQ|AAAA.{4}eX|GkXfo)"  # RIFF, MP3, Ogg, FLAC, MP4, WebM
)
"""The magic bytes of each format, in base64. Other long words are text at its full price: what models sign or encrypt
is so long, and so is what somebody writes who wants his text to be cheap."""
_BEGINNING_CHARS = 24

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\\"
"""Both alphabets, padding, and the backslash: some encoders of JSON write `\\/` for a slash, some of base64 break the
lines."""
_MARKS = bytes(1 if char in _BASE64 else 0 for char in range(256))
_LONG = b"\x01" * MEDIA_BYTES
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def estimate(ingress: Protocol, body: Body) -> Demand:
    """From the body's length and what is in it, and the maximum that it asks for."""
    try:
        asked = ingress.asked(body)
    except InvalidRequest:
        asked = Asked()  # whoever gets it will say what is wrong
    each = OUTPUT_TOKENS if asked.max_output_tokens is None else asked.max_output_tokens
    return Demand(input_tokens=input_estimate(body), output_tokens=each * asked.choices)


def input_estimate(body: Body) -> int:
    """Tokens of the prompt: of its text, and of its media. Linear in the length, about 1 ms for a MiB."""
    raw = body.raw
    if len(raw) < MEDIA_BODY_BYTES:
        return len(raw) // BYTES_PER_TOKEN
    text_bytes, tokens = len(raw), 0
    for start, end in _long_words(raw):
        medium = _medium(raw[start : start + _BEGINNING_CHARS])
        if medium is not None:
            text_bytes -= end - start
            tokens += min(medium.tokens + (end - start) // medium.bytes_per_token, (end - start) // BYTES_PER_TOKEN)
    return tokens + text_bytes // BYTES_PER_TOKEN


def _long_words(raw: bytes) -> Iterator[tuple[int, int]]:
    """Where words that could be base64 begin and end. (A regular expression either looks at each byte of a word many
    times, or starts a match at each word: a search for the shortest long word does neither.)"""
    marks = raw.translate(_MARKS)
    end = 0
    while (start := marks.find(_LONG, end)) >= 0:
        end = marks.find(b"\x00", start + MEDIA_BYTES)
        if end < 0:
            end = len(marks)
        yield start, end


def _medium(beginning: bytes) -> Medium | None:
    found = _BEGINNINGS.match(beginning.replace(b"\\", b"").translate(_TO_STANDARD))
    return None if found is None or found.lastgroup is None else MEDIA[found.lastgroup]
