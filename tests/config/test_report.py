"""One report with everything: places, near misses, references, collisions."""

from __future__ import annotations

import pytest

from busbar.config import ConfigErrors, Problem, loads
from tests.config.conftest import BASE, CATALOG, ENV, Complaints, Read


def test_all_problems_of_both_files_stand_in_one_report_sorted_by_place() -> None:
    config = """\
listen: 8080
auht: {}
providers:
  anthropic: {}
models:
  a: {provider: anthropic, max_concurrent: none}
pools:
  smart:
    members:
      - target: a
        wieght: 8
      - {target: b}
"""
    catalog = CATALOG.replace("1113: billing", "1113: billed")
    with pytest.raises(ConfigErrors) as caught:
        loads(config, catalog, {})
    assert str(caught.value).splitlines() == [
        "config.yaml:1: listen: expected text, got a number; put it in quotes",
        "config.yaml:2: auht: unknown key, did you mean `auth`?",
        "config.yaml:4: providers.anthropic.api_key_env: environment variable `ANTHROPIC_API_KEY` is not set",
        "config.yaml:6: models.a.max_concurrent: expected a whole number from 1 to 1000000, got text",
        "config.yaml:11: pools.smart.members[0].wieght: unknown key, did you mean `weight`?",
        "config.yaml:12: pools.smart.members[1].target: there is no model of this name",
        "providers.yaml:7: providers.anthropic.error_map.1113: expected one of rate_limit, overloaded, server_error, "
        "timeout, network, auth, billing, client_error, context_length, did you mean `billing`?",
    ]


def test_a_problem_is_a_value_with_its_place(read: Read) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read("limits:\n  body_max: 5\n")
    assert caught.value.problems == [
        Problem("config.yaml", 2, "limits.body_max", "unknown key, did you mean `body_max_bytes`?")
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "models: {x: {provider: opnai}}",
            "models.x.provider: there is no provider of this name, did you mean `openai`?",
        ),
        ("models: {x: {}}", "models.x.provider: this key is required"),
        ("models: {gpt-4.1: {}}", 'models["gpt-4.1"].provider: this key is required'),
        ('models: {"a b": {provider: openai}}', 'models["a b"]: a name has no spaces and no control characters'),
        ('models: {"a\\nb": {provider: openai}}', 'models["a\\nb"]: a name has no spaces and no control characters'),
        ('models: {"": {provider: openai}}', 'models[""]: the key is empty'),
        ("pools: {p: {members: [{target: aa}]}}", "pools.p.members[0].target: there is no model of this name"),
        (
            "pools: {p: {members: [{target: a}, {target: b}, {target: a}]}}",
            "pools.p.members[2].target: this model is already a member of the pool",
        ),
        (
            "pools: {p: {members: [{target: a}], failover: {exclusions: [b]}}}",
            "pools.p.failover.exclusions[0]: there is no member of this name",
        ),
        (
            "pools: {openai: {members: [{target: a}]}}",
            "pools.openai: a pool cannot be named like a provider: /<provider>/<model> would be ambiguous",
        ),
        (
            "pools: {p: {members: [{target: a}], breaker: {base_cooldown_secs: 30, max_cooldown_secs: 20}}}",
            "pools.p.breaker.base_cooldown_secs: longer than max_cooldown_secs (20)",
        ),
        (
            "pools: {reserve: {members: [{target: a}]}, p: {members: [{target: a}], on_exhausted: "
            "'fallback_pool:reserv'}}",
            "pools.p.on_exhausted.action: there is no pool of this name, did you mean `reserve`?",
        ),
        (
            "pools: {p: {members: [{target: a}], on_exhausted: {action: 'fallback_pool:p'}}}",
            "pools.p.on_exhausted.action: a pool cannot fall back on itself",
        ),
        (
            "pools: {p: {members: [{target: a}], on_exhausted: 'fallback_pool:a'}}",
            "pools.p.on_exhausted.action: there is no pool of this name",
        ),
        (
            "governance: {prices: {c: {input: 1, output: 2}}}",
            "governance.prices.c: there is no model of this name",
        ),
        (
            "governance: {prices: {a: {input: 1, output: 2, cache_reed: 1}}}",
            "governance.prices.a.cache_reed: unknown key, did you mean `cache_read`?",
        ),
        ("governance: {prices: {a: {output: 2}}}", "governance.prices.a.input: this key is required"),
        (
            "governance: {prices: {a: {input: 1, output: 2, "
            "changes: [{from_day: 2027-02-29, input: 1, output: 2}]}}}",
            "governance.prices.a.changes[0].from_day: there is no such day",
        ),
        (
            "governance: {prices: {a: {input: 1, output: 2, tiers: "
            "[{above: 9, input: 1, output: 2}, {above: 9, input: 1, output: 2}]}}}",
            "governance.prices.a.tiers[1].above: not more than that of the tier before it",
        ),
        *(
            (
                f"governance: {{enabled: true{token}}}",
                "governance.admin_token: governance.enabled needs it: callers need keys, and without the admin token "
                "nobody can make one",
            )
            for token in ("", ", admin_token: null", ", admin_token: ")
        ),
        (
            "governance: {enabled: true, admin_token: '${EMPTY}'}",
            "governance.admin_token: the credential is empty",
        ),
        ("auth: {mode: token}", "auth.client_tokens: auth.mode token needs at least one client token"),
        ("auth: {mode: token, client_tokens: ['${EMPTY}']}", "auth.client_tokens[0]: the credential is empty"),
        ("auth: [none]", "auth: expected keys and values, got a list"),
        ("listen: '${NOPE}'", "listen: environment variable `NOPE` is not set"),
        (
            "listen: '${NOPE'",
            "listen: `${` starts the name of an environment variable, as in ${VAR}; write `$${` for a plain `${`",
        ),
    ],
)
def test_each_contradiction_is_named_at_its_place(text: str, found: str, complaints: Complaints) -> None:
    kept = [
        line for line in BASE.splitlines() if line and not (text.startswith("models") and line.startswith(("m", " ")))
    ]
    env = {**ENV, "EMPTY": ""}
    messages = complaints(text + "\n" + "\n".join(kept), env)
    assert [message.replace("did you mean `a`?", "").rstrip(", ") for message in messages] == [
        f"config.yaml:1: {found}"
    ]


