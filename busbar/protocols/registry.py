"""The dialects that are spoken. A new one is a folder, and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from busbar.protocols import anthropic, bedrock, cohere, gemini, openai, responses
from busbar.protocols.protocol import Protocol

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        anthropic.PROTOCOL,
        openai.PROTOCOL,
        responses.PROTOCOL,
        gemini.PROTOCOL,
        bedrock.PROTOCOL,
        cohere.PROTOCOL,
    )
}


def by_headers(headers: Mapping[str, str]) -> Protocol:
    """Whose caller this is, on a path that no dialect has for itself: a header that only one of them sends decides;
    without any, it is the dialect that most clients can read."""
    for protocol in PROTOCOLS.values():
        if protocol.telltale_header is not None and protocol.telltale_header in headers:
            return protocol
    return openai.PROTOCOL


def own_model_lists() -> Mapping[str, Protocol]:
    """The paths on which a dialect lists its models for itself."""
    return {protocol.models_path: protocol for protocol in PROTOCOLS.values() if protocol.models_path is not None}
