"""The front door: paths, keys, limits, callers that go away, callers that trickle, draining."""

from __future__ import annotations

import asyncio
import gc

import msgspec
import pytest

from busbar.protocols.body import Body

from .asks import INGRESSES, PATHS, ask, error_of
from .world import World

TOKENS = 'auth: {mode: token, client_tokens: ["${TOKEN}"]}'
ENV = {"TOKEN": "the-right-key"}


# --- paths


@pytest.mark.parametrize(
    ("path", "ingress", "model"),
    [
        ("/v1/chat/completions", "openai", "gpt"),
        ("/chat/completions", "openai", "claude"),
        ("/v1/messages", "anthropic", "claude"),
        ("/v1/messages?beta=true", "anthropic", "gpt"),
        ("/gpt/v1/messages", "anthropic", "ignored"),
        ("/odd%2Fname/v1/messages", "anthropic", "ignored"),
        ("/demo-anthropic/claude/v1/messages", "anthropic", "ignored"),
    ],
)
async def test_every_way_in_leads_to_an_answer(path: str, ingress: str, model: str) -> None:
    models = {"claude": "anthropic:demo", "gpt": "openai:demo", "odd/name": "openai:demo"}
    async with World(models) as world:
        answer = await world.post(path, ask(ingress, model))
        assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "application/json")
        assert answer.headers["x-busbar-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("path", "ingress", "model", "status"),
    [
        ("/v1/chat/completions", "openai", "nobody", 404),
        ("/v1/messages", "anthropic", "nobody", 404),
        ("/nobody/v1/messages", "anthropic", "gpt", 404),
        ("/demo-openai/claude/v1/messages", "anthropic", "gpt", 400),
        ("/demo-openai/nobody/v1/messages", "anthropic", "gpt", 404),
        ("/nobody/gpt/v1/messages", "anthropic", "gpt", 404),
    ],
)
async def test_an_unknown_name_is_a_native_error(path: str, ingress: str, model: str, status: int) -> None:
    async with World() as world:
        answer = await world.post(path, ask(ingress, model))
        error_of(ingress, answer.body)
        assert answer.status == status
        assert world.providers.requests == type(world.providers.requests)(maxlen=512)


async def test_a_pool_wins_over_a_model_of_the_same_name_and_keeps_its_own_cell() -> None:
    async with World(
        {"gpt": "openai:demo", "other": "openai:demo-2"}, "pools: {gpt: {members: [{target: other}]}}"
    ) as w:
        await w.post("/v1/messages", ask("anthropic", "gpt"))
        await w.post("/demo-openai/gpt/v1/messages", ask("anthropic", "gpt"))
        assert [request.model for request in w.providers.requests] == ["demo-2", "demo"]
        assert list((await w.member("gpt"))["cells"]) == ["gpt (direct)"]


async def test_a_model_called_admin_is_reachable() -> None:
    async with World({"admin": "openai:demo"}) as world:
        assert (await world.post("/v1/chat/completions", ask("openai", "admin"))).status == 200


async def test_other_paths_and_methods_are_refused_plainly() -> None:
    async with World() as world:
        async with world.http.get("/nothing/here") as response:
            error_of("openai", await response.read())
            assert response.status == 404
        async with world.http.post("/v1/messages/nothing", headers={"anthropic-version": "2023-06-01"}) as response:
            assert (response.status, error_of("anthropic", await response.read())[0]) == (404, "not_found_error")
        socket = {"connection": "upgrade", "upgrade": "websocket"}
        async with world.http.get("/v1/responses", headers=socket) as response:
            assert response.status == 426
        async with world.http.get("/v1/messages") as response:
            error_of("anthropic", await response.read())
            assert (response.status, response.headers["allow"]) == (405, "POST")
        async with world.http.post("/stats") as response:
            assert (response.status, response.headers["allow"]) == (405, "GET")
        async with world.http.head("/api/hello") as response:
            assert response.status == 200


