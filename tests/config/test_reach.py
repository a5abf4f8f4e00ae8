"""Whom the gateway may be made to call: each kind of address, in each spelling, for each purpose."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.config.addresses import Kind, kind_of, literal
from busbar.config.reach import Purpose, Reach, entry_complaint
from tests.config.conftest import BASE, Complaints, Read

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
OTHERS: tuple[Purpose, ...] = tuple(purpose for purpose in PURPOSES if purpose != "provider")
METADATA = "169.254.169.254"
EVERYTHING = Reach(["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize(
    "host",
    [
        METADATA,
        *(
            "2852039166",
            "0xA9FEA9FE",
            "0XA9FEA9FE",
            "025177524776",
            "169.254.43518",
            "169.16689662",
            "0xa9.254.0251.254",
        ),
        *("169.254.169.254.", "169.254.169.254...", "%31%36%39.254.169.254", "１６９.２５４.169.254"),
        *("169。254。169。254", "169．254．169．254", "①⑥⑨.254.169.254"),
        *("[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[0:0:0:0:0:FFFF:A9FE:A9FE]"),
        *("[64:ff9b::169.254.169.254]", "[64:ff9b:1:a9fe:a9:fe00::]", "[64:ff9b:1::a9fe:a9fe]"),
        *("[2002:a9fe:a9fe::1]", "[2001:4860::5efe:a9fe:a9fe]", "[2001:4860::200:5efe:a9fe:a9fe]"),
        *("[fe80::1]", "[fe80::1%25eth0]", "[fd00:ec2::254]", "[fd20:ce::254]", "169.254.170.2"),
        *("168.63.129.16", "100.100.100.200", "192.0.0.192"),
        *("metadata.google.internal", "METADATA.google.internal.", "metadata", "instance-data"),
    ],
)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_metadata_server_is_refused_in_every_spelling_whatever_is_allowed(host: str, purpose: Purpose) -> None:
    for reach in (Reach(), EVERYTHING):
        for scheme in ("http", "https"):
            assert "metadata server, which is never called" in (
                reach.complaint(purpose, f"{scheme}://{host}/x") or ""
            )


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "192.0.0.8", "192.0.2.1", "198.51.100.7", "203.0.113.9", "192.88.99.1"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::7f00:1", "::ffff:0:7f00:1", "ff02::1", "2001:db8::1", "2001::1", "100::1", "5f00::1"),
        *("::ffff:0.0.0.0", "64:ff9b::e000:1", "2002:e000:1::"),
    ],
)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_what_is_no_single_host_is_refused_whatever_is_allowed(address: str, purpose: Purpose) -> None:
    for reach in (Reach(), EVERYTHING):
        refusal = reach.refusal(purpose, "https", "host.example", address)
        assert (
            refusal
            == f"{address.removeprefix('::ffff:0.0.0.0') or '0.0.0.0'} is no single host's address, or a reserved one"
        )


PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.31.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "::1",
    "fd12::1",
]


@pytest.mark.parametrize("address", [*PRIVATE, "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "fec0::1"])
def test_a_private_address_is_a_providers_to_have_and_others_when_it_is_named(address: str) -> None:
    for scheme in ("http", "https"):
        assert Reach().refusal("provider", scheme, "host.example", address) is None
        for purpose in OTHERS:
            refusal = Reach().refusal(purpose, scheme, "host.example", address)
            assert refusal is not None
            assert "is private: name it, or its host, in security.allow_private" in refusal
            for named in (["Host.Example."], [address], ["10.0.0.0/7", "::/0", "0.0.0.0/0"]):
                assert Reach(named).refusal(purpose, scheme, "host.example", address) is None


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_wants_https_unless_it_is_named(purpose: Purpose, address: str) -> None:
    assert Reach().refusal(purpose, "https", "host.example", address) is None
    refusal = Reach().refusal(purpose, "http", "host.example", address)
    assert refusal is not None
    assert refusal.endswith("is public, and http is clear text: use https")
    assert Reach(["host.example"]).refusal(purpose, "http", "host.example", address) is None


def test_a_name_is_no_licence_for_what_it_resolves_to() -> None:
    reach = Reach(["collector", "10.0.0.0/8"])
    assert reach.refusal("telemetry", "http", "collector", "192.168.0.1") is None
    assert reach.refusal("telemetry", "http", "other", "10.1.2.3") is None
    assert reach.refusal("telemetry", "http", "other", "192.168.0.1") is not None
    assert reach.refusal("telemetry", "http", "collector", METADATA) is not None
    assert reach.refusal("provider", "https", "metadata.google.internal", "8.8.8.8") is not None
    assert reach.refusal("provider", "https", "h", "not an address") is not None


@pytest.mark.parametrize(
    "url",
    [
        *("https://api.example.com@169.254.169.254/", "https://user:word@api.example.com/", "https://a\\@b.example/"),
        *("https://169.254.169.254\\@api.example.com", "ftp://api.example.com/", "https:///x", "https://", "//h/x"),
        *(
            "https://1.2.3.4.5/",
            "https://999.1.1.1/",
            "https://a b.example/",
            "https://[::1",
            "https://a..b/",
            "https://-a/",
        ),
    ],
)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_what_only_looks_like_a_url_is_none(url: str, purpose: Purpose) -> None:
    assert EVERYTHING.complaint(purpose, url) is not None


def test_what_needs_a_resolver_is_left_to_it() -> None:
    assert [Reach().complaint(purpose, "https://api.example.com/v1") for purpose in PURPOSES] == [None] * 4
    assert [Reach().complaint("provider", url) for url in ("http://ollama:11434", "http://localhost:1")] == [
        None,
        None,
    ]
    told = Reach().complaint("telemetry", "http://collector:4318")
    assert told == (
        "use https, or, if it is on your side of the firewall, "
        "name collector in security.allow_private if it is meant"
    )
    assert Reach(["collector"]).complaint("telemetry", "http://collector:4318") is None
    assert Reach(["10.0.0.0/8"]).complaint("telemetry", "http://collector:4318") is None
    for host in ("localhost", "a.localhost", "LOCALHOST."):
        assert "is this machine" in (Reach(["10.0.0.0/8"]).complaint("webhook", f"https://{host}/") or "")
    for allowed in ("localhost", "127.0.0.1", "127.0.0.0/8", "::1"):
        assert Reach([allowed]).complaint("webhook", "http://localhost/") is None


@given(st.integers(0, 2**32 - 1), st.data())
def test_every_spelling_of_an_ipv4_address_is_the_same_address(number: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    numbers = [number >> 24 - 8 * place & 255 for place in range(count - 1)]
    numbers.append(number & (1 << 8 * (5 - count)) - 1)
    spell = st.sampled_from([str, hex, lambda n: f"0{n:o}", lambda n: f"0X{n:X}", lambda n: f"0x000{n:x}"])
    written = ".".join(data.draw(spell)(part) for part in numbers)
    assert literal(written) == IPv4Address(number)
    assert kind_of(ip_address(f"::ffff:{IPv4Address(number)}")) is kind_of(IPv4Address(number))


@given(st.ip_addresses())
def test_every_address_is_of_some_kind_and_only_global_ones_are_public(address: object) -> None:
    assert isinstance(kind_of(address), Kind)  # type: ignore[arg-type]
    if kind_of(address) is Kind.PUBLIC and not hasattr(address, "ipv4_mapped"):  # type: ignore[arg-type]
        assert address.is_global  # type: ignore[attr-defined]


# --- in a configuration


def test_allow_private_takes_names_addresses_and_networks(read: Read) -> None:
    entries = "[localhost, collector.internal, 127.0.0.1, '::1', '[fd00::1]', 10.0.0.0/8, 'fd00::/8']"
    config = read(BASE + f"security: {{allow_private: {entries}}}")
    assert repr(Reach(config.security.allow_private)) == (
        "Reach(['10.0.0.0/8', '127.0.0.1/32', '::1/128', 'collector.internal', "
        "'fd00::/8', 'fd00::1/128', 'localhost'])"
    )


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("http://localhost", "expected a network such as 10.0.0.0/8, its host bits zero"),
        ("10.0.0.1/8", "expected a network such as 10.0.0.0/8, its host bits zero"),
        ("localhost:4318", "expected a host's name, an address or a network, without scheme and port"),
        ("a b", "expected a host's name, an address or a network, without scheme and port"),
        ("*.internal", "expected a host's name, an address or a network, without scheme and port"),
        ("300.1.1.1", "expected a host's name, an address or a network, without scheme and port"),
        (METADATA, "this address is never called, whatever stands here"),
        ("metadata.google.internal", "a metadata server is never called, whatever stands here"),
        ("0.0.0.0", "this address is never called, whatever stands here"),
    ],
)
def test_an_entry_that_is_none_is_refused_where_it_stands(entry: str, complaint: str, complaints: Complaints) -> None:
    assert entry_complaint(entry) == complaint
    told = complaints(BASE + f"security: {{allow_private: [localhost, '{entry}']}}")
    assert told == [f"config.yaml:6: security.allow_private[1]: {complaint}"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("observability: {otlp_endpoint: 'http://127.0.0.1:4318'}", "observability.otlp_endpoint"),
        (
            "observability: {request_log_webhook_url: 'https://10.0.0.1/x?t=1'}",
            "observability.request_log_webhook_url",
        ),
    ],
)
def test_telemetry_on_this_side_of_the_firewall_wants_to_be_allowed(
    text: str, path: str, complaints: Complaints
) -> None:
    (told,) = complaints(BASE + text)
    assert told.startswith(f"config.yaml:6: {path}: ")
    assert complaints(BASE + text + "\nsecurity: {allow_private: [127.0.0.1, 10.0.0.0/8]}") == []


def test_a_providers_address_is_checked_and_so_is_its_token_url(complaints: Complaints) -> None:
    text = """
