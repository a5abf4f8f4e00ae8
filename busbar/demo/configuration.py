"""The configuration of the demo: what an operator would write, pointed at the embedded providers."""

from __future__ import annotations

from collections.abc import Mapping

from busbar.config import Config, loads

DEMO_KEY = "demo-key"
"""The embedded providers' own. It opens nothing else."""

TEMPLATE = """
listen: "{listen}"
providers:
  demo-openai: {{protocol: openai, base_url: "{base_url}", auth: bearer, api_key_env: DEMO_KEY}}
  demo-responses: {{protocol: responses, base_url: "{base_url}", auth: bearer, api_key_env: DEMO_KEY}}
  demo-anthropic: {{protocol: anthropic, base_url: "{base_url}", auth: x-api-key, api_key_env: DEMO_KEY}}
  demo-gemini: {{protocol: gemini, base_url: "{base_url}", auth: x-goog-api-key, api_key_env: DEMO_KEY}}
  demo-bedrock: {{protocol: bedrock, base_url: "{base_url}", auth: bearer, api_key_env: DEMO_KEY}}
  demo-cohere: {{protocol: cohere, base_url: "{base_url}", auth: bearer, api_key_env: DEMO_KEY}}
models:
  gpt-demo: {{provider: demo-openai}}
  gpt-responses-demo: {{provider: demo-responses}}
  claude-demo: {{provider: demo-anthropic}}
  gemini-demo: {{provider: demo-gemini}}
  bedrock-demo: {{provider: demo-bedrock, upstream_model: "anthropic.claude-demo-v1:0"}}
  cohere-demo: {{provider: demo-cohere}}
  gpt-broken: {{provider: demo-openai, upstream_model: fault-500}}
pools:
  smart:                       # two dialects behind one name: requests are translated where they have to be
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
