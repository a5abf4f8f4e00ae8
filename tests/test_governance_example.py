"""docs/governance.md, held to the real program: its session is typed, its requests are made, its tables drawn anew.

The worked example runs against a provider that states the usage that the page tells of, and with the prices that ship
with the package. What differs from run to run (ids, secrets, times) is matched by its shape, and stands for the same
thing wherever the page repeats it.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from e2e.governed import GovernedWorld, Key
from e2e.test_governance import BUDGET, DIALECTS, FORBIDDEN, INVALID, RATE
from e2e.ways import hello, speak

from busbar.actors.governance.batch import Tokens, UsageKey
from busbar.actors.governance.money import nanodollars
from busbar.cli import main
from busbar.config import Config, loads
from busbar.demo.configuration import DEMO_KEY, demo_configuration
from busbar.demo.providers import DemoProviders
from busbar.gateway import BusbarGateway
from busbar.governance.tariff import tariff_of
from busbar.http.estimate import BYTES_PER_TOKEN
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.protocol import Hop
from busbar.protocols.registry import PROTOCOLS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "governance.md").read_text()
EXAMPLE = (ROOT / "examples" / "governance" / "config.yaml").read_text()
DEMO, GOVERNED = "http://127.0.0.1:8080", "http://127.0.0.1:8090"
ADMIN_TOKEN = "the-operators-own"
ADMIN = {"x-admin-token": ADMIN_TOKEN}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)


def section(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##+ |\Z)", PAGE, re.S | re.M)
    assert found is not None, title
    return found[1]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


# --- the page's gateway, and what of its answers is never the same


@asynccontextmanager
async def example(folder: Path) -> AsyncIterator[str]:
    """The address of a gateway with the example's configuration, in front of the demo."""
    async with (
        DemoProviders(keys=frozenset({DEMO_KEY})) as providers,
        BusbarGateway(demo_configuration(providers.base_url, "127.0.0.1:0")) as demo,
    ):
        text = EXAMPLE.replace(DEMO, demo.url).replace("127.0.0.1:8090", "127.0.0.1:0")
        text += f"  db_path: '{folder / 'governance.db'}'\n"
        async with BusbarGateway(loads(text, env={"BUSBAR_ADMIN_TOKEN": ADMIN_TOKEN})) as gateway:
            yield gateway.url


VOLATILE = re.compile(
    r"(?:vk|grp)_[0-9a-f]{16}\b|sk-bb-[0-9a-f]{64}\b|\bAKBB[A-Z2-7]{16}\b"
    r"|\b20\d\d-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ)?|\b1[78]\d{8}\b|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/])"
)


