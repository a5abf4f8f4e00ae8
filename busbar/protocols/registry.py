"""The dialects that are spoken. A new one is a folder, and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from busbar.protocols import anthropic, openai
from busbar.protocols.protocol import Protocol

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        anthropic.PROTOCOL,
        openai.PROTOCOL,
    )
}
