"""How each provider words its errors: fault word → what Anthropic says, what OpenAI says.

Statuses, types, codes and texts follow recorded answers and the providers' pages on errors.
"""

from .dialect import Refused
from .refusals_bedrock import BEDROCK, UNREADABLE_BEDROCK
from .refusals_gemini import GEMINI, UNREADABLE_GEMINI
from .said import Said

OVERLOADED = "The engine is currently overloaded, please try again later."

REFUSALS: dict[str, tuple[Said, Said]] = {
    "400": (
        Said(400, "invalid_request_error", "messages: the demo refuses this request"),
        Said(400, "invalid_request_error", "Invalid value: the demo refuses this request.", "invalid_value"),
    ),
    "401": (
        Said(401, "authentication_error", "invalid x-api-key"),
        Said(
            401,
            "invalid_request_error",
            (
                "Incorrect API key provided: demo****. You can find your API key at "
                "https://platform.openai.com/account/api-keys."
            ),
            "invalid_api_key",
        ),
    ),
    "402": (
        Said(402, "billing_error", "Your organization's spend limit has been reached."),
        Said(402, "unknown_error", "Insufficient Balance", "invalid_request_error"),
    ),
    "403": (
        Said(403, "permission_error", "Your API key does not have permission to use the specified resource."),
        Said(403, "invalid_request_error", "You have insufficient permissions for this operation."),
    ),
    "404": (
        Said(404, "not_found_error", "model: {model}"),
        Said(
            404,
            "invalid_request_error",
            "The model `{model}` does not exist or you do not have access to it.",
            "model_not_found",
        ),
    ),
    "408": (
        Said(408, "timeout_error", "Request timeout"),
        Said(408, "invalid_request_error", "Request timed out.", "request_timeout"),
    ),
    "413": (
        Said(413, "request_too_large", "Request exceeds the maximum size"),
        Said(413, "invalid_request_error", "Request body too large."),
    ),
    "429": (
        Said(
            429,
            "rate_limit_error",
            ("This request would exceed the rate limit for your organization of 50 requests per minute."),
        ),
        Said(
            429,
            "requests",
            (
                "Rate limit reached for {model} in organization org-demo on requests per min "
                "(RPM): Limit 3, Used 3, Requested 1. Please try again later."
            ),
            "rate_limit_exceeded",
        ),
    ),
    "500": (
        Said(500, "api_error", "Internal server error"),
        Said(500, "server_error", "The server had an error while processing your request. Sorry about that!"),
    ),
    "503": (
        Said(503, "api_error", "Service temporarily unavailable"),
        Said(503, "service_unavailable_error", OVERLOADED, "server_is_overloaded"),
    ),
    "529": (
        Said(529, "overloaded_error", "Overloaded"),
        Said(529, "service_unavailable_error", OVERLOADED, "server_is_overloaded"),
    ),
    "billing": (
        Said(
            400,
            "invalid_request_error",
            (
                "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
                "Billing to upgrade or purchase credits."
            ),
        ),
        Said(
            429,
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
        ),
    ),
    "context": (
        Said(400, "invalid_request_error", "prompt is too long: 213462 tokens > 200000 maximum"),
        Said(
            400,
            "invalid_request_error",
            (
                "This model's maximum context length is 128000 tokens. However, your messages "
                "resulted in 150008 tokens. Please reduce the length of the messages."
            ),
            "context_length_exceeded",
        ),
    ),
}

_RESPONSES: dict[str, Said] = {
    "404": Said(400, "invalid_request_error", "The requested model '{model}' does not exist.", "model_not_found"),
    "context": Said(
        400,
        "invalid_request_error",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "context_length_exceeded",
    ),
}
"""Where OpenAI's Responses API words it unlike Chat Completions."""

_COHERE: dict[str, Said] = {
    "400": Said(400, "", "invalid request: the demo refuses this request"),
    "401": Said(401, "", "invalid api token"),
    "402": Said(402, "", "payment required: please add or update your payment method"),
    "403": Said(403, "", "your API key does not have access to this resource"),
    "404": Said(
        404,
        "",
        "model '{model}' not found, make sure the correct model ID was used and that you have access to the model.",
    ),
    "408": Said(408, "", "request timeout"),
    "413": Said(413, "", "request body too large"),
    "429": Said(
        429,
        "",
        "You are using a Trial key, which is limited to 20 API calls / minute. You can continue to use the Trial key "
        "for free or upgrade to a Production key with higher rate limits at "
        "'https://dashboard.cohere.com/api-keys'.",
    ),
    "500": Said(500, "", "internal server error"),
    "503": Said(503, "", "service unavailable"),
    "529": Said(503, "", "the model is overloaded, please try again later"),
    "billing": Said(402, "", "You have run out of credits. Please add a payment method to continue."),
    "context": Said(
        400,
        "",
        "too many tokens: size limit exceeded by 25836 tokens. Try using shorter or fewer inputs. The limit for this "
        "model is 288000 tokens.",
        "TOO_MANY_TOKENS",
    ),
}
"""Cohere has no error types; `code` is its `error_type`, which only a few errors carry."""

SAID: dict[str, dict[str, Said]] = {
    "anthropic": {word: said for word, (said, _) in REFUSALS.items()},
    "openai": {word: said for word, (_, said) in REFUSALS.items()},
    "responses": {**{word: said for word, (_, said) in REFUSALS.items()}, **_RESPONSES},
    "cohere": _COHERE,
    "gemini": GEMINI,
    "bedrock": BEDROCK,
}
"""dialect → fault word → its words."""

UNREADABLE: dict[str, Said] = {
    "gemini": UNREADABLE_GEMINI,
    "bedrock": UNREADABLE_BEDROCK,
    "cohere": Said(400, "", "invalid json syntax: the request body is not a JSON object"),
    "anthropic": Said(400, "invalid_request_error", "The request body is not valid JSON."),
    "openai": Said(
        400,
        "invalid_request_error",
        (
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
            "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
        ),
    ),
}
"""dialect → what it says to a body that is not a JSON object."""


UNREADABLE["responses"] = UNREADABLE["openai"]


def unreadable(dialect: str) -> Refused:
    """The refusal of a body that is not a JSON object."""
    said = UNREADABLE[dialect]
    return Refused(said.status, said.kind, said.message, code=said.code)
