"""Google's credentials, each kind, against servers that check them."""

from __future__ import annotations

from pathlib import Path

import pytest

from busbar.config import Secret
from busbar.credentials.gcp import GoogleMinter, gcloud_file
from busbar.credentials.gcp_grants import GOOGLE_HOSTS
from busbar.credentials.minting import Minted, MintRefused
from busbar.protocols.failures import FailureClass

from .conftest import Clock
from .google_machine import FIRST, SECOND, Machine, federated, refusal
from .issuers import ACTING, CLOUD_PLATFORM, LIFETIME_SECS, Issuers, refused
from .token_server import Reply, TokenServer

# --- a service account


def test_a_service_account_proves_itself_with_its_key(
    machine: Machine, issuers: Issuers, server: TokenServer
) -> None:
    """The issuer has checked signature, key id, audience, scope and times."""
    assert machine.minter(issuers.service_account()).mint() == FIRST
    assert server.names == ["oauth2.googleapis.com"]


def test_each_token_has_an_assertion_of_its_own(machine: Machine, issuers: Issuers, clock: Clock) -> None:
    minter = machine.minter(issuers.service_account())
    assert minter.mint() == FIRST
    clock.now += 1
    assert minter.mint() == SECOND


def test_the_file_is_read_again_for_each_token(machine: Machine, issuers: Issuers, clock: Clock) -> None:
    minter = machine.minter(issuers.service_account(client_email="nobody@project"))
    assert refusal(minter) == ("oauth2.googleapis.com answered 400 invalid_grant", FailureClass.AUTH)
    machine.file(issuers.service_account())
    assert minter.mint() == FIRST


@pytest.mark.parametrize("skew_secs", [-86_400, -4_000, 3_000, 86_400])
def test_a_clock_that_is_wrong_is_set_by_google_s(
    server: TokenServer, issuers: Issuers, clock: Clock, tmp_path: Path, skew_secs: int
) -> None:
    here = Clock()
    here.now = clock.now + skew_secs
    minter = Machine(server, tmp_path, here).minter(issuers.service_account())
    assert minter.mint() == FIRST
    assert len(server.asked) == 2
    clock.now += 10
    here.now += 10
    assert minter.mint() == SECOND
    assert len(server.asked) == 3  # from then on without being told


def test_the_clock_is_not_set_for_a_refusal_of_another_kind(
    machine: Machine, issuers: Issuers, server: TokenServer
) -> None:
    assert refusal(machine.minter(issuers.service_account(client_email="nobody@project")))[1] is FailureClass.AUTH
    assert len(server.asked) == 1


@pytest.mark.parametrize("skew_secs", [-240, 240])
def test_what_google_overlooks_is_not_asked_twice(
    server: TokenServer, issuers: Issuers, clock: Clock, tmp_path: Path, skew_secs: int
) -> None:
    here = Clock()
    here.now = clock.now + skew_secs
    assert Machine(server, tmp_path, here).minter(issuers.service_account()).mint() == FIRST
    assert len(server.asked) == 1


def test_a_scope_of_the_operator_s_own_is_asked_for(machine: Machine, issuers: Issuers) -> None:
    minter = machine.minter(issuers.service_account(), scope="https://other")
    assert refusal(minter) == ("oauth2.googleapis.com answered 400 invalid_scope", FailureClass.AUTH)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"private_key": "hunter2"}, "private_key is no RSA key in PEM"),
        ({"private_key": ""}, "private_key is missing"),
        ({"client_email": ""}, "client_email is missing"),
        ({"type": "hunter2"}, "is of no type that is known"),
        ({"token_uri": "https://evil.example/token"}, "names a token URL that is not Google's"),
        ({"token_uri": "http://oauth2.googleapis.com/token"}, "names a token URL that is not Google's"),
        ({"token_uri": "https://oauth2.googleapis.com.evil.example/"}, "names a token URL that is not Google's"),
        ({"token_uri": "http://169.254.169.254/token"}, "names a token URL that is not Google's"),
        ({"token_uri": "http://[::1"}, "names a token URL that is not Google's"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    machine: Machine, issuers: Issuers, server: TokenServer, changed: dict[str, str], message: str
) -> None:
    told, kind = refusal(machine.minter(issuers.service_account(**changed)))
    assert message in told
    assert (kind, "hunter2" in told, server.asked) == (FailureClass.AUTH, False, [])


