"""What a request will use: its text by its length, its media by what they are, in linear time."""

from __future__ import annotations

import base64
import json
import random
import statistics
import time
from typing import Any

import msgspec
import pytest

from busbar.actors.selection import Demand
from busbar.http.estimate import MEDIA_BODY_BYTES, MEDIA_BYTES, OUTPUT_TOKENS, estimate, input_estimate
from busbar.protocols.body import Body
from busbar.protocols.registry import PROTOCOLS
from tests.recordings import Recording, load, with_answer, with_stream

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff\xe0"
GIF = b"GIF89a"
WEBP = b"RIFF\x00\x10\x20\x00WEBPVP8 "
WAV = b"RIFF\x00\x10\x20\x00WAVEfmt "
MP3 = b"\xff\xfb\x90\x64"
ID3 = b"ID3\x04"
OGG = b"OggS\x00\x02"
FLAC = b"fLaC\x00"
MP4 = b"\x00\x00\x00\x20ftypisom"
WEBM = b"\x1a\x45\xdf\xa3"
PDF = b"%PDF-1.7\n"


def media(beginning: bytes, encoded_bytes: int) -> str:
    """So many bytes of base64; the content is random, and the same each time."""
    size = encoded_bytes // 4 * 3
    return base64.b64encode(beginning + random.Random(7).randbytes(size - len(beginning))).decode()


def tokens(document: dict[str, Any]) -> int:
    return input_estimate(Body(json.dumps(document, separators=(",", ":")).encode()))


# --- the answer


