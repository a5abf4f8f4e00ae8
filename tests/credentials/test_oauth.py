"""OAuth 2.0 client credentials, against a server that checks them as RFC 6749 says."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.config import Secret
from busbar.config.schema import IdentityConfig
from busbar.credentials.minting import Minted, MintRefused
from busbar.credentials.oauth import OAuthMinter, basic
from busbar.credentials.token_answer import LIFETIME_SECS_DEFAULT, LIFETIME_SECS_MAX
from busbar.protocols.failures import FailureClass

from .conftest import Clock
from .issuers import LIFETIME_SECS, Issuers, refused
from .token_server import Reply, TokenServer

FIRST = Minted(Secret("ya29.token-0"), LIFETIME_SECS)


def minter(server: TokenServer, issuers: Issuers, clock: Clock, **more: object) -> OAuthMinter:
    settings = {
        "token_url": "https://login.example/oauth/token",
        "client_id": "client:1",
        "client_secret": Secret(issuers.client_secret),
        "scope": "models:call more",
        "audience": "https://models.example",
        **more,
    }
    return OAuthMinter(IdentityConfig(**settings), server.client(), clock)  # type: ignore[arg-type]


@pytest.mark.parametrize("client_auth", ["body", "basic"])
def test_a_client_proves_itself_in_either_way(
    server: TokenServer, issuers: Issuers, clock: Clock, client_auth: str
) -> None:
    """Id and secret have colons, spaces and slashes: both ways have to encode them."""
    assert minter(server, issuers, clock, client_auth=client_auth).mint() == FIRST


def test_a_secret_s_file_is_read_again_for_each_token(
    server: TokenServer, issuers: Issuers, clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("the one before")
    asking = minter(server, issuers, clock, client_secret=None, client_secret_file=str(file))
    with pytest.raises(MintRefused, match=r"^login.example answered 401 invalid_client$"):
        asking.mint()
    file.write_text(issuers.client_secret)
    assert asking.mint() == FIRST


@given(st.text(), st.text())
def test_basic_is_form_encoded_first(client_id: str, secret: str) -> None:
    client_id, secret = (text.encode("utf-8", "replace").decode() for text in (client_id, secret))
    pair = base64.b64decode(basic(client_id, secret).removeprefix("Basic ")).decode("ascii")
    assert tuple(map(unquote_plus, pair.split(":"))) == (client_id, secret)


def test_the_rfc_s_own_example_of_basic() -> None:
    """RFC 6749 §2.3.1."""
    assert basic("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw") == "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"


@pytest.mark.parametrize(
    ("document", "lifetime_secs"),
    [
        (b'{"access_token": "t", "token_type": "bearer"}', LIFETIME_SECS_DEFAULT),
        (b'{"access_token": "t", "token_type": "BEARER", "expires_in": "90"}', 90.0),
        (b'{"access_token": "t", "token_type": "Bearer", "expires_in": 90.5}', 90.5),
        (b'{"access_token": "t", "expires_in": null}', LIFETIME_SECS_DEFAULT),
        (b'{"access_token": "t", "expires_in": 999999999}', LIFETIME_SECS_MAX),
    ],
)
def test_how_long_a_token_lives_in_all_the_ways_it_is_said(
    server: TokenServer, issuers: Issuers, clock: Clock, document: bytes, lifetime_secs: float
) -> None:
    server.faults.append(Reply(200, document))
    assert minter(server, issuers, clock).mint() == Minted(Secret("t"), lifetime_secs)


@pytest.mark.parametrize(
    ("reply", "message", "kind", "wait_secs"),
    [
        (refused(401, "invalid_client"), "answered 401 invalid_client", FailureClass.AUTH, None),
        (refused(400, "unauthorized_client"), "answered 400 unauthorized_client", FailureClass.AUTH, None),
        (refused(400, "invalid_grant"), "answered 400 invalid_grant", FailureClass.AUTH, None),
        (refused(400, "invalid_scope"), "answered 400 invalid_scope", FailureClass.AUTH, None),
        (refused(403, "s3cr+t:of the/client"), "answered 403", FailureClass.AUTH, None),
        (Reply(404, b"<html>"), "answered 404", FailureClass.AUTH, None),
        (Reply(408, b""), "answered 408", FailureClass.TIMEOUT, None),
        (Reply(429, b"", {"retry-after": "12"}), "answered 429", FailureClass.RATE_LIMIT, 12.0),
        (refused(500, "server_error"), "answered 500 server_error", FailureClass.SERVER_ERROR, None),
        (Reply(502, b"\xff", {"retry-after": "x"}), "answered 502", FailureClass.SERVER_ERROR, None),
        (Reply(204, b""), "answered 204, which is no token", FailureClass.SERVER_ERROR, None),
        (
            Reply(307, b"", {"location": "https://login.example/oauth/token"}),
            "answered 307, which is no token",
            FailureClass.SERVER_ERROR,
            None,
        ),
        (Reply(200, b"\xff\xfe"), "answered 200 with what is no token", FailureClass.SERVER_ERROR, None),
        (
            Reply(200, b'{"access_token": "t", "token_type": "mac"}'),
            "gave a token that is no bearer token",
            FailureClass.AUTH,
            None,
        ),
        (
            Reply(200, b'{"access_token": "t\\r\\nx: y"}'),
            "answered 200 with what is no token",
            FailureClass.SERVER_ERROR,
            None,
        ),
        (
            Reply(200, b'{"access_token": "t", "expires_in": -1}'),
            "gave a token that has no time to live",
            FailureClass.SERVER_ERROR,
            None,
        ),
        (
            Reply(200, b'{"access_token": "t", "expires_in": true}'),
            "gave a token that has no time to live",
            FailureClass.SERVER_ERROR,
            None,
        ),
    ],
)
def test_what_a_server_says_instead_of_a_token(
    server: TokenServer,
    issuers: Issuers,
    clock: Clock,
    reply: Reply,
    message: str,
    kind: FailureClass,
    wait_secs: float | None,
) -> None:
    server.faults.append(reply)
    with pytest.raises(MintRefused) as refusal:
        minter(server, issuers, clock).mint()
    told = refusal.value
    assert (str(told), told.kind, told.retry_after_secs) == (f"login.example {message}", kind, wait_secs)
    assert len(server.asked) == 1


def test_a_server_that_fails_and_comes_back(server: TokenServer, issuers: Issuers, clock: Clock) -> None:
    server.faults.extend([Reply(503, b"")] * 3)
    asking = minter(server, issuers, clock)
    for _ in range(3):
        with pytest.raises(MintRefused):
            asking.mint()
    assert asking.mint() == FIRST
