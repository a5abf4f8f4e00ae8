"""docs/extending.md, followed to the letter on a copy of the package: a strategy, an auth style, a request log."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from tests.walkthrough import ROOT, blocks, changed_copy, files_that_list, run

PAGE = ROOT / "docs" / "extending.md"

GATEWAY = """
import asyncio, json, sys
import aiohttp
from aiohttp import web
from busbar.config import loads
from busbar.gateway import BusbarGateway

CONFIG = '''
listen: "127.0.0.1:0"
providers:
  acme: {{protocol: openai, base_url: "{url}", auth: signed-body, api_key_env: ACME_KEY}}
models:
  first: {{provider: acme}}
  second: {{provider: acme}}
pools:
  ordered: {{strategy: in_order, members: [{{target: first}}, {{target: second, weight: 9}}]}}
observability: {{request_log_stdout: true}}
'''

async def main():
    seen = []

    async def answer(request):
        seen.append((request.headers["x-signature"], (await request.read()).decode()))
        return web.json_response({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    async with BusbarGateway(loads(CONFIG.format(url=url), env={"ACME_KEY": "blue:secret"})) as gateway:
        async with aiohttp.ClientSession(gateway.url) as http:
            for _ in range(3):
                body = {"model": "ordered", "messages": [{"role": "user", "content": "Hi"}]}
                async with http.post("/v1/chat/completions", json=body) as response:
                    assert response.status == 200, await response.text()
    await runner.cleanup()
    print(json.dumps(seen), file=sys.stderr)
    sys.stdout.flush()
    print(json.dumps(seen))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a gateway with all three wrote on standard output, and then what its provider was sent three times."""
    tree = changed_copy(PAGE, tmp_path_factory.mktemp("extended"))
    script = tree / "gateway.py"
    script.write_text(GATEWAY)
    return run(tree, str(script)).splitlines()


def test_the_strategy_asks_the_first_while_it_can(said: list[str]) -> None:
    records = [json.loads(line) for line in said[:-1]]
    assert [record["pool"] for record in records] == ["ordered"] * 3
    assert [attempt["lane"] for record in records for attempt in record["attempts"]] == ["first"] * 3


def test_the_auth_style_signs_each_body(said: list[str]) -> None:
    sent = json.loads(said[-1])
    assert len(sent) == 3
    for signature, body in sent:
        who, when, digest = signature.split(":")
        expected = hmac.new(b"secret", f"{when}\n{body}".encode(), hashlib.sha256).hexdigest()
        assert (who, digest) == ("blue", expected)


def test_the_page_has_every_place_that_lists_the_strategies_or_the_styles() -> None:
    strategies = files_that_list({"weighted", "least_busy", "fastest", "cheapest"})
    assert strategies == {
        "busbar/actors/selection.py",
        "busbar/config/schema/routing.py",
        "busbar/simulation/random_scenarios.py",
    }
    styles = files_that_list({"bearer", "x-api-key", "x-goog-api-key", "api-key", "sigv4"})
    assert styles == {
        "busbar/cli/catalog_pages.py",
        "busbar/config/providers.py",
        "busbar/config/schema/values.py",
        "busbar/protocols/signing/__init__.py",
    }
    named = {path for path, _ in blocks(PAGE, "diff")} | {"busbar/simulation/random_scenarios.py"}
    assert strategies | styles <= named
