"""AWS's chain, each place that it looks in, against servers that check who asks."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from busbar.config import Secret
from busbar.config.reach import Reach
from busbar.config.schema import IdentityConfig
from busbar.credentials.aws import AwsMinter, aws_minter
from busbar.credentials.minting import AwsKeys, Minted, MintRefused
from busbar.protocols.failures import FailureClass

from .conftest import Clock
from .issuers import Issuers
from .token_server import Reply, TokenServer

GIVEN = AwsKeys(
    access_key="ASIA000000000001",
    secret_key=Secret("secret/ya29.token-0"),
    session_token=Secret("ya29.token-0"),
    region="eu-west-1",
)
FIRST = Minted(GIVEN, 3600.0)
OWN = AwsKeys(access_key="AKIAOWN", secret_key=Secret("own-secret"), region="eu-west-1")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any credential: no variables, no files, no metadata server."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    return tmp_path


def minter(clock: Clock, **identity: str) -> AwsMinter:
    return AwsMinter(IdentityConfig(**identity), clock)  # type: ignore[arg-type]


def refusal(minter: AwsMinter) -> tuple[str, FailureClass]:
    with pytest.raises(MintRefused) as refused:
        minter.mint()
    return str(refused.value), refused.value.kind


def test_keys_of_the_environment_have_no_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOWN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own-secret")
    assert minter(clock).mint() == Minted(OWN, None)


def test_the_shared_file_is_read_again_for_each_mint(clock: Clock, home: Path) -> None:
    asking = minter(clock)
    (home / "credentials").write_text("[default]\naws_access_key_id = AKIAOLD\naws_secret_access_key = old\n")
    assert asking.mint() != Minted(OWN, None)
    (home / "credentials").write_text("[default]\naws_access_key_id = AKIAOWN\naws_secret_access_key = own-secret\n")
    assert asking.mint() == Minted(OWN, None)


def test_a_profile_wins_over_the_environment(clock: Clock, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env")
    (home / "credentials").write_text("[busbar]\naws_access_key_id = AKIAOWN\naws_secret_access_key = own-secret\n")
    assert minter(clock, profile="busbar").mint() == Minted(OWN, None)


def test_a_profile_that_is_not_there_is_a_matter_of_somebody(clock: Clock) -> None:
    assert refusal(minter(clock, profile="nobody")) == (
        "the AWS chain failed: ProfileNotFound",
        FailureClass.AUTH,
    )


def test_the_configured_region_wins_over_the_chain_s(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOWN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own-secret")
    minted = minter(clock, region="ap-south-1").mint()
    assert isinstance(minted.value, AwsKeys)
    assert minted.value.region == "ap-south-1"


def test_a_web_identity_is_exchanged_for_keys(
    server: TokenServer, issuers: Issuers, clock: Clock, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EKS: the token's file is read again, as Kubernetes rotates it."""
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    asking = minter(clock)
    told = refusal(asking)
    assert told == ("the AWS chain names a file that cannot be read: No such file or directory", FailureClass.AUTH)
    (home / "token").write_text("subject-1")
    assert asking.mint() == FIRST
    clock.now += 601
    told = refusal(asking)
    assert told == ("AWS refused AssumeRoleWithWebIdentity with 400 ExpiredTokenException", FailureClass.AUTH)
    issuers.subject_tokens["subject-2"] = clock.now + 600
    (home / "token").write_text("subject-2")
    assert asking.mint().lifetime_secs == 3600.0


