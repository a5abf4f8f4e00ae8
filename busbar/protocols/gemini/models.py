"""The list of models (`GET /v1beta/models`), as Google's SDKs read it."""

from __future__ import annotations

from collections.abc import Sequence

from busbar.protocols.protocol import Document, Hop

_METHODS = ("generateContent", "streamGenerateContent", "countTokens")


def write_models(names: Sequence[str], hop: Hop) -> Document:
    del hop
    return {
        "models": [
            {
                "name": f"models/{name}",
                "version": "001",
                "displayName": name,
                "supportedGenerationMethods": list(_METHODS),
            }
            for name in names
        ]
    }
