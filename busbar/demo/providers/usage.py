"""What the embedded providers count. One word is one token, so that a test can foretell every figure."""

from collections import OrderedDict
from collections.abc import Mapping

import msgspec

from .script import Answer, Ask, Marked, call_tokens, words

STRUCTURAL = frozenset(
    {"type", "role", "id", "tool_use_id", "tool_call_id", "cache_control", "signature", "media_type", "detail"}
    | {"call_id", "encrypted_content", "phase", "status"}
    | {"mimeType", "thoughtSignature", "toolUseId", "redactedContent", "cachePoint"}
)
"""Keys whose values are the dialect's own words, and count nothing."""
REMEMBERED_MAX = 1024
"""Prompt prefixes that are remembered as cached; the oldest go first."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens. `input` is the whole prompt, cached parts included; `output` includes `reasoning`."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    """The part of `cache_write` that is kept for an hour."""
    reasoning: int = 0


def tokens(said: object) -> int:
    """Words in every string of `said`, at any depth, but for structural keys. Numbers and flags count nothing."""
    match said:
        case str():
            return len(said.split())
        case Mapping():
            return sum(tokens(value) for key, value in said.items() if key not in STRUCTURAL)
        case list() | tuple():
            return sum(tokens(value) for value in said)
        case _:
            return 0


class PromptCache:
    """Which marked prompt prefixes were seen before. Bounded by `REMEMBERED_MAX`."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def look_up(self, marked: tuple[Marked, ...]) -> tuple[int, int]:
        """(tokens read, tokens written) for a prompt with these breakpoints, shortest first; remembers them."""
        read = max((mark.tokens for mark in marked if mark.digest in self._seen), default=0)
        for mark in marked:
            self._seen[mark.digest] = None
            self._seen.move_to_end(mark.digest)
        while len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        longest = max((mark.tokens for mark in marked), default=0)
        return read, longest - read


def count(ask: Ask, answer: Answer, cache: PromptCache) -> Usage:
    """The usage of one exchange. `cache` learns the request's marked prefixes."""
    read, written = cache.look_up(ask.marked)
    if ask.model.endswith("-cached"):
        read, written = ask.prompt_tokens // 3, 0
    reasoning = len(words(answer.thinking or ""))
    return Usage(
        input=ask.prompt_tokens,
        output=reasoning + len(words(answer.text)) + sum(call_tokens(call) for call in answer.calls),
        cache_read=read,
        cache_write=written,
        cache_write_1h=written if ask.marked and ask.marked[-1].ttl == "1h" else 0,
        reasoning=reasoning,
    )