async def test_models_are_listed_in_the_dialect_that_the_headers_show() -> None:
    async with World(config="pools: {smart: {members: [{target: gpt}]}}") as world:
        async with world.http.get("/v1/models") as response:
            openai = await response.json()
        async with world.http.get("/v1/models", headers={"anthropic-version": "2023-06-01"}) as response:
            anthropic = await response.json()
        async with world.http.get("/v1/models", headers={"x-goog-api-key": "k"}) as response:
            gemini = await response.json()
        async with world.http.get("/v1beta/models") as response:
            assert await response.json() == gemini
        assert [model["name"] for model in gemini["models"]] == ["models/smart", "models/claude", "models/gpt"]
        assert openai["object"] == "list"
        assert [model["id"] for model in openai["data"]] == ["smart", "claude", "gpt"]
        assert [model["id"] for model in anthropic["data"]] == ["smart", "claude", "gpt"]
        assert {model["type"] for model in anthropic["data"]} == {"model"}
        assert (anthropic["first_id"], anthropic["has_more"]) == ("smart", False)


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/pool/v1/messages/count_tokens"])
async def test_tokens_are_counted_by_members_of_the_callers_dialect(path: str) -> None:
    """Passed through to them; where there is none the answer is a clean 404."""
    pools = (
        "pools: {pool: {members: [{target: gpt, weight: 9}, {target: claude}]}, other: {members: [{target: gpt}]}}"
    )
    async with World(config=pools) as world:
        body = {"model": "pool", "messages": [{"role": "user", "content": "one two three"}]}
        answer = await world.post(path, body)
        direct = await world.post("/v1/messages/count_tokens", {**body, "model": "claude"})
        nobody = await world.post("/v1/messages/count_tokens", {**body, "model": "other"})
        assert (answer.status, answer.json()) == (200, direct.json())
        assert answer.json()["input_tokens"] >= 3
        assert (nobody.status, error_of("anthropic", nobody.body)[0]) == (404, "not_found_error")
        assert [request.path for request in world.providers.requests] == ["/v1/messages/count_tokens"] * 2
        assert (await world.member("gpt"))["free_slots"] == 20


# --- keys


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize(
    "carrier",
    [
        {"authorization": "Bearer the-right-key"},
        {"Authorization": "bearer   the-right-key"},
        {"x-api-key": "the-right-key"},
        {"api-key": "the-right-key"},
        {"x-goog-api-key": "the-right-key"},
        {"authorization": "Bearer wrong", "x-api-key": "the-right-key"},
    ],
)
async def test_any_carrier_of_the_right_key_opens_any_dialect(ingress: str, carrier: dict[str, str]) -> None:
    async with World(config=TOKENS, env=ENV) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "gpt"), carrier)
        assert answer.status == 200
        upstream = world.providers.requests[0].headers
        assert "the-right-key" not in str(upstream)


