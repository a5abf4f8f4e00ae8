"""Models, and the pools over them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from busbar.config.schema.values import Count, HeaderName, Millis, Name, Secs, Tokens


class ModelConfig(Struct, frozen=True, kw_only=True):
    """One model at one provider."""

    name: str
    provider: Annotated[str, Meta(min_length=1, title="name under `providers`")]
    """Who serves it."""
    upstream_model: Name = ""
    """What the provider calls it; the model's own name where nothing else is said."""
    max_concurrent: Count = 20
    """Requests at a time."""
    max_requests: Annotated[int, Meta(ge=-1, le=1_000_000_000)] = -1
    """Requests in the life of the process; -1 for no limit. Not 0."""
    default_max_tokens: Tokens = 4096
    """For dialects that insist on a maximum when the caller gave none."""
    prefill: bool = False
    """The model goes on from a last turn of its own: used by [`stream_recovery: continue`](streams.md#continue)."""
    attempt_timeout_ms: Millis | None = None
    """To connect and send the answer's headers; null: as long as `failover.deadline_secs` leaves."""
    first_token_timeout_ms: Millis | None = None
    """To the first content of a stream; null: the same."""
    stall_timeout_ms: Millis | None = None
    """Between two chunks of a stream that has begun; null: the same."""

    def __post_init__(self) -> None:
        if not self.upstream_model:
            force_setattr(self, "upstream_model", self.name)


class MemberConfig(Struct, frozen=True, kw_only=True):
    """A model's place in a pool."""

    target: Annotated[str, Meta(min_length=1, title="name under `models`")]
    """The model; once per pool."""
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    """Its share of the traffic, beside the others' weights; 0 drains the member."""
    context_max: Tokens | None = None
    """The longest prompt that it takes, in tokens; null for unknown."""
    attempt_timeout_ms: Millis | None = None
    """In place of the model's."""
    first_token_timeout_ms: Millis | None = None
    """In place of the model's."""
    stall_timeout_ms: Millis | None = None
    """In place of the model's."""


class TripConfig(Struct, frozen=True, kw_only=True):
    """When a breaker cell opens. The window is bounded at 1024 outcomes, and so are the counts here."""

    mode: Literal["error_rate", "consecutive"] = "error_rate"
    """What opens a cell."""
    window_secs: Secs = 30
    """`error_rate`: the window."""
    threshold: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """`error_rate`: failures ÷ outcomes in the window."""
    min_requests: Annotated[int, Meta(ge=1, le=1024)] = 5
    """`error_rate`: outcomes before it may trip."""
    consecutive_n: Annotated[int, Meta(ge=1, le=1024)] = 3
    """`consecutive`: failures in a row."""


class BreakerConfig(Struct, frozen=True, kw_only=True):
    """How long an open cell rests, and when it opens."""

    base_cooldown_secs: Annotated[float, Meta(ge=1, le=86_400)] = 15
    """First rest of an open cell; not above `max_cooldown_secs`."""
    max_cooldown_secs: Annotated[float, Meta(ge=1, le=86_400)] = 120
    """Longest rest that Busbar itself chooses."""
    trip: TripConfig = TripConfig()


class FailoverConfig(Struct, frozen=True, kw_only=True):
    """How far one request goes to be answered."""

    deadline_secs: Annotated[float, Meta(gt=0, le=3600)] = 120
    """For all attempts of a request together."""
    cap: Annotated[int, Meta(ge=0, le=64)] = 3
    """Attempts after the first."""
    exclusions: tuple[Annotated[str, Meta(min_length=1, title="names of members")], ...] = ()
    """Members that the pool never picks."""


class RetryConfig(Struct, frozen=True, kw_only=True):
    """Trying the same member again before another one."""

    same_member: Annotated[int, Meta(ge=0, le=16)] = 0
    """How often a network or server error is tried again at the same member before another one."""
    retry_after_max_secs: Annotated[float, Meta(ge=0, le=3600)] = 0
    """Up to which `Retry-After` the same member is waited for, once, instead of failing over."""


class ExhaustedConfig(Struct, frozen=True, kw_only=True):
    """What happens when no member could be tried."""

    action: Annotated[
        str,
        Meta(
            pattern=r"^(reject|least_bad|fallback_pool:.{1,200}|queue:[0-9]{1,8})\Z",
            extra={"expected": "reject, least_bad, fallback_pool:NAME or queue:MILLISECONDS"},
            title="`reject`, `least_bad`, `fallback_pool:NAME`, `queue:MILLISECONDS`",
            examples=["reject", "least_bad", "fallback_pool:NAME", "queue:500"],
        ),
    ] = "reject"
    """When no member could be tried: answer so, try the one that would recover first, try another pool, or wait for a
    slot. Fallback pools that lead in a circle are refused."""

    @property
    def fallback_pool(self) -> str | None:
        return self.action.removeprefix("fallback_pool:") if self.action.startswith("fallback_pool:") else None

    @property
    def queue_secs(self) -> float | None:
        """How long a request waits for a slot."""
        return int(self.action.removeprefix("queue:")) / 1000 if self.action.startswith("queue:") else None


class AffinityConfig(Struct, frozen=True, kw_only=True):
    """Requests of one session prefer one member."""

    mode: Literal["session"] = "session"
    """What the requests have in common."""
    header_name: HeaderName = "x-session-id"
    """Requests with the same value in this header prefer the same member."""

    def __post_init__(self) -> None:
        force_setattr(self, "header_name", self.header_name.lower())


class SupervisionConfig(Struct, frozen=True, kw_only=True):
    """Another policy, in place of the two-stage breaker."""

    policy: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z_][A-Za-z0-9_.]{0,200}:[A-Za-z_][A-Za-z0-9_]{0,100}|[A-Za-z0-9_][A-Za-z0-9_.-]{0,100})\Z",
            extra={"expected": "package.module:PolicyClass, or the name of an entry point"},
            title="name, `package.module:Class`",
            examples=["adaptive-concurrency", "quarantine"],
        ),
    ]
    """What decides on failures in place of the two-stage breaker: `adaptive-concurrency`, `quarantine` or
    [one of your own](supervision.md)."""
    options: dict[str, str | int | float | bool | None] = {}
    """What the policy takes."""


class PoolConfig(Struct, frozen=True, kw_only=True):
    """A named, weighted list of members and the rules they share."""

    name: str
    members: Annotated[tuple[MemberConfig, ...], Meta(min_length=1, max_length=256)]
    """The models, and what each has to carry."""
    breaker: BreakerConfig = BreakerConfig()
    failover: FailoverConfig = FailoverConfig()
    retry: RetryConfig = RetryConfig()
    on_exhausted: ExhaustedConfig = ExhaustedConfig()
    strategy: Literal["weighted", "least_busy", "fastest", "cheapest"] = "weighted"
    """How a member is picked; among equals, by weight."""
    affinity: AffinityConfig | None = None
    stream_recovery: Annotated[
        str,
        Meta(
            pattern=r"^(none|continue|hold:[0-9]{1,8})\Z",
            extra={"expected": "none, hold:MILLISECONDS or continue"},
            title="`none`, `hold:MILLISECONDS`, `continue`",
            examples=["none", "hold:500", "continue"],
        ),
    ] = "none"
    """What happens when a stream breaks ([streams](streams.md))."""
    supervision: SupervisionConfig | None = None

    @property
    def hold_secs(self) -> float:
        """How long `stream_recovery: hold:MILLISECONDS` holds a stream's first content back; else 0."""
        return int(self.stream_recovery[5:]) / 1000 if self.stream_recovery.startswith("hold:") else 0.0
