"""LiteLLM's `config.yaml` → Busbar's, and a report of all that is different or has no counterpart.

What is known of LiteLLM's file is what the proxy of litellm 1.109 (PyPI) reads: `model_list`, `router_settings`,
`litellm_settings`, `general_settings`, `credential_list`, `environment_variables`.

source       its file → plain values, within Busbar's own bounds
report       what there is to say about it
params       one deployment's parameters, and who has looked at which
counterparts LiteLLM's providers → the catalog's
accounts     provider entries: one for each key and address
addresses    `api_base` → base_url and path
clouds       Azure, Bedrock, Vertex
deployments  entries of `model_list` → models
routing      `router_settings` → what pools share
groups       entries of one `model_name` → a model or a pool
settings     everything else
convert      all of it together
"""

from busbar.onboarding.litellm.convert import Imported, import_litellm

__all__ = ["Imported", "import_litellm"]
