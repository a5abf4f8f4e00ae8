"""docs/concepts.md, held to a running gateway: its example is run, and `/stats` says what the page shows of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.test_docs import ADDRESS, demo, run

PAGE = (Path(__file__).parent.parent / "docs" / "concepts.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)
    return str(found)


def part_of(whole: Any, shown: Any) -> Any:
    """As much of `whole` as the page shows. Members and actors are found by their names."""
    if isinstance(shown, dict):
        return {key: part_of(whole[key], value) for key, value in shown.items()}
    if isinstance(shown, list) and shown and isinstance(shown[0], dict):
        name = "model" if "model" in shown[0] else "name"
        by_name = {entry[name]: entry for entry in whole}
        return [part_of(by_name[entry[name]], entry) for entry in shown]
    return whole


async def test_the_example_leaves_the_state_that_the_page_shows(tmp_path: Path) -> None:
    async with demo(tmp_path) as there:
        script = block("python")
        assert ADDRESS in script
        code, output = await run(there.env, sys.executable, "-c", there.here(script))
        assert code == 0, output
        async with aiohttp.ClientSession(there.url) as http, http.get("/stats") as answer:
            stats = await answer.json()
        said = output.splitlines()
    assert (said[0], said[-1]) == ("claude-demo", "[('gpt-broken', 'server_error'), ('claude-demo', 'ok')]")
    assert f"# {said[-1]}" in script
    shown = msgspec.json.decode(block("json"))
    assert part_of(stats, shown) == shown


async def test_the_tree_on_the_page_is_that_of_the_actors(tmp_path: Path) -> None:
    async with demo(tmp_path) as there:
        headers = {"x-admin-token": "the-operators-own"}
        async with aiohttp.ClientSession(there.governed_url, headers=headers) as http, http.get("/stats") as answer:
            actors = (await answer.json())["actors"]
        async with aiohttp.ClientSession(there.url) as http, http.get("/stats") as answer:
            actors += (await answer.json())["actors"]
    running = {actor["name"].partition(":")[0] for actor in actors}
    (tree,) = re.findall(r"^```\n(gateway\n.*?)^```", PAGE, re.S | re.M)
    named = {
        word.partition(":")[0] for word in re.findall(r"[a-z-]+(?:(?=[:,\n])|(?= {2}))", re.sub(r" {2,}.*", "", tree))
    }
    assert running <= named
    assert named - running <= {"request-log", "traces", "credentials"}  # those need something to be configured
