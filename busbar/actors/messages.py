"""Every message between the actors, grouped by who receives it. Reading this file is reading their protocol.
(What is told to Metrics is in `telemetry`.)

    ingress ── Route ──► Pool ── Acquire ──► Member ── Assignment ──► ingress      (the usual way)
                          ▲                    │
                          └───── Refused ──────┘                                   (the pool picks the next,
                          └── Exhausted ──► ingress                                 or says that nobody is left)

    ingress ── Report | Release ──► Member ── MemberChanged ──► its pools

All messages are values. Times are the system clock's `now()`, in seconds.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

from msgspec import Struct

from busbar.actors.runtime import LoopRef
from busbar.actors.selection import Demand
from busbar.actors.supervision import Outcome, SupervisionPolicy


class Refusal(enum.Enum):
    """Why a member does not take a request now. The words are those of `/stats`."""

    BREAKER_OPEN = "breaker_open"
    PROBE_IN_FLIGHT = "probe_in_flight"
    AT_CAPACITY = "at_capacity"
    DEAD = "dead"
    BUDGET_EXHAUSTED = "budget_exhausted"
    DRAINING = "draining"
    BENCHED = "benched"
    """It has just failed, and a sibling that has not is preferred."""


class Snapshot(Struct, frozen=True):
    """To anybody: show your state. Answered with a JSON-ready dict; takes nothing and changes nothing."""


# To a Pool -------------------------------------------------------------------------------------------------------


class Route(Struct, frozen=True, kw_only=True):
    """Which member takes this request? Answered with an `Assignment` or an `Exhausted`."""

    tried: frozenset[str] = frozenset()
    """Members that this request was at already."""
    refused: frozenset[str] = frozenset()
    """Members that the pool picked for it and that could not take it after all. The pool keeps this list."""
    only: frozenset[str] | None = None
    """Members that can do what is asked; None: all can."""
    session: str | None = None
    context_above: int | None = None
    """The request did not fit into a context of so many tokens: only larger or unknown ones make sense."""
    demand: Demand = Demand()
    fresh: bool = True
    """No member was tried for it yet: the pool may do what it does when it is exhausted."""
    request_id: str = ""
    """Needed only for `Withdraw`."""
    wait_until: float = math.inf
    """When the request's deadline is. The pool brings it forward when the request joins its queue."""
    place: int | None = None
    """In the pool's queue, once it has had one. The pool keeps this."""


class Withdraw(Struct, frozen=True):
    """The request has gone away: if it waits in the queue, it is answered `Exhausted` at once."""

    request_id: str


class LookAgain(Struct, frozen=True):
    """From a pool to itself, at a time when somebody in its queue may be served or has waited long enough."""


class Refused(Struct, frozen=True, kw_only=True):
    """From a member that could not take a request; the pool looks further on behalf of the first asker."""

    route: Route
    member: str


class MemberChanged(Struct, frozen=True, kw_only=True):
    """From a member: this is how available I am to you, from now on."""

    member: str
    availability: Availability
    ref: LoopRef | None = None
    """Who says so: after a reload there may be two of the name for a while."""


class Availability(Struct, frozen=True, kw_only=True):
    """What a pool needs to know to pick: all facts, no verdict, so that time can pass without a message."""

    usable_from: float = 0.0
    """From when the cell admits; infinity while a probe is in flight."""
    benched_until: float = 0.0
    free_slot: bool = True
    budget_left: bool = True
    drained: bool = False
    load: Load | None = None
    """For pools that asked for it when they joined."""


class Load(Struct, frozen=True):
    """How busy a member is, as the pool sees it, and how fast: of its `slots` there, so many are not to be had."""

    busy: int
    slots: int
    ttft_ms: float | None = None
    """Smoothed time to the first byte of its answers; None until there was one."""


class Reshape(Struct, frozen=True):
    """From the gateway: the configuration has changed, and this is what you are now (a `PoolSpec`). What is known of
    members that stay is kept, and so is the queue."""

    spec: object


class Retire(Struct, frozen=True):
    """From the gateway, to a pool, a member or an account's credentials: the configuration does not know you any
    more. Requests that are under way may still need you; stop when none can."""


class Expire(Struct, frozen=True):
    """From what has retired to itself: by now every request that knew it is over."""


# To a Member -----------------------------------------------------------------------------------------------------


class Join(Struct, frozen=True, kw_only=True):
    """A pool lists this member: keep a cell for it, judged by its policy. Answered by a `MemberChanged` to the pool.
    A second one from the same pool (the pool was restarted) keeps the cell."""

    pool: str
    ref: LoopRef
    policy: SupervisionPolicy
    window_secs: float
    wants_load: bool = False
    """Whether to be told about each change of the load, too."""


class Leave(Struct, frozen=True):
    """The pool lists this member no more. Requests that it holds for the pool run to their end."""

    pool: str
    ref: LoopRef
    """The pool's own; another one may have taken its name."""


class Respec(Struct, frozen=True):
    """From the gateway: the configuration has changed, and this is what you are now (a `MemberSpec`, of the same
    identity). Health, counters and requests stay."""

    spec: object


