"""Whom the gateway may be made to call: one pure rule for providers, webhooks, telemetry and token URLs.

A URL from a file or a name from DNS may lead anywhere: to a cloud's metadata server, which gives credentials to
whoever asks, or to a service behind the firewall that trusts its neighbours. So names are resolved first, each
address is put to `Reach.refusal`, and exactly the address that passed is dialled (`busbar.reached`). What needs
no resolver, `Reach.complaint` tells when the configuration is read.

| address                       | provider          | webhook, telemetry, token URL                    |
|-------------------------------|-------------------|--------------------------------------------------|
| metadata server, link-local   | never             | never                                            |
| multicast, reserved, 0.0.0.0  | never             | never                                            |
| private, loopback             | https and http    | where `security.allow_private` names it, as well |
| public                        | https             | https                                            |

What `security.allow_private` names, whatever its address, is on this side of the firewall: plain http may go there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal
from urllib.parse import urlsplit

from busbar.config.addresses import Address, Kind, host_name, kind_of, literal, plain

Purpose = Literal["provider", "webhook", "telemetry", "token"]
"""What a connection is for."""

METADATA_NAMES = frozenset(
    {
        *("metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"),
        *("metadata.tencentyun.com", "metadata.azure.internal"),
    }
)
"""Names that clouds give their metadata servers."""

_LOOPBACK = (ip_network("127.0.0.1"), ip_network("::1"))
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\Z")


class Reach:
    """The rule, with what the operator allows besides. A value: it knows nothing and keeps nothing."""

    def __init__(self, allow_private: Sequence[str] = ()) -> None:
        """`allow_private`: host names, addresses and networks. Raises ValueError for what is none of them."""
        self._names: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in allow_private:
            read = _entry(entry)
            if isinstance(read, str):
                self._names.add(read)
            else:
                self._networks.append(read)

    def __repr__(self) -> str:
        return f"Reach({sorted([*self._names, *map(str, self._networks)])})"

    def refusal(self, purpose: Purpose, scheme: str, host: str, address: str) -> str | None:
        """Why `address`, to which `host` was resolved, must not be dialled; None: it may.

        `address` is one as the resolver gives it, perhaps with a zone; `host` is the URL's.
        """
        found = literal(address)
        if found is None:
            return "the resolver's answer is not an address"
        name = host_name(host)
        if name in METADATA_NAMES:
            return f"{name} is a metadata server, which is never called"
        return self._verdict(purpose, scheme, found, named=name in self._names or self._names_address(found))

    def complaint(self, purpose: Purpose, url: str) -> str | None:
        """What is wrong with `url` already before its host is resolved; None: nothing that shows. Never quotes more
        of it than its host."""
        try:
            parts = urlsplit(url)
            written = parts.hostname
        except ValueError:
            return "not a URL"
        if parts.scheme not in ("http", "https") or not written:
            return "expected http:// or https:// with a host"
        if "@" in parts.netloc or "\\" in url:
            return "a URL with a user, a password or a backslash in it is not accepted"
        host = host_name(written)
        address = literal(host)
        if address is not None:
            return self._verdict(purpose, parts.scheme, address, named=self._names_address(address))
        if host in METADATA_NAMES:
            return f"{host} is a metadata server, which is never called"
        if not _HOST_NAME.match(host) or host.rpartition(".")[2].isdigit():
            return "neither a host's name nor an address"
        return self._complaint_of_name(purpose, parts.scheme, host)

    def _complaint_of_name(self, purpose: Purpose, scheme: str, host: str) -> str | None:
        if purpose == "provider" or host in self._names:
            return None
        if host == "localhost" or host.endswith(".localhost"):
            if not any(self._names_network(network) for network in _LOOPBACK):
                return f"{host} is this machine: {_name_it(host)}"
        elif scheme == "http" and not self._networks:  # with networks, its address decides
            return f"use https, or, if it is on your side of the firewall, {_name_it(host)}"
        return None

    def _verdict(self, purpose: Purpose, scheme: str, address: Address, *, named: bool) -> str | None:
        kind = kind_of(address)
        if kind is Kind.METADATA:
            return f"{plain(address)} is link-local or a metadata server, which is never called"
        if kind is Kind.NEVER:
            return f"{plain(address)} is no single host's address, or a reserved one"
        if named:
            return None
        if kind is Kind.PRIVATE:
            return None if purpose == "provider" else f"{plain(address)} is private: {_name_it('it, or its host,')}"
        if scheme != "https":
            return f"{plain(address)} is public, and http is clear text: use https"
        return None

    def _names_address(self, address: Address) -> bool:
        return self._names_network(ip_network(plain(address)))

    def _names_network(self, network: IPv4Network | IPv6Network) -> bool:
        return any(
            network.subnet_of(known)  # type: ignore[arg-type]  # the versions are the same
            for known in self._networks
            if known.version == network.version
        )


def entry_complaint(entry: str) -> str | None:
    """Why `entry` cannot stand in `security.allow_private`; None: it can."""
    try:
        read = _entry(entry)
    except ValueError as error:
        return str(error)
    if isinstance(read, str):
        return "a metadata server is never called, whatever stands here" if read in METADATA_NAMES else None
    if read.num_addresses == 1 and kind_of(read.network_address) in (Kind.METADATA, Kind.NEVER):
        return "this address is never called, whatever stands here"
    return None


def _entry(entry: str) -> str | IPv4Network | IPv6Network:
    """A host's name, or a network (an address is one of a single host). Raises ValueError."""
    if "/" in entry:
        try:
            return ip_network(entry)
        except ValueError:
            raise ValueError("expected a network such as 10.0.0.0/8, its host bits zero") from None
    host = host_name(entry.removeprefix("[").removesuffix("]"))
    address = literal(host)
    if address is not None:
        return ip_network(plain(address))
    if not _HOST_NAME.match(host) or host.rpartition(".")[2].isdigit():
        raise ValueError("expected a host's name, an address or a network, without scheme and port")
    return host


def _name_it(what: str) -> str:
    return f"name {what} in security.allow_private if it is meant"
