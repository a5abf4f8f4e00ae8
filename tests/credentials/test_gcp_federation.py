"""Workload identity federation: another issuer's token, exchanged at Google's STS."""

from __future__ import annotations

from pathlib import Path

import pytest

from busbar.config import Secret
from busbar.credentials.minting import Minted
from busbar.protocols.failures import FailureClass

from .conftest import Clock
from .google_machine import FIRST, Machine, federated, refusal
from .issuers import ACTING, Issuers
from .token_server import TokenServer


def test_another_cloud_s_token_from_a_file_is_exchanged(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("subject-1")
    assert machine.minter(federated({"file": str(tmp_path / "token")})).mint() == FIRST


def test_another_cloud_s_token_from_a_url_is_exchanged_and_acts(
    machine: Machine, server: TokenServer, clock: Clock
) -> None:
    source = {
        "url": "https://tokens.example/subject",
        "headers": {"x-source-proof": "proof"},
        "format": {"type": "json", "subject_token_field_name": "id_token"},
    }
    acting = {"token_lifetime_seconds": 1800}
    document = federated(source, service_account_impersonation_url=ACTING, service_account_impersonation=acting)
    assert machine.minter(document).mint() == Minted(Secret("ya29.token-1"), 1800.0)
    assert server.names == ["tokens.example", "sts.googleapis.com", "iamcredentials.googleapis.com"]


def test_a_person_of_a_workforce_pool(machine: Machine, issuers: Issuers) -> None:
    person = {
        **issuers.authorized_user(),
        "type": "external_account_authorized_user",
        "audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/k",
        "token_url": "https://sts.googleapis.com/v1/oauthtoken",
        "token_info_url": "https://sts.googleapis.com/v1/introspect",
    }
    assert machine.minter(person).mint() == FIRST
    told, kind = refusal(machine.minter({**person, "token_url": "https://tokens.example/v1/oauthtoken"}))
    assert ("not Google's" in told, kind) == (True, FailureClass.AUTH)


def test_a_foreign_token_that_is_over_is_refused(machine: Machine, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "token").write_text("subject-1")
    clock.now += 601
    told = refusal(machine.minter(federated({"file": str(tmp_path / "token")})))
    assert told == ("Google's STS answered 400 invalid_grant", FailureClass.AUTH)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (federated({"file": "/no/such/file"}), "the file of credential_source cannot be read: No such file"),
        (federated({"file": "/dev/zero"}), "the file of credential_source cannot be read: it is not a file"),
        (federated({"executable": {"command": "id"}}), "credential_source must be a file or a URL"),
        (federated({"environment_id": "aws1", "url": "http://169.254.169.254/"}), "AWS as a source"),
        (federated({"file": "a", "url": "b"}), "is no external_account file"),
        (federated({"url": "http://169.254.169.254/metadata/identity/oauth2/token"}), "never called"),
        (federated({"url": "http://metadata.google.internal/"}), "never called"),
        (federated({"url": "http://tokens.example/subject"}, token_url="https://evil.example/"), "is refused"),
    ],
)
def test_sources_of_foreign_tokens_that_are_not_for_this(
    server: TokenServer, tmp_path: Path, clock: Clock, document: dict[str, object], message: str
) -> None:
    told, kind = refusal(Machine(server, tmp_path, clock, "other.example").minter(document))
    assert message in told
    assert (kind, server.asked) == (FailureClass.AUTH, [])


def test_a_foreign_token_is_sent_to_nobody_but_google(machine: Machine, tmp_path: Path, server: TokenServer) -> None:
    (tmp_path / "token").write_text("subject-1")
    told, kind = refusal(
        machine.minter(federated({"file": str(tmp_path / "token")}, token_url="https://tokens.example/v1/token"))
    )
    assert "not Google's" in told
    assert (kind, server.asked) == (FailureClass.AUTH, [])
