"""The list of models (`GET /v1/models`), as OpenAI's SDKs read it: one list for both of OpenAI's dialects."""

from __future__ import annotations

from collections.abc import Sequence

from busbar.protocols.protocol import Document, Hop


def write_openai_models(names: Sequence[str], hop: Hop) -> Document:
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": hop.now, "owned_by": "system"} for name in names],
    }
