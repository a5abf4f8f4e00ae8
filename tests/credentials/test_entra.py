"""Microsoft Entra ID: applications and managed identities, against servers that check them."""

from __future__ import annotations

from pathlib import Path

import pytest

from busbar.config import Secret
from busbar.config.reach import Reach
from busbar.config.schema import IdentityConfig
from busbar.credentials.entra import EntraMinter, ManagedIdentityMinter, entra_minter
from busbar.credentials.minting import Minted, MintRefused
from busbar.protocols.failures import FailureClass

from .conftest import Clock
from .issuers import COGNITIVE, LIFETIME_SECS, Issuers, refused
from .token_server import Reply, TokenServer

FIRST = Minted(Secret("ya29.token-0"), LIFETIME_SECS)
APPLICATION = {"tenant": "tenant-1", "client_id": "client-1"}


def identity(**more: object) -> IdentityConfig:
    return IdentityConfig(**{**APPLICATION, **more})  # type: ignore[arg-type]


def refusal(minter: EntraMinter | ManagedIdentityMinter) -> tuple[str, FailureClass]:
    with pytest.raises(MintRefused) as refused:
        minter.mint()
    return str(refused.value), refused.value.kind


def test_an_application_proves_itself_with_its_secret(server: TokenServer, issuers: Issuers, clock: Clock) -> None:
    minter = EntraMinter(identity(client_secret=Secret(issuers.client_secret)), server.client(), clock)
    assert minter.mint() == FIRST
    assert server.names == ["login.microsoftonline.com"]


