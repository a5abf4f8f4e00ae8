"""Vertex AI: projects, locations, and whose model it is."""

from __future__ import annotations

from typing import Any

from busbar.onboarding.litellm.accounts import Accounts, Overrides
from busbar.onboarding.litellm.params import Params, reference
from busbar.onboarding.litellm.report import Findings
from busbar.onboarding.yaml_text import Value, Variable

DEFAULT_LOCATION = "us-central1"
"""LiteLLM's, where the file says none."""


class Google:
    """Accounts at Vertex AI: one entry of the catalog for each publisher's dialect."""

    def __init__(self, accounts: Accounts, findings: Findings) -> None:
        self._accounts = accounts
        self._findings = findings

    def account(self, model: str, params: Params) -> tuple[str | None, str]:
        surface = _surface(model)
        if surface is None:
            self._findings.left_out(
                "vertex_ai models",
                "Gemini, Claude and publishers' models with an OpenAI-like address (publisher/model) are served;"
                " endpoints of one's own are not",
                params.place,
            )
            return None, model
        project = params.text("vertex_project") or params.text("vertex_ai_project")
        location = params.text("vertex_location") or params.text("vertex_ai_location") or DEFAULT_LOCATION
        for key in ("vertex_ai_project", "vertex_ai_location"):
            params.take(key)
        if project is None:
            project = Variable("VERTEXAI_PROJECT")
            self._findings.to_do("vertex_project", "the file names none: set $VERTEXAI_PROJECT", params.place)
        variables: dict[str, Value] = {"project": project}
        if location == "global":
            surface = f"{surface}-global"
        else:
            variables["location"] = location
        overrides: Overrides = {"variables": variables, **self._identity(params)}
        return self._accounts.of_catalog(surface, overrides), model.removeprefix("google/")

    def _identity(self, params: Params) -> Overrides:
        """Where the credentials are. Never what they are."""
        given: Any = params.take("vertex_credentials") or params.take("vertex_ai_credentials")
        params.take("vertex_ai_credentials")
        if isinstance(given, str) and (held := reference(given)) is not None:
            self._findings.to_do(
                f"${held.name}", "it has to hold the path of the credentials' file, not their text", params.place
            )
            return {"identity": {"credentials_file": held}}
        if isinstance(given, str) and "{" not in given:
            return {"identity": {"credentials_file": given}}
        if given is not None:
            self._findings.to_do(
                "vertex_credentials",
                "credentials stand in LiteLLM's file; they were not copied: put them into a file, and its path into"
                " $GOOGLE_APPLICATION_CREDENTIALS or `identity: {credentials_file: …}`",
                params.place,
            )
        return {}


def _surface(model: str) -> str | None:
    name = model.removeprefix("google/")
    if name.startswith("gemini"):
        return "vertex-gemini"
    if model.startswith("claude"):
        return "vertex-anthropic"
    return "vertex-openai" if "/" in model else None
