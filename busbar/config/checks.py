"""What no single value shows: names that must exist, names that collide, numbers that contradict each other.

References are checked on the tree, not on the structs, so that one wrong value in a model does not also report the
model as missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date
from urllib.parse import urlsplit

from busbar.config.prices import price_of
from busbar.config.problems import KeyPath, Report, closest, shown
from busbar.config.providers import VARIABLE, is_loopback, url_complaint
from busbar.config.reach import Purpose, Reach, entry_complaint
from busbar.config.read import place
from busbar.config.schema import (
    AuthConfig,
    ConfigFile,
    GovernanceConfig,
    ModelConfig,
    ObservabilityConfig,
    PoolConfig,
    PriceChange,
    PriceConfig,
    PriceTier,
    ProviderConfig,
    SecurityConfig,
    TlsConfig,
)
from busbar.config.source import Mapping, Node, Scalar, Sequence

RESERVED_SEGMENTS = frozenset(
    {
        *("v1", "v1beta", "v2", "model", "admin", "stats", "healthz", "metrics", "ui"),
        *("api", "chat", "responses"),
    }
)
"""First path segments of the gateway's own routes: a pool of that name could not be reached by path."""

NAME_CHARACTERS_MAX = 200


class Checks:
    """Cross-checks over one configuration; `run` reports everything it finds."""

    def __init__(self, root: Mapping, catalog: Collection[str], report: Report) -> None:
        self._root = root
        self._catalog = catalog
        self._report = report
        self._providers = _names(root, "providers")
        self._models = _names(root, "models")

    def run(self, config: ConfigFile) -> None:
        for section in ("providers", "models", "pools"):
            for name in _names(self._root, section):
                self._name(section, name)
        for name in self._providers:
            self._provider_is_known(name)
        for name in self._models:
            self._model(name)
        for name in _names(self._root, "pools"):
            self._pool_name(name)
            self._members(name)
        for model in config.models.values():
            if model.max_requests == 0:
                self._add(("models", model.name, "max_requests"), "expected -1 for no limit, or at least 1")
        for pool in config.pools.values():
            self._cooldowns(pool)
            self._fallback(pool)
        self._fallback_circles(config.pools)
        for name, price in config.governance.prices.items():
            self._refers(("governance", "prices", name), name, self._models, "model")
            self._price(("governance", "prices", name), price)

    def workers(self, config: ConfigFile) -> None:
        """Each needs a slot of every model's, and there is one ledger."""
        count = config.workers
        if count == 1:
            if config.workers_control is not None:
                self._add(("workers_control",), "there is one process; it is asked at `listen`")
            return
        if config.governance.enabled:
            self._add(("workers",), "governance keeps its books in one process: write 1, or turn governance off")
        for model in config.models.values():
            for key, shared in (("max_concurrent", model.max_concurrent), ("max_requests", model.max_requests)):
                if 0 < shared < count:
                    self._add(("models", model.name, key), f"{shared} cannot be shared among {count} workers")

    def auth(self, auth: AuthConfig) -> None:
        """Token mode without a token would lock everybody out, or worse."""
        written = self._root.get("auth", "client_tokens")
        if auth.mode == "token" and not (isinstance(written, Sequence) and written.items):
            self._add(("auth", "client_tokens"), "auth.mode token needs at least one client token")

    def governance(self, enabled: bool, auth: AuthConfig) -> None:
        """Keys that nobody could mint would lock everybody out; so would keys that go upstream instead."""
        if not enabled:
            return
        token = self._root.get("governance", "admin_token")
        if token is None or (isinstance(token, Scalar) and not token.broken and token.value is None):
            self._add(
                ("governance", "admin_token"),
                "governance.enabled needs it: callers need keys, and without the admin token nobody can make one",
            )
        if auth.mode == "passthrough":
            self._add(
                ("auth", "mode"),
                "passthrough sends the caller's own key upstream, so it cannot be one of governance's; "
                "use none or token, or leave governance.enabled out",
            )

    def reach(self, security: SecurityConfig) -> Reach:
        """The rule that `security.allow_private` makes; entries that are none are reported, and left out."""
        good: list[str] = []
        for position, entry in enumerate(security.allow_private):
            complaint = entry_complaint(entry)
            if complaint is None:
                good.append(entry)
            else:
                self._add(("security", "allow_private", position), complaint)
        return Reach(good)

    def observability(self, observability: ObservabilityConfig, reach: Reach) -> None:
        """Where telemetry goes must be a place, and one that may be called."""
        purposes: dict[str, Purpose] = {"otlp_endpoint": "telemetry", "request_log_webhook_url": "webhook"}
        for key, purpose in purposes.items():
            url: str | None = getattr(observability, key)
            if url is None:
                continue
            may_ask = key == "request_log_webhook_url"  # OTLP has a path of its own to add
            complaint = url_complaint(url.partition("?")[0] if may_ask else url) or reach.complaint(purpose, url)
            if complaint is not None:
                self._add(("observability", key), complaint)

    def providers(self, providers: Iterable[ProviderConfig], reach: Reach) -> None:
        """Where requests and their keys go, and where tokens come from."""
        for provider in providers:
            path: KeyPath = ("providers", provider.name)
            is_whole = VARIABLE.search(provider.base_url) is None
            if is_whole and url_complaint(provider.base_url) is None:  # else that was reported
                self._add_if((*path, "base_url"), reach.complaint("provider", provider.base_url))
            token_url = provider.identity.token_url
            if token_url is not None:
                complaint = url_complaint(token_url.partition("?")[0]) or reach.complaint("token", token_url)
                self._add_if((*path, "identity", "token_url"), complaint)

    def tls(self, tls: TlsConfig | None) -> None:
        """Half of what client certificates need would be none of their protection."""
        if tls is None:
            return
        if tls.client_certificates != "none" and tls.client_ca is None:
            self._add(
                ("tls", "client_ca"), f"client_certificates {tls.client_certificates} needs the file of authorities"
            )
        if tls.client_certificates == "none" and tls.client_ca is not None:
            self._add(("tls", "client_certificates"), "with client_ca, say optional or required: none asks for none")

    def _price(self, path: KeyPath, price: PriceConfig) -> None:
        self._tiers((*path, "tiers"), price.tiers)
        before: date | None = None
        for position, change in enumerate(price.changes):
            place_of_it: KeyPath = (*path, "changes", position)
            day = _day(change)
            if day is None:
                self._add((*place_of_it, "from_day"), "there is no such day")
            elif before is not None and day <= before:
                self._add((*place_of_it, "from_day"), "not later than that of the change before it")
            before = day or before
            self._tiers((*place_of_it, "tiers"), change.tiers)

    def _tiers(self, path: KeyPath, tiers: tuple[PriceTier, ...]) -> None:
        for position in range(1, len(tiers)):
            if tiers[position].above <= tiers[position - 1].above:
                self._add((*path, position, "above"), "not more than that of the tier before it")

    def _name(self, section: str, name: str) -> None:
        if not name.isprintable() or any(character.isspace() for character in name):
            self._add((section, name), "a name has no spaces and no control characters")
        if len(name) > NAME_CHARACTERS_MAX:
            self._add((section, name), f"a name has at most {NAME_CHARACTERS_MAX} characters")

    def _provider_is_known(self, name: str) -> None:
        node = self._root.get("providers", name)
        complete = isinstance(node, Mapping) and "protocol" in node.items and "base_url" in node.items
        if name not in self._catalog and not complete:
            match = closest(name, list(self._catalog))
            hint = f", did you mean {shown(match)}?" if match else ";"
            self._add(
                ("providers", name), f"not in the catalog{hint} give it a protocol and a base_url, or correct it"
            )

    def _model(self, name: str) -> None:
        path = ("models", name, "provider")
        self._refers(path, _text(self._root.get(*path)), self._providers, "provider")

    def _pool_name(self, name: str) -> None:
        if name in self._providers:
            self._add(
                ("pools", name), "a pool cannot be named like a provider: /<provider>/<model> would be ambiguous"
            )
        if name in RESERVED_SEGMENTS:
            self._add(("pools", name), "this name is the first part of one of the gateway's own paths")

    def _members(self, pool: str) -> None:
        members = self._root.get("pools", pool, "members")
        targets: list[str] = []
        for position, member in enumerate(members.items if isinstance(members, Sequence) else ()):
            target = _text(member.get("target")) if isinstance(member, Mapping) else None
            if target is None:
                continue
            path: KeyPath = ("pools", pool, "members", position, "target")
            self._refers(path, target, self._models, "model")
            if target in targets:
                self._add(path, "this model is already a member of the pool")
            targets.append(target)
        exclusions = self._root.get("pools", pool, "failover", "exclusions")
        for position, node in enumerate(exclusions.items if isinstance(exclusions, Sequence) else ()):
            self._refers(("pools", pool, "failover", "exclusions", position), _text(node), targets, "member")

    def _cooldowns(self, pool: PoolConfig) -> None:
        breaker = pool.breaker
        if breaker.base_cooldown_secs > breaker.max_cooldown_secs:
            path = ("pools", pool.name, "breaker", "base_cooldown_secs")
            self._add(path, f"longer than max_cooldown_secs ({breaker.max_cooldown_secs:g})")

    def _fallback(self, pool: PoolConfig) -> None:
        target = pool.on_exhausted.fallback_pool
        path = ("pools", pool.name, "on_exhausted", "action")
        self._refers(path, target, _names(self._root, "pools"), "pool")
        if target == pool.name:
            self._add(path, "a pool cannot fall back on itself")

    def _fallback_circles(self, pools: dict[str, PoolConfig]) -> None:
        """Reports each circle once, at the first of its pools."""
        told: set[str] = set()
        for start in pools:
            way: list[str] = []
            name: str | None = start
            while name in pools and name not in way and name not in told:
                way.append(name)
                name = pools[name].on_exhausted.fallback_pool
            if name == start and len(way) > 1:
                circle = " → ".join((*way, start))
                self._add(("pools", start, "on_exhausted", "action"), f"fallback pools in a circle: {circle}")
                told.update(way)

    def _refers(self, path: KeyPath, name: str | None, known: Collection[str], kind: str) -> None:
        if name is None or name in known:
            return
        match = closest(name, list(known))
        hint = f", did you mean {shown(match)}?" if match else ""
        self._add(path, f"there is no {kind} of this name{hint}")

    def _add_if(self, path: KeyPath, complaint: str | None) -> None:
        if complaint is not None:
            self._add(path, complaint)

    def _add(self, path: KeyPath, message: str) -> None:
        self._report.add(*place(self._root, path), path, message)


