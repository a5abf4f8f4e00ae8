"""A provider's address, headers and credential; the catalog; the two files."""

from __future__ import annotations

from pathlib import Path

import pytest

from busbar.config import ConfigErrors, Secret, load, loads
from busbar.config.files import find_config, find_providers, packaged_providers, read_text
from busbar.config.source import FILE_BYTES_MAX
from busbar.protocols.failures import ErrorRules, FailureClass
from tests.config.conftest import CATALOG, ENV, Complaints, Read


def test_only_the_providers_that_are_named_are_taken(read: Read) -> None:
    config = read("providers: {openai: }", {"OPENAI_API_KEY": "k"})
    assert list(config.providers) == ["openai"]
    assert config.providers["openai"].base_url == "https://api.openai.example"
    assert config.providers["openai"].auth == "bearer"


def test_an_entry_of_ones_own_needs_protocol_and_base_url(read: Read, complaints: Complaints) -> None:
    own = "providers: {mine: {protocol: anthropic, base_url: 'http://localhost:1', api_key_env: TOKEN}}"
    assert read(own).providers["mine"].auth == "x-api-key"
    assert complaints("providers: {opnai: {api_key_env: TOKEN}}") == [
        "config.yaml:1: providers.opnai: not in the catalog, did you mean `openai`? "
        "give it a protocol and a base_url, or correct it",
        "config.yaml:1: providers.opnai.base_url: this key is required",
        "config.yaml:1: providers.opnai.protocol: this key is required",
    ]


@pytest.mark.parametrize(
    ("entry", "env", "key"),
    [
        ("{}", {"OPENAI_API_KEY": "k1"}, Secret("k1")),
        ("{api_key_env: MINE}", {"MINE": "k2"}, Secret("k2")),
        ("{api_key: '${MINE}'}", {"MINE": "k3"}, Secret("k3")),
        ("{auth: none}", {}, None),
        ("{auth: none}", {"OPENAI_API_KEY": "k1"}, None),
    ],
)
def test_the_key_comes_from_the_environment(entry: str, env: dict[str, str], key: Secret | None, read: Read) -> None:
    assert read(f"providers: {{openai: {entry}}}", env).providers["openai"].api_key == key


def test_passthrough_needs_no_key_and_reads_none(read: Read) -> None:
    for env in ({}, ENV):
        config = read("auth: {mode: passthrough}\nproviders: {openai: {}}", env)
        assert config.providers["openai"].api_key is None


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{api_key_env: NOPE}", "api_key_env: environment variable `NOPE` is not set"),
        ("{api_key_env: nope}", "api_key_env: environment variable named here is not set"),
        (
            "{api_key_env: BAD}",
            "api_key_env: environment variable `BAD` cannot be used: the credential contains spaces, control or non-"
            "ASCII characters",
        ),
        ("{api_key_env: EMPTY}", "api_key_env: environment variable `EMPTY` cannot be used: the credential is empty"),
        ("{api_key: '${BAD}'}", "api_key: the credential contains spaces, control or non-ASCII characters"),
        ("{api_key: '${OK}', api_key_env: OK}", "api_key: there is also api_key_env; keep one of them"),
        ("{api_key: null}", "api_key_env: this key is required: the name of the variable that holds the key"),
        ("{api_key: sk-literal}", "api_key: secrets are never in config files; write ${VAR} and set the variable"),
        ("{base_url: 'ftp://host'}", "base_url: expected http:// or https:// with a host"),
        ("{base_url: 'host:80'}", "base_url: expected http:// or https:// with a host"),
        ("{base_url: 'https://'}", "base_url: expected http:// or https:// with a host"),
        ("{base_url: 'https://host:0'}", "base_url: expected http:// or https:// with a host"),
        ("{base_url: 'https://host:99999'}", "base_url: not a URL"),
        ("{base_url: 'https://[::1'}", "base_url: not a URL"),
        (
            "{base_url: 'https://u:p@host'}",
            "base_url: a URL with a user or password in it is not accepted; use api_key_env",
        ),
        ("{base_url: 'https://host?x=1'}", "base_url: a base URL ends before ? and #"),
        (
            '{base_url: "https://ho\\nst"}',
            "base_url: a URL has no spaces, backslashes, control or non-ASCII characters",
        ),
        ("{base_url: 'https://a\\b'}", "base_url: a URL has no spaces, backslashes, control or non-ASCII characters"),
        ("{path: v1}", "path: expected a URL path that starts with /, without spaces"),
        ("{error_status: {600: auth}}", "error_status.600: the key is a whole number from 100 to 599"),
        ("{error_status: {503: context_length}}", "error_status.503: a 503 is never context_length"),
        ("{error_map: {x: Auth}}", "error_map.x: expected one of"),
        ("{error_texts: {x: client}}", "error_texts.x: expected one of"),
        ("{headers: {'a b': x}}", 'headers["a b"]: not the name of an HTTP header'),
        ("{headers: {host: x}}", "headers.host: this header belongs to the connection and cannot be set"),
        ("{headers: {Authorization: '${OK}'}}", "headers.Authorization: auth style bearer sets this header"),
        ("{headers: {x-api-key: k}}", "headers.x-api-key: secrets are never in config files"),
        ("{headers: {x-a: '${BAD}'}}", "headers.x-a: a header's value has no control or non-ASCII characters"),
        ("{headers: {x-a: '1', X-A: '2'}}", "headers.X-A: `x-a` is given twice"),
        ("{headers: {x-a: 1}}", "headers.x-a: expected text, got a number; put it in quotes"),
        ("{modle: 1}", "modle: unknown key"),
    ],
)
def test_what_cannot_be_dialled_is_refused_at_start(entry: str, complaint: str, complaints: Complaints) -> None:
    env = {"OPENAI_API_KEY": "k", "OK": "k", "BAD": "k\nx-evil: 1", "EMPTY": ""}
    found = complaints(f"providers: {{openai: {entry}}}", env)
    assert len(found) == 1, found
    assert found[0].startswith(f"config.yaml:1: providers.openai.{complaint}")


