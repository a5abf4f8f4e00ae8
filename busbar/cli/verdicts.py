"""What Busbar decided about a request, and what to do about a failure, in words for a terminal."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from busbar.config import ProviderConfig
from busbar.config.schema import KeySource
from busbar.telemetry.process_log import Masker

WORDS_CHARS_MAX = 240
"""Of what a provider said, no more is shown on a line."""

_SPACE = re.compile(r"\s+")

RESULTS = {
    "ok": "answered",
    "rate_limit": "said that there were too many requests",
    "overloaded": "said that it is overloaded",
    "server_error": "failed",
    "timeout": "took too long",
    "network": "could not be reached",
    "auth": "refused the key",
    "billing": "wants its bill paid",
    "client_error": "refused the request",
    "context_length": "found the request too long",
    "cancelled": "was given up",
    "diverged": "went on with another answer",
}
"""What came of an attempt."""

REASONS = {
    "not_its_turn": "not its turn",
    "breaker_open": "its breaker is open",
    "probe_in_flight": "it is being tried out by another request",
    "benched": "it has just failed",
    "at_capacity": "no free slot",
    "budget_exhausted": "its max_requests are used up",
    "draining": "it drains",
    "dead": "its actor has stopped",
    "excluded": "excluded by failover.exclusions",
    "tried_already": "tried already",
    "same_member_first": "the member that had failed came first",
    "context_too_small": "its context is too small",
    "other_dialect": "it speaks another dialect",
    "not_asked": "its pool did not answer",
}
"""Why a member was not chosen; `docs/requests.md` says more."""


def told(trace: dict[str, Any]) -> list[str]:
    """A request's trace, a line for each step: who was asked, and what came of it."""
    lines = []
    for number, step in enumerate(trace.get("steps", ()), 1):
        attempt = step["attempt"]
        if attempt is None:
            lines.append(f"{number}. {step['pool']}: nobody could be asked")
        else:
            whose = "" if attempt["member"] == step["pool"] else f"{step['pool']}: "
            what = RESULTS.get(attempt["result"], attempt["result"])
            if attempt["result"] == "overloaded" and attempt["status"] is None:
                what = "could not be asked"  # no credential, say
            detail = ", ".join(str(it) for it in (attempt["status"], attempt["code"]) if it is not None)
            lines.append(
                f"{number}. {whose}{attempt['member']} at {attempt['provider']} {what}"
                f"{f' ({detail})' if detail else ''} after {attempt['latency_ms']:.0f} ms: {attempt['result']}"
            )
        lines.extend(
            f"   not {member}: {REASONS.get(reason, reason)}" for member, reason in step["not_chosen"].items()
        )
    return lines


@contextmanager
def credential_reasons() -> Iterator[dict[str, str]]:
    """Why credentials could not be had meanwhile, by provider. Callers are not told, and the log says it once: it is
    heard here instead."""
    logger, heard = logging.getLogger("busbar.credentials"), _CredentialLog()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(heard)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield heard.reasons
    finally:
        logger.removeHandler(heard)
        logger.setLevel(level)
        logger.propagate = propagate


class _CredentialLog(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.reasons: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        provider, found, why = record.getMessage().partition(": no credential for key ")
        if found:
            self.reasons[provider] = why.partition(": ")[2]


def credential_of(provider: ProviderConfig) -> str:
    """Where the provider's credential comes from, for people: never the credential."""
    places = [_place(source) for source in provider.keys]
    if places:
        return " or ".join(dict.fromkeys(places))
    if provider.auth == "none":
        return "nothing: auth is none"
    if provider.auth == "gcp-oauth" and provider.identity.credentials_file is None:
        return "Google's own order ($GOOGLE_APPLICATION_CREDENTIALS, gcloud, the metadata server)"
    return "AWS's own chain of credentials" if provider.auth == "sigv4" else "its `identity`"


def _place(source: KeySource) -> str:
    if source.env is not None:
        return f"${source.env}"
    if source.file is not None:
        return f"the file {source.file}"
    if source.command is not None:
        return f"what `{source.command[0]}` prints"
    return "the variable in its `api_key`"


def clean(text: str, mask: Masker) -> str:
    """A provider's words on one line, cut, without anything that looks like a credential."""
    line = _SPACE.sub(" ", mask(text)).strip()
    line = "".join(character if character.isprintable() else "�" for character in line)
    return line if len(line) <= WORDS_CHARS_MAX else f"{line[:WORDS_CHARS_MAX]}…"
