"""`busbar check --live`: each provider is asked for one token, and what it says is told in words to act on."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from busbar.cli.asking import Answer, Door, Question, Unreachable, ask, private_gateway, system_words
from busbar.cli.verdicts import clean, credential_of, credential_reasons
from busbar.config import Config, ModelConfig, ProviderConfig
from busbar.http.lanes import Lane, build_lanes
from busbar.http.prober import probe_body
from busbar.http.proxies import EnvironmentProxies
from busbar.protocols.protocol import Hop
from busbar.telemetry.process_log import Masker, secrets_in

if TYPE_CHECKING:
    import aiohttp

AT_ONCE_MAX = 8
"""Providers that are asked at the same time."""

_UNASKED = ("network", "overloaded", "timeout", "server_error")
"""What a request comes to that has no credential; where one of several keys is missing, the others' answer counts."""

_OUT_OF_ROOM = ("max_tokens", "max_output_tokens", "max_completion_tokens", "maxoutputtokens")


class Finding(Struct, frozen=True):
    """What became of one provider. `verdict` is `ok`, the class of the failure, or `not asked`."""

    provider: str
    verdict: str
    detail: str

    @property
    def ok(self) -> bool:
        return self.verdict == "ok"

    def __str__(self) -> str:
        return f"{self.provider:<24} {self.verdict:<14} {self.detail}"


async def check_live(config: Config, names: Sequence[str], timeout_secs: float) -> list[Finding]:
    """One finding for each provider of `names`, in their order. Raises `MalformedCredential`, OSError."""
    import aiohttp

    mask = Masker(secrets_in(config))
    alone = replace(config, pools={})  # a pool may hide a model of its name
    lanes = build_lanes(alone)
    gate = asyncio.Semaphore(AT_ONCE_MAX)
    with credential_reasons() as withheld:
        async with (
            private_gateway(alone) as door,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_secs)) as http,
        ):

            async def one(name: str) -> Finding:
                provider = config.providers[name]
                model = next((it for it in config.models.values() if it.provider == name), None)
                if model is None:
                    return Finding(name, "not asked", "no model of yours is there: add one under `models`")
                if config.auth.mode == "passthrough" and provider.auth != "none":
                    return Finding(name, "not asked", "auth.mode is passthrough: there is no key but a caller's own")
                async with gate:
                    found = await _ask(http, door, provider, model, lanes[model.name], mask, timeout_secs)
                    if name in withheld and found.verdict in _UNASKED:
                        words = clean(withheld[name], mask)
                        return Finding(name, "auth", f"no credential from {credential_of(provider)}: {words}")
                    return found

            return await asyncio.gather(*map(one, names))


async def _ask(
    http: aiohttp.ClientSession,
    door: Door,
    provider: ProviderConfig,
    model: ModelConfig,
    lane: Lane,
    mask: Masker,
    timeout_secs: float,
) -> Finding:
    # The probe's body, with the name that the gateway knows the model by.
    hop = Hop(model=model.name, default_max_tokens=lane.default_max_tokens, now=int(time.time()), nonce="check")
    body = probe_body(replace(lane, upstream_model=model.name), hop)
    path = lane.protocol.egress_path(model.name, False)
    try:
        answer = await ask(http, door, Question(protocol=lane.protocol, path=path, body=body))
    except Unreachable:
        answer = Answer(status=504, error="timeout", total_ms=timeout_secs * 1000)
    if answer.error is None:
        return Finding(provider.name, "ok", f"{answer.total_ms:,.0f} ms  {model.name}")
    kind = _kind(answer)
    if kind == "client_error" and _only_wants_room(answer):
        return Finding(provider.name, "ok", f"{answer.total_ms:,.0f} ms  {model.name} (it wants more than one token)")
    reason = await diagnose(provider.base_url, timeout_secs) if kind in ("network", "timeout") else None
    return Finding(provider.name, kind, reason or _advice(kind, provider, model, clean(answer.message, mask)))


def _kind(answer: Answer) -> str:
    """The class of the failure, as the last attempt had it."""
    steps = [] if answer.trace is None else answer.trace["steps"]
    results = [step["attempt"]["result"] for step in steps if step["attempt"] is not None]
    return str(results[-1]) if results else "timeout" if answer.status == 504 else "server_error"


def _only_wants_room(answer: Answer) -> bool:
    """A model that thinks may refuse an answer of one token: then the key, the address and the model are right."""
    message = answer.message.lower()
    return answer.status == 400 and any(word in message for word in _OUT_OF_ROOM)


def _advice(kind: str, provider: ProviderConfig, model: ModelConfig, words: str) -> str:
    said = f': "{words}"' if words else ""
    match kind:
        case "auth":
            return f"the provider refuses the credential: check {credential_of(provider)}"
        case "billing":
            return f"the account behind {credential_of(provider)} has no credit left, or an unpaid bill"
        case "client_error" | "context_length":
            return f"it refuses the request for models.{model.name} (upstream_model: {model.upstream_model}){said}"
        case "rate_limit":
            return "the key works, and its rate limit or quota is used up: try again later"
        case "timeout":
            return "no answer in time: try a longer --timeout, or look at the provider's status page"
        case "network":
            return f"{urlsplit(provider.base_url).netloc} closed the connection without an answer"
        case _:
            return f"the provider's own trouble{said}; look at its status page"


async def diagnose(url: str, timeout_secs: float) -> str | None:
    """Why nothing can be had from `url`: its name, its port, or its certificate; or those of the proxy that leads
    there. None: one can connect."""
    if (proxy := EnvironmentProxies().for_url(url)) is not None:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        where = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)  # without its password
        reason = await _connects(parts.scheme, parts.hostname or "", parts.port, "the variable", timeout_secs)
        return f"through the proxy {where} ($HTTPS_PROXY, $HTTP_PROXY): {reason or 'it does not get there'}"
    parts = urlsplit(url)
    return await _connects(
        parts.scheme, parts.hostname or "", parts.port, "base_url (or its variables)", timeout_secs
    )


async def _connects(scheme: str, host: str, port: int | None, said_in: str, timeout_secs: float) -> str | None:
    """Why one cannot connect; None: one can."""
    port = port or (443 if scheme == "https" else 80)
    try:
        async with asyncio.timeout(timeout_secs):
            await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            _, writer = await asyncio.open_connection(host, port, ssl=scheme == "https" or None)
    except socket.gaierror:
        return f"the name {host} does not resolve: check {said_in}, and this machine's DNS"
    except ssl.SSLCertVerificationError as error:
        return f"TLS: the certificate of {host} is not accepted: {error.verify_message}"
    except ssl.SSLError as error:
        return f"TLS: {host}:{port} does not speak it as it should ({error.reason or 'handshake failed'})"
    except TimeoutError:
        return f"{host}:{port} does not answer: a firewall between, perhaps, or a proxy that is not named"
    except OSError as error:
        return f"{host}:{port} cannot be connected to: {system_words(error)}"
    writer.close()
    return None