def test_fallback_pools_that_lead_in_a_circle_are_refused_once_for_each_circle(complaints: Complaints) -> None:
    def falls_back(name: str, target: str) -> str:
        return f"  {name}: {{members: [{{target: a}}], on_exhausted: 'fallback_pool:{target}'}}\n"

    ways = {"in": "one", "one": "two", "two": "three", "three": "one", "this": "that", "that": "this", "away": "end"}
    pools = "".join(falls_back(*way) for way in ways.items()) + "  end: {members: [{target: a}]}\n"
    assert complaints(BASE + "pools:\n" + pools) == [
        "config.yaml:8: pools.one.on_exhausted.action: fallback pools in a circle: one → two → three → one",
        "config.yaml:11: pools.this.on_exhausted.action: fallback pools in a circle: this → that → this",
    ]


def test_a_caller_s_own_key_goes_upstream_or_is_virtual(complaints: Complaints) -> None:
    governance = "governance: {{enabled: {}, admin_token: '${{TOKEN}}'}}\n"
    for enabled, mode in (("true", "none"), ("true", "token, client_tokens: ['${TOKEN}']"), ("false", "passthrough")):
        assert complaints(governance.format(enabled) + f"auth: {{mode: {mode}}}\n" + BASE) == []
    assert complaints(governance.format("true") + "auth: {mode: passthrough}\n" + BASE) == [
        "config.yaml:2: auth.mode: passthrough sends the caller's own key upstream, so it cannot be one of "
        "governance's; use none or token, or leave governance.enabled out"
    ]


def test_members_with_a_price_are_no_note(read: Read) -> None:
    text = (
        "pools: {p: {strategy: cheapest, members: [{target: a}]}}\ngovernance: {prices: {a: {input: 1, output: 2}}}"
    )
    assert read(BASE + text).notes == ()


