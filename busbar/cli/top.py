"""`busbar top`: the live page at the terminal."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from busbar.cli.administering import URL, Refused, WrongUsage
from busbar.cli.options import Commands, run
from busbar.cli.top_screen import screen, text
from busbar.platforms import this_platform

if TYPE_CHECKING:
    import aiohttp

    from busbar.http.live_patch import Picture

ANSWER_SECS = 10.0
"""For the first picture to come."""

SILENCE_SECS = 45.0
"""Three heartbeats: after that the connection is dead, whatever it says."""

RETRY_SECS = 2.0
EVENT_BYTES_MAX = 64 << 20
WIDTH_ONCE = 160
"""Of a picture that is printed where nobody says how wide it is."""

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The terminal's other screen, without a cursor; and back, with everything as it was."""

Reading: TypeAlias = "AsyncIterator[Picture]"


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "top",
        help="watch a running gateway",
        description="Shows rates, pools, breakers, slots, keys, actors and requests of a running gateway, as they "
        "change. q or Ctrl-C ends it. Where the output is no terminal, one picture is printed.",
    )
    command.add_argument("--url", help=f"the running gateway (default: $BUSBAR_URL, {URL})")
    command.add_argument(
        "--admin-token",
        "--token",
        dest="token",
        metavar="TOKEN",
        help="what /stats wants to see there: its governance.admin_token, or a client token ($BUSBAR_ADMIN_TOKEN)",
    )
    command.add_argument("--once", action="store_true", help="print one picture, as plain text, and stop")
    command.add_argument(
        "--interval", type=_interval, default=0.5, metavar="SECS", help="draw so often at most (default: %(default)s)"
    )
    command.set_defaults(run=top)


def _interval(written: str) -> float:
    secs = float(written)
    if not 0.1 <= secs <= 60:
        raise argparse.ArgumentTypeError("expected a number of seconds from 0.1 to 60")
    return secs


def top(arguments: argparse.Namespace) -> int:
    once = arguments.once or not sys.stdout.isatty() or os.environ.get("TERM") in (None, "", "dumb")
    try:
        run(_once(arguments) if once else _watch(arguments))
    except WrongUsage as wrong:
        print(wrong, file=sys.stderr)
        return 2
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0  # that is how one leaves
    return 0


async def _once(arguments: argparse.Namespace) -> None:
    async with _gateway(arguments) as (http, url), _pictures(http, url) as pictures:
        picture = await anext(pictures, None)
    if picture is None:
        raise Unreachable(f"{url} is about to stop")
    width = shutil.get_terminal_size((WIDTH_ONCE, 0)).columns
    print("\n".join(text(screen(picture, url, width), colour=False)))


async def _watch(arguments: argparse.Namespace) -> None:
    async with _gateway(arguments) as (http, url):
        seen = asyncio.Event()
        view = _View(url)
        reading = asyncio.create_task(_read(http, url, view, seen))
        try:
            first = asyncio.create_task(seen.wait())
            # Before there is a picture the terminal is left alone: what is wrong can be said in plain words.
            await asyncio.wait({reading, first}, return_when=asyncio.FIRST_COMPLETED)
            first.cancel()
            if reading.done():
                return await reading
            with _terminal(view):
                drawing = asyncio.create_task(_draw(view, arguments.interval))
                leaving = asyncio.create_task(view.left())
                tasks = {drawing, leaving, reading}
                done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in pending:
                    task.cancel()
            for task in done:
                await task
        finally:
            reading.cancel()


class _View:
    """What is to be shown, and whether it is still wanted."""

    def __init__(self, url: str) -> None:
        self.where = url
        self.picture: Picture | None = None
        self.changed = asyncio.Event()
        self.leave = asyncio.Event()

    async def left(self) -> None:
        await self.leave.wait()

    def show(self, picture: Picture) -> None:
        self.picture = picture
        self.changed.set()

    def say(self, words: str) -> None:
        self.where = words
        self.changed.set()


async def _read(http: aiohttp.ClientSession, url: str, view: _View, seen: asyncio.Event) -> None:
    """Follows the gateway over its restarts. Raises `Refused` when it cannot be followed from the start, or does not
    let us any more."""
    while True:
        try:
            async with _pictures(http, url) as pictures:
                async for picture in pictures:
                    view.where = url
                    view.show(picture)
                    seen.set()
            view.say(f"{url}: it has ended; looking for it again")
        except Unreachable as gone:
            if not seen.is_set():
                raise
            view.say(f"{gone}; trying again")
        await asyncio.sleep(RETRY_SECS)


