"""The second breaker, from the specification: it and the first agree where rounding could part them."""

from __future__ import annotations

import random

import pytest

from busbar.actors.supervision import BreakerSettings, CellView, Outcome, Trip
from busbar.actors.two_stage import TwoStagePolicy
from busbar.protocols.failures import FailureClass
from busbar.simulation.reference import ReferenceCell

FAILED, OK = Outcome(FailureClass.SERVER_ERROR), Outcome(None)


@pytest.mark.parametrize(("threshold", "failures", "outcomes"), [(0.55, 11, 20), (0.07, 7, 100), (0.58, 58, 100)])
def test_a_cell_trips_at_exactly_its_threshold(threshold: float, failures: int, outcomes: int) -> None:
    settings = BreakerSettings(threshold=threshold, min_requests=outcomes)
    view = CellView("m", "p", "closed", 0, failures, outcomes, failures, False)
    policy = TwoStagePolicy(settings, random.Random(1))
    assert isinstance(policy.on_outcome(view, FAILED, 0.0), Trip)
    cell = ReferenceCell(settings, judged=True)
    for permit in range(outcomes):
        cell.admitted(permit, 0.0, probe=False, last_resort=False)
        cell.reported(permit, OK if permit < outcomes - failures else FAILED, 1.0)
    assert (cell.state, cell.trips) == ("open", 1)