@pytest.mark.parametrize(
    "name",
    ["v1", "v1beta", "v2", "model", "admin", "stats", "healthz", "metrics", "ui", "api", "chat", "responses"],
)
def test_a_reserved_path_segment_names_no_pool_but_may_name_a_model(
    name: str, complaints: Complaints, read: Read
) -> None:
    assert complaints(BASE + f"pools: {{{name}: {{members: [{{target: a}}]}}}}") == [
        f"config.yaml:6: pools.{name}: this name is the first part of one of the gateway's own paths"
    ]
    assert read(f"providers: {{openai: {{}}}}\nmodels: {{{name}: {{provider: openai}}}}").models[name].name == name


def test_a_removed_key_names_its_replacement(complaints: Complaints) -> None:
    renamed = {"pools.*.members[].share": "weight"}
    text = BASE + "pools: {p: {members: [{target: a, share: 3}]}}"
    assert complaints(text, renamed=renamed) == [
        "config.yaml:6: pools.p.members[0].share: this key is gone, write `weight`"
    ]


def test_a_value_from_the_environment_cannot_become_structure(read: Read) -> None:
    hostile = "a, max_requests: 1}\nb: {x: y"
    config = read(
        "providers: {anthropic: {}}\nmodels: {m: {provider: anthropic, upstream_model: '${HOSTILE}'}}",
        {**ENV, "HOSTILE": hostile},
    )
    assert (config.models["m"].upstream_model, config.models["m"].max_requests) == (hostile, -1)


def test_variables_fill_numbers_and_texts_and_may_be_escaped(read: Read) -> None:
    text = """
providers: {anthropic: {}}
models:
  m: {provider: "${P}", max_concurrent: "${N}", upstream_model: "x-${N}-$${N}-$N"}
"""
    model = read(text, {**ENV, "P": "anthropic", "N": "7"}).models["m"]
    assert (model.provider, model.max_concurrent, model.upstream_model) == ("anthropic", 7, "x-7-${N}-$N")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "pools: {p: {members: [{target: a}, {target: b}]}}",
            "pools.p mixes protocols (anthropic, openai): requests are translated",
        ),
        ("pools: {p: {members: [{target: a, weight: 0}]}}", "pools.p takes no traffic: every weight is 0"),
        (
            "pools: {p: {members: [{target: a}], failover: {exclusions: [a]}}}",
            "pools.p takes no traffic: every member is excluded",
        ),
        ("pools: {a: {members: [{target: a}]}}", "pools.a hides the model of the same name"),
        (
            "pools: {p: {strategy: cheapest, members: [{target: a}]}}",
            "pools.p picks the cheapest, and without a price comes last: a",
        ),
        ("auth: {client_tokens: ['${TOKEN}']}", "auth.client_tokens has no effect while auth.mode is none"),
        (
            "listen: '0.0.0.0:80'",
            "auth.mode is none and the gateway listens beyond this machine: whoever reaches it can use it",
        ),
    ],
)
def test_what_is_legal_but_perhaps_not_meant_is_a_note(text: str, note: str, read: Read) -> None:
    assert read(BASE + text).notes == (note,)


def test_a_configuration_without_models_is_noted(read: Read) -> None:
    assert read("").notes == ("no models are configured: every request will be answered 404",)


def test_a_key_that_travels_in_clear_text_is_noted(read: Read) -> None:
    text = BASE.replace("openai: {}", "openai: {base_url: 'http://10.0.0.7:8000'}")
    assert read(text).notes == ("providers.openai sends its key over http, in clear text",)
    assert read(text.replace("10.0.0.7", "127.0.0.1")).notes == ()


def test_probes_without_a_key_are_noted(read: Read) -> None:
    text = BASE.replace("openai: {}", "openai: {health: {mode: dead}}")
    assert read(text).notes == ()
    assert read("auth: {mode: passthrough}\n" + text).notes == (
        "providers.openai.health has no effect: passthrough has no key to probe with",
    )
    keyless = text.replace("mode: dead}", "mode: dead}, auth: none")
    assert read("auth: {mode: passthrough}\n" + keyless).notes == ()