providers:
  near: {protocol: openai, auth: none, base_url: 'http://192.168.0.9:8000/v1'}
  cloud: {protocol: openai, auth: none, base_url: 'http://0xA9FEA9FE/'}
  clear: {protocol: openai, auth: none, base_url: 'http://8.8.8.8/'}
"""
    assert complaints(text) == [
        "config.yaml:4: providers.cloud.base_url: 169.254.169.254 is link-local or a metadata server, "
        "which is never called",
        "config.yaml:5: providers.clear.base_url: 8.8.8.8 is public, and http is clear text: use https",
    ]
    identity = "identity: {token_url: 'https://10.0.0.1/token', client_id: me, client_secret: '${TOKEN}'}"
    text = f"providers: {{o: {{protocol: openai, auth: oauth, base_url: 'https://api.example', {identity}}}}}"
    assert [line for line in complaints(text) if "token_url" in line] == [
        "config.yaml:1: providers.o.identity.token_url: 10.0.0.1 is private: "
        "name it, or its host, in security.allow_private if it is meant"
    ]
    assert not [it for it in complaints(text + "\nsecurity: {allow_private: [10.0.0.1]}") if "token_url" in it]


def test_client_certificates_want_their_authorities_and_the_other_way_round(complaints: Complaints) -> None:
    tls = "tls: {certificate: c.pem, key: k.pem, MORE}"
    assert complaints(BASE + tls.replace("MORE", "client_certificates: required")) == [
        "config.yaml:6: tls.client_ca: client_certificates required needs the file of authorities"
    ]
    assert complaints(BASE + tls.replace("MORE", "client_ca: ca.pem")) == [
        "config.yaml:6: tls.client_certificates: with client_ca, say optional or required: none asks for none"
    ]
    assert complaints(BASE + tls.replace("MORE", "client_ca: ca.pem, client_certificates: optional")) == []
