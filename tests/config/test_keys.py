"""Every key of the language: read, bounded, or refused as not supported yet."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from busbar.config import (
    AffinityConfig,
    AuthConfig,
    BreakerConfig,
    FailoverConfig,
    HealthConfig,
    LimitsConfig,
    MemberConfig,
    ModelConfig,
    PoolConfig,
    ProviderConfig,
    Secret,
    TripConfig,
)
from busbar.config.schema import GovernanceConfig, KeySource, ObservabilityConfig
from busbar.config.support import SUPPORTED_VALUES
from busbar.protocols.failures import FailureClass
from tests.config.conftest import BASE, ENV, Complaints, Read

CONTRACT = """
listen: "127.0.0.1:8080"
auth: {mode: none, client_tokens: ["${TOKEN}"]}
providers:
  anthropic: {api_key_env: ANTHROPIC_API_KEY}
models:
  claude-sonnet: {provider: anthropic, max_concurrent: 20, max_requests: -1,
                  upstream_model: claude-sonnet-4-5, default_max_tokens: 4096, prefill: false,
                  attempt_timeout_ms: null, first_token_timeout_ms: null, stall_timeout_ms: null}
pools:
  smart:
    members: [{target: claude-sonnet, weight: 8, context_max: 200000}]
    breaker: {base_cooldown_secs: 15, max_cooldown_secs: 120,
              trip: {mode: error_rate, window_secs: 30, threshold: 0.5, min_requests: 5, consecutive_n: 3}}
    failover: {deadline_secs: 120, cap: 3, exclusions: []}
    retry: {same_member: 0, retry_after_max_secs: 0}
    on_exhausted: {action: reject}
    strategy: weighted
    affinity: {mode: session, header_name: x-session-id}
    stream_recovery: none
    supervision: null
observability: {otlp_endpoint: null, request_log_webhook_url: null}
governance: {enabled: false, db_path: busbar-governance.db, admin_token: "${ADMIN}",
             price_per_request_cents: 1, price_per_1k_tokens_cents: 0, prices: {}}
limits: {}
"""


def test_the_contract_s_example_is_read_whole(read: Read) -> None:
    config = read(CONTRACT, {**ENV, "ADMIN": "admin-token"})
    assert (config.listen_host, config.listen_port) == ("127.0.0.1", 8080)
    assert config.auth == AuthConfig(client_tokens=(Secret("token-of-a-client"),))
    assert config.models == {
        "claude-sonnet": ModelConfig(
            name="claude-sonnet",
            provider="anthropic",
            upstream_model="claude-sonnet-4-5",
            max_concurrent=20,
            max_requests=-1,
            default_max_tokens=4096,
        )
    }
    assert config.pools == {
        "smart": PoolConfig(
            name="smart",
            members=(MemberConfig(target="claude-sonnet", weight=8, context_max=200_000),),
            breaker=BreakerConfig(base_cooldown_secs=15, max_cooldown_secs=120, trip=TripConfig()),
            failover=FailoverConfig(deadline_secs=120, cap=3, exclusions=()),
            affinity=AffinityConfig(mode="session", header_name="x-session-id"),
        )
    }
    assert config.limits == LimitsConfig()
    assert config.observability == ObservabilityConfig()
    assert config.governance == GovernanceConfig(
        admin_token=Secret("admin-token"), price_per_request_cents=1, price_per_1k_tokens_cents=0
    )


def test_what_is_left_out_has_the_contract_s_default(read: Read) -> None:
    config = read(BASE + "pools: {p: {members: [{target: a}]}}")
    assert (config.listen_host, config.listen_port, config.auth) == ("127.0.0.1", 8080, AuthConfig())
    assert config.models["a"] == ModelConfig(
        name="a",
        provider="anthropic",
        upstream_model="a",
        max_concurrent=20,
        max_requests=-1,
        default_max_tokens=4096,
    )
    assert config.pools["p"] == PoolConfig(
        name="p",
        members=(MemberConfig(target="a", weight=1, context_max=None),),
        breaker=BreakerConfig(
            base_cooldown_secs=15,
            max_cooldown_secs=120,
            trip=TripConfig(mode="error_rate", window_secs=30, threshold=0.5, min_requests=5, consecutive_n=3),
        ),
        failover=FailoverConfig(deadline_secs=120, cap=3),
        affinity=None,
    )
    assert config.notes == ()


def test_every_pool_key_takes_its_value(read: Read) -> None:
    pool = read(
        BASE
        + """
