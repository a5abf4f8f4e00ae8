"""The gateway with telemetry that leaves the process: to a file, to receivers that take it, and to others."""

from __future__ import annotations

import http.client
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable

from msgspec import Struct

from bench import processes
from bench.contenders import CLIENT_TOKEN, Busbar
from bench.receivers import Ports

_LOST = re.compile(r'^busbar_telemetry_dropped_total\{actor="([^"]+)"\} (\S+)$', re.MULTILINE)


class Receivers(Struct, frozen=True):
    """The process `bench.receivers`."""

    ports: Ports
    tell: Callable[[str], None]


class Observed(Busbar):
    """`Busbar` with `observability`. Metrics and journal are in every gateway, in the plain one too."""

    receivers: Receivers
    """To be set before the start."""

    @abstractmethod
    def observability(self, ports: Ports) -> dict[str, object]:
        """That section of the configuration."""

    def more_config(self, models: Iterable[str]) -> dict[str, object]:
        return {
            "observability": self.observability(self.receivers.ports),
            "security": {"allow_private": ["127.0.0.1"]},
        }

    def ended(self) -> None:
        """Waits until what it has to tell is told, so that this counts for the load that it is about."""
        assert self.process is not None
        processes.wait_until_quiet(self.process)

    def lost(self) -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/metrics", headers={"authorization": f"Bearer {CLIENT_TOKEN}"})
            return lost_of(connection.getresponse().read().decode())
        finally:
            connection.close()

    def _file(self) -> dict[str, object]:
        return {"request_log_file": str(self._folder / "requests.jsonl")}

    @staticmethod
    def _network(port: int) -> dict[str, object]:
        """OTLP and webhook to the same."""
        address = f"http://127.0.0.1:{port}"
        return {"otlp_endpoint": address, "request_log_webhook_url": f"{address}/records"}


class File(Observed):
    """The request log on a disk."""

    name = "file"

    def observability(self, ports: Ports) -> dict[str, object]:
        return self._file()


class Otlp(Observed):
    """Spans, to a receiver that takes them all."""

    name = "otlp"

    def observability(self, ports: Ports) -> dict[str, object]:
        return {"otlp_endpoint": f"http://127.0.0.1:{ports.taking}"}


class Watched(Observed):
    """While it is measured, somebody scrapes it and somebody has its live page open."""

    name = "watched"

    def observability(self, ports: Ports) -> dict[str, object]:
        return {}

    def begins(self) -> None:
        self.receivers.tell(f"watch {self.port} {CLIENT_TOKEN}")

    def ended(self) -> None:
        self.receivers.tell("leave")
        super().ended()


class Everything(Watched):
    """The same; and file, spans and webhook, all taken."""

    name = "all"

    def observability(self, ports: Ports) -> dict[str, object]:
        return self._file() | self._network(ports.taking)


class Slow(Observed):
    """File; spans and webhook to a receiver that takes a second for each POST."""

    name = "slow"

    def observability(self, ports: Ports) -> dict[str, object]:
        return self._file() | self._network(ports.slow)


class Hanging(Observed):
    """File; spans and webhook to a receiver that never answers."""

    name = "hanging"

    def observability(self, ports: Ports) -> dict[str, object]:
        return self._file() | self._network(ports.hanging)


class Dead(Observed):
    """File; spans and webhook to a port where nobody is."""

    name = "dead"

    def observability(self, ports: Ports) -> dict[str, object]:
        return self._file() | self._network(ports.closed)


OBSERVED: tuple[type[Observed], ...] = (File, Otlp, Watched, Everything, Slow, Hanging, Dead)


def lost_of(page: str) -> dict[str, int]:
    """Of `/metrics`: by telemetry actor, what nobody took so far."""
    return {actor: int(float(count)) for actor, count in _LOST.findall(page)}
