"""What a token server's answer means: a token with its lifetime, or a refusal (RFC 6749 §5).

A refusal's text has the server's host, the status, and the error code where it is one that RFCs or Microsoft define.
What else stands in an answer may be an echo of what was sent, so none of it is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from busbar.config.secret import Secret
from busbar.credentials.minting import Minted, MintRefused
from busbar.credentials.token_http import Answer
from busbar.protocols.failures import FailureClass
from busbar.protocols.retry_after import retry_after_secs

LIFETIME_SECS_DEFAULT = 300.0
"""Of a token whose issuer does not say (RFC 6749 §5.1 only recommends it): short, as asking again is cheap."""

LIFETIME_SECS_MAX = 86_400.0
"""Who promises more is asked again after a day."""

ERROR_CODES = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),  # RFC 6749 §5.2
        *("unsupported_grant_type", "invalid_scope", "access_denied", "server_error", "temporarily_unavailable"),
        *("invalid_target", "slow_down"),  # RFC 8707, RFC 8628
        *("invalid_resource", "interaction_required", "consent_required"),  # Microsoft Entra
        *("identity_not_found", "unknown_source", "internal_failure"),  # Azure's IMDS, Google
    }
)
_PASSING_CODES = frozenset({"server_error", "temporarily_unavailable", "slow_down", "internal_failure"})
_STATUSES: Mapping[int, FailureClass] = {408: FailureClass.TIMEOUT, 429: FailureClass.RATE_LIMIT}
_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}\Z")
_NUMBER = re.compile(r"\d{1,12}(\.\d{1,9})?\Z", re.ASCII)
_ENTRA_CODES = range(10_000, 10_000_000)
"""`AADSTS7000215` and its like, in `error_codes`."""


def read_token(answer: Answer, issuer: str, now: float) -> Minted:
    """The token of a 200. `issuer` is the name to tell in a refusal. `now`, in Unix seconds, is for an answer that
    says only when a token ends (`expires_on`), and has no `Date`. Raises `MintRefused`."""
    if answer.status != 200:
        raise refusal(answer, issuer, now)
    said = answer.json()
    token = as_token(said.get("access_token")) if isinstance(said, dict) else None
    if not isinstance(said, dict) or token is None:
        raise not_a_token(issuer)
    kind = said.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise MintRefused(f"{issuer} gave a token that is no bearer token", FailureClass.AUTH)
    return Minted(token, _lifetime_secs(said, issuer, answer.date or now))


def as_token(value: object) -> Secret | None:
    """`value` as a token; None for what could not be sent as one (RFC 6750 §2.1)."""
    return Secret(value) if isinstance(value, str) and _TOKEN.match(value) else None


def refusal(answer: Answer, issuer: str, now: float) -> MintRefused:
    """What an answer that is not a 200 means."""
    if 200 <= answer.status < 400:
        return MintRefused(f"{issuer} answered {answer.status}, which is no token", FailureClass.SERVER_ERROR)
    code, shown = _error_code(answer.json())
    kind = _STATUSES.get(answer.status, FailureClass.AUTH)
    if answer.status >= 500 or (code in _PASSING_CODES and kind is FailureClass.AUTH):
        kind = FailureClass.SERVER_ERROR
    wait = retry_after_secs(answer.headers, "", now) if kind is not FailureClass.AUTH else None
    return MintRefused(f"{issuer} answered {answer.status}{shown and f' {shown}'}", kind, wait)


def not_a_token(issuer: str) -> MintRefused:
    return MintRefused(f"{issuer} answered 200 with what is no token", FailureClass.SERVER_ERROR)


def _lifetime_secs(said: Mapping[str, object], issuer: str, issued_at: float) -> float:
    """`expires_in`, as a number or, as some send it, as text; or `expires_on`, a moment by the issuer's own clock,
    which shows `issued_at`. Raises `MintRefused` for a token that is over, and for nonsense."""
    if "expires_in" in said and said["expires_in"] is not None:
        secs = _number(said["expires_in"])
    elif "expires_on" in said:
        ends = _number(said["expires_on"])
        secs = None if ends is None else ends - issued_at
    else:
        return LIFETIME_SECS_DEFAULT
    if secs is None or not secs > 0:
        raise MintRefused(f"{issuer} gave a token that has no time to live", FailureClass.SERVER_ERROR)
    return min(secs, LIFETIME_SECS_MAX)


def _error_code(document: object) -> tuple[str, str]:
    """(code, how it is shown), both empty where there is none that is known."""
    if not isinstance(document, dict):
        return "", ""
    code = document.get("error")
    known = code if isinstance(code, str) and code in ERROR_CODES else ""
    match document.get("error_codes"):
        case [int(number), *_] if number in _ENTRA_CODES:
            return known, f"{known} (AADSTS{number})".strip()
        case _:
            return known, known


def _number(value: object) -> float | None:
    if isinstance(value, str) and _NUMBER.match(value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
        return float(value)
    return None