DIALECTS = {
    "responses": ("/v1/responses", {"model": "gpt", "input": "Hello"}, 401),
    "gemini": (
        "/v1beta/models/gpt:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
        400,
    ),
    "bedrock": ("/model/gpt/converse", {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}, 403),
    "cohere": ("/v2/chat", {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}]}, 401),
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_each_dialect_has_its_own_word_for_a_bad_key(dialect: str) -> None:
    path, body, status = DIALECTS[dialect]
    async with World(config=TOKENS, env=ENV) as world:
        refused = await world.post(path, body, {"authorization": "Bearer wrong"})
        assert refused.status == status
        assert "wrong" not in str(refused.body)
        for carrier in ({"authorization": "Bearer the-right-key"}, {"x-goog-api-key": "the-right-key"}):
            assert (await world.post(path, body, carrier)).status == 200
        assert (await world.post(f"{path}?key=the-right-key", body)).status == 200
        assert len(world.providers.requests) == 3


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_each_dialect_names_unknown_models_and_bad_bodies_natively(dialect: str) -> None:
    path, body, _ = DIALECTS[dialect]
    async with World() as world:
        unknown = await world.post(path.replace("gpt", "nobody"), {**body, "model": "nobody"})
        broken = await world.post(path, b"nonsense")
        assert (unknown.status, broken.status) == (404, 400)
        for answer in (unknown, broken):
            document = answer.json()
            assert document.get("message") or document["error"]["message"]
        assert ("x-amzn-errortype" in broken.headers) == (dialect == "bedrock")


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize(
    "carrier",
    [
        {},
        {"authorization": "Bearer the-wrong-key"},
        {"authorization": "Bearer"},
        {"authorization": "Basic dGhlLXJpZ2h0LWtleQ=="},
        {"authorization": "Bearer the-right-key the-right-key"},
        {"x-api-key": "the-right-ke\xff"},
        {"x-api-key": "x" * 5000},
    ],
)
async def test_without_the_right_key_the_answer_is_a_native_401(ingress: str, carrier: dict[str, str]) -> None:
    async with World(config=TOKENS, env=ENV) as world:
        answer = await world.post(PATHS[ingress], ask(ingress, "gpt"), carrier)
        kind, code, message = error_of(ingress, answer.body)
        assert answer.status == 401
        expected = {
            "anthropic": ("authentication_error", None),
            "openai": ("invalid_request_error", "invalid_api_key"),
        }
        assert (kind, code) == expected[ingress]
        assert "the-" not in message
        assert not world.providers.requests


async def test_stats_are_behind_the_key_and_health_is_not() -> None:
    async with World(config=TOKENS, env=ENV) as world:
        async with world.http.get("/stats") as response:
            assert response.status == 401
        async with world.http.get("/v1/models") as response:
            assert response.status == 401
        async with world.http.get("/stats", headers={"x-api-key": "the-right-key"}) as response:
            text = await response.text()
            assert response.status == 200
            assert "the-right-key" not in text
            assert "provider-key" not in text
        async with world.http.get("/healthz") as response:
            assert (response.status, await response.text()) == (200, "ok\n")


async def test_stats_can_be_opened() -> None:
    config = TOKENS.replace("]}", "], open_telemetry_routes: true}")
    async with World(config=config, env=ENV) as world, world.http.get("/stats") as response:
        assert response.status == 200


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("model", ["claude", "gpt"])
async def test_passthrough_sends_the_callers_own_key_as_the_provider_wants_it(ingress: str, model: str) -> None:
    async with World(config="auth: {mode: passthrough}") as world:
        answer = await world.post(PATHS[ingress], ask(ingress, model), {"authorization": "Bearer provider-key"})
        assert answer.status == 200
        headers = world.providers.requests[0].headers
        sent = {"claude": ("x-api-key", "provider-key"), "gpt": ("authorization", "Bearer provider-key")}[model]
        assert headers[sent[0]] == sent[1]


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("model", ["claude", "gpt"])
async def test_in_passthrough_a_bad_key_is_the_callers_and_the_member_is_untouched(ingress: str, model: str) -> None:
    async with World(config="auth: {mode: passthrough}") as world:
        answer = await world.post(PATHS[ingress], ask(ingress, model), {"x-api-key": "not-a-key"})
        member = await _open_member(world, model)
        error_of(ingress, answer.body)
        assert answer.status == 401
        assert (member["err"], member["cells"][model]["state"], member["free_slots"]) == (0, "closed", 20)
        assert (await world.post(PATHS[ingress], ask(ingress, model))).status == 401
        assert len(world.providers.requests) == 1


async def _open_member(world: World, model: str) -> dict[str, object]:
    """In passthrough mode /stats is closed: look at the actor itself."""
    from busbar.actors.messages import Resolve, Snapshot

    root = next(ref for ref in world.gateway.system.children() if ref.name == "gateway")
    directory = await root.ask(Resolve())
    snapshot: dict[str, object] = await directory.members[model].ask(Snapshot())
    return snapshot