def test_another_token_server_has_to_be_named_by_the_operator(
    server: TokenServer, issuers: Issuers, clock: Clock, tmp_path: Path
) -> None:
    """A private Google, a universe of its own: `security.allow_private`. The assertion is then for that server."""
    machine = Machine(server, tmp_path, clock, "127.0.0.1", "tokens.example")
    for number, url in enumerate(["https://tokens.example/token", f"{server.url}/token"]):
        issuers.audience = url
        minted = machine.minter(issuers.service_account(token_uri=url)).mint()
        assert minted == Minted(Secret(f"ya29.token-{number}"), LIFETIME_SECS)
    assert server.names == ["tokens.example"]
    told = refusal(
        Machine(server, tmp_path, clock, "10.0.0.1").minter(issuers.service_account(token_uri=f"{server.url}/token"))
    )
    assert "not Google's" in told[0]


@pytest.mark.parametrize(
    "host",
    [
        "oauth2.googleapis.com",
        "oauth2.mtls.googleapis.com",
        "sts.googleapis.com",
        "sts.us-east1.rep.googleapis.com",
        "us-east1-sts.googleapis.com",
        "iamcredentials.googleapis.com",
        "iamcredentials.europe-west1.rep.googleapis.com",
        "accounts.google.com",
    ],
)
def test_google_s_own_hosts_are_known(host: str) -> None:
    assert GOOGLE_HOSTS.fullmatch(host)


@pytest.mark.parametrize(
    "host",
    [
        "storage.googleapis.com",
        "evil-googleapis.com",
        "sts.googleapis.com.evil",
        "a.b.sts.googleapis.com",
        "google.com",
    ],
)
def test_nobody_else_s_are(host: str) -> None:
    assert not GOOGLE_HOSTS.fullmatch(host)


# --- the other kinds of file


def test_a_person_s_refresh_token_is_exchanged(machine: Machine, issuers: Issuers) -> None:
    assert machine.minter(issuers.authorized_user()).mint() == FIRST


def test_a_refresh_token_that_was_revoked_is_a_matter_of_somebody(machine: Machine, issuers: Issuers) -> None:
    minter = machine.minter(issuers.authorized_user())
    issuers.refresh_token = "1//another"
    assert refusal(minter) == ("oauth2.googleapis.com answered 400 invalid_grant", FailureClass.AUTH)


def test_a_credential_acts_as_a_service_account(machine: Machine, issuers: Issuers) -> None:
    """Its token's end is told as a moment, by Google's clock."""
    document = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": ACTING,
        "source_credentials": issuers.authorized_user(),
    }
    assert machine.minter(document).mint() == Minted(Secret("ya29.token-1"), 3600.0)


def test_a_moment_is_read_by_the_clock_of_who_told_it(
    server: TokenServer, issuers: Issuers, clock: Clock, tmp_path: Path
) -> None:
    here = Clock()
    here.now = clock.now + 86_400
    document = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": ACTING,
        "source_credentials": issuers.service_account(),
    }
    assert Machine(server, tmp_path, here).minter(document).mint() == Minted(Secret("ya29.token-1"), 3600.0)


def test_acting_for_oneself_through_oneself_is_refused(machine: Machine) -> None:
    document: dict[str, object] = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": ACTING,
    }
    document["source_credentials"] = dict(document)
    assert refusal(machine.minter(document))[1] is FailureClass.AUTH


# --- Google's own order


def test_the_order_of_looking_is_google_s(
    machine: Machine, issuers: Issuers, server: TokenServer, tmp_path: Path, clock: Clock
) -> None:
    """The configured file, the environment's, gcloud's, the metadata server: each wins over those after it."""
    gcloud = tmp_path / "gcloud"
    gcloud.mkdir()
    env = {
        "GOOGLE_APPLICATION_CREDENTIALS": machine.file(issuers.authorized_user(), "named.json"),
        "CLOUDSDK_CONFIG": str(gcloud),
        "GCE_METADATA_HOST": f"127.0.0.1:{server.port}",
    }

    def asked(minter: GoogleMinter) -> str:
        server.asked.clear()
        clock.now += 1
        minter.mint()
        (request,) = server.asked
        return request.form.get("grant_type", request.path)

    assert asked(machine.minter(issuers.service_account(), env)) == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert asked(machine.minter(None, env)) == "refresh_token"
    del env["GOOGLE_APPLICATION_CREDENTIALS"]
    assert asked(machine.minter(None, env)).startswith("/computeMetadata/v1/")
    machine.file(issuers.service_account(), "gcloud/application_default_credentials.json")
    assert asked(machine.minter(None, env)) == "urn:ietf:params:oauth:grant-type:jwt-bearer"


