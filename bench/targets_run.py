"""`python -m bench --targets`: the run behind the table of the targets."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from bench.contenders import Busbar, Contender, Gateway, Nginx
from bench.field import USUAL
from bench.figures import Row
from bench.fresh import Fresh, direct_crowd, measure_fresh, raise_open_files
from bench.machine import Cores
from bench.measure import Bench, Plan, measure
from bench.targets import LEFT_OUT, SUBJECT, TARGET_SCENARIOS

TARGET_CONTENDERS = (*(name for name in USUAL if name != Busbar.name), SUBJECT)
NEEDED = (Contender.name, Nginx.name, SUBJECT)
"""Without these there is nothing to compare."""


class Run(Struct, frozen=True, kw_only=True):
    """All that was measured."""

    rows: list[Row]
    fresh: list[Fresh]
    direct: Row | None
    """The crowd without a gateway."""
    started: dict[str, float]
    """By contender, seconds to the first answer."""

    @property
    def failed(self) -> bool:
        """Whether the gateway gave a wrong answer, or none; what becomes of others does not count."""
        crowds = [each.crowd for each in self.fresh if each.crowd is not None]
        return any(row.failed for row in (*self.rows, *crowds) if row.contender == SUBJECT)


def for_targets(plan: Plan) -> Plan:
    """The same with the contenders and the scenarios of the targets."""
    return msgspec.structs.replace(plan, scenarios=TARGET_SCENARIOS, contenders=TARGET_CONTENDERS, left_out=LEFT_OUT)


def run_targets(plan: Plan, cores: Cores, say: Callable[[str], None]) -> Run:
    """Raises `NotStarted`, `Died`."""
    crowd = raise_open_files()
    fresh: list[Fresh] = []
    crowds: list[Row] = []
    started: dict[str, float] = {}

    def new_life(bench: Bench, number: int) -> None:
        if not crowds and crowd and (row := direct_crowd(bench)) is not None:
            crowds.append(row)
        started.update((each.name, each.started_secs) for each in bench.contenders if isinstance(each, Gateway))
        say(f"round {number}: a new process")
        fresh.append(measure_fresh(bench, cores, number, crowd=crowd))

    rows = measure(plan, cores, say, new_life)
    return Run(rows=rows, fresh=fresh, direct=crowds[0] if crowds else None, started=started)
