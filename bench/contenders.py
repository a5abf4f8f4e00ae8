"""Who is measured: nobody (`direct`), nginx `proxy_pass`, and the gateway as a user starts it. Other gateways are in
`bench.peers`."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from bench import processes
from bench.scenarios import PATHS, Scenario
from bench.upstream import UPSTREAM_KEY

ROOT = Path(__file__).parent.parent
CLIENT_TOKEN = "bench-client-token"
ADMIN_TOKEN = "bench-admin-token"
ASK_AGAIN_SECS = 0.01
"""While a contender starts."""
MEMBER_MAX_CONCURRENT = 256
UPSTREAM_CONNECTIONS_MAX = 4096
"""Where a scenario has more streams at a time than the gateway's default lets through."""
STOP_SECS_MAX = 10.0
NGINX_ABSENT = """nginx is not installed. On Debian and Ubuntu:  apt-get install nginx
Its service need not run; the bench starts a process of its own. Or measure without it: --without-nginx"""
NGINX_PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


class NotStarted(Exception):
    """A contender did not answer in time; says what it printed."""


class Contender:
    """Something that listens on `port`. This one is the upstream itself: what is measured without a gateway."""

    name: ClassVar[str] = "direct"

    def __init__(self, port: int, key: str = UPSTREAM_KEY) -> None:
        self.port = port
        self.key = key
        """The credential that callers have."""
        self.process: subprocess.Popen[bytes] | None = None

    def serves(self, scenario: Scenario) -> bool:
        return not scenario.translated

    def model(self, scenario: Scenario) -> str:
        """The name that a caller asks for."""
        return scenario.upstream_model

    def headers(self, scenario: Scenario) -> dict[str, str]:
        """The caller's credential, as the official SDKs send it."""
        if scenario.ingress == "anthropic":
            return {"x-api-key": self.key, "anthropic-version": "2023-06-01"}
        return {"authorization": f"Bearer {self.key}"}

    def commits(self) -> int | None:
        """How many transactions it has written to a database so far; None without one."""
        return None

    def lost(self) -> dict[str, int] | None:
        """By telemetry actor, what nobody took since it was started; None where nothing is counted."""
        return None

    def begins(self) -> None:
        """It is going to be measured."""

    def ended(self) -> None:
        """The load is over; returns when its costs are."""

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Gateway(Contender, ABC):
    """A contender that is a program of its own."""

    ready_secs_max: ClassVar[float] = 20.0
    started_secs: float = 0.0
    """From the start of the process to its first answer."""

    @classmethod
    def absent(cls) -> str | None:
        """Why it cannot be measured on this machine, and what to do about it; None: it can."""
        return None

    @classmethod
    def version(cls) -> str | None:
        """To be asked of one that is there only; None: the machine's line has it anyway."""
        return None

    def __init__(self, folder: Path, upstream_port: int, core: int | None) -> None:
        super().__init__(free_port(), CLIENT_TOKEN)
        self._folder = folder / self.name
        self._folder.mkdir()
        self._upstream_port = upstream_port
        self._core = core
        self._log = self._folder / "log.txt"

    @abstractmethod
    def command(self, folder: Path) -> list[str]:
        """How it is started; its configuration is the file `config` in `folder`."""

    @abstractmethod
    def config(self, upstream_port: int, scenarios: Sequence[Scenario]) -> str:
        """What stands in that file."""

    def more_environment(self) -> dict[str, str]:
        """Further variables of its environment."""
        return {}

    def prepare(self, environment: Mapping[str, str]) -> None:
        """What is to be done between the file's being there and the start. Raises `NotStarted`."""

    def start(self, scenarios: Sequence[Scenario]) -> None:
        """Returns when it answers. Raises `NotStarted`."""
        (self._folder / "config").write_text(self.config(self._upstream_port, scenarios))
        core = self._core
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment |= {"BENCH_KEY": UPSTREAM_KEY, "BENCH_TOKEN": CLIENT_TOKEN, "BENCH_ADMIN_TOKEN": ADMIN_TOKEN}
        environment |= self.more_environment()
        self.prepare(environment)
        started_at = time.monotonic()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(self._folder),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            )
        self._wait_until_ready(next(each for each in scenarios if self.serves(each)))
        self.started_secs = time.monotonic() - started_at

    def last_words(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-2000:].strip()

    def _wait_until_ready(self, scenario: Scenario) -> None:
        assert self.process is not None
        give_up_at = time.monotonic() + self.ready_secs_max
        status: int | None = None
        while time.monotonic() < give_up_at and self.process.poll() is None:
            status = self._ask(scenario)
            if status == 200:
                return
            time.sleep(ASK_AGAIN_SECS)
        raise NotStarted(
            f"{self.name} did not become ready (last status: {status}). It printed:\n{self.last_words()}"
        )

    def _ask(self, scenario: Scenario) -> int | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        headers = self.headers(scenario) | {"content-type": "application/json"}
        try:
            connection.request("POST", PATHS[scenario.ingress], scenario.body(self.model(scenario)), headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


class Nginx(Gateway):
    """`proxy_pass` with one worker: connections to the upstream kept, nothing buffered, nothing logged."""

    name = "nginx"

    @classmethod
    def absent(cls) -> str | None:
        return NGINX_ABSENT if nginx_program() is None else None

    @classmethod
    def version(cls) -> str:
        told = subprocess.run([_found(nginx_program()), "-v"], capture_output=True, text=True, check=True).stderr
        return told.strip().rpartition("/")[2]

    def command(self, folder: Path) -> list[str]:
        return [_found(nginx_program()), "-p", str(folder), "-c", str(folder / "config"), "-e", "stderr"]

    def config(self, upstream_port: int, scenarios: Sequence[Scenario]) -> str:
        user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        folders = "".join(
            f"    {kind}_temp_path {kind}_temp;\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""\
daemon off;
{user}
pid nginx.pid;
worker_processes 1;
error_log stderr warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 16384; }}
http {{
    access_log off;
{folders}\
    keepalive_requests 100000000;
    client_body_buffer_size 1m;
    upstream provider {{
        server 127.0.0.1:{upstream_port};
        keepalive 512;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{self.port};
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {UPSTREAM_KEY}";
            proxy_set_header x-api-key "";
        }}
    }}
}}
"""


class Busbar(Gateway):
    """One process of `busbar serve`. Every scenario has a pool of two members, with the breakers of the defaults."""

    name = "busbar"

    def serves(self, scenario: Scenario) -> bool:
        return True

    def model(self, scenario: Scenario) -> str:
        return scenario.name

    def command(self, folder: Path) -> list[str]:
        return [sys.executable, "-m", "busbar", "serve", "--config", str(folder / "config")]

    def config(self, upstream_port: int, scenarios: Sequence[Scenario]) -> str:
        models: dict[str, object] = {}
        pools: dict[str, object] = {}
        for scenario in scenarios:
            members = [f"{scenario.name}-a", f"{scenario.name}-b"]
            for member in members:
                models[member] = {
                    "provider": f"bench-{scenario.egress}",
                    "upstream_model": scenario.upstream_model,
                    "max_concurrent": max(MEMBER_MAX_CONCURRENT, scenario.connections),
                }
            pools[scenario.name] = {"members": [{"target": member} for member in members]}
        address = f"http://127.0.0.1:{upstream_port}"
        document: dict[str, object] = {
            "listen": f"127.0.0.1:{self.port}",
            "auth": {"mode": "token", "client_tokens": ["${BENCH_TOKEN}"]},
            "providers": {
                f"bench-{dialect}": {
                    "protocol": dialect,
                    "base_url": address,
                    "api_key_env": "BENCH_KEY",
                    **({"auth": "bearer"} if dialect == "bedrock" else {}),  # a Bedrock API key: no signature
                }
                for dialect in dict.fromkeys(scenario.egress for scenario in scenarios)
            },
            "models": models,
            "pools": pools,
        }
        if any(scenario.connections > 2 * MEMBER_MAX_CONCURRENT for scenario in scenarios):
            document["limits"] = {"upstream_connections_max": UPSTREAM_CONNECTIONS_MAX}
        engine = os.environ.get("BUSBAR_BENCH_ENGINE")
        if engine is not None:
            document["upstream_engine"] = engine
        return json.dumps(document | self.more_config(models), indent=2) + "\n"  # JSON is YAML

    def more_config(self, models: Iterable[str]) -> dict[str, object]:
        """Further sections."""
        return {}


class Logged(Busbar):
    """As a site runs it: the same, and a record of each request in a file on the disk."""

    name = "busbar-logged"

    def more_config(self, models: Iterable[str]) -> dict[str, object]:
        return {"observability": {"request_log_file": str(self._folder / "requests.jsonl")}}

    def ended(self) -> None:
        """What it writes after the last answer counts for the load that it is about."""
        assert self.process is not None
        processes.wait_until_quiet(self.process)


def nginx_program() -> str | None:
    return shutil.which("nginx", path=NGINX_PLACES)


def _found(program: str | None) -> str:
    assert program is not None, "asked before"
    return program


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
