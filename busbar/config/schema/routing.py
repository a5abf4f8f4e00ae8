"""Models, and the pools over them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from busbar.config.schema.values import Count, HeaderName, Millis, Name, Secs, Tokens


class ModelConfig(Struct, frozen=True, kw_only=True):
    """One model at one provider."""

    name: str
    provider: Name
    upstream_model: Name = ""
    """What the provider calls it; the model's own name where nothing else is said."""
    max_concurrent: Count = 20
    max_requests: Annotated[int, Meta(ge=-1, le=1_000_000_000)] = -1
    """Requests in the life of the process; -1 for no limit."""
    default_max_tokens: Tokens = 4096
    prefill: bool = False
    attempt_timeout_ms: Millis | None = None
    first_token_timeout_ms: Millis | None = None
    stall_timeout_ms: Millis | None = None

    def __post_init__(self) -> None:
        if not self.upstream_model:
            force_setattr(self, "upstream_model", self.name)


class MemberConfig(Struct, frozen=True, kw_only=True):
    """A model's place in a pool."""

    target: Name
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    """0 drains the member."""
    context_max: Tokens | None = None
    attempt_timeout_ms: Millis | None = None
    first_token_timeout_ms: Millis | None = None
    stall_timeout_ms: Millis | None = None


class TripConfig(Struct, frozen=True, kw_only=True):
    """When a breaker cell opens. The window is bounded at 1024 outcomes, and so are the counts here."""

    mode: Literal["error_rate", "consecutive"] = "error_rate"
    window_secs: Secs = 30
    threshold: Annotated[float, Meta(gt=0, le=1)] = 0.5
    min_requests: Annotated[int, Meta(ge=1, le=1024)] = 5
    consecutive_n: Annotated[int, Meta(ge=1, le=1024)] = 3


class BreakerConfig(Struct, frozen=True, kw_only=True):
    """How long an open cell rests, and when it opens."""

    base_cooldown_secs: Annotated[float, Meta(ge=1, le=86_400)] = 15
    max_cooldown_secs: Annotated[float, Meta(ge=1, le=86_400)] = 120
    trip: TripConfig = TripConfig()


class FailoverConfig(Struct, frozen=True, kw_only=True):
    """How far one request goes to be answered."""

    deadline_secs: Annotated[float, Meta(gt=0, le=3600)] = 120
    cap: Annotated[int, Meta(ge=0, le=64)] = 3
    """Further attempts after the first."""
    exclusions: tuple[Name, ...] = ()


class RetryConfig(Struct, frozen=True, kw_only=True):
    """Trying the same member again before another one."""

    same_member: Annotated[int, Meta(ge=0, le=16)] = 0
    retry_after_max_secs: Annotated[float, Meta(ge=0, le=3600)] = 0


class ExhaustedConfig(Struct, frozen=True, kw_only=True):
    """What happens when no member could be tried."""

    action: Annotated[
        str,
        Meta(
            pattern=r"^(reject|least_bad|fallback_pool:.{1,200}|queue:[0-9]{1,8})\Z",
            extra={"expected": "reject, least_bad, fallback_pool:NAME or queue:MILLISECONDS"},
        ),
    ] = "reject"

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
    header_name: HeaderName = "x-session-id"
    """In lower case, however it is written."""

    def __post_init__(self) -> None:
        force_setattr(self, "header_name", self.header_name.lower())


class SupervisionConfig(Struct, frozen=True, kw_only=True):
    """Another policy, in place of the two-stage breaker."""

    policy: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z_][A-Za-z0-9_.]{0,200}:[A-Za-z_][A-Za-z0-9_]{0,100}|[A-Za-z0-9_][A-Za-z0-9_.-]{0,100})\Z",
            extra={"expected": "package.module:PolicyClass, or the name of an entry point"},
        ),
    ]
    options: dict[str, str | int | float | bool | None] = {}


class PoolConfig(Struct, frozen=True, kw_only=True):
    """A named, weighted list of members and the rules they share."""

    name: str
    members: Annotated[tuple[MemberConfig, ...], Meta(min_length=1, max_length=256)]
    breaker: BreakerConfig = BreakerConfig()
    failover: FailoverConfig = FailoverConfig()
    retry: RetryConfig = RetryConfig()
    on_exhausted: ExhaustedConfig = ExhaustedConfig()
    strategy: Literal["weighted", "least_busy", "fastest", "cheapest"] = "weighted"
    affinity: AffinityConfig | None = None
    stream_recovery: Annotated[
        str,
        Meta(
            pattern=r"^(none|continue|hold:[0-9]{1,8})\Z", extra={"expected": "none, hold:MILLISECONDS or continue"}
        ),
    ] = "none"
    supervision: SupervisionConfig | None = None

    @property
    def hold_secs(self) -> float:
        """How long `stream_recovery: hold:MILLISECONDS` holds a stream's first content back; else 0."""
        return int(self.stream_recovery[5:]) / 1000 if self.stream_recovery.startswith("hold:") else 0.0
