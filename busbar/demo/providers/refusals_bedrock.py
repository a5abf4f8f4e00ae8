"""How Bedrock words its errors: fault word → what it says. Texts follow recorded answers and AWS's pages."""

from .said import Said

BEDROCK: dict[str, Said] = {
    "400": Said(400, "ValidationException", "The demo refuses this request. Correct it and try again."),
    "401": Said(401, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "402": Said(402, "AccessDeniedException", "Your account has an outstanding balance."),
    "403": Said(403, "AccessDeniedException", "You don't have access to the model with the specified model ID."),
    "404": Said(
        404,
        "ResourceNotFoundException",
        "Could not resolve the foundation model from the provided model identifier.",
    ),
    "408": Said(
        408, "ModelTimeoutException", "Model has timed out in processing the request. Try your request again."
    ),
    "413": Said(413, "ValidationException", "Request body exceeds the maximum allowed size of 25000000 bytes."),
    "429": Said(429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "500": Said(
        500,
        "InternalServerException",
        "The system encountered an unexpected error during processing. Try your request again.",
    ),
    "503": Said(
        503, "ServiceUnavailableException", "Service capacity limit has been reached. Please try again later."
    ),
    "529": Said(529, "ServiceUnavailableException", "Model is overloaded. Please try again later."),
    "billing": Said(
        403,
        "AccessDeniedException",
        "Model access is denied due to INVALID_PAYMENT_INSTRUMENT: A valid payment instrument must be provided. Your "
        "AWS Marketplace subscription for this model cannot be completed at this time.",
    ),
    "context": Said(
        400,
        "ValidationException",
        "The model returned the following errors: prompt is too long: 213462 tokens > 200000 maximum",
    ),
}
UNREADABLE_BEDROCK = Said(400, "SerializationException", "Unable to parse the request body as a JSON object.")
