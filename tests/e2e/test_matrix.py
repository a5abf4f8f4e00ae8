"""The matrix: every official SDK against every kind of provider, whole and streamed, over real sockets.

One table of cases (`matrix_cases.py`, `matrix_errors.py`) runs over all pairs of dialects. The embedded providers
check what they receive as strictly as the real ones; each answer is held against the types of the SDK that got it.
`python -m tests.e2e.matrix` prints the grid.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest
import pytest_asyncio

from busbar.config.support import SUPPORTED_PROTOCOLS
from busbar.demo.providers.refusals import SAID

from .matrix_cases import CASES, INGRESSES, STAYS_IN_ITS_PROTOCOL, Case, Expected
from .matrix_errors import BASES, RAISED, RAISES_IN_A_STREAM, RETRY_AFTER_IN_THE_BODY, Kind, raised, retry_after
from .speakers import Question, Reply, Speaker
from .ways import check, hello, nameless, speak
from .world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIALECTS = tuple(dialect for dialect in INGRESSES if dialect in SUPPORTED_PROTOCOLS)
FAULTS: dict[Kind, str] = {
    "bad request": "400",
    "provider's account": "401",
    "rate limit": "429",
    "exhausted": "401",
    "broken answer": "cut",
}
"""What the provider does. All but the caller's own mistakes trip a breaker: each cell has a model of its own."""


class Pair(msgspec.Struct, frozen=True):
    """From which SDK to which kind of provider, and how the answer comes."""

    ingress: str
    egress: str
    streamed: bool

    def __str__(self) -> str:
        return f"{self.ingress}-{self.egress}-{'streamed' if self.streamed else 'whole'}"

    def failing(self, kind: Kind) -> str:
        """The model whose provider fails this pair in this way."""
        return f"{self}-{kind.replace(' ', '-').replace(chr(39), '')}"


PAIRS = [Pair(*pair) for pair in itertools.product(DIALECTS, DIALECTS, (False, True))]
every_pair = pytest.mark.parametrize("pair", PAIRS, ids=str)


def models() -> dict[str, str]:
    """Every model that the cases ask for, with what its provider does."""
    upstreams = {(egress, case.upstream(egress)) for egress in DIALECTS for case in CASES}
    good = {f"{egress}{upstream}": f"{egress}:demo{upstream}" for egress, upstream in upstreams}
    bad = {
        pair.failing(kind): f"{pair.egress}:demo-fault-{fault}" for pair in PAIRS for kind, fault in FAULTS.items()
    }
    return good | bad