def notes(
    auth: AuthConfig,
    listens_openly: bool,
    providers: dict[str, ProviderConfig],
    models: dict[str, ModelConfig],
    pools: dict[str, PoolConfig],
    governance: GovernanceConfig,
) -> tuple[str, ...]:
    """What is legal and perhaps not meant, one sentence each, by section."""
    found: list[str] = []

    def unpriced(names: Iterable[str]) -> str:
        chosen = [models[name] for name in names]
        return ", ".join(it.name for it in chosen if not price_of(it, providers[it.provider], governance.prices))

    if auth.mode == "none" and listens_openly and not governance.enabled:
        found.append("auth.mode is none and the gateway listens beyond this machine: whoever reaches it can use it")
    if auth.mode != "token" and auth.client_tokens:
        found.append(f"auth.client_tokens has no effect while auth.mode is {auth.mode}")
    if not models:
        found.append("no models are configured: every request will be answered 404")
    for provider in providers.values():
        url = urlsplit(provider.base_url)
        if url.scheme == "http" and provider.api_key is not None and not is_loopback(url.hostname or ""):
            found.append(f"providers.{provider.name} sends its key over http, in clear text")
        if provider.health.mode != "none" and provider.auth != "none" and auth.mode == "passthrough":
            found.append(f"providers.{provider.name}.health has no effect: passthrough has no key to probe with")
    for pool in pools.values():
        protocols = {providers[models[member.target].provider].protocol for member in pool.members}
        if len(protocols) > 1:
            found.append(
                f"pools.{pool.name} mixes protocols ({', '.join(sorted(protocols))}): requests are translated"
            )
        if all(member.weight == 0 for member in pool.members):
            found.append(f"pools.{pool.name} takes no traffic: every weight is 0")
        if all(member.target in pool.failover.exclusions for member in pool.members):
            found.append(f"pools.{pool.name} takes no traffic: every member is excluded")
        if pool.strategy == "cheapest" and (without := unpriced(member.target for member in pool.members)):
            found.append(f"pools.{pool.name} picks the cheapest, and without a price comes last: {without}")
        if pool.name in models:
            found.append(f"pools.{pool.name} hides the model of the same name")
    flat = governance.price_per_request_cents is not None or governance.price_per_1k_tokens_cents is not None
    if governance.enabled and not flat and (without := unpriced(models)):
        found.append(f"governance knows no price for {without}: each request there is charged a cent")
    return tuple(found)


def _day(change: PriceChange) -> date | None:
    try:
        return date.fromisoformat(change.from_day)
    except ValueError:
        return None


def _text(node: Node | None) -> str | None:
    """The node's text where it is text; anything else was reported when it was read."""
    if not isinstance(node, Scalar) or node.broken or not isinstance(node.value, str):
        return None
    return node.text


def _names(root: Mapping, section: str) -> list[str]:
    node = root.items.get(section)
    return list(node.items) if isinstance(node, Mapping) else []
