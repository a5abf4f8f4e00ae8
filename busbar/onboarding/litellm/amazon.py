"""Bedrock: routes in the model's name, regions, and AWS's many ways to say who one is."""

from __future__ import annotations

import re

from busbar.onboarding.litellm.accounts import Accounts, Overrides
from busbar.onboarding.litellm.addresses import address
from busbar.onboarding.litellm.credentials import Credentials
from busbar.onboarding.litellm.params import Params
from busbar.onboarding.litellm.report import Findings
from busbar.onboarding.yaml_text import Joined, Value, Variable

_ROUTES = ("converse/", "converse_like/", "invoke/")
"""How LiteLLM asks; Busbar always asks Converse."""

_SHAPES = ("llama/", "deepseek_r1/", "nova/", "qwen2/", "qwen3/", "openai/", "moonshot/")
"""Of imported models: whose template they want. Converse knows by itself."""

_ELSEWHERE = ("mantle/", "agent/", "agentcore/", "async_invoke/", "claude_platform/")
_REGION = re.compile(r"([a-z]{2}(?:-[a-z]+){1,2}-[0-9]{1,2})/")
_ROLES = (
    *("aws_role_name", "aws_session_name", "aws_web_identity_token", "aws_sts_endpoint", "aws_external_id"),
    "aws_session_tags",
)
_CHAIN = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
"""AWS's own chain of credentials finds these by itself."""


class Amazon:
    """Accounts at Bedrock."""

    def __init__(self, accounts: Accounts, credentials: Credentials, findings: Findings) -> None:
        self._accounts = accounts
        self._credentials = credentials
        self._findings = findings

    def account(self, model: str, params: Params) -> tuple[str | None, str]:
        if model.startswith(_ELSEWHERE):
            self._findings.left_out(
                "bedrock routes",
                "only Converse is spoken; for the OpenAI-like surface use `bedrock-mantle`",
                params.place,
            )
            return None, model
        for start in _ROUTES:
            model = model.removeprefix(start)
        region_in_name = _REGION.match(model)
        model = model if region_in_name is None else model[region_in_name.end() :]
        for start in _SHAPES:
            model = model.removeprefix(start)
        where = self._where(params, region_in_name[1] if region_in_name else None)
        if (key := params.text("api_key")) is not None:
            held = self._credentials.variable(key, params, "AWS_BEARER_TOKEN_BEDROCK")
            entry = self._accounts.catalog["bedrock-api-key"]
            named = {} if held.name == entry.get("api_key_env") else {"api_key_env": held.name}
            return self._accounts.of_catalog("bedrock-api-key", {**where, **named}), model
        return self._accounts.of_catalog("bedrock", {**where, **self._identity(params)}), model

    def _where(self, params: Params, in_name: str | None) -> Overrides:
        region = params.text("aws_region_name") or params.text("region_name") or in_name
        params.take("region_name")
        endpoint = params.text("aws_bedrock_runtime_endpoint") or params.text("api_base")
        params.take("api_base")
        if endpoint is not None and (found := address(endpoint, "bedrock", None)) is not None:
            return {**found, **({"identity": {"region": region}} if region is not None else {})}
        if region is None:
            region = Variable("AWS_REGION_NAME", "us-east-1")
            self._findings.to_do(
                "aws_region_name", "the file names no region: set $AWS_REGION_NAME, or write the region", params.place
            )
        return {"variables": {"region": region}}

    def _identity(self, params: Params) -> Overrides:
        roles = [key for key in _ROLES if params.take(key) is not None]
        if roles:
            self._findings.left_out(
                ", ".join(roles),
                "let a profile of AWS's shared configuration assume the role (role_arn), and name it in"
                " `identity: {profile: …}`",
                params.place,
            )
        profile = params.text("aws_profile_name")
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        given = [(key, params.text(key)) for key in names]
        parts = [
            self._credentials.variable(value, params, key.upper(), key=key)
            for key, value in given
            if value is not None
        ]
        if profile is not None:
            return {"identity": {"profile": profile}}
        if len(parts) < 2 or {part.name for part in parts} <= _CHAIN:
            return {}
        joined: list[Variable | str] = []
        for part in parts:
            joined += [":", part] if joined else [part]
        api_key: Value = Joined(tuple(joined))
        return {"api_key": api_key}
