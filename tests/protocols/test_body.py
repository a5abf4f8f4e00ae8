"""The caller's body: split once, changed in one place only, refused before it can hurt."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.body import JSON_DEPTH_MAX, Body
from busbar.protocols.protocol import InvalidRequest

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=6)


def refusal(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        Body(raw)
    return caught.value


# --- one value changes


@given(document=OBJECTS, model=st.text(min_size=1, max_size=12), indent=st.sampled_from([None, 2]))
def test_a_change_touches_nothing_else(document: dict[str, Any], model: str, indent: int | None) -> None:
    body = Body(json.dumps(document, indent=indent).encode())
    assert json.loads(body.with_changes({"model": model})) == {**document, "model": model}
    assert body.document() == document, "the original is untouched"


def test_a_change_of_the_model_keeps_bytes_and_order() -> None:
    raw = b'{ "z": 1.50e+2, "model" : "mine", "text": "\\u00e9\\/", "big": 12345678901234567890123, "list": [ 1,2 ] }'
    assert Body(raw).with_changes({"model": "theirs"}) == (
        b'{"z":1.50e+2,"model":"theirs","text":"\\u00e9\\/","big":12345678901234567890123,"list":[ 1,2 ]}'
    )


def test_every_document_is_a_copy_of_its_own() -> None:
    body = Body(b'{"model":"m","list":[1]}')
    body.document()["list"].append(2)
    assert body.document() == {"model": "m", "list": [1]}


# --- depth


def nested(depth: int, kinds: str = "[") -> bytes:
    """A body whose deepest bracket is the `depth`-th; the object itself is the first."""
    inside = (kinds * depth)[: depth - 1]
    opening = "".join('{"k":' if kind == "{" else "[" for kind in inside)
    closing = "".join("}" if kind == "{" else "]" for kind in reversed(inside))
    value = opening + "1" + closing
    return f'{{"a":{value},"filler":[{",".join(["[]", "{}"] * 100)}]}}'.encode()


@pytest.mark.parametrize("kinds", ["[", "{", "[{", "{[", "[[{", "{{["])
def test_depth_limit_is_exact(kinds: str) -> None:
    assert Body(nested(128, kinds)).document()["filler"]
    assert str(refusal(nested(129, kinds))) == "The JSON is nested deeper than 128 levels."


def test_depth_limit_is_a_setting() -> None:
    assert JSON_DEPTH_MAX == 128
    Body(b'{"a":[[]]}', 3)
    with pytest.raises(InvalidRequest, match="deeper than 2"):
        Body(b'{"a":[[]]}', 2)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1000,
        "{" * 1000,
        '\\"' + "[" * 1000,
        "\\\\" + "[{" * 500,
        '\\\\\\"' + "[" * 1000 + '\\\\\\"',
        "]" * 1000 + "[" * 1000,
    ],
)
def test_brackets_inside_strings_do_not_count(text: str) -> None:
    raw = f'{{"model":"m","a":"{text}","b":["{text}",{{"{text}":"{text}"}}]}}'.encode()
    assert Body(raw).document()["a"] == json.loads(f'"{text}"')


def test_escaped_backslash_before_a_quote_does_not_hide_what_follows() -> None:
    refusal(b'{"a":"\\\\","b":' + b"[" * 200 + b"]" * 200 + b"}")
    refusal(b'{"a":"\\\\\\\\\\"","b":' + b"[" * 200 + b"]" * 200 + b"}")


@given(VALUES, st.integers(0, 6))
def test_depth_equals_a_recount(value: Any, limit: int) -> None:
    def depth(node: Any) -> int:
        if isinstance(node, dict):
            return 1 + max(map(depth, node.values()), default=0)
        return 1 + max(map(depth, node), default=0) if isinstance(node, list) else 0

    document = {"v": value}
    raw = json.dumps(document).encode()
    if depth(document) <= limit:
        assert Body(raw, limit).document() == document
    else:
        with pytest.raises(InvalidRequest):
            Body(raw, limit)


@pytest.mark.parametrize(
    "bomb",
    [
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000,
        b'{"a":[' * 50_000,
        b'{"a":"' + b'\\"[' * 100_000 + b'",' + b'"b":' + b"[" * 100_000,
        b'{"a":' + b"[[]," * 100_000,
    ],
)
def test_bomb_is_refused_fast(bomb: bytes) -> None:
    started = time.perf_counter()
    assert refusal(bomb).message == "The JSON is nested deeper than 128 levels."
    assert time.perf_counter() - started < 0.5


def test_many_brackets_that_nest_as_deep_as_allowed_take_linear_time() -> None:
    raw = b'{"a":[' + b",".join([b"[" * 120 + b"]" * 120] * 4000) + b"]}"
    started = time.perf_counter()
    Body(raw)
    assert time.perf_counter() - started < 1.0


# --- what is no body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"[]",
        b'["sk-secret"]',
        b'"sk-secret"',
        b"null",
        b"17",
        b"{",
        b'{"model":"sk-secret"',
        b'{"key":sk-secret}',
        b'{"key":"sk-secret"} trailing',
        b'{"sk-secret":}',
        b"{'model':'sk-secret'}",
        b'{"key":"sk-secret",}',
        b"\xff\xfe sk-secret",
        b'\xef\xbb\xbf{"key":"sk-secret"}',
        b"sk-secret=1&b=2",
    ],
)
def test_what_is_no_object_is_refused_without_quoting_it(raw: bytes) -> None:
    error = refusal(raw)
    assert error.path == ""
    assert str(error).startswith("The body is not a JSON object: ")
    assert "secret" not in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize("raw", [b'{"a":"\xff sk-secret"}', b'{"a":"sk-secret \\ud800"}', b'{"sk-secret \xff":1}'])
def test_broken_text_is_refused_without_quoting_it(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Body(raw).document()
    assert "secret" not in str(caught.value)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_body_or_an_invalid_request(raw: bytes) -> None:
    try:
        body = Body(raw)
        assert isinstance(body.document(), dict)
    except InvalidRequest:
        pass


# --- the two fields that routing reads


def test_model_and_stream_as_the_caller_wrote_them() -> None:
    body = Body(b'{"model":"gpt\\u002d5","stream":true}')
    assert (body.model, body.stream) == ("gpt-5", True)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{}", "you must provide a model parameter"),
        (b'{"model":null}', "you must provide a model parameter"),
        (b'{"model":""}', "expected a non-empty string"),
        (b'{"model":5}', "expected a non-empty string"),
        (b'{"model":["m"]}', "expected a non-empty string"),
        (b'{"model":"\xff"}', "not valid JSON"),
    ],
)
def test_missing_or_wrong_model(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _ = Body(raw).model
    assert (caught.value.path, caught.value.message) == ("model", message)


@pytest.mark.parametrize(
    ("raw", "stream"), [(b"{}", False), (b'{"stream":null}', False), (b'{"stream":false}', False)]
)
def test_no_stream_unless_asked_for(raw: bytes, stream: bool) -> None:
    assert Body(raw).stream is stream


@pytest.mark.parametrize("value", [b'"true"', b"1", b"0", b"[]", b"{}", b'""'])
def test_stream_of_a_wrong_type(value: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _ = Body(b'{"stream":' + value + b"}").stream
    assert (caught.value.path, caught.value.message) == ("stream", "expected true or false")


def test_what_was_forgotten_is_gone() -> None:
    body = Body(b'{"model": "m", "messages": []}')
    body.forget()
    assert (body.raw, body.field("model")) == (b"", None)