class Timeouts(Struct, frozen=True, kw_only=True):
    """How long a member may take, in milliseconds; None: as long as the request's deadline leaves."""

    attempt_ms: int | None = None
    """To connect and send the answer's headers."""
    first_token_ms: int | None = None
    """From there to the first content of a stream."""
    stall_ms: int | None = None
    """Between two chunks of a stream that has begun."""


class Terms(Struct, frozen=True, kw_only=True):
    """On which terms a pool uses a member."""

    context_max: int | None = None
    timeouts: Timeouts = Timeouts()


class Acquire(Struct, frozen=True, kw_only=True):
    """Take this request on behalf of `pool`. Answered with an `Assignment`, or passed back as `Refused`."""

    pool: str
    ref: LoopRef
    """The pool's own, for a refusal: a member that has just been restarted knows no pools yet."""
    route: Route
    terms: Terms = Terms()
    passed_over: Mapping[str, Refusal] = {}
    """Why others of the pool are not asked."""
    last_resort: bool = False
    """Whatever the breaker says: nobody is better."""


class Report(Struct, frozen=True, kw_only=True):
    """How the attempt that held `permit` ended. Gives the slot back. `refund`: the lifetime budget too, because the
    provider's answer died before its first byte."""

    permit: int
    outcome: Outcome
    refund: bool = False


class Release(Struct, frozen=True, kw_only=True):
    """The attempt that held `permit` ended without a verdict (the caller went away). Gives the slot back.
    `refund`: nothing was sent."""

    permit: int
    refund: bool = False


class Examine(Struct, frozen=True):
    """An active probe is due: may one be sent? Answered with an `Examination`, or None: no slot is free, a probe is
    in flight already, or nothing is open (`only_open`). Whoever got one owes a `Report` or a `Release`."""

    only_open: bool = False


class Examination(Struct, frozen=True):
    """Go ahead. No request of a caller probes the member meanwhile. `open_in`: the pools whose cell is not closed."""

    ref: LoopRef
    permit: int
    open_in: tuple[str, ...] = ()


class Reinstate(Struct, frozen=True):
    """From an operator: the member is well. Cells are closed, throttles and drains lifted; in one pool, or in all
    (None). Answered with whether there is such a pool."""

    pool: str | None = None


# To the Gateway, and on to the pools ------------------------------------------------------------------------------


class MemberStarted(Struct, frozen=True):
    """From a member that starts, for the first time or anew: pools that list it are asked to join it."""

    member: str


# Answers to the ingress ------------------------------------------------------------------------------------------


class Assignment(Struct, frozen=True, kw_only=True):
    """Go ahead, at this member. Whoever holds it owes the member one `Report` or `Release`."""

    member: str
    ref: LoopRef
    pool: str
    permit: int
    probe: bool = False
    last_resort: bool = False
    terms: Terms = Terms()
    passed_over: Mapping[str, Refusal] = {}


class Exhausted(Struct, frozen=True, kw_only=True):
    """Nobody can take the request now. `reasons` says why, member by member, for those that were not tried."""

    reasons: Mapping[str, Refusal]
    retry_after_secs: float
    """Until the soonest could take one: at least 1 s; 2 s when all that is missing is a free slot."""


# To the Gateway --------------------------------------------------------------------------------------------------


class Resolve(Struct, frozen=True):
    """Which actors are there? Answered with the current `Directory`."""


class Reload(Struct, frozen=True):
    """This is the configuration from now on (a `GatewayPlan`): members and pools that are still there keep what they
    know, new ones start, the others retire. Answered with the new `Directory`."""

    plan: object


class Drain(Struct, frozen=True):
    """The process is about to go: say so in `/healthz` and `/stats`."""


class Directory(Struct, frozen=True, kw_only=True):
    """What only changes with the configuration: published by the gateway, read by everybody, never changed."""

    generation: int
    pools: dict[str, LoopRef]
    """Configured pools, by name."""
    direct: dict[str, LoopRef]
    """The implicit pool of each model, by the model's name."""
    members: dict[str, LoopRef]
    metrics: LoopRef
    """Also the way to the journal."""
    continuity: LoopRef
    sinks: tuple[LoopRef, ...] = ()
    """Who is told of requests that are over, besides the journal. Each understands Snapshot."""
    governance: dict[str, LoopRef] = {}
    """`governance` and `ledger`, where virtual keys are wanted."""
    credentials: dict[str, LoopRef] = {}
    """By provider, of those whose credential is not one fixed key."""


# To Continuity ---------------------------------------------------------------------------------------------------


class Keep(Struct, frozen=True, kw_only=True):
    """Keep this state of one turn, under each of the keys that it may be asked for by."""

    keys: tuple[str, ...]
    state: object
    """Opaque to the actor, and never changed (`protocols.continuity.Kept`)."""
    weight_bytes: int


class Recall(Struct, frozen=True):
    """What was kept under these keys? Answered with a dict of those that are still there."""

    keys: tuple[str, ...]
