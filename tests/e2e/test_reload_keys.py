"""Every key of the files is one or the other: a reload takes it over, which is shown here, or it needs a restart."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import Struct, structs

from busbar.actors.pool import Pool
from busbar.config import loads
from busbar.config.describe import Section, described
from busbar.config.difference import RESTART_ONLY
from busbar.gateway import BusbarGateway

ENV = {"ADMIN": "the-operators-own", "ONE": "key-one", "TWO": "key-two", "OTHER": "another"}

BASE: dict[str, Any] = {
    "listen": "127.0.0.1:0",
    "providers": {"p": {"protocol": "openai", "base_url": "http://127.0.0.1:9", "api_key_env": "ONE"}},
    "models": {"m": {"provider": "p"}, "n": {"provider": "p"}},
    "pools": {"fast": {"members": [{"target": "m"}, {"target": "n"}]}},
    "governance": {"admin_token": "${ADMIN}"},
}
PRICE = {"input": 1, "output": 2}
GOVERNED = {"governance.enabled": True, "governance.prices": {"m": {**PRICE, "changes": [], "tiers": []}}}
DAY = {"from_day": "2026-01-01", **PRICE}


# --- what a running gateway goes by


def lane(it: BusbarGateway) -> Any:
    """How a request is sent to m."""
    assert it._generation is not None
    found = structs.asdict(it._generation.lanes["m"])
    return {**found, "signer": {name: getattr(found["signer"], name) for name in _names(found["signer"])}}


def account(it: BusbarGateway) -> Any:
    """What its credentials are made from."""
    return it._credentials["p"].made_from


def member(it: BusbarGateway) -> Any:
    assert it._generation is not None
    return it._generation.directory.members["m"].node.actor._spec  # type: ignore[union-attr]


def pool(it: BusbarGateway, name: str = "fast") -> Any:
    assert it._generation is not None
    directory = it._generation.directory
    actor = (directory.direct["m"] if name == "m" else directory.pools[name]).node.actor
    assert isinstance(actor, Pool)
    spec = structs.asdict(actor._spec)
    members = [{**structs.asdict(line), "ref": None} for line in spec["members"]]
    policy = {name: value for name, value in vars(spec["policy"]).items() if "random" not in name}
    return {**spec, "members": members, "policy": (type(spec["policy"]), policy)}


def own_pool(it: BusbarGateway) -> Any:
    return pool(it, "m")


def destination(it: BusbarGateway) -> Any:
    assert it._generation is not None
    return structs.replace(it._generation._destinations.pools["fast"], ref=None)


def door(it: BusbarGateway) -> Any:
    assert it._generation is not None
    return vars(it._generation._doorkeeper)


def pages(it: BusbarGateway) -> Any:
    assert it._dispatch is not None
    return it._dispatch.shift.controls["GET", "/stats"].__self__._open  # type: ignore[attr-defined]


def limits(it: BusbarGateway) -> Any:
    assert it._dispatch is not None
    assert it._front is not None
    shift = it._dispatch.shift
    everywhere = [it._front.limits, shift.limits, shift.relay._means.limits, it.config.limits]
    assert all(each == everywhere[0] for each in everywhere)
    return everywhere[0]


def prices(it: BusbarGateway) -> Any:
    governance = next(ref for ref in it.system.children(it._root) if ref.name == "governance")
    return governance.node.actor._tariff  # type: ignore[union-attr]


def probes(it: BusbarGateway) -> Any:
    assert it._generation is not None
    return [
        (probed.lane.model, probed.health) for probed in it._generation.prober._members if probed.lane.model == "m"
    ]


def shown(it: BusbarGateway) -> Any:
    """For people only: nothing goes by it."""
    found = it.reloader.shown()["providers"]["p"]
    return found["display_name"], found["docs"]


class Case(Struct, kw_only=True):
    """What `seen` shows is another thing after `change` (values by their place, with dots), when `given` was so
    before and after."""

    seen: Callable[[BusbarGateway], Any]
    change: dict[str, Any]
    given: dict[str, Any] = {}


def case(seen: Callable[[BusbarGateway], Any], change: dict[str, Any], **given: Any) -> Case:
    return Case(seen=seen, change=change, given={name.replace("__", "."): value for name, value in given.items()})


P, M, F = "providers.p", "models.m", "pools.fast"
ENTRA = {
    f"{P}.auth": "entra",
    f"{P}.api_key_env": None,
    f"{P}.identity": {"tenant": "t", "client_id": "c", "client_secret": "${ONE}"},
}
OAUTH = {
    f"{P}.auth": "oauth",
    f"{P}.api_key_env": None,
    f"{P}.identity": {"token_url": "https://id.example.com/t", "client_id": "c", "client_secret": "${ONE}"},
}
CHAIN = {f"{P}.auth": "sigv4", f"{P}.api_key_env": None}
KEYS = {f"{P}.api_key_env": None}


def _identity(auth: dict[str, Any], **change: Any) -> Case:
    return Case(seen=account, change={f"{P}.identity.{name}": value for name, value in change.items()}, given=auth)


def _one_of_two(name: str, key: dict[str, Any], after: Any) -> Case:
    keys = [{"refresh_secs": 60, **key}, {"env": "OTHER"}]
    return Case(seen=account, change={f"{P}.api_keys.0.{name}": after}, given={**KEYS, f"{P}.api_keys": keys})


def _limit(name: str, value: float) -> tuple[str, Case]:
    return f"limits.{name}", Case(seen=limits, change={f"limits.{name}": value})


def _price(path: str, base: str, *kinds: str) -> Iterator[tuple[str, Case]]:
    given = {**GOVERNED, "governance.prices.m.changes": [{**DAY, "tiers": [{"above": 7, **PRICE}]}]}
    given["governance.prices.m.tiers"] = [{"above": 7, **PRICE}]
    for kind in kinds:
        yield f"{path}.{kind}", Case(seen=prices, change={f"{base}.{kind}": 77}, given=given)


RATES = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")
PRICED = "governance.prices"

RELOADED: dict[str, Case] = {
    # who may call
    "auth.mode": case(door, {"auth.mode": "passthrough"}),
    "auth.client_tokens": Case(
        seen=door,
        change={"auth.client_tokens": ["${TWO}"]},
        given={"auth": {"mode": "token", "client_tokens": ["${ONE}"]}},
    ),
    "auth.open_telemetry_routes": case(pages, {"auth.open_telemetry_routes": True}),
    "governance.admin_token": case(door, {"governance.admin_token": "${ONE}"}),
    # what it costs
    "governance.price_per_request_cents": Case(
        seen=prices, change={"governance.price_per_request_cents": 7}, given={"governance.enabled": True}
    ),
    "governance.price_per_1k_tokens_cents": Case(
        seen=prices, change={"governance.price_per_1k_tokens_cents": 7}, given={"governance.enabled": True}
    ),
    **dict(_price(f"{PRICED}.*", f"{PRICED}.m", *RATES)),
    **dict(_price(f"{PRICED}.*.tiers[]", f"{PRICED}.m.tiers.0", "above", *RATES)),
    **dict(_price(f"{PRICED}.*.changes[]", f"{PRICED}.m.changes.0", *RATES)),
    **dict(_price(f"{PRICED}.*.changes[].tiers[]", f"{PRICED}.m.changes.0.tiers.0", "above", *RATES)),
    f"{PRICED}.*.changes[].from_day": Case(
        seen=prices,
        change={f"{PRICED}.m.changes.0.from_day": "2026-02-02"},
        given={**GOVERNED, f"{PRICED}.m.changes": [DAY]},
    ),
    # limits
    **dict(
        [
            _limit("body_max_bytes", 4096),
            _limit("json_depth_max", 9),
            _limit("headers_max_bytes", 4096),
            _limit("header_timeout_secs", 7),
            _limit("body_timeout_secs", 7),
            _limit("write_timeout_secs", 7),
            _limit("idle_timeout_secs", 7),
            _limit("connections_max", 7),
            _limit("drain_timeout_secs", 7),
            _limit("answer_max_bytes", 4096),
        ]
    ),
    # accounts
    "providers.*.protocol": case(lane, {f"{P}.protocol": "anthropic"}),
    "providers.*.base_url": case(lane, {f"{P}.base_url": "http://127.0.0.1:8"}),
    "providers.*.path": case(lane, {f"{P}.path": "/x"}),
    "providers.*.stream_path": case(lane, {f"{P}.stream_path": "/x"}),
    "providers.*.count_path": Case(seen=lane, change={f"{P}.count_path": "/x"}, given={f"{P}.protocol": "anthropic"}),
    "providers.*.variables": Case(
        seen=lane,
        change={f"{P}.variables.port": "7"},
        given={f"{P}.base_url": "http://127.0.0.1:{port}", f"{P}.variables": {"port": "8"}},
    ),
    "providers.*.body": case(lane, {f"{P}.body": {"store": False}}),
    "providers.*.auth": case(lane, {f"{P}.auth": "x-api-key"}),
    "providers.*.api_key_env": case(lane, {f"{P}.api_key_env": "TWO"}),
    "providers.*.api_key": Case(
        seen=lane, change={f"{P}.api_key": "${TWO}"}, given={**KEYS, f"{P}.api_key": "${ONE}"}
    ),
    "providers.*.api_key_file": Case(
        seen=account, change={f"{P}.api_key_file": "/two"}, given={**KEYS, f"{P}.api_key_file": "/one"}
    ),
    "providers.*.api_key_command": Case(
        seen=account,
        change={f"{P}.api_key_command": ["echo", "two"]},
        given={**KEYS, f"{P}.api_key_command": ["echo", "one"]},
    ),
    "providers.*.api_keys[].env": _one_of_two("env", {"env": "ONE"}, "TWO"),
    "providers.*.api_keys[].value": _one_of_two("value", {"value": "${ONE}"}, "${TWO}"),
    "providers.*.api_keys[].file": _one_of_two("file", {"file": "/one"}, "/two"),
    "providers.*.api_keys[].command": _one_of_two("command", {"command": ["echo", "one"]}, ["echo", "two"]),
    "providers.*.api_keys[].refresh_secs": _one_of_two("refresh_secs", {"command": ["echo", "one"]}, 7),
    "providers.*.identity.credentials_file": _identity(
        {f"{P}.auth": "gcp-oauth", f"{P}.api_key_env": None, f"{P}.identity": {"credentials_file": "/one"}},
        credentials_file="/two",
    ),
    "providers.*.identity.scope": _identity(ENTRA, scope="x"),
    "providers.*.identity.tenant": _identity(ENTRA, tenant="x"),
    "providers.*.identity.client_id": _identity(ENTRA, client_id="x"),
    "providers.*.identity.client_secret": _identity(ENTRA, client_secret="${TWO}"),
    "providers.*.identity.client_secret_file": _identity(ENTRA, client_secret=None, client_secret_file="/x"),
    "providers.*.identity.client_assertion_file": _identity(ENTRA, client_secret=None, client_assertion_file="/x"),
    "providers.*.identity.managed_identity": _identity(ENTRA, client_secret=None, tenant=None, managed_identity=True),
    "providers.*.identity.authority": _identity(ENTRA, authority="https://login.example.com"),
    "providers.*.identity.token_url": _identity(OAUTH, token_url="https://id.example.com/x"),
    "providers.*.identity.audience": _identity(OAUTH, audience="x"),
    "providers.*.identity.client_auth": _identity(OAUTH, client_auth="basic"),
    "providers.*.identity.profile": _identity(CHAIN, profile="x"),
    "providers.*.identity.region": _identity(CHAIN, region="x"),
    "providers.*.display_name": case(shown, {f"{P}.display_name": "P"}),
    "providers.*.docs": case(shown, {f"{P}.docs": "https://p.example.com"}),
    "providers.*.error_map": case(lane, {f"{P}.error_map": {"odd": "server_error"}}),
    "providers.*.error_status": case(lane, {f"{P}.error_status": {"418": "server_error"}}),
    "providers.*.error_texts": case(lane, {f"{P}.error_texts": {"odd": "server_error"}}),
    "providers.*.headers": case(lane, {f"{P}.headers": {"x-odd": "1"}}),
    "providers.*.health.mode": case(probes, {f"{P}.health": {"mode": "active"}}),
    "providers.*.health.interval_secs": Case(
        seen=probes, change={f"{P}.health.interval_secs": 7}, given={f"{P}.health": {"mode": "dead"}}
    ),
    "providers.*.health.timeout_secs": Case(
        seen=probes, change={f"{P}.health.timeout_secs": 7}, given={f"{P}.health": {"mode": "dead"}}
    ),
    # models
    "models.*.provider": Case(
        seen=lane,
        change={f"{M}.provider": "q"},
        given={"providers.q": {**BASE["providers"]["p"], "base_url": "http://q"}},
    ),
    "models.*.upstream_model": case(lane, {f"{M}.upstream_model": "x"}),
    "models.*.max_concurrent": case(member, {f"{M}.max_concurrent": 7}),
    "models.*.max_requests": case(member, {f"{M}.max_requests": 7}),
    "models.*.default_max_tokens": case(lane, {f"{M}.default_max_tokens": 7}),
    "models.*.prefill": case(lane, {f"{M}.prefill": True}),
    **{
        f"models.*.{name}": Case(seen=own_pool, change={f"{M}.{name}": 7})
        for name in ("attempt_timeout_ms", "first_token_timeout_ms", "stall_timeout_ms")
    },
    # pools
    "pools.*.members[].target": case(pool, {f"{F}.members": [{"target": "n"}]}),
    "pools.*.members[].weight": case(pool, {f"{F}.members.0.weight": 7}),
    "pools.*.members[].context_max": case(pool, {f"{F}.members.0.context_max": 7}),
    **{
        f"pools.*.members[].{name}": Case(seen=pool, change={f"{F}.members.0.{name}": 7})
        for name in ("attempt_timeout_ms", "first_token_timeout_ms", "stall_timeout_ms")
    },
    "pools.*.breaker.base_cooldown_secs": case(pool, {f"{F}.breaker": {"base_cooldown_secs": 7}}),
    "pools.*.breaker.max_cooldown_secs": case(pool, {f"{F}.breaker": {"max_cooldown_secs": 77}}),
    "pools.*.breaker.trip.mode": case(pool, {f"{F}.breaker": {"trip": {"mode": "consecutive"}}}),
    "pools.*.breaker.trip.window_secs": case(pool, {f"{F}.breaker": {"trip": {"window_secs": 7}}}),
    "pools.*.breaker.trip.threshold": case(pool, {f"{F}.breaker": {"trip": {"threshold": 0.7}}}),
    "pools.*.breaker.trip.min_requests": case(pool, {f"{F}.breaker": {"trip": {"min_requests": 7}}}),
    "pools.*.breaker.trip.consecutive_n": case(pool, {f"{F}.breaker": {"trip": {"consecutive_n": 7}}}),
    "pools.*.failover.deadline_secs": case(destination, {f"{F}.failover": {"deadline_secs": 7}}),
    "pools.*.failover.cap": case(destination, {f"{F}.failover": {"cap": 7}}),
    "pools.*.failover.exclusions": case(pool, {f"{F}.failover": {"exclusions": ["m"]}}),
    "pools.*.retry.same_member": case(destination, {f"{F}.retry": {"same_member": 7}}),
    "pools.*.retry.retry_after_max_secs": case(destination, {f"{F}.retry": {"retry_after_max_secs": 7}}),
    "pools.*.on_exhausted.action": case(pool, {f"{F}.on_exhausted": "queue:700"}),
    "pools.*.strategy": case(pool, {f"{F}.strategy": "fastest"}),
    "pools.*.affinity.mode": case(destination, {f"{F}.affinity": {"mode": "session"}}),
    "pools.*.affinity.header_name": case(destination, {f"{F}.affinity": {"header_name": "x-odd"}}),
    "pools.*.stream_recovery": case(destination, {f"{F}.stream_recovery": "continue"}),
    "pools.*.supervision.policy": case(pool, {f"{F}.supervision": "quarantine"}),
    "pools.*.supervision.options": case(
        pool,
        {f"{F}.supervision": {"policy": "quarantine", "options": {"failures": 7}}},
        pools__fast__supervision="quarantine",
    ),
}


def _names(thing: object) -> list[str]:
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    return sorted({*slots, *getattr(thing, "__dict__", {})})


def _paths(section: Section) -> Iterator[str]:
    for key in section.keys:
        below = key.value.section or (key.value.item.section if key.value.item is not None else None)
        if below is None:
            yield key.path
        else:
            yield from _paths(below)


def _with(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(document)
    for path, value in changes.items():
        *above, last = path.split(".")
        there: Any = document
        for name in above:
            there = there[int(name)] if isinstance(there, list) else there.setdefault(name, {})
        if value is None:
            there.pop(last, None)
        else:
            there[int(last) if isinstance(there, list) else last] = copy.deepcopy(value)
    return document


def _restart_only(path: str) -> bool:
    return any(path == key or path.startswith(f"{key}.") for key in RESTART_ONLY)


def test_every_key_is_reloaded_or_needs_a_restart() -> None:
    paths = set(_paths(described()))
    assert {path for path in paths if not _restart_only(path)} == RELOADED.keys()
    assert {
        key for key in RESTART_ONLY if not any(path == key or path.startswith(f"{key}.") for path in paths)
    } == set()


@pytest.mark.parametrize("path", RELOADED)
async def test_a_reload_takes_over(path: str, tmp_path: Path) -> None:
    it = RELOADED[path]
    document = _with(BASE, {"governance.db_path": str(tmp_path / "governance.db"), **it.given})

    def load() -> Any:
        return loads(yaml.safe_dump(document), env=ENV)

    async with BusbarGateway(load(), load=load) as gateway:
        before = it.seen(gateway)
        document = _with(document, {"models.unrelated": {"provider": "p"}})
        assert (await gateway.reloader.reload("admin")).generation == 2
        assert it.seen(gateway) == before, "what the case looks at changes with anything"
        document = _with(document, it.change)
        assert (await gateway.reloader.reload("admin")).generation == 3
        assert it.seen(gateway) != before
