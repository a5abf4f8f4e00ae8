"""The frames of the embedded Bedrock provider and its faults, on the wire and as boto3 sees them."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError

from busbar.demo.providers import DemoProviders
from tests.demo.test_providers_bedrock import Boto, asks, user


@pytest.fixture
async def demo() -> AsyncIterator[DemoProviders]:
    async with DemoProviders() as demo:
        yield demo


@pytest.fixture
def boto(demo: DemoProviders) -> Boto:
    return Boto(demo)


class Wire:
    """What a plain HTTP client gets."""

    def __init__(self, demo: DemoProviders, http: aiohttp.ClientSession) -> None:
        self.demo, self.http = demo, http

    async def read(self, model: str, stream: bool) -> tuple[int, bytes, bool]:
        """The status, the bytes, and whether the message ended as HTTP wants it."""
        url = f"{self.demo.base_url}/model/{model}/converse{'-stream' if stream else ''}"
        got, status = b"", 0
        try:
            async with self.http.post(url, json={"messages": [user("one two three four")]}) as response:
                status = response.status
                async for chunk in response.content.iter_any():
                    got += chunk
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            return status, got, False
        return status, got, True


@pytest.fixture
async def wire(demo) -> AsyncIterator[Wire]:
    async with aiohttp.ClientSession(headers={"authorization": "Bearer demo-key"}) as http:
        yield Wire(demo, http)


async def test_frames_come_in_their_order_with_good_checksums(demo, wire):
    status, got, _ = await wire.read("demo", stream=True)
    frames = EventStreamBuffer()
    frames.add_data(got)
    read = [(frame.headers, json.loads(frame.payload)) for frame in frames]
    assert status == 200
    assert [headers[":event-type"] for headers, _ in read] == [
        "messageStart",
        *["contentBlockDelta"] * 6,
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert {(headers[":message-type"], headers[":content-type"]) for headers, _ in read} == {
        ("event", "application/json")
    }
    assert all("p" in payload for _, payload in read)


async def test_a_frame_that_was_touched_does_not_check(wire):
    _, got, _ = await wire.read("demo", stream=True)
    frames = EventStreamBuffer()
    frames.add_data(got.replace(b"messageStart", b"messageStarX"))
    with pytest.raises(ChecksumMismatch):
        list(frames)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("400", 400, "ValidationException"),
        ("401", 401, "UnrecognizedClientException"),
        ("402", 402, "AccessDeniedException"),
        ("403", 403, "AccessDeniedException"),
        ("404", 404, "ResourceNotFoundException"),
        ("408", 408, "ModelTimeoutException"),
        ("413", 413, "ValidationException"),
        ("429", 429, "ThrottlingException"),
        ("500", 500, "InternalServerException"),
        ("503", 503, "ServiceUnavailableException"),
        ("529", 529, "ServiceUnavailableException"),
        ("billing", 403, "AccessDeniedException"),
        ("context", 400, "ValidationException"),
    ],
)
async def test_faults_raise_the_services_exceptions(boto, fault, status, kind):
    for ask in (boto.converse, boto.stream):
        with pytest.raises(ClientError) as refused:
            await ask(**asks() | {"modelId": f"demo-fault-{fault}"})
        told = refused.value.response
        assert (told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"]) == (status, kind)
        assert told["Error"]["Message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_harmless_faults_deliver_the_whole_answer(wire, stream):
    _, good, _ = await wire.read("demo", stream)
    for fault in ("split", "crlf", "comments", "slow-1", "paced-1"):
        assert await wire.read(f"fault-{fault}", stream) == (200, good, True), fault


async def test_streams_that_break_off(wire):
    _, good, _ = await wire.read("demo", stream=True)
    for fault, clean in (("cut", False), ("eof-mid", True), ("eof", True)):
        _, got, ended = await wire.read(f"fault-{fault}", stream=True)
        assert ended == clean, fault
        assert good.startswith(got)
        assert b"messageStart" in got
        assert b"messageStop" not in got
        assert (b"contentBlockStop" in got) == (fault == "eof")


async def test_in_band_errors_garbage_and_missing_usage(boto, wire):
    for fault in ("first", "mid"):
        with pytest.raises(EventStreamError, match=r"serviceUnavailableException.*overloaded"):
            await boto.stream(**asks() | {"modelId": f"fault-error-{fault}"})
    status, got, _ = await wire.read("fault-error-200", stream=False)
    assert (status, json.loads(got)) == (200, {"message": "Model is overloaded. Please try again later."})
    assert b"{" not in (await wire.read("fault-garbage", stream=True))[1]
    for stream in (True, False):
        assert b'"usage":{' in (await wire.read("demo", stream))[1]
        assert b'"usage"' not in (await wire.read("fault-no-usage", stream))[1]


async def test_a_malformed_chunk_is_a_good_frame_of_broken_json(wire):
    _, got, _ = await wire.read("fault-malformed-chunk", stream=True)
    frames = EventStreamBuffer()
    frames.add_data(got)
    payloads = [frame.payload for frame in frames]
    assert [payload for payload in payloads if not payload.endswith(b"}")] == [
        b'{"type":"content_block_delta","choices":[{"delta":'
    ]
    assert len(payloads) == 11


@pytest.mark.parametrize("raw", [b"{", b"[]", b"[" * 100_000])
async def test_bodies_that_are_no_json_object(demo, wire, raw):
    async with wire.http.post(f"{demo.base_url}/model/demo/converse", data=raw) as response:
        assert response.headers["x-amzn-errortype"].startswith("SerializationException")
        assert (response.status, list(await response.json())) == (400, ["message"])