# --- bodies


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"nonsense", 400),
        (b"[1, 2]", 400),
        (b'{"messages": []}', 400),
        (b'{"model": 7}', 400),
        (b'{"model": ""}', 400),
        (b'{"model": "gpt", "stream": "yes"}', 400),
        (b'{"model": "\xff\xfe"}', 400),
        (b'{"model": "gpt", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"model": "gpt", "x": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}", 400),
        (b'{"model": "' + b"n" * 100_000 + b'"}', 404),
        (b'{"model": "a\\u0000\\r\\nx: y"}', 404),
    ],
)
async def test_a_bad_body_is_a_native_error(ingress: str, body: bytes, status: int) -> None:
    async with World() as world:
        answer = await world.post(PATHS[ingress], body)
        _, _, message = error_of(ingress, answer.body)
        assert answer.status == status
        assert len(message) < 400
        assert not world.providers.requests


@pytest.mark.parametrize("model", ["claude", "gpt"])
@pytest.mark.parametrize("ingress", INGRESSES)
async def test_a_document_with_a_wrong_type_is_a_400_naming_the_field(ingress: str, model: str) -> None:
    async with World() as world:
        answer = await world.post(PATHS[ingress], {"model": model, "max_tokens": 10, "messages": "hello"})
        _, _, message = error_of(ingress, answer.body)
        assert (answer.status, "messages" in message) == (400, True)
        member = await world.member(model)
        assert (member["err"], member["free_slots"]) == (0, 20)


@pytest.mark.parametrize("ingress", INGRESSES)
async def test_a_body_over_the_limit_is_a_native_413(ingress: str) -> None:
    async with World(config="limits: {body_max_bytes: 2048}") as world:
        fitting = ask(ingress, "gpt", "x" * 1000)
        assert (await world.post(PATHS[ingress], fitting)).status == 200
        answer = await world.post(PATHS[ingress], ask(ingress, "gpt", "x" * 3000))
        error_of(ingress, answer.body)
        assert answer.status == 413

        async def endless() -> object:
            while True:
                yield b"x" * 4096

        async with world.http.post(PATHS[ingress], data=endless()) as response:
            assert response.status == 413


async def test_the_depth_limit_is_configurable() -> None:
    deep = (
        b'{"model": "gpt", "messages": [{"role": "user", "content": "hi"}], "metadata": ' + b"[" * 9 + b"]" * 9 + b"}"
    )
    async with World(config="limits: {json_depth_max: 8}") as world:
        answer = await world.post("/v1/chat/completions", deep)
        # Few brackets cannot nest deep, so the limit is exact only above as many brackets as levels.
        assert answer.status == 400


async def test_expect_100_continue_is_answered() -> None:
    body = msgspec.json.encode(ask("openai", "gpt"))
    async with World() as world:
        reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\nexpect: 100-continue\r\n\r\n"
        writer.write(head % len(body))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


# --- slow callers


