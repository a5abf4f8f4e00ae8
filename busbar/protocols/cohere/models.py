"""The list of models (`GET /v1/models`), as Cohere's SDKs read it."""

from __future__ import annotations

from collections.abc import Sequence

from busbar.protocols.protocol import Document, Hop


def write_models(names: Sequence[str], hop: Hop) -> Document:
    return {"models": [{"name": name, "endpoints": ["chat"]} for name in names]}
