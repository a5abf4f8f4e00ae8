"""From a pool's `supervision` section to its policy: found, its options checked, and tried once.

    policy: two-stage              a built-in one, or an installed package's entry point (group `busbar.supervision`)
    policy: package.module:Class   any subclass of SupervisionPolicy that Python can import
    options: {…}                   the named parameters that it is made with

This runs the operator's code, and so it stands apart from `busbar.config`, which only reads: whoever loads a
configuration in order to use it passes `complaints` along, and hears of a policy that cannot be had like of any other
mistake, with file, line and key.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import entry_points
from types import ModuleType
from typing import TypeAlias

from busbar.actors.supervision import BreakerSettings, PoolContext, SupervisionPolicy
from busbar.actors.two_stage import TwoStagePolicy
from busbar.config.problems import KeyPath, closest, did_you_mean, shown
from busbar.config.schema import BreakerConfig, PoolConfig
from busbar.supervision.options import Complaint, read_options

PolicyFactory: TypeAlias = Callable[[PoolContext], SupervisionPolicy]

GROUP = "busbar.supervision"

BUILT_IN: Mapping[str, str] = {
    "two-stage": "busbar.actors.two_stage:TwoStagePolicy",
    "adaptive-concurrency": "busbar.actors.policies.adaptive_concurrency:AdaptiveConcurrency",
    "quarantine": "busbar.actors.policies.quarantine:Quarantine",
}
"""The entry points of Busbar itself, which work from a source tree as well. No other package can take their names."""

_ERROR_CHARACTERS_MAX = 300


class PolicyRejected(Exception):
    """A pool's policy cannot be had. `complaints`: where in the configuration, and why."""

    def __init__(self, complaints: list[Complaint]) -> None:
        self.complaints = complaints
        super().__init__("; ".join(f"{'.'.join(map(str, path))}: {message}" for path, message in complaints))


def complaints(pools: Mapping[str, PoolConfig]) -> Iterator[Complaint]:
    """Everything that is wrong with the policies of these pools."""
    for pool in pools.values():
        try:
            find_policy(pool)
        except PolicyRejected as rejected:
            yield from rejected.complaints


def find_policy(pool: PoolConfig) -> PolicyFactory:
    """What makes the pool's policy. One has been made already and thrown away, so that making it is known to work.

    Raises PolicyRejected.
    """
    if pool.supervision is None:
        return TwoStagePolicy.create
    section: KeyPath = ("pools", pool.name, "supervision")
    policy = _find_class(pool.supervision.policy, (*section, "policy"))
    options, complaints = read_options(policy, pool.supervision.options, (*section, "options"))
    if complaints:
        raise PolicyRejected(complaints)
    factory: PolicyFactory = partial(policy.create, **options)
    place = (*section, "options") if options else (*section, "policy")
    context = PoolContext(pool=pool.name, breaker=breaker_settings(pool.breaker), random=random.SystemRandom())
    try:
        made = factory(context)
    except (ValueError, TypeError) as error:
        raise PolicyRejected([(place, _words(error))]) from error
    except Exception as error:
        raise PolicyRejected([(place, f"the policy cannot be made: {_named(error)}")]) from error
    if not isinstance(made, SupervisionPolicy):
        raise PolicyRejected(
            [(place, f"its `create` gives {shown(type(made).__name__)}, which is no SupervisionPolicy")]
        )
    return factory


def breaker_settings(breaker: BreakerConfig) -> BreakerSettings:
    """A pool's `breaker` section, as policies are told it."""
    trip = breaker.trip
    return BreakerSettings(
        base_cooldown_secs=breaker.base_cooldown_secs,
        max_cooldown_secs=breaker.max_cooldown_secs,
        mode=trip.mode,
        window_secs=trip.window_secs,
        threshold=trip.threshold,
        min_requests=trip.min_requests,
        consecutive_n=trip.consecutive_n,
    )


def _find_class(name: str, place: KeyPath) -> type[SupervisionPolicy]:
    module_name, attribute = _target(name, place).split(":")
    module = _import(module_name, place)
    found = getattr(module, attribute, None)
    if found is None:
        hint = did_you_mean(attribute, [word for word in vars(module) if not word.startswith("_")])
        raise PolicyRejected([(place, f"the module {shown(module_name)} has no {shown(attribute)}{hint}")])
    if not (isinstance(found, type) and issubclass(found, SupervisionPolicy)):
        message = f"{shown(attribute)} is no subclass of busbar.actors.supervision.SupervisionPolicy"
        raise PolicyRejected([(place, message)])
    return found


def _target(name: str, place: KeyPath) -> str:
    """`module:Class`, for what may be an entry point's name."""
    if ":" in name:
        return name
    if name in BUILT_IN:
        return BUILT_IN[name]
    installed = {point.name: f"{point.module}:{point.attr}" for point in entry_points(group=GROUP)}
    if name in installed:
        return installed[name]
    known = sorted({*BUILT_IN, *installed})
    match = closest(name, known)
    hint = f"did you mean {shown(match)}?" if match is not None else f"known are {', '.join(known)};"
    raise PolicyRejected([(place, f"no policy has this name, {hint} a class is written package.module:Class")])


def _import(name: str, place: KeyPath) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise PolicyRejected([(place, f"importing {shown(name)} failed: {_named(error)}")]) from error
        message = f"there is no module {shown(error.name)}: it has to be installed beside busbar, or be on PYTHONPATH"
        raise PolicyRejected([(place, message)]) from error
    except Exception as error:
        raise PolicyRejected([(place, f"importing {shown(name)} failed: {_named(error)}")]) from error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {_words(error)}"


def _words(error: Exception) -> str:
    """An error's text on one line, bounded."""
    return " ".join(str(error).split())[:_ERROR_CHARACTERS_MAX] or type(error).__name__
