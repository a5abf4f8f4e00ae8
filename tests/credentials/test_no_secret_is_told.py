"""Whatever a token server does with what it was sent, no minter repeats any of it: not in a refusal's text, not in
its traceback, not in a log at any level, not in a `repr`."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from busbar.config import Secret
from busbar.config.schema import IdentityConfig
from busbar.credentials.entra import EntraMinter, ManagedIdentityMinter
from busbar.credentials.gcp import GoogleMinter
from busbar.credentials.gcp_grants import GoogleGrants
from busbar.credentials.minting import Minted, Minter, MintRefused
from busbar.credentials.oauth import OAuthMinter

from .conftest import Clock
from .issuers import ACTING, POOL, Issuers
from .token_server import Asked, Reply, TokenServer

SECRET = "hunter2-correct-horse-battery"


class Echo:
    """A server that says back all that it is told, in a shape and with a status of somebody's choice."""

    shape: Callable[[str], str] = staticmethod(lambda said: said)
    status = 400

    def answer(self, asked: Asked) -> Reply:
        said = f"{asked.path} {asked.query} {asked.headers} {asked.body.decode()} {SECRET}"
        return Reply(self.status, self.shape(said).encode(), {"x-said": SECRET, "metadata-flavor": "Google"})


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def server(echo: Echo) -> Iterator[TokenServer]:
    with TokenServer(echo.answer, Clock()) as running:
        yield running


@pytest.fixture(scope="module")
def minters(server: TokenServer, tmp_path_factory: pytest.TempPathFactory) -> list[Minter]:
    """Of every kind that sends a secret, or is given one."""
    folder = tmp_path_factory.mktemp("proofs")
    issuers = Issuers()
    key = issuers.service_account()
    person = {**issuers.authorized_user(), "client_secret": SECRET, "refresh_token": SECRET}
    (folder / "token").write_text(SECRET)
    foreign = {
        "type": "external_account",
        "audience": POOL,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "service_account_impersonation_url": ACTING,
        "credential_source": {"file": str(folder / "token")},
    }
    by_url = {**foreign, "credential_source": {"url": f"{server.url}/x", "headers": {"x-proof": SECRET}}}
    acting = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": ACTING,
        "source_credentials": person,
    }
    client = server.client()

    def google(document: object, name: str) -> Minter:
        file = folder / f"{name}.json"
        file.write_text(json.dumps(document))
        return GoogleMinter(IdentityConfig(credentials_file=str(file)), GoogleGrants(client), env={})

    application = {"tenant": "t", "client_id": "c"}
    oauth = {"token_url": f"{server.url}/t", "client_id": "c", "client_secret": Secret(SECRET)}
    platform = {"IDENTITY_ENDPOINT": f"{server.url}/msi", "IDENTITY_HEADER": SECRET}
    return [
        google(key, "key"),
        google(person, "person"),
        google(foreign, "foreign"),
        google(by_url, "by_url"),
        google(acting, "acting"),
        google({**key, "private_key": SECRET}, "no_key"),
        google({"type": SECRET}, "no_type"),
        google([SECRET], "no_object"),
        GoogleMinter(IdentityConfig(), GoogleGrants(client), env={"GCE_METADATA_HOST": f"127.0.0.1:{server.port}"}),
        EntraMinter(IdentityConfig(**application, client_secret=Secret(SECRET)), client),
        EntraMinter(IdentityConfig(**application, client_secret_file=str(folder / "token")), client),
        EntraMinter(IdentityConfig(**application, client_assertion_file=str(folder / "token")), client),
        ManagedIdentityMinter(IdentityConfig(managed_identity=True), env=platform),
        ManagedIdentityMinter(IdentityConfig(managed_identity=True), env={}, metadata_url=server.url),
        OAuthMinter(IdentityConfig(**oauth), client),  # type: ignore[arg-type]
        OAuthMinter(IdentityConfig(**oauth, client_auth="basic"), client),  # type: ignore[arg-type]
    ]


def as_field(*names: str, wrapped: bool = False) -> Callable[[str], str]:
    """JSON with what was said under each of `names`."""
    return lambda said: json.dumps({name: [said] if wrapped else said for name in names})


SHAPES = st.one_of(
    st.just(lambda said: said),
    st.just(lambda said: f"<html>{said}</html>"),
    st.just(lambda said: json.dumps({"access_token": f"{said}\r\n", "expires_in": 60})),
    st.just(lambda said: json.dumps({"access_token": SECRET, "expires_in": SECRET})),
    st.just(lambda said: json.dumps({"access_token": SECRET, "expires_in": 60, "token_type": SECRET})),
    st.just(lambda said: json.dumps({"accessToken": SECRET, "expireTime": said})),
    st.lists(
        st.sampled_from(["error", "error_description", "message", "access_token", "token_type", "error_codes"]),
        unique=True,
    ).map(lambda names: as_field(*names)),
    st.lists(st.sampled_from(["error", "access_token", "expires_in"]), unique=True).map(
        lambda names: as_field(*names, wrapped=True)
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 15), shape=SHAPES, status=st.sampled_from([200, 204, 302, 400, 401, 403, 429, 500, 503]))
def test_no_minter_repeats_a_secret(
    minters: list[Minter],
    echo: Echo,
    server: TokenServer,
    caplog: pytest.LogCaptureFixture,
    number: int,
    shape: Callable[[str], str],
    status: int,
) -> None:
    echo.shape, echo.status = shape, status  # type: ignore[method-assign]
    minter = minters[number]
    caplog.clear()
    server.asked.clear()
    told = repr(minter)
    with caplog.at_level(logging.DEBUG):
        try:
            minted = minter.mint()
        except MintRefused as refused:
            told += "".join(traceback.format_exception(refused)) + repr(refused)
        else:
            assert isinstance(minted, Minted)
            told += repr(minted)
    assert SECRET not in told + caplog.text
    for asked in server.asked:  # a signed assertion is one, too
        if asked.body.startswith(b"grant_type=urn") and "assertion" in asked.form:
            assert asked.form["assertion"] not in told + caplog.text
