"""What Cohere's models cannot do, by their names, as far as the documentation and real refusals tell.

A model that cannot do a thing refuses the whole request ("image content is not supported for this model"), so what
is known to be refused is left out. A name that is not known here may do everything: it may be a newer model, or a
deployment that its owner named.

Facts: Cohere's table of models; refusals among the recorded errors.
"""

from __future__ import annotations

import re

_BLIND = re.compile(
    r"command(-light|-nightly)?\Z|(c4ai-)?(command-r|aya-expanse)|command-a-(\d|reasoning|translate)",
    re.IGNORECASE,
)
_THOUGHTLESS = re.compile(
    r"command(-light|-nightly)?\Z|(c4ai-)?(command-r|aya)|command-a-(\d|vision|translate)", re.IGNORECASE
)
_UNFORCED = re.compile(r"command(-light|-nightly)?\Z|(c4ai-)?aya", re.IGNORECASE)


def sees_images(model: str) -> bool:
    return _BLIND.match(model) is None


def thinks(model: str) -> bool:
    return _THOUGHTLESS.match(model) is None


def may_be_forced(model: str) -> bool:
    """Whether `tool_choice` may be sent."""
    return _UNFORCED.match(model) is None
