"""Runs a scenario: arrivals and attempts are timers of one virtual clock, without a loop; checked after each."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator

from msgspec import Struct

from busbar.actors.member import PolicyFailed
from busbar.actors.messages import Assignment, Release, Report
from busbar.actors.supervision import Outcome
from busbar.plan import plan_of
from busbar.simulation.draws import arrival_times, drawing
from busbar.simulation.examiner import examiners
from busbar.simulation.invariants import Invariants
from busbar.simulation.providers import Wish, scripted_models
from busbar.simulation.record import Outcome as Ending
from busbar.simulation.record import Record
from busbar.simulation.reference import InvariantBroken
from busbar.simulation.scenario import Scenario, Traffic
from busbar.simulation.traveller import Traveller
from busbar.simulation.world import World
from busbar.testing.clock import START_SECS

DRAIN_SECS_MAX = 100_000.0
"""After the last arrival, what is still on its way is given so long to end; more than any limit allows."""

STEP_SECS = 1.0
"""Virtual time in which at most `busbar.testing.clock.TIMERS_PER_ADVANCE` events may happen."""

LATEST_MESSAGES = 12


class Result(Struct, frozen=True, kw_only=True):
    """One run. The same scenario and seed give the same result, to the last bit."""

    scenario: Scenario
    seed: int
    record: Record
    broken: str | None = None
    """The invariant that broke, and where; the run ended with it."""


def simulate(scenario: Scenario, seed: int | None = None) -> Result:
    """Runs the scenario once; `seed` instead of its own."""
    seed = scenario.seed if seed is None else seed
    run = Run(scenario, seed)
    return Result(scenario=scenario, seed=seed, record=run.record, broken=run.to_the_end())


class Run:
    """What travellers share: the world, the scripts, the record, the invariants."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        config = scenario.config
        self.world = World(config, seed)
        self.models = scripted_models(scenario, seed)
        self.passthrough = config.auth.mode == "passthrough"
        self._prefill = frozenset(name for name, model in config.models.items() if model.prefill)
        self.record = Record(config, scenario.duration_secs)
        self._scenario = scenario
        directory = self.world.directory
        self._invariants = Invariants(
            plan_of(config),
            directory.members,
            directory.pools,
            frozenset(name for name, pool in config.pools.items() if pool.affinity is not None),
            self._cell_changed,
        )
        self._ready: deque[Callable[[], None]] = deque()  # at most one for each request in a queue
        self._begun = self._open = 0
        self.stopped = False
        """What the actors say while they stop is of no interest."""
        self._sources = [
            _Source(traffic, self, random.Random(f"{seed} traffic {number}"))  # noqa: S311  # repeatable
            for number, traffic in enumerate(scenario.traffic)
        ]
        self._examiners = examiners(config, self.world, self.models, self._invariants)
        self._beats = random.Random(f"{seed} examiners")  # noqa: S311

    def to_the_end(self) -> str | None:
        """Until every request is over. What broke, or None."""
        clock, duration = self.world.clock, self._scenario.duration_secs
        try:
            for source in self._sources:
                source.schedule_next()
            for examiner in self._examiners:
                examiner.start(self._beats)
            while self.world.now < duration or (self._open and self.world.now < duration + DRAIN_SECS_MAX):
                clock.advance(STEP_SECS, self._settle)
            self._invariants.check_at_rest()
            self._expect_no_crash()
        except InvariantBroken as broken:
            return self._told(broken)
        finally:
            self.stopped = True
            self.world.system.stop_now()
        return None

    # --- for travellers

    def soon(self, callback: Callable[[], None]) -> None:
        """Still in this event, when the actors have come to rest."""
        self._ready.append(callback)

    def takes_prefill(self, member: str) -> bool:
        return member in self._prefill

    def waits(self, traveller: Traveller) -> None:
        """In a pool's queue."""
        self._invariants.waits(traveller)

    def assigned(self, traveller: Traveller, assignment: Assignment) -> None:
        self._invariants.assigned(traveller, assignment, self.world.clock.now())
        cell = self.record.cell(assignment.pool, assignment.member)
        position = self.record.slice_of(self.world.now)
        cell.attempts += 1
        cell.attempts_over_time[position] += 1
        member = self.record.members[assignment.member]
        member.attempts += 1
        member.attempts_over_time[position] += 1
        pool = self.record.pool(traveller.destination.name)
        pool.probes += assignment.probe
        pool.last_resorts += assignment.last_resort

    def attempted(self, traveller: Traveller, assignment: Assignment, word: str, output_tokens: int) -> None:
        """An attempt is over; so many tokens of an answer have come, for which the provider is paid."""
        member = self.record.members[assignment.member]
        member.words[word] = member.words.get(word, 0) + 1
        if output_tokens:
            member.input_tokens += traveller.wish.input_tokens
            member.output_tokens += output_tokens

    def give_back(self, assignment: Assignment, outcome: Outcome | None, *, refund: bool) -> None:
        """The one message that an assignment owes its member; `outcome` None: without a verdict."""
        self._invariants.giving_back(assignment, outcome, self.world.clock.now(), refund=refund)
        message = (
            Release(permit=assignment.permit, refund=refund)
            if outcome is None
            else Report(permit=assignment.permit, outcome=outcome, refund=refund)
        )
        self.world.tell(assignment.ref, message)

    def ended(self, traveller: Traveller, outcome: Ending) -> None:
        now = self.world.clock.now()
        self._invariants.ending(traveller, outcome, now)
        traveller.outcome = outcome
        self._open -= 1
        record = self.record
        record.ended_at = self.world.now
        pool = record.pool(traveller.destination.name)
        position = record.slice_of(self.world.now)
        pool.outcomes[outcome] += 1
        pool.outcomes_over_time[outcome][position] += 1
        pool.fell_back += traveller.asked_of is not traveller.destination
        pool.queued += traveller.waited
        pool.resumed += traveller.resumed
        for _, reason in traveller.journey.failed_over:
            pool.failovers += 1
            pool.failover_reasons[reason] = pool.failover_reasons.get(reason, 0) + 1
        if outcome == "ok":
            latency_ms = (now - traveller.started_at) * 1000
            pool.latency_ms.add(latency_ms)
            pool.latency_over_time[position].add(latency_ms)
        if traveller.began_at is not None:
            pool.ttft_ms.add((traveller.began_at - traveller.started_at) * 1000)

    def begin(self, traffic: Traffic, wish: Wish, session: str | None, hang_up_secs: float | None) -> None:
        """A request comes."""
        destination = self.world.destinations.find(traffic.to)
        self._begun += 1
        self._open += 1
        self._invariants.began()
        Traveller(self, self._begun, destination, wish, session).begin(hang_up_secs)

    # --- after each event

    def _settle(self) -> None:
        self.world.settle()
        ready = self._ready
        while ready:
            ready.popleft()()
        self._invariants.check()

    def _cell_changed(self, pool: str, member: str, state: str) -> None:
        cell = self.record.cell(pool, member)
        was_closed = not cell.changes or cell.changes[-1][1] == "closed"
        cell.trips += was_closed and state == "open"
        cell.changed(self.world.now, state)

    def _expect_no_crash(self) -> None:
        for crash in self.world.system.crashes():
            if not isinstance(crash.error, PolicyFailed):  # which is what a policy wanted
                raise InvariantBroken(f"{crash.actor} crashed: {crash.error!r}")

    def _told(self, broken: InvariantBroken) -> str:
        latest = self.world.system.tap.entries()[-LATEST_MESSAGES:]
        lines = [f"after {self.world.now:.3f} s: {broken}"]
        lines += [f"  {entry.at - START_SECS:10.3f}  {entry.actor} <- {entry.type}" for entry in latest]
        return "\n".join(lines)