@pytest.mark.parametrize("sent", [b"", b"POST /v1/messages HT", b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx: "])
async def test_a_caller_that_trickles_its_header_is_cut_off(sent: bytes) -> None:
    async with World(config="limits: {header_timeout_secs: 0.1}") as world:
        reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port)
        writer.write(sent)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_a_second_request_on_a_connection_is_guarded_too_and_a_long_answer_is_not_cut() -> None:
    async with World(
        {"gpt": "openai:demo", "slow": "openai:fault-slow-300"}, "limits: {header_timeout_secs: 0.1}"
    ) as w:
        reader, writer = await asyncio.open_connection(w.gateway.host, w.gateway.port)
        body = msgspec.json.encode(ask("openai", "slow"))
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200")
        writer.write(b"POST /v1/chat/comp")
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("ingress", INGRESSES)
async def test_a_caller_that_trickles_its_body_is_cut_off(ingress: str) -> None:
    async with World(config="limits: {body_timeout_secs: 0.1}") as world:
        reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port)
        writer.write(f"POST {PATHS[ingress]} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode())
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408")
        error_of(ingress, answer.partition(b"\r\n\r\n")[2])
        writer.close()


async def test_connections_are_bounded() -> None:
    async with World(config="limits: {connections_max: 2}") as world:
        first = [await asyncio.open_connection(world.gateway.host, world.gateway.port) for _ in range(2)]
        reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        for _, opened in [*first, (reader, writer)]:
            opened.close()


async def test_garbage_on_the_wire_hurts_nobody() -> None:
    async with World() as world:
        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
            b"\x00" * 1000,
            b"GET\r\n\r\n\r\n",
            b"\r\n" * 99,
        ):
            reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port)
            writer.write(garbage)
            writer.write_eof()
            async with asyncio.timeout(5):
                await reader.read()
            writer.close()
        assert (await world.post("/v1/messages", ask("anthropic", "gpt"))).status == 200


# --- callers that go away


@pytest.mark.parametrize("ingress", INGRESSES)
@pytest.mark.parametrize("egress", INGRESSES)
@pytest.mark.parametrize(
    ("fault", "stream"), [("hang", False), ("hang", True), ("stall", True), ("stall-start", True)]
)
async def test_when_the_caller_goes_the_upstream_call_ends_within_a_second(
    ingress: str, egress: str, fault: str, stream: bool
) -> None:
    async with World({"m": f"{egress}:fault-{fault}"}) as world:
        providers = world.providers
        asking = asyncio.ensure_future(world.post(PATHS[ingress], ask(ingress, "m", "a b c d", stream=stream)))
        await providers.until(lambda: providers.open_requests == 1)
        asking.cancel()
        await providers.until(lambda: providers.open_requests == 0, timeout_secs=1)
        member = await world.member("m")
        stats = await world.stats()
        assert (member["free_slots"], member["ok"], member["err"]) == (20, 0, 0)
        assert member["cells"]["m"]["outcomes"] == 0
        assert [row["outcome"] for row in stats["metrics"]["requests"]] == ["cancelled"]


async def test_a_slow_caller_slows_the_provider_down() -> None:
    """Backpressure: of an answer larger than all buffers together, no more is taken than they hold."""
    async with World({"m": "openai:demo"}) as world:
        body = msgspec.json.encode(ask("openai", "m", "word " * 60_000, stream=True))
        reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port, limit=1024)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(20_000):
            await asyncio.sleep(0)
        assert world.providers.open_requests == 1, "the provider waits for the caller to read"
        writer.close()
        await world.providers.until(lambda: world.providers.open_requests == 0)


# --- draining


async def test_draining_finishes_what_runs_and_turns_new_requests_away() -> None:
    world = World({"m": "openai:fault-slow"})
    await world.__aenter__()
    gateway, providers = world.gateway, world.providers
    running = asyncio.ensure_future(world.post("/v1/messages", ask("anthropic", "m", stream=True)))
    await providers.until(lambda: providers.open_requests == 1)
    stopping = asyncio.ensure_future(gateway.stop())
    async with world.http.get("/healthz") as health:
        assert (health.status, await health.text()) == (503, "draining\n")
    for ingress in ("anthropic", "openai"):
        turned_away = await world.post(PATHS[ingress], ask(ingress, "m"))
        assert (turned_away.status, turned_away.headers["retry-after"]) == (
            {"anthropic": 529, "openai": 503}[ingress],
            "1",
        )
        error_of(ingress, turned_away.body)
    assert not stopping.done()
    providers.release()
    answer = await running
    await stopping
    with pytest.raises(OSError):
        await asyncio.open_connection(gateway.host, gateway.port)
    assert (answer.status, b"message_stop" in answer.body) == (200, True)
    await world.http.close()
    await providers.stop()