def test_a_secret_s_file_is_read_again_for_each_token(
    server: TokenServer, issuers: Issuers, clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("the one before")
    minter = EntraMinter(identity(client_secret_file=str(file)), server.client(), clock)
    message = "login.microsoftonline.com answered 401 invalid_client (AADSTS7000215)"
    assert refusal(minter) == (message, FailureClass.AUTH)
    file.write_text(f"{issuers.client_secret}\n")
    assert minter.mint() == FIRST


def test_a_federated_token_s_file_is_read_again_for_each_token(
    server: TokenServer, issuers: Issuers, clock: Clock, tmp_path: Path
) -> None:
    """Kubernetes rotates it."""
    file = tmp_path / "azure-identity-token"
    file.write_text("subject-1")
    minter = EntraMinter(identity(client_assertion_file=str(file)), server.client(), clock)
    assert minter.mint() == FIRST
    clock.now += 601
    told = refusal(minter)
    assert told == ("login.microsoftonline.com answered 401 invalid_client (AADSTS700024)", FailureClass.AUTH)
    issuers.subject_tokens["subject-2"] = clock.now + 600
    file.write_text("subject-2")
    assert minter.mint() == Minted(Secret("ya29.token-1"), LIFETIME_SECS)


@pytest.mark.parametrize("authority", ["login.microsoftonline.us", "https://login.microsoftonline.us/"])
def test_national_clouds_have_an_authority_of_their_own(
    server: TokenServer, issuers: Issuers, clock: Clock, authority: str
) -> None:
    settings = identity(client_secret=Secret(issuers.client_secret), authority=authority)
    assert EntraMinter(settings, server.client(), clock).mint() == FIRST
    assert server.names == ["login.microsoftonline.us"]


def test_a_tenant_is_one_step_of_the_path(server: TokenServer, clock: Clock) -> None:
    settings = identity(client_secret=Secret("s"), tenant="../x?y")
    refusal(EntraMinter(settings, server.client(), clock))
    assert server.asked[0].path == "/..%2Fx%3Fy/oauth2/v2.0/token"


def test_a_scope_of_the_operator_s_own_is_asked_for(server: TokenServer, clock: Clock) -> None:
    settings = identity(client_secret=Secret("s"), scope="https://ai.azure.com/.default")
    assert "AADSTS70011" in refusal(EntraMinter(settings, server.client(), clock))[0]
    assert server.asked[0].form["scope"] == "https://ai.azure.com/.default"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "identity.client_secret_file cannot be read: No such file or directory"),
        (b" \n", "identity.client_secret_file is empty"),
        (b"\xff\xfe", "identity.client_secret_file is not UTF-8 text"),
        (b"x" * 70_000, "identity.client_secret_file cannot be read: it is longer than 65536 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    server: TokenServer, clock: Clock, tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    minter = EntraMinter(identity(client_secret_file=str(file)), server.client(), clock)
    assert refusal(minter) == (message, FailureClass.AUTH)
    assert server.asked == []


@pytest.mark.parametrize(
    ("reply", "kind", "wait_secs"),
    [
        (Reply(503, b"", {"retry-after": "5"}), FailureClass.SERVER_ERROR, 5.0),
        (Reply(429, b"", {"retry-after": "60"}), FailureClass.RATE_LIMIT, 60.0),
        (refused(400, "temporarily_unavailable"), FailureClass.SERVER_ERROR, None),
        (refused(400, "no_such_code", error_codes=["x"]), FailureClass.AUTH, None),
        (Reply(200, b"{}"), FailureClass.SERVER_ERROR, None),
    ],
)
def test_what_entra_says_instead_of_a_token(
    server: TokenServer, issuers: Issuers, clock: Clock, reply: Reply, kind: FailureClass, wait_secs: float | None
) -> None:
    server.faults.append(reply)
    minter = EntraMinter(identity(client_secret=Secret(issuers.client_secret)), server.client(), clock)
    with pytest.raises(MintRefused) as refusal:
        minter.mint()
    assert (refusal.value.kind, refusal.value.retry_after_secs) == (kind, wait_secs)
    assert minter.mint() == FIRST


# --- managed identities


def managed(server: TokenServer, clock: Clock, **more: object) -> ManagedIdentityMinter:
    settings = IdentityConfig(managed_identity=True, **more)  # type: ignore[arg-type]
    return ManagedIdentityMinter(settings, env={}, metadata_url=server.url, clock=clock)


@pytest.mark.parametrize("more", [{}, {"client_id": "identity-1"}])
def test_the_machine_gives_its_identity_s_token(server: TokenServer, clock: Clock, more: dict[str, str]) -> None:
    assert managed(server, clock, **more).mint() == FIRST
    (asked,) = server.asked
    assert asked.headers["metadata"] == "true"
    assert asked.query == {"api-version": "2018-02-01", "resource": COGNITIVE, **more}


def test_an_identity_that_the_machine_does_not_have_is_a_matter_of_somebody(
    server: TokenServer, clock: Clock
) -> None:
    told = refusal(managed(server, clock, client_id="another"))
    assert told == ("Azure's metadata server answered 400 invalid_request", FailureClass.AUTH)


@pytest.mark.parametrize("status", [404, 410, 429, 500, 503])
def test_a_metadata_server_that_is_not_ready_is_asked_again(server: TokenServer, clock: Clock, status: int) -> None:
    server.faults.append(Reply(status, b""))
    minter = managed(server, clock)
    assert refusal(minter)[1] in (FailureClass.SERVER_ERROR, FailureClass.RATE_LIMIT)
    assert minter.mint() == FIRST


def on_platform(server: TokenServer, clock: Clock, endpoint: str, proof: str) -> ManagedIdentityMinter:
    env = {"IDENTITY_ENDPOINT": endpoint, "IDENTITY_HEADER": proof}
    return ManagedIdentityMinter(IdentityConfig(managed_identity=True), env=env, metadata_url="http://x", clock=clock)


def test_a_platform_s_own_server_says_when_a_token_ends(server: TokenServer, issuers: Issuers, clock: Clock) -> None:
    """App Service: `expires_on`, by the issuer's clock."""
    here = Clock()
    here.now = clock.now + 5_000
    minter = on_platform(server, here, f"{server.url}/msi/token", issuers.platform_proof)
    assert minter.mint() == FIRST
    assert server.asked[0].query == {"api-version": "2019-08-01", "resource": COGNITIVE}


@pytest.mark.parametrize(
    "endpoint",
    ["http://evil.example/msi/token", "http://10.0.0.1/msi", "https://127.0.0.1/msi", "http://localhost.evil/msi"],
)
def test_the_platform_s_variable_leads_to_this_machine_alone(
    server: TokenServer, clock: Clock, endpoint: str
) -> None:
    told = refusal(on_platform(server, clock, endpoint, "proof"))
    assert told == ("IDENTITY_ENDPOINT does not lead to this machine", FailureClass.AUTH)


def test_the_configuration_chooses_which_of_the_two() -> None:
    assert type(entra_minter(identity(client_secret=Secret("s")), Reach())) is EntraMinter
    assert type(entra_minter(IdentityConfig(managed_identity=True), Reach())) is ManagedIdentityMinter
