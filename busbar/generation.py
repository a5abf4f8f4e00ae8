"""One generation of the configuration: everything that is only read, and made anew at a reload.

What lasts as long as the process (the actors, the connections to providers, the store, the listener) is in
`busbar.gateway`. A request keeps the generation under which it came until it is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from busbar.actors.faults import FaultBoard
from busbar.actors.messages import Directory
from busbar.actors.runtime import ActorSystem, LoopRef
from busbar.config import Config
from busbar.http.admin import Admin
from busbar.http.administration import Administration
from busbar.http.admissions import Admissions
from busbar.http.auth import Doorkeeper, Keys
from busbar.http.config_admin import ConfigAdmin, Reloading
from busbar.http.control import Control
from busbar.http.destinations import Destinations
from busbar.http.dispatch import Controls
from busbar.http.faults import FaultyUpstream
from busbar.http.faults_admin import FaultsAdmin
from busbar.http.keys_admin import KeysAdmin
from busbar.http.lanes import Lane
from busbar.http.live import Live
from busbar.http.live_picture import Painter
from busbar.http.metrics_page import MetricsPage
from busbar.http.ports import Upstream
from busbar.http.prober import Probed, Prober
from busbar.http.relay import Relay
from busbar.http.tracing import Tracing
from busbar.http.travel import Means
from busbar.http.ui import Ui

if TYPE_CHECKING:
    from busbar.governance.assembly import Governed


class Lasting(Struct, frozen=True, kw_only=True):
    """What every generation is made with."""

    system: ActorSystem
    root: LoopRef
    faults: LoopRef
    board: FaultBoard
    engine: Upstream
    tracing: Tracing | None
    reloading: Reloading
    breakable: bool
    started_at: float


class Generation:
    """`relay` serves requests, `pages` everything else, `prober` probes; `live` is the picture of the actors."""

    def __init__(
        self,
        config: Config,
        lanes: dict[str, Lane],
        directory: Directory,
        governed: Governed | None,
        lasting: Lasting,
    ) -> None:
        self.config = config
        self._lanes = lanes
        self._directory = directory
        self._governed = governed
        self._lasting = lasting
        self._destinations = destinations = Destinations(config, directory)
        self._doorkeeper = self._make_doorkeeper()
        self._upstream = FaultyUpstream(
            lasting.engine,
            lasting.board,
            {model: lane.protocol for model, lane in lanes.items()},
            lasting.system.clock,
        )
        means = Means(
            destinations=destinations,
            lanes=lanes,
            doorkeeper=self._doorkeeper,
            upstream=self._upstream,
            continuity=directory.continuity,
            clock=lasting.system.clock,
            limits=config.limits,
            admissions=None if governed is None else self._admissions(governed),
        )
        self.relay = Relay(means, directory.metrics, lasting.tracing)
        self.live: Live
        self.pages = self._pages()
        self.prober = self._prober()

    def _pages(self) -> Controls:
        """What is there besides the data plane."""
        config, lasting, directory, governed = self.config, self._lasting, self._directory, self._governed
        control = Control(
            system=lasting.system,
            gateway=lasting.root,
            directory=directory,
            destinations=self._destinations,
            doorkeeper=self._doorkeeper,
            open_telemetry_routes=config.auth.open_telemetry_routes,
            faults=lasting.faults,
            started_at=lasting.started_at,
            worker=None if config.worker is None else f"{config.worker} of {config.workers}",
        )
        numbers = MetricsPage(
            system=lasting.system, gateway=lasting.root, directory=directory, refusal=control.refusal
        )
        painter = Painter(
            system=lasting.system,
            gateway=lasting.root,
            directory=directory,
            destinations=self._destinations,
            faults=lasting.board,
        )
        self.live = Live(painter, control.refusal_of_keys)
        administration = None if governed is None else self._administration(governed)
        token, patience_secs = config.governance.admin_token, config.limits.body_timeout_secs
        return {
            **control.pages,
            **numbers.pages,
            **self.live.pages,
            **Ui().pages,
            **Admin(token, directory, patience_secs).pages,
            **KeysAdmin(token, administration, patience_secs).pages,
            **FaultsAdmin(token, lasting.faults, patience_secs, open=lasting.breakable).pages,
            **ConfigAdmin(token, lasting.reloading).pages,
        }

    def _make_doorkeeper(self) -> Doorkeeper:
        auth, clock, governed = self.config.auth, self._lasting.system.clock, self._governed
        keys = None if governed is None else Keys(governed.keyring, clock, governed.pairs.secret)
        tokens = [token.reveal() for token in auth.client_tokens]
        return Doorkeeper(auth.mode, tokens, keys, self.config.governance.admin_token)

    def _admissions(self, governed: Governed) -> Admissions:
        destinations = self._destinations
        return Admissions(
            self._directory.governance["governance"],
            governed.tariff,
            self._lasting.system.clock,
            self._lanes,
            destinations.pools,
            destinations.every,
        )

    def _administration(self, governed: Governed) -> Administration:
        return Administration(
            self._directory.governance["governance"],
            governed.tariff,
            self._lasting.system.clock,
            governed.pairs,
            self._destinations.names,
        )

    def _prober(self) -> Prober:
        providers, system = self.config.providers, self._lasting.system
        return Prober(
            [
                Probed(lane, self._directory.members[model], providers[lane.provider].health)
                for model, lane in self._lanes.items()
            ],
            upstream=self._upstream,
            continuity=self._directory.continuity,
            clock=system.clock,
            random=system.random,
            limits=self.config.limits,
        )
