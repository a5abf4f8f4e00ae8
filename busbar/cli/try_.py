"""`busbar try`: one call, as a caller would make it, and why it went where it went."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from busbar.cli.options import Commands, add_files, load_config, run
from busbar.protocols.registry import PROTOCOLS

if TYPE_CHECKING:
    from busbar.cli.asking import Answer, Door
    from busbar.config import Config

TIMEOUT_SECS = 300.0
MAX_TOKENS = 1000
DIAGNOSIS_SECS = 5.0


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "try",
        help="make one call, and say where it went",
        description="Asks one model or pool one question and prints the answer as it comes, then who gave it, in how "
        "many tokens and how fast. Without --url it runs the configuration's members and pools in this process, "
        "behind a door of its own: client tokens and virtual keys are not wanted, and nothing is charged, logged or "
        "exported. With --url it asks a gateway that runs, with the key in --key-env.",
    )
    command.add_argument("model", metavar="MODEL", help="a pool or a model of the configuration")
    command.add_argument("text", metavar="TEXT", help='the question, such as "hi"')
    add_files(command)
    command.add_argument(
        "--stream", action=argparse.BooleanOptionalAction, default=True, help="print it as it comes (default: yes)"
    )
    command.add_argument("--max-tokens", type=_count, default=MAX_TOKENS, metavar="N", help="(default: %(default)s)")
    command.add_argument(
        "--dialect",
        choices=sorted(PROTOCOLS),
        help="as whose SDK to ask (default: the provider's own; --url: openai)",
    )
    command.add_argument("--url", help="a gateway that runs, such as http://127.0.0.1:8080")
    command.add_argument(
        "--key-env", metavar="VAR", help="the variable that holds the caller's key, if one is wanted"
    )
    command.set_defaults(run=attempt)


def _count(written: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", written):
        raise argparse.ArgumentTypeError("expected a whole number from 1")
    return int(written)


def attempt(arguments: argparse.Namespace) -> int:
    """Exit code 0: there was an answer."""
    key = None
    if arguments.key_env is not None:
        key = os.environ.get(arguments.key_env)
        if not key:
            print(f"--key-env: the variable ${arguments.key_env} is not set", file=sys.stderr)
            return 2
        if not re.fullmatch(r"[\x21-\x7e]{1,4096}", key):
            print(f"--key-env: ${arguments.key_env} holds spaces, control or non-ASCII characters", file=sys.stderr)
            return 2
    if arguments.url is not None:
        return _at_a_running_one(arguments, key)
    config = load_config(arguments)
    if config is None:
        return 1
    return try_config(
        config,
        arguments.model,
        arguments.text,
        key=key,
        stream=arguments.stream,
        max_tokens=arguments.max_tokens,
        dialect=arguments.dialect,
    )


def try_config(
    config: Config,
    model: str,
    text: str,
    *,
    key: str | None = None,
    stream: bool = True,
    max_tokens: int = MAX_TOKENS,
    dialect: str | None = None,
) -> int:
    """One call through the members and pools of `config`; prints, and gives the exit code."""
    from busbar.cli.asking import private_gateway
    from busbar.cli.verdicts import credential_reasons
    from busbar.config.problems import did_you_mean, shown
    from busbar.protocols.signing import MalformedCredential
    from busbar.telemetry.process_log import configure, secrets_in

    configure("error", secrets=secrets_in(config))
    names = [*config.pools, *config.models]
    if model not in names:
        print(f"there is no pool or model {shown(model)}{did_you_mean(model, names)}", file=sys.stderr)
        print(f"there are: {', '.join(dict.fromkeys(names)) or 'none'}", file=sys.stderr)
        return 2
    if config.auth.mode == "passthrough" and key is None:
        print("auth.mode is passthrough: the caller's own key goes upstream; name it with --key-env", file=sys.stderr)
        return 2

    async def call() -> int:
        spoken = dialect or _own_dialect(config, model)
        with credential_reasons() as withheld:
            async with private_gateway(config, key) as door:
                answer = await _call(door, model, text, spoken, stream, max_tokens)
        return 1 if answer is None else _report(model, answer, await _reasons(config, answer, withheld))

    try:
        return run(call())
    except KeyboardInterrupt:
        return _stopped()
    except MalformedCredential as error:
        print(f"a provider's key is malformed: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"no gateway can be started here: {error.strerror or error}", file=sys.stderr)
        return 3


def _at_a_running_one(arguments: argparse.Namespace, key: str | None) -> int:
    from busbar.cli.asking import Door

    url = arguments.url.rstrip("/").removesuffix("/v1")
    if not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#@\s]*)?", url):
        print("--url: expected something like http://127.0.0.1:8080", file=sys.stderr)
        return 2
    dialect = arguments.dialect or "openai"
    door = Door(url, key)

    async def call() -> int:
        answer = await _call(door, arguments.model, arguments.text, dialect, arguments.stream, arguments.max_tokens)
        return 1 if answer is None else _report(arguments.model, answer, [])

    try:
        return run(call())
    except KeyboardInterrupt:
        return _stopped()


def _stopped() -> int:
    print("\nstopped", file=sys.stderr)
    return 1


async def _call(door: Door, model: str, text: str, dialect: str, stream: bool, max_tokens: int) -> Answer | None:
    """None: there was none at all, and it was told why."""
    import aiohttp

    from busbar.cli.asking import Unreachable, ask, question

    asked = question(PROTOCOLS[dialect], model, text, max_tokens=max_tokens, stream=stream)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECS)) as http:
        try:
            return await ask(http, door, asked, lambda piece: print(piece, end="", flush=True))
        except Unreachable as error:
            print(error, file=sys.stderr)
            return None


async def _reasons(config: Config, answer: Answer, withheld: Mapping[str, str]) -> list[str]:
    """Of providers that could not be asked: why."""
    from busbar.cli.live import diagnose
    from busbar.cli.verdicts import clean, credential_of
    from busbar.telemetry.process_log import Masker, secrets_in

    if answer.error is None:
        return []
    attempts = [step["attempt"] for step in (answer.trace or {}).get("steps", ())]
    reasons: list[tuple[str, str | None]] = []
    for name, result in {it["provider"]: it["result"] for it in attempts if it is not None}.items():
        provider = config.providers[name]
        if name in withheld:
            words = clean(withheld[name], Masker(secrets_in(config)))
            reasons.append((name, f"no credential from {credential_of(provider)}: {words}"))
        elif result == "network":
            reasons.append((name, await diagnose(provider.base_url, DIAGNOSIS_SECS)))
    return [f"{name}: {reason}" for name, reason in reasons if reason is not None]


def _own_dialect(config: Config, name: str) -> str:
    """That of the provider which is most likely asked: then nothing is translated, and errors are its own."""
    pool = config.pools.get(name)
    model = name if pool is None else max(pool.members, key=lambda member: member.weight).target
    return config.providers[config.models[model].provider].protocol


# --- what came of it


def _report(model: str, answer: Answer, reasons: list[str]) -> int:
    from busbar.cli.verdicts import told
    from busbar.telemetry.process_log import Masker

    if answer.error is None:
        print(f"\n\n{_summary(model, answer)}")
        if answer.trace is not None and answer.trace["attempts"] > 1:
            print("\n".join(f"  {line}" for line in told(answer.trace)))
        return 0
    mask = Masker()
    print(f"{chr(10) if answer.text else ''}{_native(mask(answer.error))}", file=sys.stderr)
    said = f"HTTP {answer.status}" if answer.status else "the stream broke off"
    print(f"\n{model}: {said} after {answer.total_ms:.0f} ms", file=sys.stderr)
    for line in () if answer.trace is None else told(answer.trace):
        print(f"  {line}", file=sys.stderr)
    for reason in reasons:
        print(reason, file=sys.stderr)
    return 1


def _native(error: str) -> str:
    """The error as it came, without what could move a terminal's cursor."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in error)


def _summary(model: str, answer: Answer) -> str:
    """`smart → claude-sonnet at anthropic · 9 + 24 tokens · first token 412 ms · 1,180 ms · 1 attempt`."""
    trace, usage = answer.trace, answer.usage
    facts = [model]
    if trace is not None and trace.get("steps"):
        last = trace["steps"][-1]["attempt"]
        if last is not None:
            facts[0] += f" → {last['member']} at {last['provider']}"
    if usage is not None and usage.output_tokens is not None:
        facts.append(f"{usage.prompt_tokens} + {usage.output_tokens} tokens")
    facts.append(f"first token {answer.first_ms:,.0f} ms")
    facts.append(f"{answer.total_ms:,.0f} ms in all")
    if trace is not None:
        attempts = trace["attempts"]
        facts.append(f"{attempts} attempt{'' if attempts == 1 else 's'}")
    return " · ".join(facts)