def test_gcloud_s_file_is_where_gcloud_puts_it() -> None:
    name = "application_default_credentials.json"
    assert gcloud_file({"HOME": "/home/me"}) == Path("/home/me/.config/gcloud") / name
    assert gcloud_file({"HOME": "/home/me", "CLOUDSDK_CONFIG": "/etc/gcloud"}) == Path("/etc/gcloud") / name
    assert gcloud_file({}) is None


def test_the_metadata_server_is_asked_with_its_header_and_the_scope(machine: Machine, server: TokenServer) -> None:
    env = {"GCE_METADATA_HOST": f"127.0.0.1:{server.port}"}
    assert machine.minter(None, env, scope=f"{CLOUD_PLATFORM} https://b").mint() == FIRST
    (asked,) = server.asked
    assert asked.query == {"scopes": f"{CLOUD_PLATFORM},https://b"}


def test_who_is_not_google_s_metadata_server_is_not_believed(machine: Machine, server: TokenServer) -> None:
    server.faults.append(Reply(200, b'{"access_token": "t", "expires_in": 60, "token_type": "Bearer"}'))
    minter = machine.minter(None, {"GCE_METADATA_HOST": f"127.0.0.1:{server.port}"})
    assert refusal(minter)[1] is FailureClass.AUTH


def test_without_anything_the_reason_says_where_was_looked(machine: Machine) -> None:
    told, kind = refusal(machine.minter())
    assert told.startswith("neither a Google credentials file nor a metadata server (no answer from 127.0.0.1:")
    assert kind is FailureClass.NETWORK


# --- token servers that fail


@pytest.mark.parametrize(
    ("reply", "kind", "wait_secs"),
    [
        (Reply(503, b"", {"retry-after": "7"}), FailureClass.SERVER_ERROR, 7.0),
        (Reply(429, b"{}", {"retry-after": "30"}), FailureClass.RATE_LIMIT, 30.0),
        (Reply(408, b""), FailureClass.TIMEOUT, None),
        (refused(400, "temporarily_unavailable"), FailureClass.SERVER_ERROR, None),
        (refused(400, "internal_failure"), FailureClass.SERVER_ERROR, None),
        (Reply(302, b"", {"location": "http://169.254.169.254/"}), FailureClass.SERVER_ERROR, None),
        (Reply(200, b"<html>Welcome to the hotel</html>"), FailureClass.SERVER_ERROR, None),
        (Reply(200, b"[]"), FailureClass.SERVER_ERROR, None),
        (Reply(200, b'{"access_token": "a b", "expires_in": 60}'), FailureClass.SERVER_ERROR, None),
        (Reply(200, b'{"access_token": "t", "expires_in": 0}'), FailureClass.SERVER_ERROR, None),
        (Reply(200, b'{"access_token": "t", "expires_in": NaN}'), FailureClass.SERVER_ERROR, None),
        (Reply(200, b"[" * 60_000), FailureClass.SERVER_ERROR, None),
        (Reply(200, b'{"access_token": "t", "expires_in": 60, "token_type": "mac"}'), FailureClass.AUTH, None),
    ],
)
@pytest.mark.parametrize("kind_of_file", ["service_account", "external_account"])
def test_what_a_token_server_says_instead_of_a_token(
    machine: Machine,
    issuers: Issuers,
    server: TokenServer,
    tmp_path: Path,
    reply: Reply,
    kind: FailureClass,
    wait_secs: float | None,
    kind_of_file: str,
) -> None:
    """And it is not asked again by itself: when, is not the minter's to say."""
    (tmp_path / "token").write_text("subject-1")
    foreign = federated({"file": str(tmp_path / "token")})
    minter = machine.minter(issuers.service_account() if kind_of_file == "service_account" else foreign)
    server.faults.append(reply)
    with pytest.raises(MintRefused) as refused:
        minter.mint()
    assert (refused.value.kind, refused.value.retry_after_secs, len(server.asked)) == (kind, wait_secs, 1)
    assert minter.mint() == FIRST
