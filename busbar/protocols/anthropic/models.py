"""The list of models (`GET /v1/models`), one page."""

from __future__ import annotations

from collections.abc import Sequence

from busbar.protocols.protocol import Document, Hop

_RELEASE_UNKNOWN = "1970-01-01T00:00:00Z"
"""By the API's reference, an epoch value says that the release date is unknown."""


def write_models(names: Sequence[str], hop: Hop) -> Document:
    return {
        "data": [
            {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": _RELEASE_UNKNOWN,
                "lifecycle": "active",
            }
            for name in names
        ],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
