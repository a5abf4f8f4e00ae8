"""AWS Signature Version 4, the other way round: is this request signed with the secret that belongs to its key?

Two steps, as the secret has to be found in between. `claim_of` reads who the caller says to be; `verify` makes the
signature once more from what really arrived and compares. What is signed, from "Create a signed AWS API request"
(AWS IAM User Guide, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html):

    method, path, query, the headers that SignedHeaders lists, the SHA-256 of the body    the canonical request
    algorithm, time, day/region/service, the SHA-256 of the above                         the string to sign

The path is signed as it stands on the wire, encoded once more: `%3A` becomes `%253A`, for all services but S3.

Where that page leaves room, this room is closed, as whoever signs and whoever routes must mean the same request: no
`.`, `..` or empty segments in a path (AWS would take them out and then compare), a `+` in a query is a space, and no
body is left unsigned. A request is good for as long as its time is: a copy of it counts as another one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "bedrock"

AUTHORIZATION_CHARS_MAX = 8192
SIGNED_HEADERS_MAX = 100
SKEW_SECS_MAX = 900.0
"""Either way, between the caller's clock and ours."""

_CREDENTIAL = re.compile(r"([A-Za-z0-9_]{4,128})/([0-9]{8})/([a-z0-9-]{1,64})/([a-z0-9-]{1,64})/aws4_request")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_TEXT = re.compile(r"[\t\x20-\x7e]*")
_METHOD = re.compile(r"[A-Z]{1,32}")
_PATH = re.compile(r"/[\x21\x22\x24-\x3e\x40-\x7e]*")
"""Printable ASCII but `#` and `?`."""
_QUERY = re.compile(r"[\x21\x22\x24-\x7e]*")
"""Printable ASCII but `#`."""
_TIMESTAMP = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HTTP_DATE = re.compile(
    rf"[A-Z][a-z]{{2}}, ([0-9]{{2}}) ({'|'.join(_MONTHS)}) ([0-9]{{4}}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) (?:GMT|UTC|[+-]0000)"
)


class BadSignature(Exception):
    """The request is not signed as it must be. The text is safe to show: it repeats nothing of the request."""


class Claim(Struct, frozen=True):
    """Who signed, for which day and place, what: nothing of it is proven yet."""

    access_key_id: str
    day: str
    """yyyymmdd, in UTC."""
    region: str
    """Any: a virtual key is good wherever its caller believes to be."""
    service: str
    signed_headers: tuple[str, ...]
    """Lower-case, sorted, none twice."""
    signature: str
    """64 lower-case hexadecimal digits."""

    def __repr__(self) -> str:
        return f"Claim({self.access_key_id})"


def claim_of(authorization: str) -> Claim | None:
    """What the `Authorization` header claims; None when it is not of this kind at all. Raises `BadSignature` when it
    is, but not as it should be."""
    if authorization.lstrip(" \t")[:5].upper() != "AWS4-":
        return None
    if len(authorization) > AUTHORIZATION_CHARS_MAX:
        raise BadSignature("The Authorization header is too long.")
    algorithm, _, rest = authorization.strip(" \t").partition(" ")
    if algorithm != ALGORITHM:
        raise BadSignature(f"The Authorization header must begin with the algorithm {ALGORITHM}.")
    fields = _fields(rest)
    credential = _CREDENTIAL.fullmatch(fields["Credential"])
    if credential is None:
        raise BadSignature("Credential must be <access key id>/<yyyymmdd>/<region>/<service>/aws4_request.")
    if not _SIGNATURE.fullmatch(fields["Signature"]):
        raise BadSignature("Signature must be 64 lower-case hexadecimal digits.")
    access_key_id, day, region, service = credential.groups()
    return Claim(access_key_id, day, region, service, _header_names(fields["SignedHeaders"]), fields["Signature"])


def verify(
    claim: Claim,
    *,
    secret: str,
    method: str,
    raw_path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
) -> None:
    """Returns when the request was signed with `secret`, else raises `BadSignature`, and nothing else.

    `raw_path` and `query` (without its `?`) are as they came, percent-encoding and all; `body` is what came, before
    any decompression. Header names are matched without regard to case; a mapping that holds a name several times
    must give all of them in `items()`. `now` is in Unix seconds.
    """
    if claim.service != SERVICE:
        raise BadSignature(f"The request must be signed for the service {SERVICE}.")
    if not _METHOD.fullmatch(method):
        raise BadSignature("The method is not one.")
    received = _by_name(headers)
    timestamp = _timestamp(claim, received, now)
    payload_hash = _payload_hash(received, body)
    request = (
        method,
        _canonical_path(raw_path),
        _canonical_query(query),
        _canonical_headers(claim, received),
        ";".join(claim.signed_headers),
        payload_hash,
    )
    if not hmac.compare_digest(_signature(claim, secret, timestamp, "\n".join(request)), claim.signature):
        raise BadSignature("The request's signature is not the one that its secret access key gives.")


