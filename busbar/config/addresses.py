"""Addresses in every spelling that something on the way may understand, and what kind of place they are.

Python's `ipaddress` is strict, resolvers are not: `inet_aton` takes `2852039166`, `0xA9FEA9FE`, `0251.0376.0251.0376`
and `169.254.43518` for 169.254.169.254, and IPv6 can carry any IPv4 address within.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import unquote

Address = IPv4Address | IPv6Address


class Kind(Enum):
    """What kind of place an address is."""

    PUBLIC = auto()
    PRIVATE = auto()
    """On this side of the firewall, this machine included."""
    METADATA = auto()
    """Link-local, where clouds keep credentials for whoever asks, and their addresses outside of it."""
    NEVER = auto()
    """Not one host's: multicast, broadcast, unspecified, reserved, for documentation."""


_KINDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    (
        Kind.METADATA,
        (
            "169.254.0.0/16",  # RFC 3927; AWS, Google, Azure, Oracle, DigitalOcean, Tencent and container credentials
            "168.63.129.16/32",  # Azure's wire server
            "100.100.100.200/32",  # Alibaba
            "192.0.0.192/32",  # Oracle, of old
            "fe80::/10",
            "fd00:ec2::/32",  # AWS over IPv6
            "fd20:ce::254/128",  # Google over IPv6
            "fd00:42::42/128",  # Scaleway
        ),
    ),
    (
        Kind.NEVER,  # RFC 6890 and its registries at IANA
        (
            *("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4"),
            *("2001::/23", "2001:db8::/32", "3fff::/20"),
        ),
    ),
    (
        Kind.PRIVATE,
        (
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
            "100.64.0.0/10",  # RFC 6598: carriers, and VPNs that borrow it
            "198.18.0.0/15",  # RFC 2544: proxies on desktops answer from it
            *("::1/128", "fc00::/7", "fec0::/10"),
        ),
    ),
    (Kind.PUBLIC, ("0.0.0.0/0", "2000::/3")),
    (Kind.NEVER, ("::/0",)),
)
"""The first network that holds an address says what it is."""

_TABLE = [(kind, ip_network(text)) for kind, networks in _KINDS for text in networks]
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_LOOSE_PART = re.compile(r"0[xX]([0-9a-fA-F]*)|(0[0-7]*)|([1-9][0-9]*)")
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})


def host_name(written: str) -> str:
    """A host as resolvers see it: percent-decoded, in narrow lower-case characters (UTS 46), without dots at its
    end. Names in other scripts come out as they are."""
    narrow = unicodedata.normalize("NFKC", unquote(written).translate(_DOTS)).casefold().translate(_DOTS)
    return narrow.rstrip(".")


def literal(host: str) -> Address | None:
    """The address that `host` spells, in any spelling, with or without a zone; None when it is a name."""
    text = host_name(host).partition("%")[0]
    if ":" in text:
        try:
            return IPv6Address(text)
        except ValueError:
            return None
    return _loose_ipv4(text)


def plain(address: Address) -> str:
    """As it is dialled: an IPv4 address that is mapped into IPv6 (`::ffff:10.0.0.1`) as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def kind_of(address: Address) -> Kind:
    """What kind of place `address` is; one that carries another is what that one is."""
    if isinstance(address, IPv6Address):
        carried = _carried(address)
        if any(kind_of(inner) is Kind.METADATA for inner in carried):
            return Kind.METADATA
        if address in _NAT64_LOCAL:
            return Kind.PRIVATE
        if len(carried) == 1:
            return kind_of(carried[0])
    network: IPv4Network | IPv6Network
    for kind, network in _TABLE:
        if address in network:
            return kind
    raise AssertionError("the last networks hold every address")


def _carried(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses to which a router or the kernel may take this one: one, or of a prefix whose length is not
    known, all that it could be."""
    bits = int(address)
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [IPv4Address(bits & 0xFFFF_FFFF)]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address in _NAT64_LOCAL:  # RFC 6052 §2.2, for prefixes of 48, 56, 64 and 96 bits; bits 64 to 71 are not used
        split = (bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF
        longer = (bits >> 64 & 0xFF) << 24 | bits >> 32 & 0xFF_FFFF
        return [IPv4Address(it & 0xFFFF_FFFF) for it in (split, longer, bits >> 24, bits)]
    if bits >> 32 & 0xFDFF_FFFF == 0x5EFE:  # ISATAP, RFC 5214 §6.1
        return [IPv4Address(bits & 0xFFFF_FFFF)]
    return []


def _loose_ipv4(text: str) -> IPv4Address | None:
    """One to four numbers, decimal, octal or hexadecimal; the last fills what the others leave (`inet_aton`)."""
    parts = text.split(".")
    if not 1 <= len(parts) <= 4:
        return None
    numbers: list[int] = []
    for part in parts:
        match = _LOOSE_PART.fullmatch(part)
        if match is None or len(part) > 40:
            return None
        hexadecimal, octal, decimal = match.groups()
        if octal is not None:
            numbers.append(int(octal, 8))
        else:
            numbers.append(int(decimal) if decimal is not None else int(hexadecimal or "0", 16))
    *leading, last = numbers
    if any(number > 255 for number in leading) or last >= 256 ** (5 - len(numbers)):
        return None
    return IPv4Address(sum(number << 24 - 8 * at for at, number in enumerate(leading)) + last)
