"""The configuration, typed: these structs are the schema that files are read by and what the gateway is built from.

Types, defaults and ranges stand here and nowhere else; `read.py` derives the legal keys and the error texts from
them. A field called `name` is not a key: it takes the key under which its section stands. Cross-references are
resolved by `load`, so that a user of a `Config` needs no further look-ups.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from busbar.config.secret import Secret
from busbar.protocols.failures import ErrorRules, FailureClass

ProtocolName = Literal["anthropic", "openai", "responses", "gemini", "bedrock", "cohere"]
AuthStyle = Literal["bearer", "x-api-key", "api-key", "none", "x-goog-api-key", "sigv4", "gcp-oauth"]
UpstreamEngine = Literal["lean", "aiohttp", "auto"]

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Secs = Annotated[float, Meta(gt=0, le=86_400)]
Millis = Annotated[int, Meta(ge=1, le=86_400_000)]
Bytes = Annotated[int, Meta(ge=1024, le=1 << 30)]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Name = Annotated[str, Meta(min_length=1)]
HEADER_NAME_PATTERN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z"
HeaderName = Annotated[str, Meta(pattern=HEADER_NAME_PATTERN, extra={"expected": "the name of an HTTP header"})]
UrlPath = Annotated[
    str, Meta(pattern=r"^/[!-~]{0,1024}\Z", extra={"expected": "a URL path that starts with /, without spaces"})
]


class AuthConfig(Struct, frozen=True, kw_only=True):
    """Who may call the gateway."""

    mode: Literal["none", "token", "passthrough"] = "none"
    client_tokens: tuple[Secret, ...] = ()
    open_telemetry_routes: bool = False
    """`/stats` and `/metrics` without a credential."""


class HealthConfig(Struct, frozen=True, kw_only=True):
    """Active probes of a provider's members."""

    mode: Literal["none", "dead", "active"] = "none"
    interval_secs: Secs = 30
    timeout_secs: Secs = 5


class ProviderConfig(Struct, frozen=True, kw_only=True):
    """An upstream account, resolved: the catalog's entry, the operator's overrides, the key."""

    name: str
    protocol: ProtocolName
    base_url: str
    """http or https, without a slash at the end, without credentials."""
    path: str | None = None
    """Replaces the protocol's default path; None keeps it."""
    auth: AuthStyle
    api_key: Secret | None = None
    """None with auth style `none`, and whenever `auth.mode` is `passthrough`."""
    error_map: dict[str, FailureClass] = {}
    error_status: dict[int, FailureClass] = {}
    error_texts: dict[str, FailureClass] = {}
    """Lower-case substrings of the message."""
    headers: dict[str, str | Secret] = {}
    """Lower-case names. A value that came out of a variable is a Secret; see `wire_headers`."""
    health: HealthConfig = HealthConfig()

    @property
    def error_rules(self) -> ErrorRules:
        """The three error tables as failure classification takes them."""
        return ErrorRules(words=self.error_map, statuses=self.error_status, texts=self.error_texts)

    def wire_headers(self) -> dict[str, str]:
        """`headers` with their secrets revealed, for the request that goes out."""
        return {name: value.reveal() if isinstance(value, Secret) else value for name, value in self.headers.items()}


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


class LimitsConfig(Struct, frozen=True, kw_only=True):
    """Bounds on what callers and providers can make the gateway hold."""

    body_max_bytes: Bytes = 32 << 20
    json_depth_max: Annotated[int, Meta(ge=8, le=512)] = 128
    header_timeout_secs: Secs = 30
    body_timeout_secs: Secs = 30
    connections_max: Count = 10_000
    """Callers' connections open at once."""
    upstream_connections_max: Count = 1_000
    """Connections to all providers together."""
    connect_timeout_secs: Annotated[float, Meta(gt=0, le=600)] = 10
    drain_timeout_secs: Annotated[float, Meta(ge=0, le=3600)] = 30
    answer_max_bytes: Bytes = 64 << 20
    """A provider's answer that has to be held whole (errors, translated JSON)."""


class ObservabilityConfig(Struct, frozen=True, kw_only=True):
    """Where telemetry goes. Whatever becomes of it there, requests are served."""

    otlp_endpoint: Name | None = None
    """Base URL of an OTLP receiver over HTTP, such as http://localhost:4318; spans go to `/v1/traces` beneath it."""
    otlp_headers: dict[HeaderName, Secret] = {}
    """Sent with each export: `authorization`, say."""
    capture_content: bool = False
    """Whether spans hold what was asked and answered, up to 64 KiB of each: it may be personal, or secret."""
    request_log_webhook_url: Name | None = None
    """Gets batches of records, a JSON array in a POST."""
    request_log_webhook_secret: Secret | None = None
    """Signs them: `x-busbar-signature: sha256=<HMAC of the body, in hex>`."""
    request_log_file: Name | None = None
    """One JSON record a line."""
    request_log_file_max_bytes: Annotated[int, Meta(ge=4096, le=1 << 40)] = 100 << 20
    """A file that would become larger is put aside (`.1`, `.2`, …), and another is begun."""
    request_log_files_kept: Annotated[int, Meta(ge=0, le=1000)] = 5
    """Files that were put aside; older ones are deleted."""
    log_format: Literal["human", "json"] = "human"
    """Of the process's own log, on standard error."""


Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
Cents = Annotated[float, Meta(ge=0, le=1_000_000)]