# The Authorization header ------------------------------------------------------------------------------------------


def _fields(text: str) -> dict[str, str]:
    """`Credential=…, SignedHeaders=…, Signature=…`, in any order, with or without spaces."""
    pairs = [field.strip(" \t").partition("=") for field in text.split(",")]
    fields = {name: value for name, _, value in pairs}
    if len(pairs) != 3 or fields.keys() != {"Credential", "SignedHeaders", "Signature"}:
        raise BadSignature("The Authorization header must have Credential, SignedHeaders and Signature, each once.")
    return fields


def _header_names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(";"))
    if len(names) > SIGNED_HEADERS_MAX:
        raise BadSignature(f"SignedHeaders may list {SIGNED_HEADERS_MAX} headers.")
    if not all(map(_HEADER_NAME.fullmatch, names)) or list(names) != sorted(set(names)):
        raise BadSignature("SignedHeaders must list names of headers, in lower case and in order, each once.")
    if "host" not in names:
        raise BadSignature("SignedHeaders must list host.")
    return names


# The canonical request ---------------------------------------------------------------------------------------------


def _canonical_path(raw_path: str) -> str:
    if not _PATH.fullmatch(raw_path):
        raise BadSignature("The path must be percent-encoded.")
    segments = raw_path.split("/")
    if "" in segments[1:-1] or "." in segments or ".." in segments:
        raise BadSignature("The path must be without empty and relative segments.")
    return quote(raw_path, safe="/")


def _canonical_query(query: str) -> str:
    """Every name and value decoded and encoded in the one way that AWS documents, in order."""
    if not query:
        return ""
    if not _QUERY.fullmatch(query):
        raise BadSignature("The query must be percent-encoded.")
    pairs = (pair.partition("=") for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in sorted((_encoded(n), _encoded(v)) for n, _, v in pairs))


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe="")


def _by_name(headers: Mapping[str, str]) -> dict[str, list[str]]:
    received: dict[str, list[str]] = {}
    for name, value in headers.items():
        received.setdefault(name.lower(), []).append(value)
    return received


def _canonical_headers(claim: Claim, received: dict[str, list[str]]) -> str:
    """A line for each signed header, and an empty one."""
    return "".join(f"{name}:{_value(received, name)}\n" for name in claim.signed_headers)


def _value(received: dict[str, list[str]], name: str) -> str:
    """Several of one name are joined by commas, in the order in which they came; white space is made single."""
    values = received.get(name)
    if values is None:
        raise BadSignature("A header that SignedHeaders lists is missing.")
    if not all(map(_HEADER_TEXT.fullmatch, values)):
        raise BadSignature("A signed header has other than printable ASCII characters.")
    return ",".join(" ".join(value.split()) for value in values)


def _payload_hash(received: dict[str, list[str]], body: bytes) -> str:
    """Of the real body. What the caller says about it may be left out, but may not differ."""
    real = hashlib.sha256(body).hexdigest()
    match received.get("x-amz-content-sha256"):
        case None:
            return real
        case [said] if said == real:
            return real
        case [said] if said == "UNSIGNED-PAYLOAD" or said.startswith("STREAMING-"):
            raise BadSignature("The whole body must be signed.")
        case _:
            raise BadSignature("x-amz-content-sha256 is not the SHA-256 of the body.")


# Time, and the signature -------------------------------------------------------------------------------------------


def _timestamp(claim: Claim, received: dict[str, list[str]], now: float) -> str:
    """`20150830T123600Z`: from `x-amz-date`, which wins, or from `date`, which may also be in HTTP's own form."""
    name = "x-amz-date" if "x-amz-date" in received else "date"
    if name not in claim.signed_headers:
        raise BadSignature("SignedHeaders must list x-amz-date, or date where there is no x-amz-date.")
    text = _value(received, name)
    if name == "date" and (date := _HTTP_DATE.fullmatch(text)):
        day, month, year, *time = date.groups()
        text = f"{year}{_MONTHS.index(month) + 1:02}{day}T{''.join(time)}Z"
    if not abs(_unix_secs(text) - now) <= SKEW_SECS_MAX:
        raise BadSignature("The request's time is more than 15 minutes away from now.")
    if text[:8] != claim.day:
        raise BadSignature("The day in Credential is not that of the request's time.")
    return text


def _unix_secs(timestamp: str) -> float:
    found = _TIMESTAMP.fullmatch(timestamp)
    if found is None:
        raise BadSignature("The request's time must be given as yyyymmddThhmmssZ.")
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        raise BadSignature("The request's time does not exist.") from None


def _signature(claim: Claim, secret: str, timestamp: str, canonical_request: str) -> str:
    scope = (claim.day, claim.region, claim.service, "aws4_request")
    request_hash = hashlib.sha256(canonical_request.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in (*scope, "\n".join((ALGORITHM, timestamp, "/".join(scope), request_hash))):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()
