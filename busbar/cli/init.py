"""`busbar init`: from nothing to a configuration that holds, in a few answers."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from busbar.cli.options import Commands

if TYPE_CHECKING:
    from busbar.onboarding.draft import Draft
    from busbar.onboarding.offers import Offer

FIRST_QUESTION = "Say hello in one short sentence."
FIRST_TOKENS = 200


class WrongUsage(Exception):
    """What was asked for cannot be; the text says how it can."""


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "init",
        help="write a first configuration",
        description="Asks which providers, finds the keys that are in the environment already, proposes models and "
        "writes a commented config.yaml, with its JSON Schema for editors beside it. With --provider or --model "
        "nothing is asked. Keys are never written: the file names the variables that hold them.",
    )
    command.add_argument(
        "--provider", action="append", default=[], metavar="NAME", help="a name from the catalog; several times"
    )
    command.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="PROVIDER/MODEL",
        help="a model, by the provider's name for it; several times (default: two of each provider)",
    )
    command.add_argument(
        "--variable",
        action="append",
        default=[],
        metavar="PROVIDER.NAME=VALUE",
        help="what stands in braces in the provider's address, such as azure-openai.resource=mine",
    )
    command.add_argument("--pool", metavar="NAME", help="a pool over the models (default: smart, if there are two)")
    command.add_argument("--no-pool", action="store_true", help="no pool")
    command.add_argument("--listen", metavar="HOST:PORT", help="(default: 127.0.0.1:8080)")
    command.add_argument("--output", metavar="FILE", default="config.yaml", help="(default: %(default)s)")
    command.add_argument("--force", action="store_true", help="write over a file that is there")
    command.add_argument(
        "--yes", action="store_true", help="do not ask: take what is proposed, and make the test call"
    )
    command.add_argument("--no-test", action="store_true", help="make no test call, and do not ask for one")
    command.add_argument("--providers", metavar="FILE", help="the catalog, found as `busbar serve` finds it")
    command.set_defaults(run=init)


def init(arguments: argparse.Namespace) -> int:
    from busbar.config import ConfigErrors

    target = Path(arguments.output)
    try:
        draft = _written(arguments, target)
    except (WrongUsage, ConfigErrors) as wrong:
        print(wrong, file=sys.stderr)
        return 2
    except (EOFError, KeyboardInterrupt):
        print("\nnothing was written", file=sys.stderr)
        return 2
    if draft is None:
        return 1
    missing = _unset(draft, os.environ)
    _say_what_is_next(target, missing)
    if arguments.no_test or missing or draft.callable_name is None:
        return 0
    return _test(arguments, target, draft.callable_name)


def _written(arguments: argparse.Namespace, target: Path) -> Draft | None:
    """What was chosen, when it is written; None: it does not hold, and was told. Raises `WrongUsage`, `ConfigErrors`;
    where somebody is asked, EOFError and KeyboardInterrupt."""
    from busbar.config.files import find_providers, read_text
    from busbar.onboarding.offers import offers, read_catalog

    if os.path.lexists(target) and not arguments.force:
        raise WrongUsage(f"{target} exists already: --force writes over it, --output names another")
    catalog_file = find_providers(arguments.providers, os.environ)
    catalog = read_text(catalog_file)
    offered = offers(read_catalog(catalog, str(catalog_file)))
    draft = _choose(arguments, offered)
    return draft if _write(target, draft, catalog, force=arguments.force) else None


def _choose(arguments: argparse.Namespace, offered: dict[str, Offer]) -> Draft:
    from busbar.cli import init_choices, init_questions

    if arguments.provider or arguments.model:
        return init_choices.by_flags(arguments, offered, os.environ)
    if arguments.yes:
        return init_choices.by_keys(arguments, offered, os.environ)
    if not sys.stdin.isatty():
        raise WrongUsage(
            "nobody can be asked here (standard input is no terminal): name providers, such as\n"
            "  busbar init --provider anthropic --provider openai\n"
            "or take those whose keys are set:  busbar init --yes"
        )
    return init_questions.ask(arguments, offered, os.environ)


def _write(target: Path, draft: Draft, catalog: str, *, force: bool) -> bool:
    """Writes both files when the configuration holds. Raises `WrongUsage` when they cannot be written."""
    from busbar.config.json_schema import FILE_NAME, modeline, schema_text
    from busbar.onboarding.checking import SAMPLE, checked
    from busbar.onboarding.draft import config_text
    from busbar.onboarding.files import Exists, write_whole

    text = config_text(draft, modeline(f"./{FILE_NAME}"))
    samples = dict.fromkeys(_unset(draft, os.environ), SAMPLE)
    config, problems = checked(text, catalog, os.environ, samples, str(target))
    if config is None:
        print(f"{problems}\nnothing was written: it would not hold", file=sys.stderr)
        return False
    try:
        write_whole(target, text, force=force)
        write_whole(target.parent / FILE_NAME, schema_text(), force=True)  # it is made, not written
    except Exists as exists:
        raise WrongUsage(str(exists)) from None
    except OSError as error:
        raise WrongUsage(f"{target} cannot be written: {error.strerror}") from None
    print(
        f"wrote {target}: {len(config.providers)} providers, {len(config.models)} models, {len(config.pools)} pools"
    )
    for note in config.notes:
        print(f"note: {note}")
    return True


def _unset(draft: Draft, env: Mapping[str, str]) -> list[str]:
    names = (offer.key_env for offer in draft.offers if not offer.has_key(env))
    return list(dict.fromkeys(name for name in names if name is not None))


def _say_what_is_next(target: Path, missing: list[str]) -> None:
    if missing:
        print("set these before `busbar check` and `busbar serve`:")
        for name in missing:
            print(f"  export {name}=…")
    config = "" if str(target) == "config.yaml" else f" --config {target}"
    print(f"next:  busbar check --live{config}   ·   busbar serve{config}")


def _test(arguments: argparse.Namespace, target: Path, name: str) -> int:
    from busbar.cli.init_questions import confirmed
    from busbar.cli.try_ import try_config
    from busbar.config import load

    question = f"Ask {name} one question now, as a test? It may cost a fraction of a cent."
    if not arguments.yes and not (sys.stdin.isatty() and confirmed(question)):
        return 0
    print()
    config = load(target, arguments.providers)
    return try_config(config, name, FIRST_QUESTION, max_tokens=FIRST_TOKENS)
