from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .google_machine import Machine
from .issuers import Issuers
from .token_server import TokenServer


class Clock:
    """The issuers' and the minters' clock: Unix seconds that move only when a test says so."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuers(clock: Clock) -> Issuers:
    return Issuers(clock)


@pytest.fixture
def server(issuers: Issuers, clock: Clock) -> Iterator[TokenServer]:
    with TokenServer(issuers.answer, clock) as running:
        yield running


@pytest.fixture
def machine(server: TokenServer, tmp_path: Path, clock: Clock) -> Machine:
    return Machine(server, tmp_path, clock)
