"""Models: the families whose requests differ, and the list of those a caller may use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from busbar.protocols.protocol import Document, Hop

Family: TypeAlias = Literal["claude", "nova", "gpt-oss", "other"]
"""Whose own fields a model takes."""

_MARKS: tuple[tuple[str, Family], ...] = (
    ("anthropic", "claude"),
    ("claude", "claude"),
    ("amazon.nova", "nova"),
    ("gpt-oss", "gpt-oss"),
)


def family_of(model: str) -> Family:
    """By the model's id (`us.anthropic.claude-…`). An ARN of an application's inference profile tells nothing."""
    return next((family for mark, family in _MARKS if mark in model), "other")


def write_models(names: Sequence[str], hop: Hop) -> Document:
    """As the control plane's `ListFoundationModels` does; the runtime itself has no list."""
    return {
        "modelSummaries": [
            {
                "modelArn": f"arn:aws:bedrock:::foundation-model/{name}",
                "modelId": name,
                "modelName": name,
                "providerName": name,
                "inputModalities": ["TEXT"],
                "outputModalities": ["TEXT"],
                "responseStreamingSupported": True,
                "inferenceTypesSupported": ["ON_DEMAND"],
                "modelLifecycle": {"status": "ACTIVE"},
            }
            for name in names
        ]
    }