pools:
  p:
    members: [{target: a, weight: 0}, {target: b, weight: 3, context_max: 1000}]
    breaker: {base_cooldown_secs: 1.5, max_cooldown_secs: 2,
              trip: {mode: consecutive, window_secs: 60, threshold: 1, min_requests: 7, consecutive_n: 4}}
    failover: {deadline_secs: 5, cap: 0, exclusions: [a]}
    affinity: {header_name: X-Conversation}
    on_exhausted: reject
"""
    ).pools["p"]
    assert pool == PoolConfig(
        name="p",
        members=(MemberConfig(target="a", weight=0), MemberConfig(target="b", weight=3, context_max=1000)),
        breaker=BreakerConfig(
            base_cooldown_secs=1.5,
            max_cooldown_secs=2,
            trip=TripConfig(mode="consecutive", window_secs=60, threshold=1, min_requests=7, consecutive_n=4),
        ),
        failover=FailoverConfig(deadline_secs=5, cap=0, exclusions=("a",)),
        affinity=AffinityConfig(header_name="x-conversation"),
    )


def test_every_provider_key_takes_its_value_and_tables_join_the_catalog_s(read: Read) -> None:
    config = read(
        """
providers:
  anthropic:
    base_url: http://localhost:9000/deep/
    path: /messages?beta=true
    auth: api-key
    api_key_env: TOKEN
    error_map: {busy: rate_limit, 7: timeout}
    error_status: {418: client_error}
    error_texts: {"No Money": billing}
    headers: {X-From: operator, x-team: "team ${TOKEN}"}
    health: {mode: dead, interval_secs: 10, timeout_secs: 2.5}
