"""The kinds of values that a configuration is made of, with their ranges."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

ProtocolName = Literal["anthropic", "openai", "responses", "gemini", "bedrock", "cohere"]
AuthStyle = Literal[
    "bearer", "x-api-key", "x-goog-api-key", "api-key", "sigv4", "none", "gcp-oauth", "entra", "oauth"
]
UpstreamEngine = Literal["lean", "aiohttp", "auto"]

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Secs = Annotated[float, Meta(gt=0, le=86_400)]
Millis = Annotated[int, Meta(ge=1, le=86_400_000)]
Bytes = Annotated[int, Meta(ge=1024, le=1 << 30)]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Name = Annotated[str, Meta(min_length=1)]
FilePath = Annotated[str, Meta(min_length=1, title="path")]
Url = Annotated[str, Meta(min_length=1, title="http(s) URL")]
HEADER_NAME_PATTERN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z"
HeaderName = Annotated[
    str, Meta(pattern=HEADER_NAME_PATTERN, extra={"expected": "the name of an HTTP header"}, title="header")
]
EnvironmentName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_]{1,128}\Z",
        extra={"expected": "the name of an environment variable"},
        title="name of a variable",
    ),
]
Command = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=64)]
"""A program and its arguments, run without a shell."""
PathTemplate = Annotated[
    str,
    Meta(
        pattern=r"^/[!-~]{0,1024}\Z",
        extra={
            "expected": "a URL path that starts with /, without spaces; {model} and your `variables` are filled in"
        },
        title="starts with `/`",
    ),
]