async def test_draining_ends_what_does_not_finish_in_time() -> None:
    world = World({"m": "openai:fault-hang"}, "limits: {drain_timeout_secs: 0.05}")
    await world.__aenter__()
    gateway, providers = world.gateway, world.providers
    running = asyncio.ensure_future(world.post("/v1/messages", ask("anthropic", "m")))
    await providers.until(lambda: providers.open_requests == 1)
    async with asyncio.timeout(5):
        await gateway.stop()
    await providers.until(lambda: providers.open_requests == 0)
    with pytest.raises(Exception, match=r"disconnected|reset|closed"):
        await running
    await world.http.close()
    await providers.stop()


async def test_health_says_so_when_nobody_is_usable_and_looking_takes_no_probe() -> None:
    async with World({"m": "openai:fault-401"}) as world:
        await world.post("/v1/messages", ask("anthropic", "m"))
        for _ in range(100):
            async with world.http.get("/healthz") as response:
                assert response.status == 503
        assert (await world.member("m"))["cells"]["m"]["state"] == "open"


# --- receipts and state


async def test_a_receipt_is_given_to_those_who_ask() -> None:
    async with World() as world:
        request = ask("openai", "claude", seed=7, frequency_penalty=0.5)
        silent = await world.post("/v1/chat/completions", request)
        told = await world.post("/v1/chat/completions", request, {"x-busbar-receipt": "1"})
        streamed = await world.post("/v1/chat/completions", {**request, "stream": True}, {"x-busbar-receipt": "1"})
        stats = await world.stats()
        assert "x-busbar-dropped" not in silent.headers
        for answer in (told, streamed):
            dropped = answer.headers["x-busbar-dropped"].split(", ")
            assert sorted(path for path in dropped if not path.startswith("response.")) == [
                "frequency_penalty",
                "seed",
            ]
        counted = stats["metrics"]["dropped_fields"]
        assert (counted["frequency_penalty"], counted["seed"]) == (3, 3)
        assert stats["metrics"]["translations"] == [{"from": "openai", "to": "anthropic", "count": 3}]


async def test_same_dialect_bodies_and_answers_pass_untouched() -> None:
    body = b'{ "model":"gpt",  "messages" : [ {"role":"user","content":"caf\\u00e9"} ] , "temperature": 1.0 }'
    async with World({"gpt": "openai:demo-upstream"}) as world:
        answer = await world.post("/v1/chat/completions", body)
        sent = world.providers.requests[0]
        assert sent.raw == (
            b'{"model":"demo-upstream","messages":[ {"role":"user","content":"caf\\u00e9"} ],"temperature":1.0}'
        )
        async with world.http.post(
            f"{world.providers.base_url}/v1/chat/completions",
            data=sent.raw,
            headers={"authorization": "Bearer provider-key", "content-type": "application/json"},
        ) as direct:
            assert answer.body == await direct.read()


async def test_only_allowed_headers_reach_a_provider() -> None:
    sent = {
        "anthropic-beta": "feature-2025",
        "anthropic-version": "2023-06-01",
        "x-request-id": "abc",
        "traceparent": "00-1-2-01",
        "origin": "app://client",
        "cookie": "a=b",
        "x-forwarded-for": "1.2.3.4",
        "connection": "keep-alive, x-secret",
        "x-secret": "1",
        "x-api-key": "callers-own",
    }
    async with World() as world:
        await world.post("/v1/messages", ask("anthropic", "claude"), sent)
        await world.post("/v1/messages", ask("anthropic", "gpt"), sent)
        same, other = (request.headers for request in world.providers.requests)
        assert {
            name: same.get(name) for name in ("anthropic-beta", "anthropic-version", "x-request-id", "traceparent")
        } == {
            "anthropic-beta": "feature-2025",
            "anthropic-version": "2023-06-01",
            "x-request-id": "abc",
            "traceparent": "00-1-2-01",
        }
        for headers in (same, other):
            assert not {"origin", "cookie", "x-forwarded-for", "x-secret"} & headers.keys()
            assert "callers-own" not in headers.values()
        assert "anthropic-beta" not in other
        assert "anthropic-version" not in other