def test_a_container_s_role(
    server: TokenServer, issuers: Issuers, clock: Clock, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECS, and EKS Pod Identity: with a token of the container's own, from a file that is rotated."""
    (home / "token").write_text(issuers.container_proof)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/v2/credentials/task-1")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(home / "token"))
    assert minter(clock).mint() == FIRST


def test_a_container_s_variable_leads_to_aws_or_this_machine_alone(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.1/credentials")
    assert refusal(minter(clock))[0] == "the AWS chain was answered with what is no credential: ValueError"


def test_an_instance_s_role_by_a_session(
    server: TokenServer, issuers: Issuers, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IMDSv2: a session first, by PUT, and its token with each question."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
    assert minter(clock).mint() == FIRST
    assert [asked.method for asked in server.asked] == ["PUT", "GET", "GET"]
    assert minter(clock).mint() != FIRST


def test_a_single_sign_on_session(
    server: TokenServer, clock: Clock, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = "https://corp.awsapps.com/start"
    (home / "config").write_text(
        f"[profile sso]\nsso_start_url = {start}\nsso_region = eu-west-1\n"
        "sso_account_id = 1\nsso_role_name = r\nregion = eu-west-1\n"
    )
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    file = cache / f"{hashlib.sha1(start.encode()).hexdigest()}.json"
    ends = datetime.fromtimestamp(clock.now + 600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    file.write_text(json.dumps({"accessToken": "subject-1", "expiresAt": ends}))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", server.url)
    # botocore asks for the home once, when it is imported.
    monkeypatch.setattr("botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", str(cache))
    assert minter(clock, profile="sso").mint() == FIRST
    file.write_text(json.dumps({"accessToken": "over", "expiresAt": ends}))
    told = refusal(minter(clock, profile="sso"))
    assert told[1] is FailureClass.AUTH
    assert "over" not in told[0]


def test_a_program_of_the_profile_s(clock: Clock, home: Path) -> None:
    ends = datetime.fromtimestamp(clock.now + 1800, UTC).isoformat()
    document = {"Version": 1, "AccessKeyId": "AKIAOWN", "SecretAccessKey": "own-secret", "Expiration": ends}
    (home / "given.json").write_text(json.dumps({**document, "SessionToken": "t"}))
    program = f"{sys.executable} -c 'print(open(\"{home / 'given.json'}\").read())'"
    (home / "config").write_text(f"[profile program]\ncredential_process = {program}\n")
    minted = minter(clock, profile="program").mint()
    assert isinstance(minted.value, AwsKeys)
    assert (minted.value.access_key, minted.value.session_token, minted.lifetime_secs) == (
        "AKIAOWN",
        Secret("t"),
        1800.0,
    )


def test_what_a_program_says_when_it_fails_is_repeated_to_nobody(
    clock: Clock, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = f"{sys.executable} -c 'import sys; sys.exit(\"hunter2\")'"
    (home / "config").write_text(f"[profile program]\ncredential_process = {program}\n")
    with caplog.at_level(logging.INFO):
        told = refusal(minter(clock, profile="program"))
    assert told == ("the AWS chain failed: CredentialRetrievalError", FailureClass.SERVER_ERROR)
    assert "hunter2" not in caplog.text


def test_without_anything_somebody_may_still_come_up(clock: Clock) -> None:
    assert refusal(minter(clock)) == ("nothing in the AWS chain has a credential", FailureClass.NETWORK)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(503, b""), FailureClass.SERVER_ERROR),
        (
            Reply(400, b"<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>"),
            FailureClass.RATE_LIMIT,
        ),
        (Reply(400, b"<ErrorResponse><Error><Code>hunter2</Code></Error></ErrorResponse>"), FailureClass.AUTH),
        (Reply(200, b"<html>Welcome to the hotel"), FailureClass.SERVER_ERROR),
        (Reply(200, b"<AssumeRoleWithWebIdentityResponse/>"), FailureClass.SERVER_ERROR),
    ],
)
def test_what_sts_says_instead_of_keys(
    server: TokenServer,
    clock: Clock,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
    kind: FailureClass,
) -> None:
    (home / "token").write_text("subject-1")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    monkeypatch.setattr("time.sleep", lambda _secs: None)  # botocore's own second try
    server.faults.extend([reply] * 2)
    with caplog.at_level(logging.INFO):
        told = refusal(minter(clock))
    assert told[1] is kind
    assert "hunter2" not in told[0] + caplog.text


def test_keys_that_are_over_are_none(clock: Clock, home: Path) -> None:
    """A machine whose clock is ahead; it could not sign either."""
    ends = datetime.fromtimestamp(clock.now + 1800, UTC).isoformat()
    document = {"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": ends}
    (home / "given.json").write_text(json.dumps(document))
    program = f"{sys.executable} -c 'print(open(\"{home / 'given.json'}\").read())'"
    (home / "config").write_text(f"[profile program]\ncredential_process = {program}\n")
    clock.now += 2_000
    assert refusal(minter(clock, profile="program"))[1] is FailureClass.SERVER_ERROR


def test_the_seam_makes_one() -> None:
    assert repr(aws_minter(IdentityConfig(profile="p"), Reach())) == "AwsMinter(p)"