async def _draw(view: _View, interval_secs: float) -> None:
    colour = not os.environ.get("NO_COLOR")
    while True:
        await view.changed.wait()
        view.changed.clear()
        if view.picture is not None:
            size = shutil.get_terminal_size()
            lines = text(screen(view.picture, view.where, size.columns, size.lines - 1), colour=colour)
            sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
            sys.stdout.flush()
        await asyncio.sleep(interval_secs)


@contextmanager
def _terminal(view: _View) -> Iterator[None]:
    """Its other screen, keys as they are pressed, and a new drawing when its size changes."""
    here, handlers = this_platform(), {signal.SIGTERM: view.leave.set}
    if resized := getattr(signal, "SIGWINCH", None):  # Windows has none: the next picture has the new size
        handlers[resized] = view.changed.set
    for number, handler in handlers.items():
        here.add_signal_handler(number, handler)
    sys.stdout.write(ENTER)
    try:
        with _keys(view):
            yield
    finally:
        for number in handlers:
            here.remove_signal_handler(number)
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


@contextmanager
def _keys(view: _View) -> Iterator[None]:
    if not sys.stdin.isatty() or sys.platform == "win32":  # Ctrl-C is left
        yield
        return
    import termios  # not everywhere, and only for this
    import tty

    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(stdin)

    def pressed() -> None:
        keys = os.read(stdin, 64)
        if b"q" in keys or not keys:
            view.leave.set()

    tty.setcbreak(stdin)
    loop.add_reader(stdin, pressed)
    try:
        yield
    finally:
        loop.remove_reader(stdin)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


# --- the gateway


class Unreachable(Refused):
    """There is no answer, or it broke off: it may be there again later."""


@asynccontextmanager
async def _gateway(arguments: argparse.Namespace) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    import aiohttp

    url = (arguments.url or os.environ.get("BUSBAR_URL") or URL).rstrip("/")
    token = arguments.token or os.environ.get("BUSBAR_ADMIN_TOKEN") or ""
    if not re.match(r"https?://[^/]", url):
        raise WrongUsage(f"--url: expected something like {URL}, not {url!r}")
    if not re.fullmatch(r"[\x21-\x7e]*", token):
        raise WrongUsage("the token has characters that no token has")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECS, sock_read=SILENCE_SECS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        yield http, url


@asynccontextmanager
async def _pictures(http: aiohttp.ClientSession, url: str) -> AsyncIterator[Reading]:
    """The state, and again each time that it has changed. Raises `Refused`, `Unreachable`."""
    import aiohttp

    from busbar.protocols.framing import FrameTooLarge

    try:
        # The token goes where it was meant to go, and nowhere else.
        async with http.get(f"{url}/stats/stream", allow_redirects=False) as answer:
            if answer.status != 200:
                raise _refused(url, answer.status)
            if answer.content_type != "text/event-stream":
                raise Refused(f"{url} answers, but not as a gateway does")
            yield _read_pictures(answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unreachable(f"{url} does not answer: {error or 'it takes too long'}") from None
    except (msgspec.DecodeError, FrameTooLarge, KeyError):
        raise Refused(f"{url} answers, but not as a gateway of this version does") from None


def _refused(url: str, status: int) -> Refused:
    match status:
        case 401:
            return Refused(f"{url} wants a token that is valid: --admin-token, or better $BUSBAR_ADMIN_TOKEN")
        case 403:
            return Refused(f"{url} shows this to nobody: set auth.open_telemetry_routes there")
        case 404:
            return Refused(f"{url} has no such page: it is no gateway, or an older one")
        case 503:
            return Unreachable(f"{url} has too many readers already, or is about to stop")
        case _:
            return Refused(f"{url} answers with {status}")


async def _read_pictures(answer: aiohttp.ClientResponse) -> AsyncIterator[Picture]:
    from busbar.http.live_patch import apply
    from busbar.protocols.framing.sse import SseDecoder

    decoder = SseDecoder(EVENT_BYTES_MAX)
    picture: Picture = {}
    async for data in answer.content.iter_any():
        for event in decoder.feed(data):
            document = msgspec.json.decode(event.data)
            picture = document if event.event == "snapshot" else apply(picture, document)
            yield picture
