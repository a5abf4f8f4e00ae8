"""The page's files as they are served, and what must hold for them without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from yarl import URL

from busbar.http.ui import CONTENT_TYPES
from tests.e2e.world import World

FOLDER = Path(__file__).parents[2] / "busbar/ui"
SCRIPTS = sorted(FOLDER.glob("*.js"))

GROUNDS = ("page", "card", "raised")
TEXTS = ("ink", "soft", "closed", "half", "open", "load")
READABLE = 4.5
"""WCAG 2.2, 1.4.3: the least contrast of text."""


def test_every_file_of_the_folder_is_served_and_no_other() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == set(CONTENT_TYPES)


async def test_the_files_come_with_their_type_and_a_strict_policy() -> None:
    async with World() as world:
        for name, content_type in CONTENT_TYPES.items():
            async with world.http.get(f"/ui/{name}") as response:
                assert (response.status, response.headers["content-type"]) == (200, content_type)
                assert response.headers["x-content-type-options"] == "nosniff"
                assert response.headers["content-security-policy"].startswith("default-src 'self';")
                assert "unsafe" not in response.headers["content-security-policy"]
                assert await response.read() == (FOLDER / name).read_bytes()


async def test_the_folder_is_the_page_and_the_name_leads_to_it() -> None:
    async with World() as world:
        async with world.http.get("/ui", allow_redirects=False) as response:
            assert (response.status, response.headers["location"]) == (302, "ui/")
        async with world.http.get("/ui") as response:
            assert (response.url.path, await response.text()) == ("/ui/", (FOLDER / "index.html").read_text())
        async with world.http.head("/ui/") as response:
            assert (response.status, await response.read()) == (200, b"")
        async with world.http.post("/ui/") as response:
            assert response.status == 405


async def test_a_file_that_the_caller_has_is_not_sent_again() -> None:
    async with World() as world:
        async with world.http.get("/ui/app.js") as response:
            tag = response.headers["etag"]
            assert response.headers["cache-control"] == "no-cache"
        for known in (tag, f'"other", W/{tag}'):
            async with world.http.get("/ui/app.js", headers={"if-none-match": known}) as response:
                assert (response.status, await response.read()) == (304, b"")
        async with world.http.get("/ui/app.js", headers={"if-none-match": '"other"'}) as response:
            assert response.status == 200


@pytest.mark.parametrize("path", ["ui.py", "%2e%2e/gateway.py", "..%2fgateway.py", "app.js/", "app.js%00", ".", "x"])
async def test_nothing_else_is_there(path: str) -> None:
    async with World() as world, world.http.get(URL(f"{world.gateway.url}/ui/{path}", encoded=True)) as response:
        assert response.status == 404
        assert b"import" not in await response.read()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_html_of_text_or_asks_another_host(script: Path) -> None:
    text = script.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|https?:", text
    )
    assert len(text.splitlines()) <= 300


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_every_ground(theme: str) -> None:
    blocks = re.findall(r":root \{(.*?)\}", (FOLDER / "ui.css").read_text(), re.S)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    colours = light if theme == "light" else dark
    pairs = {(text, ground): contrast(colours[text], colours[ground]) for text in TEXTS for ground in GROUNDS}
    pairs |= {("card", ground): contrast(colours["card"], colours[ground]) for ground in ("open", "load")}
    assert {pair: ratio for pair, ratio in pairs.items() if ratio < READABLE} == {}


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: of 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