class _Source:
    """Callers of one kind: draws what they ask, and when."""

    def __init__(self, traffic: Traffic, run: Run, rng: random.Random) -> None:
        self._traffic = traffic
        self._run = run
        self._rng = rng
        # Times are drawn apart, so that what is asked does not change when.
        times = random.Random(rng.random())  # noqa: S311
        self._times: Iterator[float] = arrival_times(traffic, run.record.duration_secs, times)
        self._input_tokens = drawing(traffic.input_tokens, rng)
        self._output_tokens = drawing(traffic.output_tokens, rng)
        self._patience_ms = None if traffic.hang_up is None else drawing(traffic.hang_up.after_ms, rng)

    def schedule_next(self) -> None:
        at = next(self._times, None)
        if at is not None:
            self._run.world.clock.call_at(START_SECS + at, self._arrive)

    def _arrive(self) -> None:
        traffic, rng = self._traffic, self._rng
        wish = Wish(
            stream=rng.random() < traffic.stream_share,
            input_tokens=round(self._input_tokens()),
            output_tokens=max(1, round(self._output_tokens())),
            bad=traffic.bad_share > 0 and rng.random() < traffic.bad_share,
        )
        session = None if traffic.sessions is None else f"session-{rng.randrange(traffic.sessions)}"
        hang_up_secs = None
        if traffic.hang_up is not None and self._patience_ms is not None:
            patience_secs = self._patience_ms() / 1000
            hang_up_secs = patience_secs if rng.random() < traffic.hang_up.share else None
        self.schedule_next()
        self._run.begin(traffic, wish, session, hang_up_secs)
