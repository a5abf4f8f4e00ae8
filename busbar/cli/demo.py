"""`busbar demo`: the main job at once. Embedded providers, a gateway, a few requests; then it is yours."""

from __future__ import annotations

import argparse
import logging
import sys

from busbar.cli.options import Commands, run
from busbar.config import parse_listen
from busbar.config.providers import is_loopback
from busbar.demo.configuration import DEMO_KEY, demo_configuration
from busbar.demo.tour import walk
from busbar.demo.traffic import traffic
from busbar.gateway import BusbarGateway
from busbar.telemetry.process_log import configure

INVITATION = """
It is yours now. Without any key, in another terminal:

  curl {url}/v1/chat/completions -H 'content-type: application/json' \\
       -d '{{"model": "smart", "messages": [{{"role": "user", "content": "What is the weather like?"}}]}}'

  curl -N {url}/v1/messages -H 'content-type: application/json' \\
       -d '{{"model": "smart", "max_tokens": 200, "stream": true, "messages": [{{"role": "user", "content": "Hi"}}]}}'

  {python} -c 'from openai import OpenAI; c = OpenAI(base_url="{url}/v1", api_key="none"); \\
             print(c.chat.completions.create(model="smart", messages=[{{"role": "user", "content": "Hi"}}]))'

  {python} -c 'from anthropic import Anthropic; c = Anthropic(base_url="{url}", api_key="none"); \\
             print(c.messages.create(model="smart", max_tokens=200, messages=[{{"role": "user", "content": "Hi"}}]))'

Models: gpt-demo, gpt-responses-demo, claude-demo, gemini-demo, bedrock-demo, cohere-demo, gpt-broken.
Pools: smart, resilient. Each is reachable by every one of the six dialects.
See it live, and break it:  {url}/ui/      (or: busbar top --url {url})
State of every actor:       {url}/stats
Stop with Ctrl-C.
"""


def register(commands: Commands) -> None:
    command = commands.add_parser(
        "demo",
        help="run a gateway with embedded providers: no keys, no network",
        description="Starts embedded providers and a gateway in front of them, sends it a few requests, prints lines "
        "to paste, and runs until Ctrl-C.",
    )
    command.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8080", help="(default: %(default)s)")
    command.add_argument("--once", action="store_true", help="stop after the requests; exit 1 when one failed")
    command.add_argument(
        "--traffic",
        metavar="N",
        type=float,
        default=2.0,
        help="requests a second that the demo makes itself, so that there is something to see (default: 2; 0: none)",
    )
    command.set_defaults(run=demo)


def demo(arguments: argparse.Namespace) -> int:
    configure("warning")
    logging.getLogger("busbar.audit").setLevel(logging.INFO)  # who breaks what
    if parse_listen(arguments.listen) is None:
        print(f"--listen: expected HOST:PORT, not {arguments.listen!r}", file=sys.stderr)
        return 2
    return run(_demo(arguments.listen, once=arguments.once, per_second=arguments.traffic))


async def _demo(listen: str, *, once: bool, per_second: float) -> int:
    from busbar.cli.serve import until_told_to_stop
    from busbar.demo.providers import DemoProviders

    async with DemoProviders(host="127.0.0.1", port=0, keys=frozenset({DEMO_KEY})) as providers:
        config = demo_configuration(providers.base_url, listen)
        # Who reaches a demo may break its members, for a while: so only from this machine.
        gateway = BusbarGateway(config, breakable=is_loopback(config.listen_host))
        try:
            await gateway.start()
        except OSError as error:
            print(f"cannot listen on {listen}: {error.strerror or error}; try --listen 127.0.0.1:0", file=sys.stderr)
            return 3
        try:
            seen = await walk(gateway.url)
            for title, status, text in seen:
                print(f"{title}\n  {status}: {text}")
            if once:
                return 0 if all(status == 200 for _, status, _ in seen) else 1
            invitation = INVITATION.format(url=gateway.url, python=sys.executable)
            async with traffic(gateway.url, per_second):
                return 4 if await until_told_to_stop(gateway, lambda: print(invitation, flush=True)) else 0
        finally:
            await gateway.stop()