def test_error_rules_are_those_of_the_provider(read: Read) -> None:
    assert read("providers: {anthropic: {}}").providers["anthropic"].error_rules == ErrorRules(
        words={"1113": FailureClass.BILLING, "busy": FailureClass.OVERLOADED},
        statuses={413: FailureClass.CONTEXT_LENGTH},
        texts={"too long": FailureClass.CONTEXT_LENGTH},
    )


# A catalog (the packaged one has a page of its own: test_catalog.py)


def test_a_catalog_of_another_shape_is_refused() -> None:
    with pytest.raises(ConfigErrors, match=r"providers.yaml:1: provider: unknown key, did you mean `providers`\?"):
        loads("", "provider: {}", {})
    with pytest.raises(ConfigErrors, match=r"providers.yaml:1: providers: expected one entry for each provider"):
        loads("", "providers: [a]", {})


SHARED = """
providers:
  one:
    protocol: openai
    base_url: https://one.example
    auth: none
    error_map: {7: billing}
    error_status: {403: billing}
  two: {protocol: anthropic, base_url: "https://one.example/two", auth: none, errors_as: one, error_map: {8: auth}}
"""


def test_an_entry_may_have_the_errors_of_another_one_below_its_own() -> None:
    config = loads("providers: {two: {error_map: {9: overloaded}, error_status: {403: auth}}}", SHARED, {})
    assert config.providers["two"].error_rules == ErrorRules(
        words={"7": FailureClass.BILLING, "8": FailureClass.AUTH, "9": FailureClass.OVERLOADED},
        statuses={403: FailureClass.AUTH},
    )


@pytest.mark.parametrize("other", ["nobody", "two", "[one]"])
def test_errors_are_those_of_an_entry_that_has_them_itself(other: str) -> None:
    three = f"  three: {{protocol: openai, base_url: 'https://x.example', auth: none, errors_as: {other}}}\n"
    with pytest.raises(ConfigErrors) as caught:
        loads("providers: {three: }", SHARED + three, {})
    place = "providers.yaml:10: providers.three.errors_as"
    assert str(caught.value) == f"{place}: expected an entry that has its tables of errors itself"


def test_only_a_catalog_shares_errors(complaints: Complaints) -> None:
    found = complaints("providers: {openai: {errors_as: anthropic}}")
    assert [it.partition(",")[0] for it in found] == ["config.yaml:1: providers.openai.errors_as: unknown key"]


CLOUD = """
providers:
  cloud:
    protocol: openai
    base_url: https://{region}.cloud.example/{account}
    path: /of/{account}/{model}
    variables: {region: here}
    auth: bearer
    api_key_env: CLOUD_KEY
"""


