"""How Gemini words its errors: fault word → what it says. Texts follow recorded answers and forum reports."""

from .said import Said

GEMINI: dict[str, Said] = {
    "400": Said(400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "401": Said(
        401,
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
    ),
    "402": Said(402, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted. Please add credits to continue."),
    "403": Said(
        403,
        "PERMISSION_DENIED",
        "Generative Language API has not been used in project 0 before or it is disabled.",
        "SERVICE_DISABLED",
    ),
    "404": Said(
        404,
        "NOT_FOUND",
        "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call "
        "ListModels to see the list of available models and their supported methods.",
    ),
    "408": Said(408, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
    "413": Said(413, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
    "429": Said(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. \n* Quota exceeded for metric: "
        "generativelanguage.googleapis.com/generate_content_paid_tier_input_token_count, limit: 1000000, model: "
        "{model}",
    ),
    "500": Said(
        500,
        "INTERNAL",
        "An internal error has occurred. Please retry or report in "
        "https://developers.generativeai.google/guide/troubleshooting",
    ),
    "503": Said(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "529": Said(529, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "billing": Said(
        400,
        "FAILED_PRECONDITION",
        "Gemini API free tier is not available in your country. Please enable billing on your project in Google AI "
        "Studio.",
    ),
    "context": Said(
        400,
        "INVALID_ARGUMENT",
        "The input token count (1213462) exceeds the maximum number of tokens allowed (1048576).",
    ),
}
UNREADABLE_GEMINI = Said(
    400,
    "INVALID_ARGUMENT",
    "Invalid JSON payload received. Expected an object with the fields of GenerateContentRequest.",
)
