"""Requests are signed as AWS's own examples, and as the official SDK really signed them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from unittest import mock

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from busbar.protocols.signing import MalformedCredential, make_signer
from busbar.protocols.signing.sigv4 import SigV4Signer

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # AWS's published example
JSON = {"content-type": "application/json"}
URL = "https://bedrock-runtime.eu-central-1.amazonaws.com/model/a%3A0/converse"
NOW = 1_700_000_000.0


def at(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


def test_the_published_example_has_its_published_signature() -> None:
    """AWS General Reference, "Signature Version 4 signing process": the IAM `ListUsers` request."""
    signer = SigV4Signer(Credentials("AKIDEXAMPLE", SECRET), "us-east-1", service="iam")
    signed = signer.sign(
        "GET",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        b"",
        at(2015, 8, 30, 12, 36),
    )
    assert signed == {
        "x-amz-date": "20150830T123600Z",
        "authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
            "SignedHeaders=content-type;host;x-amz-date, "
            "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        ),
    }


@pytest.mark.parametrize(
    ("path", "credential", "signature"),
    [
        (
            "/model/anthropic.claude-x-v1%3A0/converse",
            "AKIDEXAMPLE:SECRET::us-east-1",
            "84f6d9f49feef8e63ac13a0f4187da448530dfe55a02233644bdbf18f32c1e60",
        ),
        (
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude-x-v1%3A0"
            "/converse-stream",
            "AKIDEXAMPLE:SECRET::us-east-1",
            "edc3c84f47ebe1da5494e601ececf5d81929d6cd51ee7af50a57ab4ebb9e4525",
        ),
        (
            "/model/m/converse",
            "AKIDEXAMPLE:SECRET:SESSION:us-east-1",
            "ef1791f718fab7fdf272481f197bf5d9f4710694093f69c0e211f7076801abe6",
        ),
    ],
)
def test_what_the_official_sdk_sent_is_signed_alike(path: str, credential: str, signature: str) -> None:
    """Captured from boto3 1.44.5; the path is signed as it stands on the wire."""
    body = json.dumps({"messages": [{"role": "user", "content": [{"text": "hello"}]}]}).encode()
    signed = make_signer("sigv4", credential).sign(
        "POST", f"http://127.0.0.1:18471{path}", JSON, body, at(2026, 11, 23, 1, 24, 7)
    )
    assert signed["authorization"].endswith(f"Signature={signature}")
    assert signed.get("x-amz-security-token") == ("SESSION" if "SESSION" in credential else None)


@given(st.text(max_size=30), st.binary(max_size=100), st.integers(0, 4_000_000_000))
@example("arn:aws:bedrock:x/y~z%", b"{}", 0)
def test_any_model_is_signed_as_botocore_signs_it(model: str, body: bytes, now: int) -> None:
    from busbar.protocols.bedrock import PROTOCOL

    model = model.encode("utf-8", "replace").decode()
    url = "https://bedrock-runtime.us-east-1.amazonaws.com" + PROTOCOL.egress_path(model, False)
    request = AWSRequest(method="POST", url=url, headers=JSON, data=body)
    with mock.patch.object(auth, "get_current_datetime", return_value=datetime.fromtimestamp(now, UTC)):
        auth.SigV4Auth(Credentials("AKID", SECRET), "bedrock", "us-east-1").add_auth(request)
    signed = make_signer("sigv4", f"AKID:{SECRET}").sign("POST", url, JSON, body, float(now))
    assert signed["authorization"] == request.headers["Authorization"]


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("bedrock-runtime.eu-central-1.amazonaws.com", "eu-central-1/bedrock"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1/bedrock"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1/bedrock"),
        ("vpce-0a1-b2.bedrock-runtime.ap-south-1.vpce.amazonaws.com", "ap-south-1/bedrock"),
        ("bedrock-mantle.us-east-2.api.aws", "us-east-2/bedrock-mantle"),
    ],
)
def test_the_host_names_region_and_service(host: str, scope: str) -> None:
    signed = make_signer("sigv4", f"AKID:{SECRET}").sign("POST", f"https://{host}/model/m/converse", JSON, b"", NOW)
    assert f"Credential=AKID/20231114/{scope}/aws4_request," in signed["authorization"]


def test_the_credential_s_region_wins_over_the_host_s() -> None:
    signed = make_signer("sigv4", f"AKID:{SECRET}::us-west-2").sign("POST", URL, JSON, b"", NOW)
    assert "/us-west-2/bedrock/" in signed["authorization"]


def test_a_host_without_a_region_needs_one_in_the_credential() -> None:
    signer = make_signer("sigv4", f"AKID:{SECRET}")
    with pytest.raises(MalformedCredential, match="region"):
        signer.sign("POST", "http://127.0.0.1:8080/model/m/converse", JSON, b"", NOW)


def test_aws_s_own_headers_are_signed_whoever_has_set_them() -> None:
    """AWS refuses a request with an `x-amz-*` header that is outside of the signature."""
    headers = {**JSON, "X-Amz-Example": "of the operator's", "x-amz-date": "19700101T000000Z"}
    signed = make_signer("sigv4", "AKID:SECRET").sign("POST", URL, headers, b"{}", NOW)
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-example, " in signed["authorization"]
    assert "/20231114/" in signed["authorization"], "the date is the signer's"


def test_headers_that_a_proxy_may_touch_are_not_signed() -> None:
    signer = make_signer("sigv4", f"AKID:{SECRET}")
    headers = {**JSON, "accept": "application/json", "user-agent": "busbar", "traceparent": "00-1-2-03"}
    assert signer.sign("POST", URL, headers, b"x", NOW) == signer.sign("POST", URL, JSON, b"x", NOW)
    assert signer.sign("POST", URL, JSON, b"x", NOW) != signer.sign("POST", URL, JSON, b"y", NOW)


@pytest.mark.parametrize(
    "credential",
    [
        "AKID",
        "AKID:",
        ":hunter2",
        "AKID:hunter2:s:us-east-1:x",
        "AK ID:hunter2",
        "AKID:hun ter2",
        "AKID:hunter2::moon",
    ],
)
def test_a_malformed_credential_is_refused_without_being_told(credential: str) -> None:
    with pytest.raises(MalformedCredential) as refused:
        make_signer("sigv4", credential)
    assert "hunter2" not in str(refused.value)
    assert "hun ter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (URL, "eu-central-1"),
        ("https://gateway.example/model/m/converse", "sa-east-1"),
    ],
)
def test_the_chain_s_region_is_for_hosts_that_name_none(url: str, region: str) -> None:
    signer = SigV4Signer(Credentials("AKIDCHAIN", SECRET, "token"), "sa-east-1")
    signed = signer.sign("POST", url, JSON, b"", NOW)
    assert f"Credential=AKIDCHAIN/20231114/{region}/bedrock/" in signed["authorization"]
    assert signed["x-amz-security-token"] == "token"


def test_an_empty_credential_is_not_the_process_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDCHAIN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(MalformedCredential):
        make_signer("sigv4", "")


def test_the_signer_tells_nothing_of_its_secret() -> None:
    assert SECRET not in repr(make_signer("sigv4", f"AKID:{SECRET}"))
