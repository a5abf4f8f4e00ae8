"""Heads as bytes: one line for each header, and no way to make two of one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.http.ports import UpstreamRequest
from busbar.http.wire import UnsafeHeader, answer_head


def test_a_head_is_what_http_says() -> None:
    head = answer_head(200, {"content-type": "application/json", "x-a": "b"}, "content-length: 2\r\n")
    assert re.fullmatch(
        rb"HTTP/1\.1 200 OK\r\ncontent-type: application/json\r\nx-a: b\r\n"
        rb"date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\ncontent-length: 2\r\n\r\n",
        head,
    )
    assert answer_head(529, {}, "", http_1_0=True).startswith(b"HTTP/1.0 529 \r\ndate: ")


@given(st.text(max_size=20), st.sampled_from(["\r", "\n", "\r\n", "\0", "\r\n\r\n"]), st.booleans())
def test_a_line_break_in_a_header_never_reaches_the_wire(text: str, evil: str, in_name: bool) -> None:
    headers = {f"x{evil}y" if in_name else "x": text if in_name else text + evil + "y: z"}
    with pytest.raises(UnsafeHeader):
        answer_head(200, headers, "")


def test_a_request_to_a_provider_is_shown_without_its_headers_and_its_body() -> None:
    request = UpstreamRequest("https://a.example/v1", {"authorization": "Bearer hush-hush"}, b"what was asked")
    assert repr(request) == "UpstreamRequest(POST https://a.example/v1)"


def test_bytes_of_a_providers_header_that_are_no_text_go_on_as_they_came() -> None:
    owner = b"J\xfcrgen".decode("utf-8", "surrogateescape")
    assert b"\r\nx-owner: J\xfcrgen\r\n" in answer_head(200, {"x-owner": owner}, "")
