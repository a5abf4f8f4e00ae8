"""A request through every entry of the packaged catalog: what is sent, and where to.

`catalog_calls.txt` holds what each entry sends to its real address, written down once and looked at by people; a new
entry adds its lines there. Then the same requests are made by a gateway over real sockets, with a recorder in the
providers' place.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest

from busbar.config.providers import CREDENTIAL_HEADERS
from busbar.gateway import BusbarGateway

from .catalog_world import CATALOG, MODEL, Document, Kind, Recorder, answers, asked, call, config, kinds, lanes

WRITTEN = (Path(__file__).parent / "catalog_calls.txt").read_text(encoding="utf-8").split("\n\n")
CALLS = {text.partition("\n")[0]: text.strip() for text in WRITTEN}
LANES = lanes(config())

_SAME_FOR_ALL = ("content-type", "accept", "accept-encoding", "user-agent")


def sent(name: str) -> str:
    """What an entry sends, as it stands in the file."""
    lane = LANES[name]
    requests = {kind: call(lane, kind) for kind in kinds(name)}
    lines = [name]
    for kind, request in requests.items():
        if kind != "stream" or request.url != requests["whole"].url:
            lines.append(f"  {kind:6} {request.method} {request.url}")
    lines += [
        f"  {header}: {re.sub(', SignedHeaders.*', '', value)}"
        for header, value in requests["whole"].headers.items()
        if header not in _SAME_FOR_ALL
    ]
    if lane.changes:
        lines.append(f"  body   {msgspec.json.encode(lane.changes).decode()}")
    return "\n".join(lines)


@pytest.mark.parametrize("name", CATALOG)
def test_an_entry_sends_what_is_written_down(name: str) -> None:
    assert sent(name) == CALLS.get(name)


def test_nothing_is_written_down_that_is_not_sent() -> None:
    assert list(CALLS) == list(CATALOG)


async def test_every_entry_is_called_over_real_sockets() -> None:
    said = await answers()
    async with Recorder() as recorder:
        there = config(f"http://{recorder.host}")
        async with BusbarGateway(there) as gateway, aiohttp.ClientSession(gateway.url) as http:
            for name, entry in CATALOG.items():
                for kind in kinds(name):
                    recorder.answer = said[entry.protocol, kind]
                    path, body = asked(entry.protocol, f"of-{name}", kind)
                    async with http.post(path, json=body) as answer:
                        assert answer.status == 200, (name, kind, await answer.text())
                        told = await answer.read()
                    if kind != "stream":  # a stream is cut into frames anew
                        assert told == recorder.answer.body, (name, kind)
                    assert told
                    check(recorder, name, kind, body)


def check(recorder: Recorder, name: str, kind: Kind, body: Document) -> None:
    """That the one request which has arrived is the one that would have gone to the entry's own address."""
    [request] = recorder.requests
    recorder.requests.clear()
    expected = call(LANES[name], kind)
    url = urlsplit(expected.url)
    where = (request.method, request.target, request.headers["host"])
    assert where == (expected.method, f"/{name}{url.path}{'?' + url.query if url.query else ''}", recorder.host)
    for header, value in expected.headers.items():
        if header in ("authorization", "x-amz-date") and LANES[name].auth_style == "sigv4":
            assert re.match("AWS4-HMAC-SHA256 Credential=AKIDCATALOG/|[0-9]{8}T", request.headers[header])
        else:
            assert request.headers[header] == value, (name, header)
    shown = CREDENTIAL_HEADERS & set(request.headers)
    assert shown == CREDENTIAL_HEADERS & set(expected.headers), name
    assert len(shown) == (LANES[name].auth_style != "none")
    assert request.body == changed(name, kind, body), (name, kind)


def changed(name: str, kind: Kind, body: Document) -> Document:
    """The caller's body as the entry's provider wants it."""
    lane = LANES[name]
    if lane.protocol.model_in == "body":
        body = {**body, "model": MODEL}
    for field, value in lane.changes.items():
        if value is not None:
            body[field] = value
        elif kind != "count":  # there the path does not name the model
            body.pop(field, None)
    return body
