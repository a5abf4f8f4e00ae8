"""What goes wrong in the matrix, as data: how each SDK raises it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import anthropic
import botocore.exceptions
import openai
from cohere.core.api_error import ApiError as CohereError
from google.genai.errors import APIError as GeminiError

Kind = Literal["bad request", "caller's key", "provider's account", "rate limit", "exhausted", "broken answer"]

BASES: Mapping[str, type[Exception]] = {
    "openai": openai.APIError,
    "responses": openai.APIError,
    "anthropic": anthropic.APIError,
    "gemini": GeminiError,
    "bedrock": botocore.exceptions.ClientError,
    "cohere": CohereError,
}
"""All that an SDK raises for an answer is one of these."""

_OPENAI = {
    "bad request": ("BadRequestError", 400),
    "caller's key": ("AuthenticationError", 401),
    "provider's account": ("InternalServerError", 502),
    "rate limit": ("RateLimitError", 429),
    "exhausted": ("InternalServerError", 503),
    "broken answer": ("InternalServerError", 502),
}

RAISED: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "openai": _OPENAI,
    "responses": _OPENAI,
    "anthropic": {**_OPENAI, "exhausted": ("OverloadedError", 529)},
    "gemini": {
        "bad request": ("ClientError", 400),
        "caller's key": ("ClientError", 400),
        "provider's account": ("ServerError", 502),
        "rate limit": ("ClientError", 429),
        "exhausted": ("ServerError", 503),
        "broken answer": ("ServerError", 502),
    },
    "bedrock": {
        "bad request": ("ValidationException", 400),
        "caller's key": ("AccessDeniedException", 403),
        "provider's account": ("InternalServerException", 500),
        "rate limit": ("ThrottlingException", 429),
        "exhausted": ("ServiceUnavailableException", 503),
        "broken answer": ("InternalServerException", 500),
    },
    "cohere": {
        "bad request": ("BadRequestError", 400),
        "caller's key": ("UnauthorizedError", 401),
        "provider's account": ("ApiError", 502),
        "rate limit": ("TooManyRequestsError", 429),
        "exhausted": ("ServiceUnavailableError", 503),
        "broken answer": ("ApiError", 502),
    },
}
"""ingress → what happened → the class of the exception, and its status."""

RAISES_IN_A_STREAM = frozenset({"openai", "anthropic", "gemini", "bedrock"})
"""The other SDKs give the event of a failure as they give any: `Reply.stop` is `error`."""

RETRY_AFTER_IN_THE_BODY = frozenset({"gemini"})
"""Dialects whose providers tell in the body when to come back; that answer is passed on as it is."""


def raised(error: BaseException) -> tuple[str, int]:
    """Class and status of what an SDK raised."""
    match error:
        case botocore.exceptions.ClientError():
            return type(error).__name__, error.response["ResponseMetadata"]["HTTPStatusCode"]
        case GeminiError():
            return type(error).__name__, error.code
        case CohereError():
            return type(error).__name__, error.status_code or 0
        case openai.APIStatusError() | anthropic.APIStatusError():
            return type(error).__name__, error.status_code
        case _:
            raise AssertionError(f"not the exception of a status: {error!r}") from error


def retry_after(error: BaseException) -> str | None:
    """The header of the answer that was raised."""
    match error:
        case botocore.exceptions.ClientError():
            headers = error.response["ResponseMetadata"]["HTTPHeaders"]
        case CohereError():
            headers = error.headers or {}
        case _:
            headers = error.response.headers  # type: ignore[attr-defined]
    value: str | None = headers.get("retry-after")
    return value