def test_a_catalog_may_give_variables_that_an_operator_overrides() -> None:
    def address(own: str) -> str:
        provider = loads(f"providers: {{cloud: {own}}}", CLOUD, {"CLOUD_KEY": "k"}).providers["cloud"]
        return provider.base_url + str(provider.path)

    assert address("{variables: {account: a1}}") == "https://here.cloud.example/a1/of/a1/{model}"
    assert address("{variables: {account: a1, region: there}}") == "https://there.cloud.example/a1/of/a1/{model}"
    assert address("{base_url: 'https://my.example', path: /x}") == "https://my.example/x"


def test_a_variable_that_is_missing_is_told_once() -> None:
    with pytest.raises(ConfigErrors) as caught:
        loads("providers: {cloud: }", CLOUD, {"CLOUD_KEY": "k"})
    assert [it.partition(": ")[2] for it in str(caught.value).splitlines()] == [
        "providers.cloud.variables: the address has {account} in it; write `variables: {account: …}`"
    ]


def test_the_key_that_a_catalog_names_is_for_its_own_style() -> None:
    signed = "providers: {cloud: {auth: sigv4, variables: {account: a}%s}}"
    env = {"CLOUD_KEY": "k", "MINE": "AKID1:secret"}
    assert loads(signed % "", CLOUD, env).providers["cloud"].api_key is None
    assert loads(signed % ", api_key_env: MINE", CLOUD, env).providers["cloud"].api_key == Secret("AKID1:secret")


# The two files


def test_files_are_found_in_the_documented_order(tmp_path: Path) -> None:
    here, system = tmp_path / "here", tmp_path / "system"
    here.mkdir()
    system.mkdir()
    env = {"BUSBAR_CONFIG": "from-env.yaml", "BUSBAR_PROVIDERS": "providers-from-env.yaml"}
    (system / "config.yaml").touch()
    assert find_config(None, {}, here, system) == system / "config.yaml"
    (here / "config.yaml").touch()
    assert find_config(None, {}, here, system) == here / "config.yaml"
    assert find_config(None, env, here, system) == Path("from-env.yaml")
    assert find_config("given.yaml", env, here, system) == Path("given.yaml")

    assert find_providers(None, {}, system) == packaged_providers()
    (system / "providers.yaml").touch()
    assert find_providers(None, {}, system) == system / "providers.yaml"
    assert find_providers(None, env, system) == Path("providers-from-env.yaml")
    assert find_providers("given.yaml", env, system) == Path("given.yaml")


def test_no_configuration_anywhere_says_where_one_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"there is no configuration \(looked for --config, \$BUSBAR_CONFIG"):
        find_config(None, {}, tmp_path, tmp_path)


def test_load_reads_both_files_and_names_them_in_its_report(tmp_path: Path) -> None:
    config, providers = tmp_path / "c.yaml", tmp_path / "p.yaml"
    config.write_text("\ufeffproviders: {anthropic: {}}\nmodels: {a: {provider: anthropic}}\n", encoding="utf-8")
    providers.write_text(CATALOG)
    assert load(config, providers, ENV).models["a"].provider == "anthropic"
    config.write_text("zzz: 1\n")
    with pytest.raises(ConfigErrors) as caught:
        load(str(config), env={"BUSBAR_PROVIDERS": str(providers)})
    assert str(caught.value) == f"{config}:1: zzz: unknown key"


def test_files_that_cannot_be_read_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path / "no-config.yaml", tmp_path, {})
    assert str(caught.value).splitlines() == [
        f"{tmp_path}: cannot be read: Is a directory",
        f"{tmp_path / 'no-config.yaml'}: cannot be read: No such file or directory",
    ]


def test_a_file_is_bounded_and_utf_8(tmp_path: Path) -> None:
    large, binary = tmp_path / "large", tmp_path / "binary"
    large.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigErrors, match="larger than 1048576 bytes"):
        read_text(large)
    with pytest.raises(ConfigErrors, match="not UTF-8 text"):
        read_text(binary)


def test_a_variable_without_a_place_is_told() -> None:
    entry = '{variables: {resource: mine, nonsense: x}, api_key: "${K}"}'
    with pytest.raises(ConfigErrors) as found:
        loads(f"providers: {{azure-openai: {entry}}}", env={"K": "k"})
    assert str(found.value) == (
        "config.yaml:1: providers.azure-openai.variables.nonsense: no part of the address has {nonsense} in it"
    )
    moved = '{base_url: "https://bedrock-runtime.eu-west-1.amazonaws.com", api_key: "${K}"}'
    assert loads(f"providers: {{bedrock-api-key: {moved}}}", env={"K": "k"}).providers, (
        "the catalog's own may lose it"
    )
