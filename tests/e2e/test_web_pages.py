"""What pages in a browser may make it send: nothing, to a gateway that asks for no key, unless they are its own."""

from __future__ import annotations

import pytest

from busbar.protocols.registry import PROTOCOLS

from .raw_http import question
from .strangers import Heard, assert_native
from .world import World

DIALECTS = sorted(PROTOCOLS)

FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://[bad"},
    {"origin": "http://rebound.example", "host": "rebound.example"},
]
OWN = [{}, {"origin": "app://notes"}, {"origin": "vscode-webview://x"}, {"origin": "http://localhost:5173"}]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_web_page_cannot_spend_through_a_gateway_that_asks_for_no_key(dialect: str) -> None:
    path, body = question(dialect, "gpt", 3, stream=False)
    async with World() as world:
        for headers in FOREIGN:
            answer = await world.post(path, body, headers)
            assert answer.status == 403
            assert_native(
                dialect, Heard(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.body)
            )
        assert not world.providers.requests
        for headers in OWN:
            assert (await world.post(path, body, headers)).status == 200
    guarded = 'auth: {mode: token, client_tokens: ["${TOKEN}"]}'
    async with World(config=guarded, env={"TOKEN": "the-right-key"}) as world:
        for headers in FOREIGN:  # a page that holds the key was given it
            assert (await world.post(path, body, {**headers, "x-api-key": "the-right-key"})).status == 200


@pytest.mark.parametrize("path", ["/stats", "/stats/requests", "/stats/stream", "/metrics", "/ui/", "/v1/models"])
async def test_a_name_that_was_pointed_here_shows_nothing(path: str) -> None:
    async with World() as world:
        for host, allowed in (
            *(("rebound.example", False), ("127.0.0.1.evil.example", False), ("localhost.evil.example:80", False)),
            *(("localhost:8080", True), ("127.0.0.1", True), ("[::1]:8080", True), ("192.168.0.7", True)),
        ):
            async with world.http.get(path, headers={"host": host}) as answer:
                assert (answer.status == 200) is allowed, host
                if not allowed:
                    assert answer.status == 403
        async with world.http.get("/healthz", headers={"host": "rebound.example"}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("config", "headers"),
    [
        ('auth: {mode: token, client_tokens: ["${TOKEN}"]}', {"x-api-key": "the-right-key"}),
        ("auth: {open_telemetry_routes: true}", {}),
    ],
)
async def test_where_something_else_guards_them_pages_have_any_name(config: str, headers: dict[str, str]) -> None:
    sent = {**headers, "host": "gateway.example"}
    async with World(config=config, env={"TOKEN": "the-right-key"}) as world:
        assert (await world.http.get("/stats", headers=sent)).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"sec-fetch-site": "same-origin", "origin": "https://gateway.example"}, 404),
        ({"origin": "https://gateway.example", "host": "gateway.example"}, 404),
        ({"origin": "https://gateway.example", "x-forwarded-host": "gateway.example"}, 404),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_state_is_changed_by_no_page_of_another_origin(headers: dict[str, str], status: int) -> None:
    config = "governance: {admin_token: '${ADMIN}'}"
    async with World(config=config, env={"ADMIN": "the-operators"}) as world:
        sent = {"x-admin-token": "the-operators", **headers}
        assert (await world.post("/admin/members/nobody/reinstate", b"", sent)).status == status
