"""The pipeline: two texts in, one `Config` or one report out. The same for `serve`, `check` and tests.

parse → lay providers over the catalog → expand ${VAR} → read by the schema → resolve → cross-check
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from collections.abc import Mapping as Environment
from typing import TypeAlias, cast

from busbar.config.catalog import catalog_entries, overlay
from busbar.config.checks import Checks, notes
from busbar.config.expand import expand
from busbar.config.files import find_config, find_providers, packaged_providers, read_text
from busbar.config.problems import ConfigErrors, KeyPath, Report
from busbar.config.providers import ProviderResolver, is_loopback, url_complaint
from busbar.config.read import Reader, place
from busbar.config.schema import Config, ConfigFile, PoolConfig
from busbar.config.source import Mapping, parse
from busbar.config.support import RENAMED_KEYS

PoolsCheck: TypeAlias = Callable[[Environment[str, PoolConfig]], Iterable[tuple[KeyPath, str]]]
"""Finds fault with what pools name outside of the configuration: where, and why. This package only reads, and runs no
code of the operator's; whoever starts a gateway passes `busbar.supervision.complaints`."""


def load(
    config_path: str | os.PathLike[str] | None = None,
    providers_path: str | os.PathLike[str] | None = None,
    env: Environment[str, str] = os.environ,
    *,
    check_pools: PoolsCheck | None = None,
) -> Config:
    """Reads both files, found as `files.py` says, and gives the checked configuration. No network.

    Raises ConfigErrors with every problem of both files.
    """
    problems = []
    texts: list[tuple[str, str]] = []
    for find, given in ((find_config, config_path), (find_providers, providers_path)):
        try:
            path = find(os.fspath(given) if given is not None else None, env)
            texts.append((read_text(path), str(path)))
        except ConfigErrors as errors:
            problems += errors.problems
    if problems:
        raise ConfigErrors(problems)
    (config_text, config_file), (providers_text, providers_file) = texts
    return loads(
        config_text,
        providers_text,
        env,
        config_file=config_file,
        providers_file=providers_file,
        check_pools=check_pools,
    )


def loads(
    config_text: str,
    providers_text: str | None = None,
    env: Environment[str, str] = os.environ,
    *,
    config_file: str = "config.yaml",
    providers_file: str = "providers.yaml",
    renamed: Environment[str, str] = RENAMED_KEYS,
    check_pools: PoolsCheck | None = None,
) -> Config:
    """The same from texts; without `providers_text` the packaged catalog is used.

    `config_file` and `providers_file` are the names that the report shows. Raises ConfigErrors.
    """
    report = Report()
    if providers_text is None:
        providers_text = read_text(packaged_providers())
    document = parse(config_text, config_file, report)
    catalog_document = parse(providers_text, providers_file, report)
    if document is None or catalog_document is None:
        raise ConfigErrors(report.problems)
    return read_documents(document, catalog_document, env, report, renamed, check_pools)


def read_documents(
    document: Mapping,
    catalog_document: Mapping,
    env: Environment[str, str],
    report: Report,
    renamed: Environment[str, str] = RENAMED_KEYS,
    check_pools: PoolsCheck | None = None,
) -> Config:
    """The same from parsed files. Raises ConfigErrors with all that is in `report` then."""
    catalog = catalog_entries(catalog_document, report)
    root = cast(Mapping, expand(overlay(document, catalog), env, report))
    written = Reader(report, renamed).read(root, ConfigFile)
    if written is None:
        raise ConfigErrors(report.problems)
    for path, message in check_pools(written.pools) if check_pools is not None else ():
        report.add(*place(root, path), path, message)
    config = _resolve(written, root, catalog, env, report)
    report.raise_if_any()
    return config


def _resolve(
    written: ConfigFile, root: Mapping, catalog: Mapping, env: Environment[str, str], report: Report
) -> Config:
    checks = Checks(root, list(catalog.items), report)
    checks.run(written)
    checks.auth(written.auth)
    checks.governance(written.governance.enabled, written.auth)
    checks.tls(written.tls)
    reach = checks.reach(written.security)
    checks.observability(written.observability, reach)
    address = parse_listen(written.listen)
    if address is None:
        report.add(*place(root, ("listen",)), ("listen",), LISTEN_EXPECTED)
    control = None if written.workers_control is None else parse_listen(written.workers_control)
    if written.workers_control is not None and (control is None or not 0 < control[1] <= 65_536 - written.workers):
        report.add(*place(root, ("workers_control",)), ("workers_control",), LISTEN_EXPECTED)
    checks.workers(written)
    resolver = ProviderResolver(root, env, written.auth.mode == "passthrough", report)
    providers = {name: resolver.resolve(entry) for name, entry in written.providers.items()}
    checks.providers(providers.values(), reach)
    report.raise_if_any()
    assert address is not None
    host, port = address
    return Config(
        listen_host=host,
        listen_port=port,
        auth=written.auth,
        providers=providers,
        models=written.models,
        pools=written.pools,
        limits=written.limits,
        observability=written.observability,
        governance=written.governance,
        upstream_engine=written.upstream_engine,
        tls=written.tls,
        security=written.security,
        workers=written.workers,
        workers_control=control,
        notes=notes(
            written.auth,
            not is_loopback(host),
            providers,
            written.models,
            written.pools,
            written.governance,
        ),
    )


LISTEN_EXPECTED = "expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080"


def parse_listen(text: str) -> tuple[str, int] | None:
    """`HOST:PORT` as host and port, IPv6 addresses in brackets; None when it is not that. Port 0 is legal."""
    written_host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        return None
    host = written_host.removeprefix("[").removesuffix("]")
    is_ipv6 = ":" in host
    if written_host != (f"[{host}]" if is_ipv6 else host) or "/" in host or url_complaint(f"http://{written_host}"):
        return None
    return host, int(port)
