"""AWS Signature Version 4 from the service's side: recomputes a request's signature and compares.

After "Signature Version 4 signing process" of the AWS reference. Headers are as `Dialect.admit` has them, with the
request line beside them.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<access>[^/,\s]+)/"
    r"(?P<scope>(?P<date>\d{8})/[^/,]+/(?P<service>[^/,]+)/aws4_request),"
    r"\s*SignedHeaders=(?P<signed>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


def access_key(headers: Mapping[str, str]) -> str | None:
    """The access key id a request was signed with; None when it was not signed."""
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    return match["access"] if match else None


def signature_matches(headers: Mapping[str, str], secret: str, service: str) -> bool:
    """Whether `secret` signed this request, its body included, for `service`."""
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    moment = headers.get("x-amz-date", "")
    if match is None or match["service"] != service or not moment.startswith(match["date"]):
        return False
    signed = match["signed"].split(";")
    if "host" not in signed or ("x-amz-security-token" in headers and "x-amz-security-token" not in signed):
        return False
    request = hashlib.sha256(_canonical(headers, signed).encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for step in match["scope"].split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    text = "\n".join([ALGORITHM, moment, match["scope"], request])
    return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), match["signature"])


def _canonical(headers: Mapping[str, str], signed: list[str]) -> str:
    """The canonical request. The path is encoded once more than it was sent, as for every service but S3."""
    parts = urlsplit(headers[":path"])
    pairs = (pair.partition("=") for pair in parts.query.split("&") if pair)
    return "\n".join(
        [
            headers[":method"],
            quote(parts.path, safe="/~"),
            "&".join(sorted(f"{name}={value}" for name, _, value in pairs)),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed),
            "",
            ";".join(signed),
            headers[":sha256"],
        ]
    )
