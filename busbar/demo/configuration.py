"""The configuration of the demo: what an operator would write, pointed at the embedded providers."""

from __future__ import annotations

from collections.abc import Mapping

from busbar.config import Config, loads

DEMO_KEY = "demo-key"
"""The embedded providers' own. It opens nothing else."""

TEMPLATE = """
listen: "{listen}"
providers:
  demo-anthropic: {{protocol: anthropic, base_url: "{base_url}", auth: x-api-key, api_key_env: DEMO_KEY}}
  demo-openai: {{protocol: openai, base_url: "{base_url}", auth: bearer, api_key_env: DEMO_KEY}}
models:
  claude-demo: {{provider: demo-anthropic}}
  gpt-demo: {{provider: demo-openai}}
  gpt-broken: {{provider: demo-openai, upstream_model: fault-500}}
pools:
  smart:                       # both dialects behind one name: requests are translated where they have to be
    members:
      - {{target: claude-demo, weight: 1}}
      - {{target: gpt-demo, weight: 1}}
  resilient:                   # its heavier member always fails: every answer comes from the other one
    members:
      - {{target: gpt-broken, weight: 9}}
      - {{target: claude-demo, weight: 1}}
"""


def demo_configuration(base_url: str, listen: str, env: Mapping[str, str] | None = None) -> Config:
    """The demo's configuration for embedded providers at `base_url`. Raises `ConfigErrors` for a bad `listen`."""
    text = TEMPLATE.format(base_url=base_url, listen=listen)
    return loads(text, env={"DEMO_KEY": DEMO_KEY, **(env or {})}, config_file="demo")