class Prices(Struct, frozen=True, kw_only=True):
    """US dollars for a million tokens, by kind of token."""

    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    """Input that the provider had in its cache; None: as `input`."""
    cache_write: Dollars | None = None
    """Input that the provider put into its cache; None: as `input`."""
    cache_write_1h: Dollars | None = None
    """Input that it keeps there for an hour; None: as `cache_write`."""
    reasoning: Dollars | None = None
    """Output that the caller may not see; None: as `output`."""


class PriceTier(Prices, frozen=True, kw_only=True):
    """Prices of a whole request with a long prompt."""

    above: Tokens
    """Its prompt has more tokens, cached ones included."""


TiersOfPrices = Annotated[tuple[PriceTier, ...], Meta(max_length=16)]


class PriceChange(Prices, frozen=True, kw_only=True):
    """Prices from a day on, in place of all that came before."""

    from_day: Annotated[
        str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", extra={"expected": "a day, such as 2026-12-01"})
    ]
    """In UTC."""
    tiers: TiersOfPrices = ()


class PriceConfig(Prices, frozen=True, kw_only=True):
    """What a model costs."""

    tiers: TiersOfPrices = ()
    """Ascending."""
    changes: Annotated[tuple[PriceChange, ...], Meta(max_length=64)] = ()
    """Ascending."""


class GovernanceConfig(Struct, frozen=True, kw_only=True):
    """Virtual keys, budgets and prices."""

    enabled: bool = False
    db_path: Name = "busbar-governance.db"
    durability: Literal["strict", "relaxed"] = "strict"
    """Strict: the last byte of an answer waits until the ledger has it, on the disk. Relaxed: when the process dies,
    100 ms of it may be lost; when the power goes, what the system had not put on the disk yet."""
    admin_token: Secret | None = None
    """Required when `enabled`."""
    price_per_request_cents: Cents | None = None
    price_per_1k_tokens_cents: Cents | None = None
    """None: not said. Where one of the two is said, they price every model without a price of its own here, in place
    of the packaged list; see `busbar.governance.tariff`."""
    prices: dict[str, PriceConfig] = {}
    """By model. The strategy `cheapest` goes by them, and by the packaged list, whether `enabled` or not."""


SHORTHANDS = {"pools.*.on_exhausted": "action", "pools.*.supervision": "policy"}
"""Sections that may be written as one word: pattern → the key that the word stands for."""


class Config(Struct, frozen=True, kw_only=True):
    """Everything an operator said, checked and complete."""

    listen_host: str
    listen_port: int
    """0 lets the system choose."""
    auth: AuthConfig = AuthConfig()
    providers: dict[str, ProviderConfig] = {}
    models: dict[str, ModelConfig] = {}
    pools: dict[str, PoolConfig] = {}
    limits: LimitsConfig = LimitsConfig()
    observability: ObservabilityConfig = ObservabilityConfig()
    governance: GovernanceConfig = GovernanceConfig()
    upstream_engine: UpstreamEngine = "auto"
    notes: tuple[str, ...] = ()
    """What an operator may want to know and nothing has to be done about."""


class ProviderEntry(Struct, frozen=True, kw_only=True):
    """A provider as files write it: the catalog's entry with the operator's laid over it."""

    name: str
    protocol: ProtocolName
    base_url: str
    path: UrlPath | None = None
    auth: AuthStyle | None = None
    api_key_env: (
        Annotated[
            str, Meta(pattern=r"^[A-Za-z0-9_]{1,128}\Z", extra={"expected": "the name of an environment variable"})
        ]
        | None
    ) = None
    api_key: Secret | None = None
    error_map: dict[str, FailureClass] = {}
    error_status: dict[Annotated[int, Meta(ge=100, le=599)], FailureClass] = {}
    error_texts: dict[str, FailureClass] = {}
    headers: dict[str, str] = {}
    health: HealthConfig = HealthConfig()


class ConfigFile(Struct, frozen=True, kw_only=True):
    """The operator's file, section by section."""

    listen: str = "127.0.0.1:8080"
    auth: AuthConfig = AuthConfig()
    providers: dict[str, ProviderEntry] = {}
    models: dict[str, ModelConfig] = {}
    pools: dict[str, PoolConfig] = {}
    observability: ObservabilityConfig = ObservabilityConfig()
    governance: GovernanceConfig = GovernanceConfig()
    limits: LimitsConfig = LimitsConfig()
    upstream_engine: UpstreamEngine = "auto"
