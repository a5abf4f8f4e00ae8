"""Active probes, as `http/prober.py` sends them: each member that its provider's `health` says so on its own beat."""

from __future__ import annotations

import random
from collections.abc import Mapping

from busbar.actors.messages import Examination, Examine, Release, Report, Timeouts
from busbar.actors.runtime import LoopRef
from busbar.actors.supervision import Outcome
from busbar.config import Config, HealthConfig
from busbar.protocols.failures import Disposition, disposition
from busbar.simulation.course import Course, course
from busbar.simulation.invariants import Invariants
from busbar.simulation.providers import ScriptedModel, Wish
from busbar.simulation.world import World

ONE_TOKEN = Wish(stream=False, input_tokens=8, output_tokens=1)


class Examiner:
    """Examines one member, from time to time. At most one timer at once."""

    def __init__(
        self, model: str, ref: LoopRef, health: HealthConfig, world: World, script: ScriptedModel, watch: Invariants
    ) -> None:
        self._model = model
        self._ref = ref
        self._health = health
        self._world = world
        self._script = script
        self._watch = watch

    def start(self, rng: random.Random) -> None:
        """Begins somewhere in the interval, so that not all members are examined at once."""
        self._world.clock.call_later(rng.uniform(0.0, self._health.interval_secs), self._begin)

    def _begin(self) -> None:
        reply = self._ref.ask(Examine(only_open=self._health.mode == "dead"))
        self._world.settle()
        examination: Examination | None = reply.get()
        if examination is None:
            self._again()
            return
        self._watch.examining(self._model, examination)
        answer = self._script.answer(ONE_TOKEN, self._world.now)
        way = course(answer, Timeouts(), self._health.timeout_secs, stream=False, hold_secs=0.0)
        self._world.clock.call_later(way.ends, lambda: self._over(examination, way))

    def _over(self, examination: Examination, way: Course) -> None:
        failure = way.failure
        outcome = None
        if failure is None or disposition(failure) in (Disposition.TRANSIENT, Disposition.HARD_DOWN):
            outcome = Outcome(failure, way.retry_after_secs, way.ends * 1000)
        self._watch.examined(self._model, outcome, self._world.clock.now())
        permit = examination.permit
        told = Release(permit=permit) if outcome is None else Report(permit=permit, outcome=outcome)
        self._world.tell(examination.ref, told)
        self._again()

    def _again(self) -> None:
        self._world.clock.call_later(self._health.interval_secs, self._begin)


def examiners(
    config: Config, world: World, scripts: Mapping[str, ScriptedModel], watch: Invariants
) -> list[Examiner]:
    """One for each member that is examined at all; none when the only keys are the callers' own."""
    if config.auth.mode == "passthrough":
        return []
    return [
        Examiner(name, world.directory.members[name], health, world, scripts[name], watch)
        for name, model in config.models.items()
        if (health := config.providers[model.provider].health).mode != "none"
    ]