"""
    )
    assert config.providers["anthropic"] == ProviderConfig(
        name="anthropic",
        protocol="anthropic",
        base_url="http://localhost:9000/deep",
        path="/messages?beta=true",
        auth="api-key",
        keys=(KeySource(env="TOKEN", value=Secret("token-of-a-client")),),
        error_map={
            "1113": FailureClass.BILLING,
            "busy": FailureClass.RATE_LIMIT,
            "7": FailureClass.TIMEOUT,
        },
        error_status={413: FailureClass.CONTEXT_LENGTH, 418: FailureClass.CLIENT_ERROR},
        error_texts={"too long": FailureClass.CONTEXT_LENGTH, "no money": FailureClass.BILLING},
        headers={"x-from": "operator", "x-kept": "1", "x-team": Secret("team token-of-a-client")},
        health=HealthConfig(mode="dead", interval_secs=10, timeout_secs=2.5),
    )


def test_every_limit_takes_its_value(read: Read) -> None:
    defaults = LimitsConfig()
    doubled = {name: getattr(defaults, name) * 2 for name in LimitsConfig.__struct_fields__}
    assert read(yaml.safe_dump({"limits": doubled})).limits == LimitsConfig(**doubled)
    assert defaults == LimitsConfig(
        body_max_bytes=33_554_432,
        json_depth_max=128,
        header_timeout_secs=30,
        body_timeout_secs=30,
        connections_max=10_000,
        upstream_connections_max=1_000,
        connect_timeout_secs=10,
        drain_timeout_secs=30,
        answer_max_bytes=67_108_864,
    )


def test_auth_keys_take_their_values(read: Read) -> None:
    auth = read("auth: {mode: token, client_tokens: ['${TOKEN}'], open_telemetry_routes: true}").auth
    assert auth == AuthConfig(mode="token", client_tokens=(Secret("token-of-a-client"),), open_telemetry_routes=True)


@dataclasses.dataclass(frozen=True)
class Row:
    where: str
    legal: tuple[str, ...]
    illegal: tuple[str, ...]


RANGES = [
    Row(
        "models: {a: {provider: anthropic, max_concurrent: @}}",
        ("1", "1000000"),
        ("0", "-1", "1.5", "x", "null", "[]"),
    ),
    Row("models: {a: {provider: anthropic, max_requests: @}}", ("-1", "1"), ("0", "-2", "true")),
    Row("models: {a: {provider: anthropic, default_max_tokens: @}}", ("1", "64000"), ("0", "'7'", "1000000001")),
    Row("models: {a: {provider: anthropic, upstream_model: @}}", ("m", "'5'"), ("''", "5", "null", "[m]")),
    Row(
        "models: {a: {provider: anthropic, attempt_timeout_ms: @}}",
        ("1", "86400000", "null"),
        ("0", "86400001", "1.5"),
    ),
    Row(
        "models: {a: {provider: anthropic, first_token_timeout_ms: @}}",
        ("1", "86400000", "null"),
        ("0", "86400001", "1.5"),
    ),
    Row(
        "models: {a: {provider: anthropic, stall_timeout_ms: @}}", ("1", "86400000", "null"), ("0", "86400001", "1.5")
    ),
    Row(
        "pools: {p: {members: [{target: a, attempt_timeout_ms: @}]}}",
        ("1", "86400000", "null"),
        ("0", "86400001", "'9'"),
    ),
    Row(
        "pools: {p: {members: [{target: a, first_token_timeout_ms: @}]}}",
        ("1", "86400000", "null"),
        ("0", "86400001", "'9'"),
    ),
    Row(
        "pools: {p: {members: [{target: a, stall_timeout_ms: @}]}}",
        ("1", "86400000", "null"),
        ("0", "86400001", "'9'"),
    ),
    Row("pools: {p: {members: [{target: a, weight: @}]}}", ("0", "1000000"), ("-1", "0.5", "null")),
    Row("pools: {p: {members: [{target: a, context_max: @}]}}", ("1", "null"), ("0", "x")),
    Row("pools: {p: {members: @}}", ("[{target: a}]",), ("[]", "null", "a", "[a]", "[{}]")),
    Row(
        "pools: {p: {members: [{target: a}], breaker: {base_cooldown_secs: @}}}",
        ("1", "120", "1.5"),
        ("0", "121", "x"),
    ),
    Row("pools: {p: {members: [{target: a}], breaker: {max_cooldown_secs: @}}}", ("15", "86400"), ("14", "86401")),
    Row("pools: {p: {members: [{target: a}], breaker: {trip: {threshold: @}}}}", ("0.01", "1"), ("0", "1.01", "-1")),
    Row("pools: {p: {members: [{target: a}], breaker: {trip: {window_secs: @}}}}", ("0.5", "86400"), ("0", "86401")),
    Row("pools: {p: {members: [{target: a}], breaker: {trip: {min_requests: @}}}}", ("1", "1024"), ("0", "1025")),
    Row("pools: {p: {members: [{target: a}], breaker: {trip: {consecutive_n: @}}}}", ("1", "1024"), ("0", "1025")),
    Row("pools: {p: {members: [{target: a}], breaker: {trip: {mode: @}}}}", ("consecutive",), ("rate", "null")),
    Row("pools: {p: {members: [{target: a}], failover: {deadline_secs: @}}}", ("0.1", "3600"), ("0", "3601")),
    Row("pools: {p: {members: [{target: a}], failover: {cap: @}}}", ("0", "64"), ("-1", "65")),
    Row(
        "pools: {p: {members: [{target: a}], failover: {exclusions: @}}}", ("[]", "[a]", "null"), ("a", "[b]", "[3]")
    ),
    Row("pools: {p: {members: [{target: a}], affinity: @}}", ("null", "{}"), ("session", "{mode: ip}")),
    Row(
        "pools: {p: {members: [{target: a}], affinity: {header_name: @}}}", ("x-a",), ("''", "'a b'", "'a:'", "null")
    ),
    Row(
        "pools: {p: {members: [{target: a}], on_exhausted: @}}",
        ("reject", "{action: reject}", "least_bad", "{action: least_bad}", "'queue:500'", "{action: 'queue:0'}"),
        ("drop", "{action: queue}", "queue", "'queue:-1'", "'queue:1.5'", "'fallback_pool:'", "fallback_pool"),
    ),
    Row(
        "pools: {p: {members: [{target: a}], stream_recovery: @}}",
        ("none", "'hold:500'", "continue"),
        ("hold", "hold:x", "null"),
    ),
    Row("models: {a: {provider: anthropic, prefill: @}}", ("true", "false"), ("1", "'true'", "null")),
    Row(
        "pools: {p: {members: [{target: a}], supervision: @}}",
        ("null", "two-stage", "'my.policies:Mine'", "{policy: 'my.policies:Mine', options: {a: 1, b: x, c: null}}"),
        ("a policy", "{policy: ':x'}", "{policy: 7}", "{options: {}}", "{}", "{policy: x, options: {a: []}}"),
    ),
    Row(
        "pools: {p: {members: [{target: a}], strategy: @}}",
        ("weighted", "least_busy", "fastest", "cheapest"),
        ("random", "null"),
    ),
    Row("pools: {p: {members: [{target: a}], retry: {same_member: @}}}", ("0", "16"), ("-1", "17")),
    Row(
        "pools: {p: {members: [{target: a}], retry: {retry_after_max_secs: @}}}", ("0", "0.5", "3600"), ("-1", "3601")
    ),
    Row("providers: {anthropic: {health: {mode: @}}}", ("none", "dead", "active"), ("on", "true", "null")),
    Row("providers: {anthropic: {health: {interval_secs: @}}}", ("0.01", "30", "86400"), ("0", "86401", "x")),
    Row("providers: {anthropic: {health: {timeout_secs: @}}}", ("0.1", "5", "86400"), ("0", "86401", "x")),
    Row("auth: {mode: @}", ("none", "passthrough"), ("token", "open", "true")),
    Row("auth: {open_telemetry_routes: @}", ("true", "false"), ("yes", "1")),
    Row("governance: {admin_token: '${TOKEN}', enabled: @}", ("true", "false"), ("1", "null")),
    Row("governance: {db_path: @}", ("busbar-governance.db", "/var/lib/busbar/keys.db"), ("''", "null")),
    Row("governance: {durability: @}", ("strict", "relaxed"), ("none", "true", "null")),
    Row("governance: {price_per_request_cents: @}", ("0", "0.25", "1000000", "null"), ("-1", "x", "1000001")),
    Row("governance: {price_per_1k_tokens_cents: @}", ("0", "0.0003", "1000000", "null"), ("-1", "x", "1000001")),
    *(
        Row(f"governance: {{prices: {{a: {{input: 3, output: 15, {key}: @}}}}}}", ("0", "0.3", "null"), ("-1", "x"))
        for key in ("cache_read", "cache_write", "cache_write_1h", "reasoning")
    ),
    Row(
        "governance: {prices: {a: {input: 3, output: 15, tiers: @}}}",
        (
            "[]",
            "[{above: 1, input: 0, output: 0}]",
            "[{above: 200000, input: 6, output: 22.5, cache_read: 0.6, cache_write_1h: 12, reasoning: 9}]",
            "[{above: 32000, input: 1, output: 1}, {above: 128000, input: 2, output: 2}]",
        ),
        (
            "[{input: 6, output: 22.5}]",
            "[{above: 0, input: 6, output: 22.5}]",
            "[{above: 200000, input: 6}]",
            "[{above: 2, input: 1, output: 1}, {above: 2, input: 2, output: 2}]",
            "[{above: 2, input: 1, output: 1}, {above: 1, input: 2, output: 2}]",
        ),
    ),
    Row(
        "governance: {prices: {a: {input: 3, output: 15, changes: @}}}",
        (
            "[]",
            "[{from_day: 2026-12-01, input: 1, output: 2}, {from_day: 2027-01-01, input: 2, output: 3}]",
            "[{from_day: 2026-12-01, input: 1, output: 2, tiers: [{above: 5, input: 2, output: 4}]}]",
        ),
        (
            "[{input: 1, output: 2}]",
            "[{from_day: tomorrow, input: 1, output: 2}]",
            "[{from_day: 2027-02-30, input: 1, output: 2}]",
            "[{from_day: 2027-01-01, input: 1, output: 2}, {from_day: 2027-01-01, input: 2, output: 3}]",
            "[{from_day: 2027-01-01, input: 1, output: 2, "
            "tiers: [{above: 5, input: 2, output: 4}, {above: 4, input: 3, output: 5}]}]",
        ),
    ),
    Row(
        "governance: {prices: @}",
        (
            "{}",
            "null",
            "{a: {input: 3, output: 15}}",
            "{a: {input: 0, output: 0, cache_read: 0.3, cache_write: null}}",
        ),
        ("[]", "{a: 3}", "{a: {input: 3}}", "{a: {input: 3, output: -1}}", "{b: {input: 3, output: 15}}"),
    ),
    Row("limits: {body_max_bytes: @}", ("1024", "1073741824"), ("1023", "1073741825", "32MiB")),
    Row("limits: {json_depth_max: @}", ("8", "512"), ("7", "513")),
    Row("limits: {headers_max_bytes: @}", ("1024", "1073741824"), ("1023", "64KiB")),
    Row("limits: {header_timeout_secs: @}", ("0.1", "86400"), ("0", "86401")),
    Row("limits: {write_timeout_secs: @}", ("0.1", "86400"), ("0", "86401")),
    Row("limits: {idle_timeout_secs: @}", ("0.1", "86400"), ("0", "86401")),
    Row("limits: {body_timeout_secs: @}", ("0.1", "86400"), ("0", "86401")),
    Row("limits: {connections_max: @}", ("1", "1000000"), ("0", "1000001")),
    Row("limits: {upstream_connections_max: @}", ("1", "1000000"), ("0", "1000001")),
    Row("limits: {connect_timeout_secs: @}", ("0.1", "600"), ("0", "601")),
    Row("limits: {drain_timeout_secs: @}", ("0", "3600"), ("-1", "3601")),
    Row("limits: {answer_max_bytes: @}", ("1024",), ("1023",)),
    Row(
        "observability: {otlp_endpoint: @}",
        ("'https://otel:4318'", "null"),
        ("otel", "'ftp://h'", "'https://u:p@h'", "'http://otel'"),
    ),
    Row(
        "observability: {otlp_headers: @}",
        ("{}", "{authorization: 'Bearer ${TOKEN}'}"),
        ("{authorization: plain}", "[]"),
    ),
    Row("observability: {capture_content: @}", ("true", "false"), ("1", "'yes'")),
    Row("observability: {request_log_file: @}", ("log.jsonl", "null"), ("''", "5")),
    Row("observability: {request_log_file_max_bytes: @}", ("4096", "1099511627776"), ("4095", "1GB")),
    Row("observability: {request_log_files_kept: @}", ("0", "1000"), ("-1", "1001")),
    Row("observability: {request_log_webhook_url: @}", ("'https://h/x?token=1'", "null"), ("h", "'http:///x'")),
    Row("observability: {request_log_webhook_secret: @}", ("'${TOKEN}'",), ("plain", "5")),
    Row("observability: {log_format: @}", ("human", "json"), ("text", "null")),
    Row("upstream_engine: @", ("lean", "aiohttp", "auto"), ("httpx", "true", "null")),
    Row("listen: @", ("'0.0.0.0:0'", "'[::1]:65535'", "'host.example:80'"), ("8080", "':80'", "'a:b'", "'h:65536'")),
    Row("listen: @", ("localhost:1",), ("'::1:80'", "'h/x:80'", "'u@h:80'", "'[h]:80'", "'h :80'", "host")),
]

SECTIONS = {
    "providers": "providers: {anthropic: {}}\n",
    "models": "models: {a: {provider: anthropic}}\n",
}


def complete(text: str) -> str:
    """`text` with a provider and a model beside it, where it does not say them itself."""
    return text + "\n" + "".join(part for key, part in SECTIONS.items() if not text.startswith(key))


@pytest.mark.parametrize("row", RANGES, ids=lambda row: row.where.replace(": ", "."))
def test_each_key_accepts_its_range_and_nothing_else(row: Row, complaints: Complaints) -> None:
    for value in row.legal:
        assert complaints(complete(row.where.replace("@", value))) == [], value
    for value in row.illegal:
        found = complaints(complete(row.where.replace("@", value)))
        assert len(found) == 1, (value, found)
        assert found[0].startswith("config.yaml:1: ")
        assert "not supported" not in found[0]


NOT_YET: dict[str, tuple[str, tuple[str, ...]]] = {}


def test_every_row_of_the_support_table_is_tried() -> None:
    assert set(NOT_YET) == set(SUPPORTED_VALUES)


@pytest.mark.parametrize("row", NOT_YET)
def test_what_is_still_to_come_is_answered_plainly(row: str, complaints: Complaints) -> None:
    where, values = NOT_YET[row]
    for value in values:
        found = complaints(complete(where.replace("@", value)))
        assert len(found) == 1, (value, found)
        assert ": not supported yet" in found[0]
