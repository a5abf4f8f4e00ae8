"""The words of one refusal."""

import msgspec


class Said(msgspec.Struct, frozen=True):
    """One provider's words. `{model}` in the message is the request's model.

    `code` is OpenAI's, Cohere's `error_type`, or the reason in Gemini's details.
    """

    status: int
    kind: str
    message: str
    code: str | None = None