class Speakers:
    """One of each SDK, made when it is first wanted: the world, and thus their address, stays the same."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._stack = AsyncExitStack()
        self._made: dict[str, Speaker] = {}

    async def ask(self, pair: Pair, model: str, question: Question) -> Reply:
        if pair.ingress not in self._made:
            speaker = speak(pair.ingress, self.world)  # type: ignore[arg-type]
            self._made[pair.ingress] = await self._stack.enter_async_context(speaker)
        return await self._made[pair.ingress].ask(model, question, streamed=pair.streamed)

    async def raises(self, pair: Pair, model: str) -> BaseException:
        """What the SDK raises instead of an answer."""
        with pytest.raises(BASES[pair.ingress]) as error:
            await self.ask(pair, model, hello("one two three four"))
        return error.value

    async def aclose(self) -> None:
        await self._stack.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def speakers() -> AsyncIterator[Speakers]:
    async with World(models()) as world:
        speakers = Speakers(world)
        yield speakers
        await speakers.aclose()


@every_pair
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_answer_is_the_same_on_every_way(speakers: Speakers, case: Case, pair: Pair) -> None:
    if pair.ingress not in case.askers:
        pytest.skip(f"{pair.ingress} has no words to ask this")
    if pair.egress not in case.answerers:
        pytest.skip(f"{pair.egress} has no words to answer this")
    model = f"{pair.egress}{case.upstream(pair.egress)}"
    reply = await speakers.ask(pair, model, case.question)
    check(pair.ingress, reply)
    if case.then is not None:
        turns = (*case.question.turns, reply, case.then(reply))
        reply = await speakers.ask(pair, model, msgspec.structs.replace(case.question, turns=turns))
        check(pair.ingress, reply)
    expected = case.expected(pair.ingress, pair.egress)
    assert _seen(reply, expected) == expected
    if expected.dropped is not None:
        stays = STAYS_IN_ITS_PROTOCOL.get(pair.ingress, frozenset()) if pair.ingress != pair.egress else frozenset()
        assert {re.sub(r"\[\d+\]", "", path) for path in reply.dropped} == expected.dropped | stays


def _seen(reply: Reply, expected: Expected) -> Expected:
    """The answer as an expectation; what was not expected to be anything is left out."""
    return Expected(
        text=reply.text,
        calls=nameless(reply.calls),
        stop=reply.stop,
        thinking=reply.thinking,
        usage=expected.usage and reply.usage,
        dropped=expected.dropped,
    )


# --- what goes wrong -------------------------------------------------------------------------------------------


@every_pair
async def test_400_is_the_callers_mistake_in_its_own_words(speakers: Speakers, pair: Pair) -> None:
    error = await speakers.raises(pair, pair.failing("bad request"))
    assert raised(error) == RAISED[pair.ingress]["bad request"]
    assert SAID[pair.egress]["400"].message in str(error)


@every_pair
async def test_401_of_the_provider_is_no_fault_of_the_caller(speakers: Speakers, pair: Pair) -> None:
    error = await speakers.raises(pair, pair.failing("provider's account"))
    assert raised(error) == RAISED[pair.ingress]["provider's account"]
    assert "The model is not available at the moment." in str(error)


@every_pair
async def test_429_says_when_to_come_back(speakers: Speakers, pair: Pair) -> None:
    error = await speakers.raises(pair, pair.failing("rate limit"))
    assert raised(error) == RAISED[pair.ingress]["rate limit"]
    if not {pair.ingress, pair.egress} <= RETRY_AFTER_IN_THE_BODY:
        assert retry_after(error) == "7"


@every_pair
async def test_with_nobody_left_to_ask_the_caller_is_told_when_to_come_back(speakers: Speakers, pair: Pair) -> None:
    """The provider refuses our key, which opens the breaker at once."""
    model = pair.failing("exhausted")
    await speakers.raises(pair, model)
    error = await speakers.raises(pair, model)
    assert raised(error) == RAISED[pair.ingress]["exhausted"]
    assert 1790 <= int(retry_after(error) or 0) <= 1800


@every_pair
async def test_a_break_in_the_middle_never_looks_like_an_end(speakers: Speakers, pair: Pair) -> None:
    model = pair.failing("broken answer")
    if not pair.streamed:
        error = await speakers.raises(pair, model)
        assert raised(error) == RAISED[pair.ingress]["broken answer"]
    elif pair.ingress in RAISES_IN_A_STREAM:
        await speakers.raises(pair, model)
    else:
        reply = await speakers.ask(pair, model, hello("one two three four"))
        assert reply.stop == "error"
    assert (await speakers.world.member(model))["err"] == 1


TOKEN = "auth: {mode: token, client_tokens: ['${TOKEN}']}"


@every_pair
async def test_401_of_the_caller(guarded: World, pair: Pair) -> None:
    """The gateway's own keys: a wrong one is told in the caller's dialect, a right one opens."""
    async with speak(pair.ingress, guarded, key="wrong-key") as speaker:  # type: ignore[arg-type]
        with pytest.raises(BASES[pair.ingress]) as error:
            await speaker.ask(pair.egress, hello(), streamed=pair.streamed)
    assert raised(error.value) == RAISED[pair.ingress]["caller's key"]
    assert len(guarded.providers.requests) == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded() -> AsyncIterator[World]:
    async with World({dialect: f"{dialect}:demo" for dialect in DIALECTS}, TOKEN, {"TOKEN": "client-token"}) as world:
        yield world