class Shapes:
    """What stands in the page for what."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def real(self, text: str) -> str:
        return VOLATILE.sub(lambda match: self._real.get(match[0], match[0]), text)

    def compare(self, written: str, real: str) -> None:
        assert VOLATILE.sub("…", written).strip() == VOLATILE.sub("…", real).strip()
        self._real.update(zip(VOLATILE.findall(written), VOLATILE.findall(real), strict=True))


def test_what_differs_from_run_to_run_is_matched_by_its_shape_and_remembered() -> None:
    shapes = Shapes()
    shapes.compare("id vk_0000000000000000 on 2026-01-31", "id vk_00000000000000aa on 2027-05-01\n")
    assert shapes.real("show vk_0000000000000000 2026-01-31") == "show vk_00000000000000aa 2027-05-01"
    with pytest.raises(AssertionError):
        shapes.compare("id vk_0000000000000000: 5", "id vk_00000000000000aa: 6")


# --- the session


STARTS = ("busbar demo", "busbar serve", "export BUSBAR_ADMIN_TOKEN", "export BUSBAR_URL")


def typed() -> Iterator[tuple[str, str]]:
    """(command, what it prints), but for those that start things."""
    for block in blocks("console"):
        for command, printed in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            if not command.startswith(STARTS):
                yield command.replace("\\\n", " "), printed


async def test_the_session_prints_what_the_page_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUSBAR_ADMIN_TOKEN", ADMIN_TOKEN)
    shapes = Shapes()
    async with example(tmp_path) as url:
        monkeypatch.setenv("BUSBAR_URL", url)
        commands = list(typed())
        assert len(commands) > 8
        for command, printed in commands:
            command = shapes.real(command)
            if command.startswith("export "):
                monkeypatch.setenv(*command.removeprefix("export ").split("=", 1))
            elif command.startswith("curl "):
                shapes.compare(printed, await shell(command.replace(GOVERNED, url)))
            else:
                name, *words = shlex.split(command)
                assert name == "busbar"
                await asyncio.to_thread(main, words)
                out, err = capsys.readouterr()
                shapes.compare(printed, out + err)


async def shell(command: str) -> str:
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    return output.decode()


# --- the routes


async def test_every_request_of_the_page_is_answered_as_it_says(tmp_path: Path) -> None:
    shapes = Shapes()
    async with example(tmp_path) as url, aiohttp.ClientSession(url, headers=ADMIN) as http:
        for block in blocks("http"):
            asked, _, answer = block.partition("\n\n")
            line, _, body = shapes.real(asked).partition("\n")
            method, path = line.split(" ")
            async with http.request(method, path, data=body or None) as response:
                status, document = response.status, await response.read()
            stated, _, written = answer.strip().partition("\n")
            assert (path, status) == (path, int(stated)), document
            shapes.compare(formatted(written), formatted(document))


def formatted(document: str | bytes) -> str:
    return msgspec.json.format(msgspec.json.encode(msgspec.json.decode(document))).decode() if document else ""


def test_every_route_has_its_request() -> None:
    one, usage, rotate = "/admin/keys/<id>", "/admin/keys/<id>/usage", "/admin/keys/<id>/rotate"
    routes = {*itertools.product(("GET", "PATCH", "DELETE"), (one,)), ("GET", usage), ("POST", rotate)}
    routes |= {("GET", "/admin/keys"), ("POST", "/admin/keys")}
    routes |= {(method, path.replace("keys", "groups")) for method, path in routes if not path.endswith("rotate")}
    asked = {tuple(block.partition("\n")[0].split(" ")) for block in blocks("http")}
    assert {(method, re.sub(r"(vk|grp)_\w+", "<id>", path.partition("?")[0])) for method, path in asked} == routes


# --- refusals


def test_the_refusals_of_six_dialects_are_those_of_the_table() -> None:
    for dialect in DIALECTS:
        raised = [table[dialect] for table in (INVALID, FORBIDDEN, BUDGET, RATE)]
        kinds = (ErrorKind.UNAUTHENTICATED, ErrorKind.FORBIDDEN, ErrorKind.BUDGET, ErrorKind.RATE_LIMITED)
        cells = [refused(dialect, kind) for kind in kinds]
        assert [status for status, _ in cells] == [status for _, status in raised]
        words = [f"{status} `{word}`" if word else f"{status}" for status, word in cells]
        one_for_all = dialect in ("bedrock", "gemini")
        classes = "`ClientError`" if one_for_all else ", ".join(f"`{name}`" for name, _ in raised)
        assert row(f"`{dialect}`", *words, classes) in PAGE


def refused(dialect: str, kind: ErrorKind) -> tuple[int, str | None]:
    """(status, the word that programs go by)"""
    answer = PROTOCOLS[dialect].write_error(ErrorReport(kind=kind, message="No."), Hop())
    document = msgspec.json.decode(answer.body)
    match dialect:
        case "openai" | "responses":
            return answer.status, document["error"]["code"] or document["error"]["type"]
        case "anthropic":
            return answer.status, document["error"]["type"]
        case "gemini":
            details = document["error"].get("details")
            return answer.status, details[0]["reason"] if details else document["error"]["status"]
        case "bedrock":
            return answer.status, answer.headers["x-amzn-errortype"]
        case _:
            return answer.status, None


# --- the worked example

FIRST = {"input_tokens": 1500, "cache_creation_input_tokens": 8000, "output_tokens": 600}
LATER = {"input_tokens": 1500, "cache_read_input_tokens": 8000, "output_tokens": 600}
REQUEST_BYTES, MAX_TOKENS, FEWER_TOKENS = 40_000, 2000, 1000

CONFIG = """
listen: "127.0.0.1:0"
providers: {anthropic: {base_url: "<url>"}}
models: {sonnet: {provider: anthropic, upstream_model: claude-sonnet-4-5}}
governance: {enabled: true, db_path: "<database>", admin_token: "${ADMIN}", <more>}
"""


def configured(url: str, database: Path, more: str = "") -> Config:
    text = CONFIG.replace("<url>", url).replace("<database>", str(database)).replace("<more>", more)
    return loads(text, env={"ADMIN": ADMIN_TOKEN, "ANTHROPIC_API_KEY": "k"})


class Provider:
    """Answers with the usage of the example: the first request writes its prompt to the cache, later ones read it."""

    def __init__(self) -> None:
        self.answered = 0
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, _request: web.BaseRequest) -> web.Response:
        self.asked += 1
        await self.open.wait()
        usage = LATER if self.answered else FIRST
        self.answered += 1
        said = {"content": [{"type": "text", "text": "…"}], "stop_reason": "end_turn", "stop_sequence": None}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
        return web.json_response({**message, **said, "usage": usage})


class Example:
    """One key, with a budget of 25 cents a day."""

    def __init__(self, provider: Provider, http: aiohttp.ClientSession, key: Mapping[str, Any]) -> None:
        self.provider = provider
        self._http = http
        self._key = key

    async def ask(self, max_tokens: int = MAX_TOKENS) -> tuple[int, Any]:
        messages = [{"role": "user", "content": ""}]
        body = {"model": "sonnet", "max_tokens": max_tokens, "messages": messages}
        messages[0]["content"] = "x" * (REQUEST_BYTES - len(msgspec.json.encode(body)))
        raw = msgspec.json.encode(body)
        assert len(raw) == REQUEST_BYTES
        async with self._http.post("/v1/messages", data=raw, headers={"x-api-key": self._key["secret"]}) as response:
            return response.status, await response.json()

    async def usage(self) -> dict[str, Any]:
        async with self._http.get(f"/admin/keys/{self._key['id']}/usage", headers=ADMIN) as response:
            usage: dict[str, Any] = await response.json()
            return usage

    async def reserved(self) -> int:
        return nano((await self.usage())["budget"]["reserved_cents"])


def nano(cents: float) -> int:
    return round(cents * 10**7)


@asynccontextmanager
async def worked(folder: Path, *, more: str = "", made: Mapping[str, Any] | None = None) -> AsyncIterator[Example]:
    provider = Provider()
    server = web.ServerRunner(web.Server(provider))
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{server.addresses[0][1]}"
    config = configured(url, folder / "governance.db", more)
    async with BusbarGateway(config) as gateway, aiohttp.ClientSession(gateway.url) as http:
        if made is None:
            new = {"name": "dev", "max_budget_cents": 25, "budget_period": "daily"}
            async with http.post("/admin/keys", json=new, headers=ADMIN) as response:
                made = await response.json()
        yield Example(provider, http, made)
    await server.cleanup()


async def test_the_worked_example_is_what_happens(tmp_path: Path) -> None:
    told = section("A worked example")
    async with worked(tmp_path) as example:
        rows, spent, number = [], 0, 0
        while True:
            number += 1
            example.provider.open.clear()
            running = asyncio.create_task(example.ask())
            while example.provider.asked < number and not running.done():
                await asyncio.sleep(0.001)
            reserved = await example.reserved()
            example.provider.open.set()
            status, document = await running
            if status != 200:
                break
            before, spent = spent, (await example.usage())["spend_nanodollars"]
            left = nano((await example.usage())["budget"]["limit_cents"]) - spent
            rows.append(row(str(number), f"{reserved:,}", f"{spent - before:,}", f"{left:,}"))
        shown = rows[:2] + rows[-1:]
        assert "\n".join(shown[:2]) in told
        assert shown[2] in told
        assert f"Request {number} is refused" in told
        assert (status, document["error"]["type"]) == (402, "billing_error")
        assert without_time(document["error"]["message"]) in without_time(told)
        assert (await example.ask(FEWER_TOKENS))[0] == 200
        assert f"with `max_tokens` {FEWER_TOKENS}" in told


def test_the_sums_of_the_worked_example_are_those_of_the_tariff() -> None:
    told = " ".join(section("A worked example").split())
    tariff = tariff_of(configured("http://127.0.0.1:9", Path("unused.db")))

    def worst(input_tokens: int, output_tokens: int) -> int:
        return nanodollars(tariff.worst(("sonnet",), 0, input_tokens, output_tokens))

    def token(**kind: int) -> str:
        """Nano-dollars of one, as the page writes them."""
        return f"{nanodollars(tariff.price(UsageKey('vk', 0, 'sonnet', 0, False), Tokens(**kind))):,}"

    prompt = REQUEST_BYTES // BYTES_PER_TOKEN
    assert f"{REQUEST_BYTES:,} ÷ {BYTES_PER_TOKEN} = {prompt:,} tokens" in told
    sums = f"{worst(prompt, 0):,} + {worst(0, MAX_TOKENS):,} nano-dollars"
    assert f"{sums}: {worst(prompt, MAX_TOKENS) / 10**7:g} cents" in told
    fresh, output = f"1,500 × {token(input=1)}", f"600 × {token(output=1)}"
    assert f"{fresh} + 8,000 × {token(cache_write=1)} + {output}" in told
    assert f"{fresh} + 8,000 × {token(cache_read=1)} + {output}" in told
    assert f"it may cost {worst(prompt, FEWER_TOKENS) / 10**7:g} cents, and {79_300_000 / 10**7:g} are left" in told
    assert "| 79,300,000 |" in told


async def test_requests_that_run_at_the_same_time_share_what_is_left(tmp_path: Path) -> None:
    async with worked(tmp_path) as example:
        example.provider.open.clear()
        running = [asyncio.create_task(example.ask()) for _ in range(3)]
        done, pending = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        (status, document) = done.pop().result()
        example.provider.open.set()
        assert [status for status, _ in await asyncio.gather(*pending)] == [200, 200]
        assert status == 402
        assert without_time(document["error"]["message"]) in without_time(section("A worked example"))


async def test_a_corrected_price_corrects_the_past(tmp_path: Path) -> None:
    told = section("Prices")
    async with worked(tmp_path) as example:
        assert (await example.ask())[0] == 200
        before = await example.usage()
    corrected = "prices: {sonnet: {input: 2, output: 10, cache_read: 0.2, cache_write: 2.5, cache_write_1h: 4}}"
    async with worked(tmp_path, more=corrected, made={"id": before["id"], "secret": ""}) as example:
        after = await example.usage()
    assert before["tokens"] == after["tokens"]
    was, is_now = (f"{usage['spend_nanodollars']:,}" for usage in (before, after))
    assert f"{was} nano-dollars are {is_now}" in " ".join(told.split())


def without_time(text: str) -> str:
    return " ".join(re.sub(r"20\d\d-\d\d-\d\d", "…", text).replace("> ", "").split())


# --- what is charged, as far as no other test says it

SAID = "one two three four five six seven eight nine ten eleven twelve"
MESSAGES = [{"role": "user", "content": SAID}]


def pool(recovery: str) -> str:
    members = "[{target: cut, weight: 99}, {target: good}]"
    return f"pools: {{p: {{stream_recovery: '{recovery}', members: {members}}}}}"


async def charged(world: GovernedWorld, key: Key) -> list[tuple[str, int, int]]:
    """(model, prompt, answer), once nothing is running."""
    while (await world.stats())["governance"]["reservations"]:
        await asyncio.sleep(0.005)
    models: Sequence[Mapping[str, Any]] = (await world.usage(key))["models"]
    return [(model["model"], model["input_tokens"], model["output_tokens"]) for model in models]


async def test_a_stream_that_goes_on_is_charged_for_each_member_and_one_that_was_held_back_is_not(
    tmp_path: Path,
) -> None:
    models = {"cut": "anthropic:fault-cut", "good": "anthropic:demo"}
    for recovery, first in (("continue", [("cut", 12, 7)]), ("hold:2000", [])):
        folder = tmp_path / recovery[:4]
        folder.mkdir()
        async with GovernedWorld(folder, models, pool(recovery)) as world:
            key = await world.key()
            async with speak("anthropic", world, key=key.secret) as speaker:
                await speaker.ask("p", hello(SAID), streamed=True)
            assert await charged(world, key) == [*first, ("good", 12, 14)]
            assert (await world.usage(key))["requests"] == 1


async def test_counting_tokens_costs_nothing_but_a_place_in_the_window(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as world:
        key = await world.key(max_budget_cents=0, rpm_limit=1)
        body = {"model": "claude", "messages": MESSAGES}
        answers = [await world.post("/v1/messages/count_tokens", body, {"x-api-key": key.secret}) for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 429]
        assert await charged(world, key) == []


async def test_a_caller_who_leaves_before_the_first_word_is_charged_for_the_prompt(tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path, {"slow": "anthropic:fault-slow"}) as world:
        key = await world.key()
        body = {"model": "slow", "max_tokens": 50, "messages": MESSAGES}
        leaving = asyncio.create_task(world.post("/v1/messages", body, {"x-api-key": key.secret}))
        while not world.providers.requests:
            await asyncio.sleep(0.005)
        leaving.cancel()
        prompt = len(msgspec.json.encode(body)) // 4
        ((model, input_tokens, output_tokens),) = await charged(world, key)
        assert (model, output_tokens) == ("slow", 0)
        assert prompt <= input_tokens <= prompt * 1.2  # aiohttp writes JSON with spaces
