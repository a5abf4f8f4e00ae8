"""Numbers drawn as a `Distribution` says, and the times at which requests come."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

from msgspec import Struct

from busbar.simulation.scenario import Distribution, Traffic

_P95 = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""

Draw = Callable[[], float]


def drawing(distribution: Distribution, rng: random.Random) -> Draw:
    """A function that draws one number after the other. The distribution has been checked."""
    draw = _uncapped(distribution, rng)
    highest = distribution.max
    if highest is None:
        return draw
    return lambda: min(draw(), highest)


def _uncapped(distribution: Distribution, rng: random.Random) -> Draw:
    match distribution:
        case Distribution(constant=float() | int() as constant):
            return lambda: constant
        case Distribution(low=float() | int() as low, high=float() | int() as high):
            return lambda: low + (high - low) * rng.random()
        case Distribution(median=float() | int() as median, p95=float() | int() as p95):
            spread = math.log(p95 / median) / _P95
            return lambda: median * math.exp(spread * rng.gauss())
        case Distribution(mean=float() | int() as mean):
            return lambda: rng.expovariate(1 / mean)
        case _:
            raise AssertionError("a distribution is one of four")


class Stretch(Struct, frozen=True):
    """A time in which the rate changes evenly, from `rate` to `end_rate`, in requests per second."""

    since: float
    until: float
    rate: float
    end_rate: float

    def after(self, secs: float) -> float:
        """How many requests come in the first `secs` of it."""
        slope = (self.end_rate - self.rate) / (self.until - self.since)
        return (self.rate + slope * secs / 2) * secs

    def reached(self, requests: float) -> float:
        """Seconds until so many requests have come; there are as many in it."""
        slope = (self.end_rate - self.rate) / (self.until - self.since)
        if abs(slope) < 1e-12:
            return requests / self.rate
        root = math.sqrt(max(0.0, self.rate * self.rate + 2 * slope * requests))
        return 2 * requests / (self.rate + root)


def stretches(traffic: Traffic, duration_secs: float) -> list[Stretch]:
    """The traffic's rate over time, without gaps between `from_secs` and `until_secs`."""
    end = min(duration_secs, traffic.until_secs if traffic.until_secs is not None else duration_secs)
    found: list[Stretch] = []
    at = traffic.from_secs
    for phase in traffic.phases:
        until = phase.until_secs if phase.until_secs is not None else duration_secs
        if phase.from_secs > at:
            found.append(Stretch(at, phase.from_secs, traffic.rate_per_sec, traffic.rate_per_sec))
        last = phase.rate_per_sec if phase.end_rate_per_sec is None else phase.end_rate_per_sec
        found.append(Stretch(phase.from_secs, until, phase.rate_per_sec, last))
        at = max(at, until)
    if at < end:
        found.append(Stretch(at, end, traffic.rate_per_sec, traffic.rate_per_sec))
    return [cut for each in found if (cut := _within(each, traffic.from_secs, end)) is not None]


def _within(stretch: Stretch, since: float, until: float) -> Stretch | None:
    begin, end = max(stretch.since, since), min(stretch.until, until)
    if end <= begin:
        return None
    slope = (stretch.end_rate - stretch.rate) / (stretch.until - stretch.since)
    return Stretch(
        begin, end, stretch.rate + slope * (begin - stretch.since), stretch.rate + slope * (end - stretch.since)
    )


def arrival_times(traffic: Traffic, duration_secs: float, rng: random.Random) -> Iterator[float]:
    """When requests come, in order; a burst is the same time several times.

    The expected number of requests until each moment is known exactly; a request comes whenever that number has grown
    by one (constant), or by a draw from the exponential distribution with mean one (Poisson).
    """
    poisson = traffic.arrivals == "poisson"

    def gap() -> float:
        return (rng.expovariate(1.0) if poisson else 1.0) * traffic.burst

    missing = gap() if poisson else 0.0
    for stretch in stretches(traffic, duration_secs):
        done, total = 0.0, stretch.after(stretch.until - stretch.since)
        while done + missing < total:
            done += missing
            at = stretch.since + (stretch.reached(done) if done > 0 else 0.0)
            for _ in range(traffic.burst):
                yield at
            missing = gap()
        missing -= total - done
