"""What changed from one configuration to the next, told key by key and without a secret."""

from __future__ import annotations

import json

import msgspec
import pytest

from busbar.config import loads
from busbar.config.difference import Change, changes, needs_restart, shown

ENV = {
    "ANTHROPIC_API_KEY": "sk-ant-one",
    "OPENAI_API_KEY": "sk-two",
    "ADMIN": "opens-everything",
    "HOOK": "hush-hush",
}
BASE = """
listen: 127.0.0.1:8080
providers: {anthropic: {}, openai: {}}
models:
  claude: {provider: anthropic}
  gpt: {provider: openai}
pools:
  smart: {members: [{target: claude, weight: 8}, {target: gpt}]}
governance: {admin_token: "${ADMIN}"}
"""


def difference(after: str, before: str = BASE, env: dict[str, str] = ENV) -> tuple[Change, ...]:
    return changes(loads(before, env=ENV), loads(after, env=env))


def test_nothing_differs_from_itself() -> None:
    assert difference(BASE) == ()


def test_each_key_that_changed_is_named_with_what_it_was_and_is() -> None:
    after = BASE.replace("weight: 8", "weight: 5").replace("{provider: openai}", "{provider: openai, prefill: true}")
    assert difference(after) == (
        Change("models.gpt.prefill", "changed", False, True),
        Change("pools.smart.members.claude.weight", "changed", 8, 5),
    )


def test_an_entry_that_comes_or_goes_is_one_change() -> None:
    after = BASE.replace("  gpt: {provider: openai}", "  mini: {provider: openai}").replace(
        "{target: gpt}", "{target: mini}"
    )
    assert difference(after) == (
        Change("models.gpt", "removed"),
        Change("models.mini", "added"),
        Change("pools.smart.members.gpt", "removed"),
        Change("pools.smart.members.mini", "added"),
    )


def test_a_secret_that_changed_is_told_without_either_value() -> None:
    found = difference(BASE, env={**ENV, "ANTHROPIC_API_KEY": "sk-ant-other"})
    assert [change.path for change in found] == ["providers.anthropic.keys"]
    text = json.dumps(msgspec.to_builtins(found))
    assert "***" in text
    assert "sk-ant" not in text


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("listen: 127.0.0.1:9090", "listen"),
        ("upstream_engine: aiohttp", "upstream_engine"),
        ("security: {allow_private: [localhost]}", "security.allow_private"),
        ("observability: {log_format: json}", "observability.log_format"),
        ("observability: {capture_content: true}", "observability.capture_content"),
        ("limits: {connect_timeout_secs: 3}", "limits.connect_timeout_secs"),
        ("limits: {upstream_connections_max: 3}", "limits.upstream_connections_max"),
    ],
)
def test_what_is_made_once_needs_a_restart(line: str, path: str) -> None:
    kept = [it for it in BASE.splitlines() if not line.startswith(it.partition(":")[0] + ":") or not it]
    assert needs_restart(difference("\n".join([*kept, line]))) == (path,)


def test_limits_of_callers_need_none() -> None:
    assert needs_restart(difference(f"{BASE}\nlimits: {{body_max_bytes: 2048, connections_max: 7}}")) == ()


def test_the_whole_is_shown_with_defaults_and_without_secrets() -> None:
    text = BASE + (
        "observability: {request_log_webhook_url: 'https://hooks.example.com/T0/secret-path', "
        "request_log_webhook_secret: '${HOOK}'}\n"
    )
    document = shown(loads(text, env=ENV))
    assert document["listen"] == "127.0.0.1:8080"
    assert document["models"]["claude"]["max_concurrent"] == 20
    assert document["providers"]["anthropic"]["base_url"] == "https://api.anthropic.com"
    assert document["providers"]["anthropic"]["keys"][0]["env"] == "ANTHROPIC_API_KEY"
    assert document["observability"]["request_log_webhook_url"] == "https://hooks.example.com/…"
    written = json.dumps(document)
    assert not [secret for secret in (*ENV.values(), "secret-path") if secret in written]


def test_another_order_of_members_is_a_change() -> None:
    """Among equals the first goes first."""
    after = BASE.replace(
        "[{target: claude, weight: 8}, {target: gpt}]", "[{target: gpt}, {target: claude, weight: 8}]"
    )
    assert difference(after) == (Change("pools.smart.members", "changed", ["claude", "gpt"], ["gpt", "claude"]),)


def test_what_came_out_of_a_variable_and_is_called_like_a_secret_is_taken_for_one() -> None:
    def text(hidden: str) -> str:
        return (
            "providers: {p: {protocol: openai, base_url: 'https://p.example.com', auth: oauth,\n"
            f"  body: {{access_token: '{hidden}', service_tier: flex, max_tokens: 7}},\n"
            f"  identity: {{client_id: me, client_secret: '${{HOOK}}', token_url: 'https://id.example.com/t?key={hidden}'}}}}}}\n"
        )

    before, after = loads(text("hidden-one"), env=ENV), loads(text("hidden-two"), env=ENV)
    provider = shown(before)["providers"]["p"]
    assert provider["body"] == {"access_token": "***", "service_tier": "flex", "max_tokens": 7}
    assert provider["identity"]["token_url"] == "https://id.example.com/t?…"
    found = changes(before, after)
    assert [change.path for change in found] == ["providers.p.body.access_token", "providers.p.identity.token_url"]
    assert not [change for change in found if "hidden" in f"{change} {change!r}"]


def test_of_a_command_only_the_program_is_shown() -> None:
    text = BASE.replace("openai: {}", "openai: {api_key_command: [pass, show, hush-hush]}")
    assert shown(loads(text, env=ENV))["providers"]["openai"]["keys"][0]["command"] == ["pass", "***", "***"]
