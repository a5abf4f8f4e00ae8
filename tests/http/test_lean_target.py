"""Where URLs lead, and requests as bytes."""

from __future__ import annotations

import pytest

from busbar.http.lean.target import Origin, Target, Unusual, opening, read_target, whole_head
from busbar.http.ports import UpstreamRequest


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://api.example", Target(Origin(True, "api.example", 443), "/", "api.example")),
        ("http://API.example:8080/v1/x", Target(Origin(False, "api.example", 8080), "/v1/x", "api.example:8080")),
        ("https://h:443/a%2Fb?alt=sse#f", Target(Origin(True, "h", 443), "/a%2Fb?alt=sse", "h")),
        ("http://[::1]:81/", Target(Origin(False, "::1", 81), "/", "[::1]:81")),
    ],
)
def test_a_url_is_read(url: str, target: Target) -> None:
    assert read_target(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/",
        "h",
        "http://me@h/",
        "http:///x",
        "http://bücher.example/",
        "http://h/ü",
        "http://h/a b",
        "http://h:x/",
    ],
)
def test_an_unusual_url_is_left_to_others(url: str) -> None:
    with pytest.raises(Unusual):
        read_target(url)


def head_of(request: UpstreamRequest) -> bytes:
    return whole_head(opening(request, read_target(request.url)), request)


def test_a_request_is_its_headers_its_host_and_its_length() -> None:
    request = UpstreamRequest("http://h:81/v1?a=b", {"x-key": "k", "accept": "*/*"}, b"body")
    assert head_of(request) == (
        b"POST /v1?a=b HTTP/1.1\r\nx-key: k\r\naccept: */*\r\nhost: h:81\r\ncontent-length: 4\r\n\r\n"
    )


@pytest.mark.parametrize(("method", "length"), [("POST", b"content-length: 0\r\n"), ("GET", b"")])
def test_a_request_without_a_body_says_so_where_it_could_have_one(method: str, length: bytes) -> None:
    request = UpstreamRequest("http://h/", {}, b"", method)
    assert head_of(request) == f"{method} / HTTP/1.1\r\nhost: h\r\n".encode() + length + b"\r\n"


def test_a_host_that_was_signed_is_kept() -> None:
    request = UpstreamRequest("http://h/", {"Host": "signed"}, b"", "GET")
    assert head_of(request) == b"GET / HTTP/1.1\r\nHost: signed\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b"])
def test_a_header_cannot_smuggle_another(value: str) -> None:
    request = UpstreamRequest("http://h/", {"x-key": value}, b"")
    with pytest.raises(ValueError):
        head_of(request)
