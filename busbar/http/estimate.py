"""What a request will use, roughly, before it is sent: for pools that choose by price."""

from __future__ import annotations

from busbar.actors.selection import Demand
from busbar.protocols.body import Body
from busbar.protocols.protocol import InvalidRequest, Protocol

BYTES_PER_TOKEN = 4
"""A rule of thumb for English in any tokeniser of today; prices are compared, not charged, by it."""

OUTPUT_TOKENS = 1024
"""Assumed of a request that names no maximum."""


def estimate(ingress: Protocol, body: Body) -> Demand:
    """From the body's length, and the maximum that it asks for."""
    try:
        wanted = ingress.read_request(body.document()).max_tokens
    except InvalidRequest:
        wanted = None  # whoever gets it will say what is wrong
    return Demand(input_tokens=len(body.raw) // BYTES_PER_TOKEN, output_tokens=wanted or OUTPUT_TOKENS)
