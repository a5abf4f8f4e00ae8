"""Azure, Bedrock, Vertex and others that are told apart by more than a key: resources, regions, projects."""

from __future__ import annotations

import re
from typing import TypeAlias

from busbar.onboarding.litellm.accounts import Accounts, Overrides
from busbar.onboarding.litellm.addresses import SAMPLE_URL, address, host_of
from busbar.onboarding.litellm.amazon import Amazon
from busbar.onboarding.litellm.counterparts import Counterpart
from busbar.onboarding.litellm.credentials import Credentials
from busbar.onboarding.litellm.google import Google
from busbar.onboarding.litellm.params import Params
from busbar.onboarding.litellm.report import Findings
from busbar.onboarding.yaml_text import Joined, Value, Variable

Found: TypeAlias = tuple[str | None, str]

_OPENAI_HOST, _FOUNDRY_HOST = ".openai.azure.com", ".services.ai.azure.com"
_NO_VERSION = frozenset({"preview", "latest", "v1"})
_ACCOUNT_ID = re.compile(r"/accounts/([A-Za-z0-9_-]{1,64})(?:/|\Z)")
_RESOURCE = re.compile(r"[A-Za-z0-9-]{1,64}\Z")


class Clouds:
    """Gives the provider's name here and the model's name there; None where the report says why not."""

    def __init__(self, accounts: Accounts, credentials: Credentials, findings: Findings) -> None:
        self._accounts = accounts
        self._credentials = credentials
        self._findings = findings
        self._amazon = Amazon(accounts, credentials, findings)
        self._google = Google(accounts, findings)

    def account(self, prefix: str, model: str, params: Params) -> Found:
        match prefix:
            case "azure":
                return self._azure(params), model
            case "azure_ai":
                return self._foundry(model, params), model
            case "bedrock":
                return self._amazon.account(model, params)
            case "cloudflare":
                return self._cloudflare(params), model
            case "databricks":
                return self._databricks(params), model
            case _:
                return self._google.account(model, params)

    # --- Azure

    def _azure(self, params: Params) -> str:
        """By deployments and a dated version where the file says one, else by the v1 API."""
        base = params.text("api_base") or Variable("AZURE_API_BASE", SAMPLE_URL)
        version = params.text("api_version")
        params.take("base_model")
        resource = _resource(host_of(base), _OPENAI_HOST)
        dated = version is not None and version not in _NO_VERSION
        overrides: Overrides = {}
        catalog = "azure-openai" if resource and not dated else "azure-openai-classic"
        variables: dict[str, Value] = {}
        if resource:
            variables["resource"] = resource
        elif isinstance(base, Variable):
            overrides["base_url"] = Variable(base.name, SAMPLE_URL)
        else:
            overrides["base_url"] = self._root(base, params)
        if dated and version is not None:
            variables["api_version"] = Variable(version.name, "v") if isinstance(version, Variable) else version
        if variables:
            overrides["variables"] = variables
        overrides.update(self._azure_credential(catalog, ("AZURE_API_KEY",), params))
        return self._accounts.of_catalog(catalog, overrides)

    def _foundry(self, model: str, params: Params) -> str | None:
        base = params.text("api_base") or Variable("AZURE_AI_API_BASE", SAMPLE_URL)
        params.take("api_version")
        is_claude = "claude" in model.lower()
        catalog = "azure-foundry-anthropic" if is_claude else "azure-foundry"
        if isinstance(base, Variable):
            # What follows the host is the dialect's.
            host = Variable(base.name, SAMPLE_URL)
            where: Overrides = {"base_url": Joined((host, "/anthropic" if is_claude else "/openai"))}
            self._findings.to_do(
                f"${base.name}", "it has to end with the host (https://NAME.services.ai.azure.com)", params.place
            )
        elif resource := _resource(host_of(base), _FOUNDRY_HOST):
            where = {"variables": {"resource": resource}}
        else:
            return self._serverless(base, params)
        where.update(self._azure_credential(catalog, ("AZURE_AI_API_KEY",), params))
        return self._accounts.of_catalog(catalog, where)

    def _serverless(self, base: str, params: Params) -> str | None:
        found = address(base, "openai", None)
        if found is None or not host_of(base):
            self._findings.left_out("api_base", "it is no plain http(s) address", params.place)
            return None
        found.pop("path", None)  # LiteLLM goes to /v1/chat/completions there
        credential = self._credentials.key_or_none(params, "azure-ai")
        return self._accounts.of_its_own(host_of(base), {"protocol": "openai", **found, **credential})

    def _azure_credential(self, catalog: str, key_envs: tuple[str, ...], params: Params) -> Overrides:
        entry = self._accounts.catalog[catalog]
        tenant, client = params.text("tenant_id"), params.text("client_id")
        secret, token, scope = params.text("client_secret"), params.text("azure_ad_token"), params.text("azure_scope")
        if tenant is not None and client is not None and secret is not None:
            identity: dict[str, Value] = {"tenant": tenant, "client_id": client}
            identity["client_secret"] = self._credentials.variable(
                secret, params, "AZURE_CLIENT_SECRET", key="client_secret"
            )
            return {"auth": "entra", "identity": {**identity, **({"scope": scope} if scope else {})}}
        if token is not None:
            held = self._credentials.variable(token, params, "AZURE_AD_TOKEN", key="azure_ad_token")
            self._findings.changed(
                "azure_ad_token", "it is sent as it is; `auth: entra` mints tokens ahead of their end", params.place
            )
            return {"auth": "bearer", "api_key_env": held.name}
        return self._credentials.key(params, Counterpart(catalog, key_envs), entry, str(entry.get("auth")))

    def _root(self, base: str, params: Params) -> Value:
        """Scheme and host of an address; a variable for what is none."""
        host = host_of(base)
        if host:
            return base.strip()[: base.strip().index(host) + len(host)]
        self._findings.to_do("api_base", "it is no plain http(s) address: set $AZURE_API_BASE to it", params.place)
        return Variable("AZURE_API_BASE", SAMPLE_URL)

    # --- others

    def _cloudflare(self, params: Params) -> str:
        base = params.text("api_base")
        found = _ACCOUNT_ID.search(base) if isinstance(base, str) else None
        account: Value = found[1] if found else Variable("CLOUDFLARE_ACCOUNT_ID")
        entry = self._accounts.catalog["cloudflare-workers-ai"]
        counterpart = Counterpart("cloudflare-workers-ai", ("CLOUDFLARE_API_KEY",))
        key = self._credentials.key(params, counterpart, entry, "bearer")
        return self._accounts.of_catalog(counterpart.catalog, {"variables": {"account_id": account}, **key})

    def _databricks(self, params: Params) -> str:
        base = params.text("api_base") or Variable("DATABRICKS_API_BASE", SAMPLE_URL)
        counterpart = Counterpart("databricks-serving", ("DATABRICKS_API_KEY",))
        entry = self._accounts.catalog[counterpart.catalog]
        if host := host_of(base):
            where: Overrides = {"variables": {"workspace_host": host}}
        else:
            name = base.name if isinstance(base, Variable) else "DATABRICKS_API_BASE"
            where = {"base_url": Variable(name, SAMPLE_URL), "path": "/chat/completions"}
        if params.has("client_id"):
            self._findings.left_out(
                "client_id, client_secret",
                "for a service principal write `auth: oauth` with an `identity` whose token_url is"
                " https://HOST/oidc/v1/token and whose scope is all-apis",
                params.place,
            )
        for key in ("client_id", "client_secret"):
            params.take(key)
        return self._accounts.of_catalog(
            counterpart.catalog, {**where, **self._credentials.key(params, counterpart, entry, "bearer")}
        )


def _resource(host: str, ending: str) -> str | None:
    name = host.removesuffix(ending)
    return name if host.endswith(ending) and _RESOURCE.match(name) else None
