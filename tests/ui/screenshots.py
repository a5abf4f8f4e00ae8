"""The pictures in `docs/screenshots`: python -m tests.ui.screenshots [FOLDER]"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.e2e.governed import ADMIN_TOKEN

from .browser import Browser, Page
from .scene import scene

FOLDER = Path(__file__).parents[2] / "docs/screenshots"
TRAFFIC_SECS = 30.0

VIEWS = {"light": (1360, "light"), "dark": (1360, "dark"), "narrow": (375, "light")}
"""(width in CSS pixels, theme) by name."""


async def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as database:
        async with scene(Path(database), TRAFFIC_SECS) as world, Browser.start() as browser:
            page = await browser.open(world.gateway.url + "/ui", width=1360)
            await page.until("document.querySelector('dialog[open]')")
            await page.type(ADMIN_TOKEN)
            await page.press("Enter")
            await page.until("document.querySelector('[data-state=half_open]')")
            await page.click("[data-member=gemini-flash] [data-fault='429']")
            await _open_a_failover(page)
            await page.click("#messages-box summary")
            for name, (width, theme) in VIEWS.items():
                await page.media({"prefers-color-scheme": theme})
                await page.resize(width, 900)
                await asyncio.sleep(0.7)
                await page.screenshot(folder / f"{name}.png")


async def _open_a_failover(page: Page) -> None:
    failover = "[...document.querySelectorAll('.request')].find((it) => it.textContent.includes('failover'))"
    await page.until(failover, secs=20)
    await page.evaluate(f"{failover}.click()")
    await page.until("document.querySelector('.steps')")
    await page.until("document.querySelector('#notice').hidden")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
