"""Who gives tokens, and what each wants to see first: Google, Microsoft, an OAuth server, AWS.

All are strict where the real ones are: signatures, audiences, times, one-time use. Every token is another one, and is
known afterwards, with its end: what is exchanged for another must have been given here before.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .token_server import Asked, Reply

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k"
ACCOUNT = "busbar@project.iam.gserviceaccount.com"
ACTING = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/vertex@project.iam:generateAccessToken"
COGNITIVE = "https://cognitiveservices.azure.com"
LIFETIME_SECS = 3599
SKEW_SECS = 300
"""So much does Google overlook."""

_KEY = rsa.generate_private_key(65537, 2048)


class Issuers:
    """All of them, by path. `clock` is theirs."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.given: dict[str, float] = {}
        """Token -> its end."""
        self._numbers = itertools.count()
        self.used: set[str] = set()
        self.wants_new_assertions = True
        """Google does not; two accounts with one key may sign the same within a second."""
        self.audience = "https://oauth2.googleapis.com/token"
        self.aws_key = ""
        """`ACCESS:SECRET` of whoever assumes a role; empty: another one each time."""
        self.subject_tokens = {"subject-1": clock() + 600}
        self.client_secret = "s3cr+t:of the/client"
        self.refresh_token = "1//refresh"
        self.platform_proof = "platform-proof"
        self.imds_sessions: dict[str, float] = {}
        self.container_proof = "container-proof"

    def answer(self, asked: Asked) -> Reply:
        """404 for what nobody serves."""
        routes: dict[tuple[str, str], Callable[[Asked], Reply]] = {
            ("POST", "/token"): self.google,
            ("POST", "/v1/token"): self.google_sts,
            ("POST", "/v1/oauthtoken"): self.google_workforce,
            ("POST", ACTING.partition("googleapis.com")[2]): self.google_iam,
            ("GET", "/computeMetadata/v1/instance/service-accounts/default/token"): self.google_metadata,
            ("GET", "/subject"): self.subject,
            ("POST", "/tenant-1/oauth2/v2.0/token"): self.entra,
            ("GET", "/metadata/identity/oauth2/token"): self.azure_metadata,
            ("GET", "/msi/token"): self.azure_platform,
            ("POST", "/oauth/token"): self.oauth,
            ("PUT", "/latest/api/token"): self.aws_session,
            ("GET", "/latest/meta-data/iam/security-credentials/"): self.aws_role,
            ("GET", "/latest/meta-data/iam/security-credentials/role-1"): self.aws_instance,
            ("GET", "/v2/credentials/task-1"): self.aws_container,
            ("POST", "/"): self.aws_sts,
            ("GET", "/federation/credentials"): self.aws_sso,
        }
        route = routes.get((asked.method, asked.path))
        return route(asked) if route is not None else Reply(404, b"{}")

    # --- Google

    def service_account(self, **changed: str) -> dict[str, str]:
        """A key file of an account that is known here."""
        key = _KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        document = {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "key-1",
            "private_key": key.decode(),
            "client_email": ACCOUNT,
            "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        }
        return {**document, **changed}

    def authorized_user(self) -> dict[str, str]:
        return {
            "type": "authorized_user",
            "client_id": "client-1",
            "client_secret": self.client_secret,
            "refresh_token": self.refresh_token,
        }

    def google(self, asked: Asked) -> Reply:
        form = asked.form
        if form.get("grant_type") == "refresh_token":
            proofs = (form.get("client_id"), form.get("client_secret"), form.get("refresh_token"))
            if proofs != ("client-1", self.client_secret, self.refresh_token):
                return refused(400, "invalid_grant")
            return self.bearer(scope=CLOUD_PLATFORM)
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return refused(400, "unsupported_grant_type")
        claims = _verified(form.get("assertion", ""))
        replayed = self.wants_new_assertions and form.get("assertion") in self.used
        if claims is None or claims.get("iss") != ACCOUNT or replayed:
            return refused(400, "invalid_grant")
        now, issued, ends = self.clock(), claims.get("iat", 0), claims.get("exp", 0)
        if issued > now + SKEW_SECS or ends <= now - SKEW_SECS or not 0 < ends - issued <= 3600:
            return refused(400, "invalid_grant", error_description="Invalid JWT: it must be short-lived")
        if claims.get("aud") != self.audience:
            return refused(400, "invalid_grant")
        if claims.get("scope") != CLOUD_PLATFORM:
            return refused(400, "invalid_scope")
        self.used.add(form["assertion"])
        return self.bearer()

    def google_sts(self, asked: Asked) -> Reply:
        form = asked.form
        expected = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "audience": POOL,
            "scope": CLOUD_PLATFORM,
        }
        if any(form.get(key) != value for key, value in expected.items()):
            return refused(400, "invalid_request")
        if self.subject_tokens.get(form.get("subject_token", ""), 0.0) <= self.clock():
            return refused(400, "invalid_grant")
        return self.bearer(issued_token_type=expected["requested_token_type"])

    def google_workforce(self, asked: Asked) -> Reply:
        login = asked.headers.get("authorization", "").removeprefix("Basic ")
        if base64.b64decode(login).decode() != f"client-1:{self.client_secret}":
            return refused(401, "invalid_client")
        if asked.form != {"grant_type": "refresh_token", "refresh_token": self.refresh_token}:
            return refused(400, "invalid_grant")
        return self.bearer()

    def google_iam(self, asked: Asked) -> Reply:
        """Answers with a moment, and by its own clock."""
        body = json.loads(asked.body)
        if not self.is_good(asked.headers.get("authorization", "")):
            return refused(401, "unauthorized")
        if body["scope"] != [CLOUD_PLATFORM]:
            return refused(403, "permission")
        secs = int(body["lifetime"].removesuffix("s"))
        token = self.token(secs)
        ends = datetime.fromtimestamp(self.clock() + secs, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return _json(200, {"accessToken": token, "expireTime": ends})

    def google_metadata(self, asked: Asked) -> Reply:
        if asked.headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in asked.headers:
            return Reply(403, b"")
        reply = self.bearer()
        return Reply(reply.status, reply.body, {"metadata-flavor": "Google"})

    def subject(self, asked: Asked) -> Reply:
        """Another cloud's token, by a URL."""
        if asked.headers.get("x-source-proof") != "proof":
            return Reply(401, b"")
        return _json(200, {"id_token": next(iter(self.subject_tokens))})

    # --- Microsoft

    def entra(self, asked: Asked) -> Reply:
        form = asked.form
        if form.get("grant_type") != "client_credentials" or form.get("scope") != f"{COGNITIVE}/.default":
            return refused(400, "invalid_scope", error_codes=[70011])
        if form.get("client_id") != "client-1":
            return refused(400, "unauthorized_client", error_codes=[700016])
        if "client_assertion" in form:
            kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            ends = self.subject_tokens.get(form["client_assertion"], 0.0)
            if form.get("client_assertion_type") != kind or ends <= self.clock():
                return refused(401, "invalid_client", error_codes=[700024])
        elif form.get("client_secret") != self.client_secret:
            return refused(401, "invalid_client", error_codes=[7000215], error_description=str(form))
        return self.bearer(ext_expires_in=LIFETIME_SECS)

    def azure_metadata(self, asked: Asked) -> Reply:
        """Its numbers are texts."""
        if asked.headers.get("metadata") != "true" or "x-forwarded-for" in asked.headers:
            return refused(400, "invalid_request")
        if asked.query.get("api-version") != "2018-02-01" or asked.query.get("resource") != COGNITIVE:
            return refused(400, "invalid_resource")
        if asked.query.get("client_id", "identity-1") != "identity-1":
            return refused(400, "invalid_request", error_description="Identity not found")
        return self.bearer(expires_in=str(LIFETIME_SECS), resource=COGNITIVE)

    def azure_platform(self, asked: Asked) -> Reply:
        """Says only when the token ends."""
        if asked.headers.get("x-identity-header") != self.platform_proof:
            return refused(400, "invalid_request")
        if asked.query.get("api-version") != "2019-08-01" or asked.query.get("resource") != COGNITIVE:
            return refused(400, "invalid_resource")
        token = self.token(LIFETIME_SECS)
        ends = str(int(self.clock()) + LIFETIME_SECS)
        return _json(200, {"access_token": token, "expires_on": ends, "token_type": "Bearer"})

    # --- OAuth

    def oauth(self, asked: Asked) -> Reply:
        form = asked.form
        if form.get("grant_type") != "client_credentials":
            return refused(400, "unsupported_grant_type")
        scheme, _, login = asked.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            pair = base64.b64decode(login, validate=True).decode("ascii").split(":")
            proof = tuple(unquote_plus(each) for each in pair)
            if "client_id" in form or "client_secret" in form:
                return refused(400, "invalid_request")
        else:
            proof = (form.get("client_id", ""), form.get("client_secret", ""))
        if proof != ("client:1", self.client_secret):
            return refused(401, "invalid_client")
        if (form.get("scope"), form.get("audience")) != ("models:call more", "https://models.example"):
            return refused(400, "invalid_scope")
        return self.bearer()

    # --- AWS

    def aws_session(self, asked: Asked) -> Reply:
        secs = int(asked.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "0"))
        if not 0 < secs <= 21600 or "x-forwarded-for" in asked.headers:
            return Reply(400, b"")
        session = f"session-{len(self.imds_sessions)}"
        self.imds_sessions[session] = self.clock() + secs
        return Reply(200, session.encode(), {"x-aws-ec2-metadata-token-ttl-seconds": str(secs)})

    def _has_session(self, asked: Asked) -> bool:
        return self.imds_sessions.get(asked.headers.get("x-aws-ec2-metadata-token", ""), 0.0) > self.clock()

    def aws_role(self, asked: Asked) -> Reply:
        return Reply(200, b"role-1") if self._has_session(asked) else Reply(401, b"")

    def aws_instance(self, asked: Asked) -> Reply:
        return _json(200, {"Code": "Success", **self.aws_keys()}) if self._has_session(asked) else Reply(401, b"")

    def aws_container(self, asked: Asked) -> Reply:
        if asked.headers.get("authorization") != self.container_proof:
            return _json(401, {"code": "AccessDenied"})
        return _json(200, {"RoleArn": "arn:aws:iam::1:role/r", **self.aws_keys()})

    def aws_sts(self, asked: Asked) -> Reply:
        form = asked.form
        if form.get("Action") != "AssumeRoleWithWebIdentity" or form.get("RoleArn") != "arn:aws:iam::1:role/r":
            return _aws_error(400, "ValidationError", "")
        token = form.get("WebIdentityToken", "")
        if self.subject_tokens.get(token, 0.0) <= self.clock():
            return _aws_error(400, "ExpiredTokenException", f"Token expired: {token}")
        keys = self.aws_keys()
        body = (
            '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            "<AssumeRoleWithWebIdentityResult><Credentials>"
            f"<AccessKeyId>{keys['AccessKeyId']}</AccessKeyId>"
            f"<SecretAccessKey>{keys['SecretAccessKey']}</SecretAccessKey>"
            f"<SessionToken>{keys['Token']}</SessionToken><Expiration>{keys['Expiration']}</Expiration>"
            "</Credentials><AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId><Arn>arn:aws:sts::1:x</Arn>"
            "</AssumedRoleUser></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )
        return Reply(200, body.encode(), {"content-type": "text/xml"})

    def aws_sso(self, asked: Asked) -> Reply:
        if asked.headers.get("x-amz-sso_bearer_token") not in self.subject_tokens:
            document = {"message": "Session token not found or invalid"}
            return Reply(401, json.dumps(document).encode(), {"x-amzn-errortype": "UnauthorizedException"})
        keys = self.aws_keys()
        given = {
            "accessKeyId": keys["AccessKeyId"],
            "secretAccessKey": keys["SecretAccessKey"],
            "sessionToken": keys["Token"],
            "expiration": int(self.clock() + 3600) * 1000,
        }
        return _json(200, {"roleCredentials": given})

    def aws_keys(self) -> dict[str, str]:
        ends = datetime.fromtimestamp(self.clock() + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        token = self.token(3600)
        access, _, secret = (self.aws_key or f"ASIA{len(self.given):012}:secret/{token}").partition(":")
        return {
            "AccessKeyId": access,
            "SecretAccessKey": secret,
            "Token": token,
            "Expiration": ends,
        }

    # --- all

    def token(self, secs: float) -> str:
        token = f"ya29.token-{next(self._numbers)}"
        self.given[token] = self.clock() + secs
        return token

    def is_good(self, authorization: str) -> bool:
        return self.given.get(authorization.removeprefix("Bearer "), 0.0) > self.clock()

    def bearer(self, **others: object) -> Reply:
        token = self.token(LIFETIME_SECS)
        document = {"access_token": token, "expires_in": LIFETIME_SECS, "token_type": "Bearer", **others}
        return _json(200, document)


def refused(status: int, error: str, **others: object) -> Reply:
    return _json(status, {"error": error, **others})


def _json(status: int, document: object) -> Reply:
    return Reply(status, json.dumps(document).encode())


def _aws_error(status: int, code: str, message: str) -> Reply:
    body = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(status, f"{body}<RequestId>1</RequestId></ErrorResponse>".encode(), {"content-type": "text/xml"})


def _verified(assertion: str) -> dict[str, Any] | None:
    """The claims of a JWT that the service account's key signed; None for anything else."""
    try:
        head, claims, signature = assertion.split(".")
        if json.loads(_decoded(head)) != {"typ": "JWT", "alg": "RS256", "kid": "key-1"}:
            return None
        signed = f"{head}.{claims}".encode()
        _KEY.public_key().verify(_decoded(signature), signed, padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, InvalidSignature):
        return None
    found = json.loads(_decoded(claims))
    return found if isinstance(found, dict) else None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