async def test_stats_show_the_state_of_every_actor() -> None:
    async with World(config="pools: {smart: {members: [{target: gpt, weight: 3}, {target: claude}]}}") as world:
        for _ in range(4):
            await world.post("/v1/messages", ask("anthropic", "smart"))
        stats = await world.stats()
        members = {member["model"]: member for member in stats["members"]}
        assert stats["pools"]["smart"]["members"] == ["gpt", "claude"]
        assert stats["pools"]["smart"]["picks"] == {"gpt": 3, "claude": 1}
        assert {
            key: members["gpt"][key] for key in ("provider", "protocol", "pools", "max_concurrent", "inflight")
        } == {
            "provider": "demo-openai",
            "protocol": "openai",
            "pools": ["smart", "gpt"],
            "max_concurrent": 20,
            "inflight": 0,
        }
        assert (members["gpt"]["ok"], members["gpt"]["availability"], members["gpt"]["budget"]) == (
            3,
            "available",
            None,
        )
        assert set(members["gpt"]["cells"]) == {"smart", "gpt"}
        assert {actor["name"] for actor in stats["actors"]} >= {
            "gateway",
            "member:gpt",
            "pool:smart",
            "direct:gpt",
            "metrics",
        }
        assert set(stats["actors"][0]) >= {"name", "kind", "alive", "mailbox", "processed", "restarts"}


async def test_sessions_stick_to_a_member() -> None:
    pool = "pools: {p: {members: [{target: a}, {target: b}, {target: c}], affinity: {header_name: x-my-session}}}"
    async with World({name: f"openai:demo-{name}" for name in "abc"}, pool) as world:
        for session in ("one", "two", "three", "four", "five"):
            for _ in range(3):
                await world.post("/v1/messages", ask("anthropic", "p"), {"X-My-Session": session})
        models = [request.model for request in world.providers.requests]
        assert all(len(set(models[start : start + 3])) == 1 for start in range(0, 15, 3))
        assert len(set(models)) > 1


async def test_nothing_is_left_after_a_day_of_trouble() -> None:
    """No task, no slot, no reference cycle that only the collector could end."""
    models = {
        "cut": "openai:fault-cut",
        "ok": "anthropic:demo",
        "hang": "openai:fault-hang",
        "bad": "openai:fault-400",
    }
    async with World(models) as world:
        before = len(asyncio.all_tasks())
        for _ in range(5):
            for model in ("cut", "ok", "bad"):
                await world.post("/v1/messages", ask("anthropic", model, stream=True))
            asking = asyncio.ensure_future(world.post("/v1/messages", ask("anthropic", "hang")))
            await world.providers.until(lambda: world.providers.open_requests == 1)
            asking.cancel()
            await world.providers.until(lambda: world.providers.open_requests == 0)
        stats = await world.stats()
        assert {member["model"]: member["free_slots"] for member in stats["members"]} == dict.fromkeys(models, 20)
        gc.collect()
        # Idle keep-alive connections of the test's own client are tasks of the server.
        assert len(asyncio.all_tasks()) <= before + 12


async def test_a_prompt_is_not_kept_while_its_answer_streams() -> None:
    async with World({"gpt": "openai:fault-paced-50"}) as world:
        prompt = "what is asked here and nowhere else"
        request = ask("openai", "gpt", prompt, stream=True)
        async with world.http.post(PATHS["openai"], json=request) as response:
            await response.content.readany()
            bodies = [body.raw for body in gc.get_objects() if isinstance(body, Body)]
            assert not [raw for raw in bodies if prompt.encode() in raw]
            assert (await response.read()).endswith(b"data: [DONE]\n\n")
