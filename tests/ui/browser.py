"""A real Chromium without a window, driven over the DevTools protocol.

async with Browser.start() as browser:
    page = await browser.open(url)
    await page.until("document.title === 'Busbar'")
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import msgspec
from yarl import URL

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

FLAGS = (
    *("--headless=new", "--no-sandbox", "--remote-debugging-port=0", "--disable-gpu", "--mute-audio"),
    *("--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--password-store=basic", "--disable-features=Translate,MediaRouter,OptimizationHints"),
)

START_SECS = 20.0
ANSWER_SECS = 15.0
MESSAGE_BYTES_MAX = 64 * 1024 * 1024

_KEYS: Mapping[str, tuple[str, int, str]] = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    " ": ("Space", 32, " "),
}
"""Keys that are more than their letter: (code, number, text)."""


def find() -> str | None:
    """The browser of this machine."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


class PageError(AssertionError):
    """What was asked of the page failed, or did not come true in time."""


class Browser:
    """One process with a profile of its own, which is gone afterwards. Each page has its own cookies and storage."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._number = 0

    @classmethod
    def start(cls) -> Browser:
        path = find()
        assert path is not None, "there is no browser here"
        return cls(path)

    async def __aenter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(prefix="busbar-browser-", ignore_cleanup_errors=True)
        self._process = await asyncio.create_subprocess_exec(
            self._path,
            *FLAGS,
            f"--user-data-dir={self._profile.name}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            address = await self._address()
            self._http = aiohttp.ClientSession()
            self._socket = await self._http.ws_connect(address, max_msg_size=MESSAGE_BYTES_MAX)
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()
        await self._http.close()
        self._end(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._end(signal.SIGKILL)
            await self._process.wait()
        self._profile.cleanup()

    async def open(
        self, url: str, *, width: int = 1280, height: int = 900, media: Mapping[str, str] | None = None
    ) -> Page:
        """A new page, with the document of `url` in it. `media`: features it is told, like prefers-color-scheme."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = (await self.call("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = self._pages[session] = Page(self, session, context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        await page.resize(width, height)
        if media:
            await page.media(media)
        await page.call("Page.navigate", url=url)
        await page.until("location.href !== 'about:blank' && document.readyState === 'complete'")
        return page

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        answer = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(msgspec.json.encode(message).decode())
        try:
            return await asyncio.wait_for(answer, ANSWER_SECS)
        except TimeoutError:
            raise PageError(f"{method}: no answer within {ANSWER_SECS} s") from None

    async def close(self, page: Page) -> None:
        del self._pages[page.session]
        await self.call("Target.disposeBrowserContext", browserContextId=page.context)

    async def _address(self) -> str:
        """The browser writes it into its profile as soon as it listens."""
        file = Path(self._profile.name) / "DevToolsActivePort"
        async with asyncio.timeout(START_SECS):
            while not (file.exists() and len(lines := file.read_text().split()) == 2):
                if self._process.returncode is not None:
                    raise PageError(f"{self._path} ended with {self._process.returncode}")
                await asyncio.sleep(0.02)
        return f"ws://127.0.0.1:{lines[0]}{lines[1]}"

    async def _read(self) -> None:
        async for frame in self._socket:
            message = msgspec.json.decode(frame.data)
            if "id" not in message:
                page = self._pages.get(message.get("sessionId", ""))
                if page is not None:
                    page.told(message["method"], message["params"])
            elif not (answer := self._waiting.pop(message["id"])).done():
                if "error" in message:
                    answer.set_exception(PageError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])

    def _end(self, how: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(how)


class Page:
    """One page. `errors` is what went wrong in it: exceptions, console errors, what its security policy refused.
    `refused` are the answers of 400 and above that it got: "401 /stats/stream"."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self.session = session
        self.context = context
        self.errors: list[str] = []
        self.refused: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self._browser.call(method, self.session, **params)

    def told(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.errors.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))
            case "Network.responseReceived" if params["response"]["status"] >= 400:
                answer = params["response"]
                self.refused.append(f"{answer['status']} {URL(answer['url']).path}")
            case "Log.entryAdded" if params["entry"]["level"] == "error" and params["entry"]["source"] != "network":
                entry = params["entry"]
                self.errors.append(f"{entry['text']} {entry.get('url', '')}".strip())

    async def evaluate(self, expression: str) -> Any:
        """Its value, promises awaited. Raises `PageError` when it throws."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise PageError(answer["exceptionDetails"].get("exception", {}).get("description", expression))
        return answer["result"].get("value")

    async def until(self, condition: str, secs: float = 8.0) -> None:
        """Waits for an expression to be true, as JavaScript has it."""
        try:
            async with asyncio.timeout(secs):
                while not await self.evaluate(f"Boolean({condition})"):
                    await asyncio.sleep(0.03)
        except TimeoutError:
            seen = await self.evaluate("document.body.innerText")
            raise PageError(f"not within {secs} s: {condition}\nerrors: {self.errors}\n{seen[:4000]}") from None

    async def text(self, selector: str) -> str:
        return str(await self.evaluate(f"document.querySelector({_quoted(selector)}).innerText"))

    async def click(self, selector: str) -> None:
        """With the mouse, in the middle of it: so it must be on the page, and nothing above it."""
        where = await self.evaluate(
            f"""(async () => {{
              const it = document.querySelector({_quoted(selector)});
              if (!it) return null;
              it.scrollIntoView({{block: "center", behavior: "instant"}});
              await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
              const box = it.getBoundingClientRect();
              const x = box.x + box.width / 2, y = box.y + box.height / 2;
              const top = document.elementFromPoint(x, y);
              return it === top || it.contains(top) ? [x, y] : [];
            }})()"""
        )
        if not where:
            raise PageError(f"{selector} is {'covered' if where == [] else 'not there'}")
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1
            )

    async def press(self, key: str) -> None:
        code, number, text = _KEYS[key]
        named = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        await self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **named)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    async def type(self, text: str) -> None:
        """Into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def resize(self, width: int, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def media(self, features: Mapping[str, str]) -> None:
        named = [{"name": name, "value": value} for name, value in features.items()]
        await self.call("Emulation.setEmulatedMedia", features=named)

    async def screenshot(self, path: Path, *, height_max: int = 4000) -> None:
        """The whole page, down to `height_max` CSS pixels."""
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], height_max), "scale": 1}
        answer = await self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    async def close(self) -> None:
        await self._browser.close(self)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
