"""One generation of the configuration: everything that is only read, and made anew at a reload.

What lasts as long as the process (the actors, the connections to providers, the store, the listener) is in
`busbar.gateway`. A request keeps the generation under which it came until it is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from busbar.actors.faults import FaultBoard
from busbar.actors.member import MemberSpec
from busbar.actors.messages import Directory, Expire
from busbar.actors.runtime import ActorSystem, LoopRef
from busbar.config import Config
from busbar.http.admin import Admin
from busbar.http.administration import Administration
from busbar.http.admissions import Admissions
from busbar.http.auth import Doorkeeper, Keys
from busbar.http.config_admin import ConfigAdmin, Reloading
from busbar.http.control import Control
from busbar.http.destinations import Destinations
from busbar.http.dispatch import Controls, Shift
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
from busbar.protocols.protocol import Protocol

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


class Lanes(Mapping[str, Lane]):
    """One generation's, by model. Pools last longer than a generation: a request may be given to a member that came
    after it, or to another one of the same name. That one's lane is meant then, not the own one."""

    def __init__(self, lanes: Mapping[str, Lane], members: tuple[MemberSpec, ...]) -> None:
        self._own = lanes
        self._specs = {spec.model: spec for spec in members}
        self.later: Lanes | None = None
        """Those of the generation after this one."""

    def __getitem__(self, model: str) -> Lane:
        if self.later is None:
            return self._own[model]
        spec, lane = self._specs.get(model), self._own.get(model)
        later: Lanes | None = self.later
        while later is not None:
            other = later._specs.get(model)
            if other is not None and (spec is None or not other.is_same_backend(spec)):
                spec, lane = other, later._own[model]
            later = later.later
        if lane is None:
            raise KeyError(model)
        return lane

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


class Dialects(Mapping[str, Protocol]):
    """Which one each lane speaks."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def __getitem__(self, model: str) -> Protocol:
        return self._lanes[model].protocol

    def __iter__(self) -> Iterator[str]:
        return iter(self._lanes)

    def __len__(self) -> int:
        return len(self._lanes)


class Generation:
    """`relay` serves requests, `pages` everything else, both in its `shift`; `prober` probes; `live` is the picture
    of the actors."""

    def __init__(
        self,
        config: Config,
        lanes: Lanes,
        directory: Directory,
        governed: Governed | None,
        lasting: Lasting,
    ) -> None:
        self.config = config
        self.lanes = lanes
        self.directory = directory
        self._governed = governed
        self._lasting = lasting
        self._destinations = destinations = Destinations(config, directory)
        self._doorkeeper = self._make_doorkeeper()
        self._upstream = FaultyUpstream(
            lasting.engine,
            lasting.board,
            Dialects(lanes),
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
        self.shift = Shift(self.relay, self.pages, config.limits)

    def _pages(self) -> Controls:
        """What is there besides the data plane."""
        config, lasting, directory, governed = self.config, self._lasting, self.directory, self._governed
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
            self.directory.governance["governance"],
            governed.tariff,
            self._lasting.system.clock,
            self.lanes,
            destinations.pools,
            destinations.every,
        )

    def _administration(self, governed: Governed) -> Administration:
        return Administration(
            self.directory.governance["governance"],
            governed.tariff,
            self._lasting.system.clock,
            governed.pairs,
            self._destinations.names,
        )

    def _prober(self) -> Prober:
        providers, system = self.config.providers, self._lasting.system
        return Prober(
            [
                Probed(lane, self.directory.members[model], providers[lane.provider].health)
                for model, lane in self.lanes.items()
            ],
            upstream=self._upstream,
            continuity=self.directory.continuity,
            clock=system.clock,
            random=system.random,
            limits=self.config.limits,
        )


class Past:
    """Generations that are over, but for requests that came under them. What only these can still be routed by stops
    with the last of them. Holds as many as there are generations of which a request is left."""

    def __init__(self) -> None:
        self._shifts: deque[tuple[Shift, tuple[LoopRef, ...]]] = deque()
        """With the actors that have retired when it was over; the oldest first."""

    def add(self, before: Generation, directory: Directory) -> None:
        """`directory`: of the generation that came after it."""
        retired = _routed_by(before.directory) - _routed_by(directory)
        self._shifts.append((before.shift, tuple(sorted(retired, key=lambda ref: ref.name))))
        before.shift.end(self._settle)

    def _settle(self) -> None:
        """An actor that retired may be needed by the generations before that, too."""
        while self._shifts and not self._shifts[0][0].running:
            for ref in self._shifts.popleft()[1]:
                ref.tell(Expire())


def _routed_by(directory: Directory) -> set[LoopRef]:
    """What a request may ask besides members."""
    return {*directory.pools.values(), *directory.direct.values(), *directory.credentials.values()}
