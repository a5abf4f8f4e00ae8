"""`busbar top`: what it draws, how it fits a terminal, and what it says when there is nothing to draw."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from e2e.governed import ADMIN_TOKEN, GovernedWorld
from e2e.world import World

from busbar.cli import main
from busbar.cli.top_screen import bar, fair, screen, sparkline, text
from busbar.gateway import BusbarGateway

WHERE = "http://127.0.0.1:8080"


def picture(**sections: Any) -> dict[str, Any]:
    """One of a gateway where a little of everything is going on."""
    closed = {"state": "closed", "streak": 0, "cooldown_remaining_s": 0, "probe_in_flight": False}
    member = {"provider": "p", "protocol": "openai", "slots": 20, "client_fault": 0, "cell": closed, "faults": []}
    figures = {"requests_per_s": 12.5, "errors_per_s": 0.0, "p50_ms": 5.0, "p95_ms": 9.5, "ttft_p50_ms": None}
    return {
        "now": 1000.0,
        "gateway": {"draining": False, "version": "1.2.3"},
        "pools": [
            {
                "name": "smart",
                "strategy": "weighted",
                "waiting": 2,
                "members": [
                    {"model": "gpt", "weight": 3, "excluded": False, "cell": closed}
                    | {"availability": "available", "picks": 7},
                    {"model": "claude", "weight": 1, "excluded": False, "availability": "breaker_open", "picks": 1}
                    | {"cell": {"state": "open", "streak": 2, "cooldown_remaining_s": 14, "probe_in_flight": False}},
                ],
            }
        ],
        "members": [
            {**member, "model": "gpt", "busy": 5, "ok": 7, "err": 0, "availability": "available"},
            {**member, "model": "claude", "busy": 0, "ok": 0, "err": 1, "availability": "available"}
            | {"faults": [{"kind": "429", "secs": 60, "remaining_s": 31, "by": "admin"}]},
            {**member, "model": "alone", "busy": 0, "ok": 0, "err": 0, "availability": "dead", "cell": None},
        ],
        "actors": [
            {"name": "gateway", "kind": "Gateway", "parent": None, "mailbox": 0, "processed": 3}
            | {"restarts": 0, "dropped": 0, "alive": True},
            {"name": "metrics", "kind": "Metrics", "parent": "gateway", "mailbox": 4, "processed": 9}
            | {"restarts": 1, "dropped": 2, "alive": True},
        ],
        "requests": [
            {"request_id": "r", "time": 0.0, "ingress_protocol": "gemini", "pool": "smart", "member": "gpt"}
            | {"outcome": "ok", "status": 200, "attempts": 2, "failovers": 1, "latency_ms": 12.3, "ttft_ms": 1.0}
        ],
        "messages": [],
        "rates": {**figures, "history": {name: [None, 0, 1, 2] for name in figures}},
        "governance": {
            "ready": True,
            "keys": [
                {"id": "k", "name": "dev", "enabled": False, "spent_cents": 12.5, "reserved_cents": 2.5}
                | {"limit_cents": 100, "period": "daily", "resets_at": 5, "rpm_used": 3, "rpm_limit": 10}
                | {"tpm_used": None, "tpm_limit": None}
            ],
        },
        **sections,
    }


def drawn(it: dict[str, Any], width: int = 200, height: int | None = None) -> list[str]:
    return text(screen(it, WHERE, width, height), colour=False)


# --- what it draws


def test_everything_is_on_the_screen() -> None:
    lines = drawn(picture())
    clock = re.compile(r"\d\d:\d\d:\d\d")
    assert [clock.sub("HH:MM:SS", re.sub(" {2,}", "  ", line)) for line in lines] == [
        "busbar 1.2.3  http://127.0.0.1:8080",
        "requests  12.5/s  ▁▅█",
        "errors  0/s  ▁▅█",
        "p50  5 ms  ▁▅█",
        "p95  9.5 ms  ▁▅█",
        "first token  –  ▁▅█",
        "",
        "Pools",
        "smart  weighted, 2 waiting",
        "  ● gpt  available  ██░░░░░░░░  5/20  ok 7  err 0  weight 3, 7 picks",
        "  ○ claude  breaker_open 14 s  ░░░░░░░░░░  0/20  ok 0  err 1  weight 1, 1 picks  fault: 429 31 s",
        "in no pool",
        "  ✕ alone  dead  ░░░░░░░░░░  0/20  ok 0  err 0",
        "",
        "Keys",
        "  dev  0.1250 of 1.00 $ (+0.0250)  daily  rpm 3/10  disabled",
        "",
        "Actors",
        "  gateway  mailbox 0  processed 3",
        "  metrics  mailbox 4  processed 9  restarts 1  dropped 2",
        "",
        "Requests",
        "  HH:MM:SS 200 ok  12.3 ms  gemini  smart → gpt  1 failed over",
    ]


def test_a_draining_gateway_says_so() -> None:
    assert drawn(picture(gateway={"draining": True, "version": "1"}))[0].endswith("  draining")


@pytest.mark.parametrize(("width", "height"), [(20, 5), (80, 24), (1, 1), (300, 100), (40, 12)])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    many = picture(requests=picture()["requests"] * 50, actors=picture()["actors"][:1] * 30)
    lines = drawn(many, width, height)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width


def test_what_has_no_room_is_counted() -> None:
    lines = drawn(picture(requests=picture()["requests"] * 50, governance=None), 80, 30)
    assert len(lines) == 30
    assert lines[-1] == f"  … {50 - sum(' ok ' in line and 'gemini' in line for line in lines)} more"


def test_names_do_not_steer_the_terminal() -> None:
    key = {**picture()["governance"]["keys"][0], "name": "\x1b[2Jdev\n"}
    shown = "\n".join(drawn(picture(governance={"ready": True, "keys": [key]})))
    assert "?[2Jdev?" in shown
    assert "\x1b" not in shown


def test_colours_are_only_colours() -> None:
    lines = screen(picture(), WHERE, 120)
    coloured = [re.sub(r"\x1b\[\d+m", "", line) for line in text(lines, colour=True)]
    assert [line.rstrip() for line in coloured] == text(lines, colour=False)
    assert "\x1b[31m  ○ \x1b[0m" in "".join(text(lines, colour=True))


@pytest.mark.parametrize(
    ("wanted", "room", "given"),
    [((5, 5), 10, [5, 5]), ((1, 9), 6, [1, 5]), ((9, 9, 1), 7, [3, 3, 1]), ((3, 3), -1, [0, 0]), ((), 5, [])],
)
def test_room_is_shared_fairly(wanted: tuple[int, ...], room: int, given: list[int]) -> None:
    assert fair(wanted, room) == given


def test_bars_and_sparklines() -> None:
    assert [bar(used, 20) for used in (0, 1, 10, 19, 20, 25)] == [
        "░░░░░░░░░░",
        "█░░░░░░░░░",
        "█████░░░░░",
        "█████████░",
        "██████████",
        "██████████",
    ]
    assert bar(0, 0) == "░" * 10
    assert sparkline([0, None, 3.5, 7]) == "▁ ▅█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([None]) == " "


# --- at the terminal


async def shell(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["top", *arguments])


async def test_once_prints_one_picture(capsys: pytest.CaptureFixture[str]) -> None:
    async with World() as world:
        await world.post("/v1/chat/completions", {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]})
        assert await shell("--once", "--url", world.gateway.url) == 0
        shown = capsys.readouterr()
        assert shown.out.startswith("busbar ")
        assert world.gateway.url in shown.out
        assert " → gpt" in shown.out
        assert ("\x1b" in shown.out, shown.err) == (False, "")


async def test_the_token_opens_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with GovernedWorld(tmp_path) as world:
        await world.key("dev")
        where = ("--once", "--url", world.gateway.url)
        assert await shell(*where) == 1
        assert capsys.readouterr().err.endswith(
            "wants a token that is valid: --admin-token, or better $BUSBAR_ADMIN_TOKEN\n"
        )
        for option in ("--admin-token", "--token"):
            assert await shell(*where, option, ADMIN_TOKEN) == 0
            assert "\nKeys\n  dev " in capsys.readouterr().out
        monkeypatch.setenv("BUSBAR_ADMIN_TOKEN", ADMIN_TOKEN)
        assert await shell(*where) == 0


def test_nobody_there_is_said_in_plain_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--url", "http://127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.startswith("http://127.0.0.1:9 does not answer: ")


@pytest.mark.parametrize(
    "arguments", [["--url", "nonsense"], ["--token", "a b"], ["--interval", "0"], ["--interval", "soon"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["top", "--once", *arguments])
    except SystemExit as wrong:  # argparse's own
        code = int(str(wrong.code))
    assert (code, capsys.readouterr().out) == (2, "")


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        (404, "text/plain", "", "has no such page"),
        (403, "text/plain", "", "set auth.open_telemetry_routes"),
        (503, "text/plain", "", "has too many readers"),
        (500, "text/plain", "", "answers with 500"),
        (302, "text/plain", "", "answers with 302"),
        (200, "text/html", "<html>", "not as a gateway does"),
        (200, "text/event-stream", "event: snapshot\ndata: {\n\n", "not as a gateway of this version does"),
        (200, "text/event-stream", 'event: change\ndata: {"set": {"x": []}}\n\n', "not as a gateway of this version"),
        (200, "text/event-stream", ": nothing\n\n", "is about to stop"),
    ],
)
async def test_what_is_no_gateway_is_told_from_one(
    status: int, kind: str, body: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=body, content_type=kind)

    server = await asyncio.get_running_loop().create_server(web.Server(answer), "127.0.0.1", 0)
    async with server:
        assert await shell("--once", "--url", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") == 1
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


class Screen:
    """The other side of a terminal."""

    def __init__(self, master: int, slave: int) -> None:
        self._master = master
        self.slave = slave
        self.shown = ""
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        self.shown += os.read(self._master, 1 << 16).decode(errors="replace")
        self._more.set()

    async def until(self, words: str) -> None:
        while words not in self.shown:
            self._more.clear()
            await self._more.wait()

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)


@contextmanager
def terminal() -> Iterator[Screen]:
    master, slave = pty.openpty()
    it = Screen(master, slave)
    it.resize(40, 120)
    try:
        yield it
    finally:
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)
        os.close(slave)


async def start(screen: Screen, world: World, **env: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "busbar", "top", "--url", world.gateway.url, "--interval", "0.1")
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=screen.slave,
        stdout=screen.slave,
        stderr=screen.slave,
        env={**variables, "TERM": "xterm", **env},
        start_new_session=True,
    )


@pytest.mark.parametrize("leave", [b"q", signal.SIGINT, signal.SIGTERM])
async def test_it_follows_the_gateway_and_leaves_the_terminal_as_it_was(leave: bytes | signal.Signals) -> None:
    pool = "pools: {pool: {breaker: {trip: {mode: consecutive, consecutive_n: 1}}, members: [{target: broken}]}}"
    async with World({"broken": "openai:fault-500"}, pool) as world, asyncio.timeout(30):
        with terminal() as screen:
            before = termios.tcgetattr(screen.slave)
            process = await start(screen, world)
            await screen.until("● \x1b[0mbroken")
            await world.post(
                "/v1/chat/completions", {"model": "pool", "messages": [{"role": "user", "content": "Hi"}]}
            )
            await screen.until("○ \x1b[0mbroken")
            if isinstance(leave, bytes):
                screen.type(leave)
            else:
                process.send_signal(leave)
            assert await process.wait() == 0
            await screen.until("\x1b[?25h\x1b[?1049l")
            assert screen.shown.startswith("\x1b[?1049h\x1b[?25l")
            assert termios.tcgetattr(screen.slave) == before


async def test_it_minds_the_size_and_no_color() -> None:
    async with World() as world, asyncio.timeout(30):
        with terminal() as screen:
            screen.resize(40, 30)
            process = await start(screen, world, NO_COLOR="1")
            await screen.until("Actors")
            assert max(len(line) for line in re.sub(r"\x1b\[[?0-9]*[A-Za-z]", "", screen.shown).split("\r\n")) <= 30
            assert "m" not in re.findall(r"\x1b\[[?0-9]*([A-Za-z])", screen.shown)
            seen = len(screen.shown)
            screen.resize(40, 100)
            process.send_signal(signal.SIGWINCH)
            while "processed" not in screen.shown[seen:]:
                await asyncio.sleep(0.01)
            screen.type(b"q")
            assert await process.wait() == 0


async def test_it_finds_a_gateway_again_that_was_restarted() -> None:
    async with World() as world, asyncio.timeout(30):
        with terminal() as screen:
            process = await start(screen, world)
            await screen.until("Actors")
            await world.gateway.stop()
            await screen.until("draining")
            await screen.until("looking for it again")
            config = msgspec.structs.replace(world.gateway._config, listen_port=world.gateway.port)
            world.gateway = BusbarGateway(config)
            await world.gateway.start()
            screen.shown = ""
            await screen.until(f"{world.gateway.url}\x1b[0m")
            screen.type(b"q")
            assert await process.wait() == 0
