"""Which heads are plain, and what is read of them: exactly what aiohttp would read."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParserPy
from hypothesis import given
from hypothesis import strategies as st

from busbar.http.plain import Head, may_become_plain, read_head

USUAL = (
    b"POST /v1/chat/completions?a=1&b=%20x HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer k\r\n"
    b"X-Empty:\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n"
)
SIZE_MAX = 64 << 10


def usual(*fields: bytes, line: bytes = b"POST /v1/messages HTTP/1.1", length: bytes = b"content-length: 5") -> bytes:
    return b"\r\n".join((line, b"host: here", *fields, length, b"", b""))


def test_what_is_read_of_a_head() -> None:
    head = read_head(USUAL + b'{"model":"m"', SIZE_MAX)
    assert head is not None
    assert (head.path, head.raw_query, dict(head.query)) == (
        "/v1/chat/completions",
        "a=1&b=%20x",
        {"a": "1", "b": " x"},
    )
    assert head.headers["authorization"] == "Bearer k"
    assert head.headers["x-empty"] == ""
    assert head.measure(USUAL + b'{"model":"m"') == (len(USUAL), 12)
    assert "Bearer" not in repr(head)


def test_the_next_head_may_differ_in_its_length_only() -> None:
    head = read_head(USUAL, SIZE_MAX)
    assert head is not None
    for length in (b"0", b"7", b"1234567890"):
        next_one = USUAL.replace(b": 12\r", b": " + length + b"\r")
        assert head.measure(next_one + b"body") == (len(next_one), int(length))
        assert head.headers["content-length"] == length.decode(), "some sign it"
    for other in (b"", b"-1", b"+1", b"1 ", b"0x1", b"1_0", b"1, 1", b"12345678901", b"\xb2", b"1\r\nx: y"):
        assert head.measure(USUAL.replace(b": 12\r", b": " + other + b"\r")) == (0, 0), other
    for other in (USUAL.replace(b"Bearer k", b"Bearer l"), USUAL.lower(), USUAL[:-2], USUAL[1:], b""):
        assert head.measure(other) == (0, 0)


@pytest.mark.parametrize(
    "head",
    [
        usual(line=b"GET /v1/messages HTTP/1.1"),
        usual(line=b"POST /v1/messages HTTP/1.0"),
        usual(line=b"POST /v1/messages HTTP/2.0"),
        usual(line=b"POST  /v1/messages HTTP/1.1"),
        usual(line=b"POST /v1/messages#x HTTP/1.1"),
        usual(line=b"POST //v1/messages HTTP/1.1"),
        usual(line=b"POST http://here/v1/messages HTTP/1.1"),
        usual(line=b"POST /v1/\xc3\xa4 HTTP/1.1"),
        usual(line=b"POST * HTTP/1.1"),
        usual(line=b"POST /v1/messages?k=" + b"x" * 33_000 + b" HTTP/1.1"),
        usual(length=b"x-no: length"),
        usual(length=b"content-length: 5\r\ncontent-length: 5"),
        usual(length=b"content-length: 5, 5"),
        usual(length=b"content-length: -5"),
        usual(length=b"content-length: 5 "),
        usual(length=b"content-length: 5\x0b"),
        usual(length=b"content-length: 55555555555"),
        usual(length=b"transfer-encoding: chunked"),
        usual(b"transfer-encoding: identity"),
        usual(b"content-encoding: gzip"),
        usual(b"expect: 100-continue"),
        usual(b"upgrade: websocket"),
        usual(b"connection: upgrade"),
        usual(b"connection: keep-alive, x-a"),
        usual(b"origin: https://elsewhere.example"),
        usual(b"sec-fetch-site: cross-site"),
        usual(b"x-a: 1", b"X-A: 2"),
        usual(b"host: there"),
        usual(b"x-a : 1"),
        usual(b"x-a: 1", b" folded: 2"),
        usual(b"x-a: \xe4"),
        usual(b"x-a: a\0b"),
        usual(b"x-a: a\rb"),
        usual(b"x-a: a\nb"),
        usual(b": 1"),
        usual(b"x-a"),
        usual(b"x-a: " + b"a" * 40_000),
        usual(*(b"x-%d: a" % number for number in range(99))),
        usual(*(b"x-%d: " % number + b"a" * 8000 for number in range(9))),
        usual().replace(b"\r\n", b"\n"),
        usual()[:-2],
        b"\r\n" + usual(),
        b"POST /v1/messages HTTP/1.1\r\ncontent-length: 5\r\n\r\n",
    ],
)
def test_what_is_unusual_is_not_plain(head: bytes) -> None:
    assert read_head(head, SIZE_MAX) is None
    assert read_head(usual(), SIZE_MAX) is not None


def test_only_a_plain_beginning_is_waited_for() -> None:
    whole = usual()
    begins = [cut for cut in range(len(whole)) if may_become_plain(whole[:cut])]
    assert begins == list(range(whole.index(b"\r\n") + 2, len(whole)))
    assert not may_become_plain(b"GET / HTTP/1.1\r\nhost: here\r\n")


TOKENS = st.text("abcXYZ-_09", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=30)
LINES = st.one_of(
    st.tuples(TOKENS, VALUES).map(lambda field: f"{field[0]}:{field[1]}"),
    st.sampled_from(
        [
            *(
                "content-length: 5",
                "Content-Length:5",
                "content-length: 05",
                "content-length:\t5",
                "content-length: 6",
            ),
            *("transfer-encoding: chunked", "connection: keep-alive", "connection: close", "host: a", "Host: b"),
            *("authorization: Bearer k", "expect: 100-continue", "", " folded", "x\t: y", "upgrade: h2c"),
        ]
    ),
)


@given(
    st.sampled_from(
        ["POST /v1/messages HTTP/1.1", "POST /a?key=%41&key=b HTTP/1.1", "POST /a HTTP/1.0", "POST /a b"]
    ),
    st.lists(LINES, max_size=6),
    st.sampled_from(["\r\n", "\r\n", "\r\n", "\n"]),
)
def test_a_head_that_is_plain_is_read_as_aiohttp_reads_it(line: str, lines: list[str], end: str) -> None:
    data = (line + "\r\n" + "".join(each + end for each in ["host: here", *lines]) + "\r\n").encode("latin-1")
    head = read_head(data, SIZE_MAX)
    if head is None:
        return
    message, payload = _as_aiohttp(data)
    assert (message.method, message.path) == ("POST", head.path + (f"?{head.raw_query}" if head.raw_query else ""))
    assert list(message.headers.items()) == list(head.headers.items())
    assert message.should_close == head.last
    assert not message.chunked
    size, length = head.measure(data)
    assert (size, length) == (len(data), int(message.headers["content-length"]))
    assert payload.is_eof() == (length == 0)
    assert dict(message.url.query) == dict(head.query)


def _as_aiohttp(data: bytes) -> tuple[web.BaseRequest, asyncio.StreamReader]:
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParserPy(_Quiet(), loop, 2**16)
        messages, _upgraded, _tail = parser.feed_data(data)
    except HttpProcessingError as error:
        pytest.fail(f"aiohttp refuses what is plain: {error!r}: {data!r}")
    finally:
        loop.close()
    ((message, payload),) = messages
    return message, payload


class _Quiet:
    """Where aiohttp's parser would slow a connection down."""

    _reading_paused = False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def test_heads_show_no_credential() -> None:
    head = read_head(usual(b"authorization: Bearer sk-secret"), SIZE_MAX)
    assert isinstance(head, Head)
    assert "sk-secret" not in repr(head)
