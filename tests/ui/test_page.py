"""The live page as people use it: in a real browser, in front of a real gateway and its actors."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from busbar.config import loads
from busbar.gateway import BusbarGateway
from tests.e2e.governed import ADMIN_TOKEN, GovernedWorld
from tests.e2e.world import World

from .browser import Browser, Page, find

pytestmark = [
    pytest.mark.skipif(find() is None, reason="there is no Chromium here"),
    pytest.mark.asyncio(loop_scope="module"),
]

BREAKER = "breaker: {base_cooldown_secs: 1, max_cooldown_secs: 1, trip: {mode: consecutive, consecutive_n: 1}}"
POOL = f"pools: {{fast: {{members: [{{target: shaky, weight: 1000000}}, {{target: steady}}], {BREAKER}}}}}\n"
ADMIN = "governance: {admin_token: '${ADMIN}'}\n"
OPEN_STATS = "auth: {open_telemetry_routes: true}\n"

LINE = "document.querySelector('[data-circuit=\"pool fast → {}\"]')"


def world(shaky: str = "openai:demo", config: str = POOL) -> World:
    """`shaky` is asked first, `steady` when it is out."""
    return World({"shaky": shaky, "steady": "anthropic:demo"}, config + ADMIN, env={"ADMIN": ADMIN_TOKEN})


async def ask(here: World, model: str = "fast", **headers: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    return (await here.post("/v1/chat/completions", body, headers)).status


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with Browser.start() as running:
        yield running


async def live(browser: Browser, here: World, **more: Any) -> Page:
    """The page, once it draws."""
    page = await browser.open(here.gateway.url + "/ui", **more)
    await page.until("document.querySelector('#connection').dataset.state === 'live'")
    await page.until("document.querySelector('.circuit, .member')")
    return page


async def give_token(page: Page, token: str = ADMIN_TOKEN) -> None:
    await page.until("document.querySelector('dialog[open]')")
    await page.type(token)
    await page.press("Enter")


async def test_a_breaker_is_seen_to_open_to_be_probed_and_to_close(browser: Browser) -> None:
    """By real traffic: one failure trips it, the first request after the cooldown is its probe, and a slow one."""
    async with world("openai:fault-slow") as here:
        page = await live(browser, here)
        await page.until(f"{LINE.format('shaky')}.dataset.state === 'closed'")
        await page.evaluate(
            """window.seen = []; const said = document.querySelector("#announcer");
            new MutationObserver(() => seen.push(said.textContent)).observe(said, {childList: true, subtree: true})"""
        )
        await page.click("[data-member=shaky] [data-fault='500']")
        await give_token(page)
        await page.until("document.querySelector('[data-member=shaky] [aria-pressed=true]')")
        assert await ask(here) == 200
        await page.until(f"{LINE.format('shaky')}.dataset.state === 'open'")
        assert (await page.text("[data-member=shaky] .told")).startswith("fast: open · ")
        assert (await page.text("#circuits-summary")) == "2 circuits · 1 open"
        await page.click("[data-member=shaky] .lift")
        await page.until("document.querySelector('[data-member=shaky] .told').innerText.endsWith('a probe is due')")
        probe = asyncio.create_task(ask(here))
        await page.until(f"{LINE.format('shaky')}.dataset.state === 'half_open'")
        assert await page.text("[data-member=shaky] .told") == "fast: half-open · probing"
        assert await page.text("[data-member=shaky] .load") == "1 of 20 slots"
        here.providers.release()
        assert await probe == 200
        await page.until(f"{LINE.format('shaky')}.dataset.state === 'closed'")
        assert await page.text("#circuits-summary") == "2 circuits · all closed"
        await page.until("seen.some((said) => said.includes('shaky in fast is closed'))")
        assert page.errors == []
        assert set(page.refused) == {"401 /admin/faults"}
        await page.close()


async def test_a_fault_counts_down_and_is_lifted(browser: Browser) -> None:
    async with world() as here:
        page = await live(browser, here)
        await page.click("[data-member=steady] [data-fault=freeze]")
        await give_token(page, "wrong")
        await page.until("document.querySelector('#token-error').innerText.includes('not accepted')")
        await give_token(page)
        running = "document.querySelector('[data-member=steady] .running').innerText"
        await page.until(f"/^frozen · (60|59) s$/.test({running})")
        await page.until(f"/^frozen · 5\\d s$/.test({running})")
        await page.click("[data-member=steady] .lift")
        await page.until(f"{running} === ''")
        assert await page.evaluate("document.querySelector('[data-member=steady] .lift').hidden")
        assert page.errors == []
        await page.close()


async def test_a_fault_is_injected_with_the_keyboard_alone(browser: Browser) -> None:
    async with world() as here:
        page = await live(browser, here)
        await page.evaluate(f"sessionStorage.setItem('busbar-token-admin', '{ADMIN_TOKEN}')")
        await page.until("document.querySelector('#faults-note').innerText !== ''")
        order = []
        for _ in range(30):
            await page.press("Tab")
            at = "document.activeElement"
            order.append(await page.evaluate(f"{at}.dataset.fault ?? {at}.className"))
            outline = await page.evaluate(f"getComputedStyle({at}).outlineStyle")
            assert outline == "solid", order
            if order[-1] == "cut":
                break
        assert order == ["skip", "429", "500", "freeze", "cut"]
        await page.press("Enter")
        pressed = "document.querySelector('[aria-pressed=true]')"
        await page.until(pressed)
        assert await page.evaluate(f"document.activeElement === {pressed}")
        await page.press("Tab")
        assert await page.evaluate("document.activeElement.className") == "lift"
        await page.press("Enter")
        await page.until(f"!{pressed}")
        assert await page.evaluate("document.activeElement.dataset.fault") == "429", "the focus is not lost"
        assert page.errors == []
        await page.close()


async def test_a_request_opens_its_decisions(browser: Browser) -> None:
    async with world("openai:fault-500") as here:
        page = await live(browser, here)
        assert await ask(here) == 200
        await page.until("document.querySelector('.request')")
        assert "fast → steady" in await page.text(".request")
        await page.evaluate("document.querySelector('.request').focus()")
        await page.press("Enter")
        await page.until("document.querySelectorAll('.steps li').length === 2")
        # A machine that is busy makes it wait for a millisecond, and then that is told.
        told = re.sub(r", after waiting [\d.]+ ms", "", await page.text(".steps"))
        steps = re.sub(r"[\d.]+ ms", "… ms", told).split("\n")
        assert [line for line in steps if line] == [
            "fast chose shaky by weighted at … ms",
            "server error after … ms · status 500 · server_error",
            "not chosen: steady: not its turn",
            "fast chose steady by weighted at … ms",
            "ok after … ms · first byte … ms",
            "not chosen: shaky: tried already",
        ]
        assert await page.evaluate("document.querySelector('.request').getAttribute('aria-expanded')") == "true"
        assert await ask(here) == 200
        await page.until("document.querySelector('#requests-note').innerText === 'held while one is open · 1 newer'")
        await page.press("Enter")
        await page.until("document.querySelectorAll('.request').length === 2")
        assert page.errors == []
        await page.close()


async def test_who_has_no_token_is_asked_for_it_and_keys_are_shown(browser: Browser, tmp_path: Path) -> None:
    async with GovernedWorld(tmp_path) as here:
        key = await here.key("a <b>team</b>", max_budget_cents=500, rpm_limit=10)
        page = await browser.open(here.gateway.url + "/ui")
        await page.until("document.querySelector('dialog[open]')")
        assert await page.evaluate("document.activeElement.id") == "token-input"
        await page.press("Escape")
        await page.until("document.querySelector('#connection').dataset.state === 'locked'")
        await page.click("#unlock")
        await give_token(page)
        await page.until("document.querySelector('#connection').dataset.state === 'live'")
        assert await ask(here, "claude", authorization=f"Bearer {key.secret}") == 200
        await page.until("document.querySelector('.key')?.innerText.includes('1 of 10')")
        shown = await page.text(".key")
        assert "a <b>team</b>" in shown
        assert "of $5.00" in shown
        assert await page.evaluate("localStorage.length + document.cookie.length") == 0
        await page.evaluate("location.reload()")
        await page.until("document.querySelector('#connection')?.dataset.state === 'live'")
        assert page.errors == []
        await page.close()


async def test_the_page_comes_back_when_the_gateway_does(browser: Browser) -> None:
    connection = "document.querySelector('#connection').dataset.state"
    async with world() as here:
        page = await live(browser, here)
        port = here.gateway.port
    await page.until(f"{connection} === 'reconnecting'")
    assert await page.evaluate("document.querySelectorAll('.member').length") == 2, (
        "what was known last is still there"
    )
    text = f"listen: '127.0.0.1:{port}'\nproviders: {{openai: {{}}}}\nmodels: {{other: {{provider: openai}}}}\n"
    async with BusbarGateway(loads(text, env={"OPENAI_API_KEY": "unused"})):
        await page.until("document.querySelector('.member').dataset.member === 'other'")
        assert await page.evaluate(connection) == "live"
    assert page.errors == []
    await page.close()


async def test_it_fits_a_phone_and_goes_dark(browser: Browser) -> None:
    long = "a-member-with-a-name-that-is-rather-long-as-such-names-go-2026-11-20"
    async with World({long: "openai:demo"}, f"pools: {{fast: {{members: [{{target: {long}}}]}}}}") as here:
        page = await live(browser, here, width=375, height=812)
        assert await ask(here) == 200
        await page.until("document.querySelector('.request')")
        await page.click(".request")
        await page.until("document.querySelector('.steps')")
        assert await page.evaluate("document.documentElement.scrollWidth") == 375
        ground = "getComputedStyle(document.body).backgroundColor"
        await page.media({"prefers-color-scheme": "light"})
        light = await page.evaluate(ground)
        await page.media({"prefers-color-scheme": "dark", "prefers-reduced-motion": "reduce"})
        dark = await page.evaluate(ground)
        assert (light, dark) == ("rgb(244, 243, 240)", "rgb(16, 19, 22)")
        assert await page.evaluate("getComputedStyle(document.querySelector('.flow')).animationName") == "none"
        assert page.errors == []
        await page.close()


async def test_everything_that_can_be_operated_has_a_name(browser: Browser) -> None:
    async with world() as here:
        page = await live(browser, here)
        assert await ask(here) == 200
        await page.until("document.querySelector('.request')")
        nodes = (await page.call("Accessibility.getFullAXTree"))["nodes"]
        named = [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]
        ]
        operated = [
            (role, name) for role, name in named if role in ("button", "link", "textbox", "image", "searchbox")
        ]
        assert [role for role, name in operated if not name.strip()] == []
        names = [name for role, name in operated if role == "button"]
        assert len(names) == len(set(names))
        assert "429: shaky refuses every request for 60 seconds" in names
        assert ("image", "The circuits of the gateway") in operated
        await page.close()


async def test_three_hundred_members_are_drawn_at_once(browser: Browser) -> None:
    models = {f"model-{number:03}": "openai:demo" for number in range(300)}
    targets = [f"{{target: {name}}}" for name in models]
    pools = (
        "pools: {" + ", ".join(f"p{at}: {{members: [{', '.join(targets[at : at + 150])}]}}" for at in (0, 150)) + "}"
    )
    async with World(models, pools) as here:
        began = time.monotonic()
        page = await live(browser, here)
        took = time.monotonic() - began
        assert took < 2
        assert await page.evaluate("document.querySelectorAll('.circuit').length") == 30
        assert await page.text("#diagram-more") == "and 270 more circuits"
        assert await page.text("#members-more") == "and 260 more members; the filter finds them"
        await page.evaluate("document.querySelector('#members-filter').focus()")
        await page.type("model-299")
        await page.until("document.querySelectorAll('.member').length === 1")
        assert page.errors == []
        await page.close()


async def test_it_says_why_it_shows_nothing_and_why_nothing_can_be_broken(browser: Browser) -> None:
    async with World(config="auth: {mode: passthrough}\n") as here:
        page = await browser.open(here.gateway.url + "/ui")
        await page.until(
            "document.querySelector('#connection').innerText.startsWith('Set auth.open_telemetry_routes')"
        )
        await page.close()
    async with World() as here:
        page = await live(browser, here)
        await page.until("document.querySelector('#faults-note').innerText.includes('governance.admin_token')")
        assert not await page.evaluate("document.querySelector('[data-fault]').checkVisibility()")
        assert page.errors == []
        await page.close()