def test_the_maximum_that_is_asked_for_counts_for_each_choice() -> None:
    body = Body(b'{"model":"m","max_tokens":50,"n":3}')
    assert estimate(PROTOCOLS["openai"], body) == Demand(input_tokens=35 // 4, output_tokens=150)
    assert estimate(PROTOCOLS["anthropic"], body) == Demand(input_tokens=35 // 4, output_tokens=50)
    assert estimate(PROTOCOLS["responses"], body) == Demand(input_tokens=35 // 4, output_tokens=OUTPUT_TOKENS)
    assert estimate(PROTOCOLS["openai"], Body(b'{"max_tokens":0}')).output_tokens == 0


def test_a_request_that_cannot_be_read_is_estimated_all_the_same() -> None:
    body = Body(b'{"max_tokens":"\xff","messages":7}')
    assert estimate(PROTOCOLS["anthropic"], body) == Demand(
        input_tokens=len(body.raw) // 4, output_tokens=OUTPUT_TOKENS
    )


# --- the prompt


def test_text_is_a_token_for_four_bytes() -> None:
    for words in (10, 10_000):
        document = {"prompt": "seven words of text, and then some. " * words}
        assert tokens(document) == len(json.dumps(document, separators=(",", ":"))) // 4


@pytest.mark.parametrize("beginning", [PNG, JPEG, GIF, WEBP], ids=["png", "jpeg", "gif", "webp"])
@pytest.mark.parametrize("form", ['{"data":"%s"}', '{"url":"data:image/x;base64,%s"}'])
@pytest.mark.parametrize("spelled", ["plain", "url-safe", "escaped", "in lines"])
def test_an_image_costs_the_same_however_large_it_is(beginning: bytes, form: str, spelled: str) -> None:
    for encoded_bytes in (24_000, 4_000_000):
        encoded = media(beginning, encoded_bytes)
        match spelled:
            case "url-safe":
                encoded = encoded.replace("+", "-").replace("/", "_")
            case "escaped":
                encoded = encoded.replace("/", "\\/")
            case "in lines":
                encoded = "\\n".join(encoded[at : at + 76] for at in range(0, len(encoded), 76))
        body = Body((form % encoded).encode())
        assert body.document()
        assert 1600 <= input_estimate(body) <= 1610


@pytest.mark.parametrize("beginning", [WAV, MP3, ID3, OGG, FLAC, MP4, WEBM])
def test_sound_and_film_cost_by_their_size(beginning: bytes) -> None:
    assert tokens({"data": media(beginning, 1 << 20)}) == pytest.approx(4096, abs=5)


def test_a_document_costs_by_its_pages_and_its_size_stands_for_them() -> None:
    assert tokens({"data": media(PDF, 64_000)}) == pytest.approx(3600, abs=5)
    assert tokens({"data": media(PDF, 6_400_000)}) == pytest.approx(201_600, abs=5)


def test_a_small_picture_costs_no_more_than_its_bytes_would_as_text() -> None:
    document = {"data": media(PNG, 4_000), "text": "so many words. " * 1200}
    assert tokens(document) == pytest.approx(len(json.dumps(document)) / 4, abs=5)


def test_each_of_many_is_counted_and_so_is_the_text_between() -> None:
    parts = [{"image": media(JPEG, 40_000), "text": "what is this? " * 100} for _ in range(5)]
    assert tokens({"parts": parts}) == pytest.approx(5 * (1600 + 1400 / 4), rel=0.01)


def test_what_is_no_known_medium_is_text_at_its_full_price() -> None:
    """Signatures, encrypted thinking, and whoever writes without spaces to pay less."""
    for encoded in (media(b"\x12\x34", 40_000), "a" * 40_000, "1600" * 10_000):
        assert tokens({"data": encoded}) == (len(encoded) + len('{"data":""}')) // 4


def test_small_bodies_are_text_as_a_whole() -> None:
    body = Body(b'{"data":"%s"}' % media(PNG, MEDIA_BODY_BYTES - 1000).encode())
    assert len(body.raw) < MEDIA_BODY_BYTES
    assert input_estimate(body) == len(body.raw) // 4


# --- time


def hostile() -> dict[str, bytes]:
    size = 8 << 20
    just_short = b"a" * (MEDIA_BYTES - 1) + b" "
    just_long = b"iVBORw0KGgo" + b"a" * (MEDIA_BYTES - 11) + b" "
    return {
        "one word": b"a" * size,
        "short words": b"a " * (size // 2),
        "commas": b"," * size,
        "words that just fall short": just_short * (size // len(just_short)),
        "words that are just long enough": just_long * (size // len(just_long)),
        "words of half the length": (just_short[MEDIA_BYTES // 2 :]) * (size // (MEDIA_BYTES // 2)),
    }


@pytest.mark.parametrize("kind", hostile())
def test_no_text_takes_more_than_linear_time(kind: str) -> None:
    """8 MiB; measured are 5 to 35 ms, and 400 where a pattern is tried at each byte."""
    body = Body(b'{"a":"' + hostile()[kind] + b'"}')
    took = []
    for _ in range(3):
        started = time.perf_counter()
        input_estimate(body)
        took.append(time.perf_counter() - started)
    assert min(took) < 0.1


# --- what providers counted


def counted(recording: Recording) -> int | None:
    """Tokens of the prompt as the provider counted them."""
    protocol = PROTOCOLS[recording.protocol]
    if with_answer(recording):
        usage = protocol.inspect_response(recording.response.wire).usage
    elif with_stream(recording):
        tap = protocol.stream_tap()
        tap.feed(recording.response.wire)
        usage = tap.usage
    else:
        usage = None
    return None if usage is None else usage.prompt_tokens or None


@pytest.mark.fixtures
def test_prompts_are_about_as_long_as_providers_counted() -> None:
    """Those of 2 to 16 kB. Shorter ones are mostly what providers add by themselves (a prompt for tools: 300 to 800
    tokens), and what a provider's own search brought in was not in the request."""
    ratios = []
    for recording in (recording for dialect in PROTOCOLS for recording in load(dialect)):
        if not isinstance(recording.request.body, dict) or "server-tools" in recording.name:
            continue
        body = Body(msgspec.json.encode(recording.request.body))
        if 2048 <= len(body.raw) < MEDIA_BODY_BYTES and (real := counted(recording)):
            ratios.append(input_estimate(body) / real)
    if not ratios:
        pytest.skip("no recordings at ../shared/fixtures")
    lower, middle, upper = statistics.quantiles(ratios, n=4)
    assert 0.7 < lower < middle < upper < 3
    assert 1 < middle < 2
