"""The lean lane: an HTTP/1.1 client for what providers need, and nothing else.

target      where a URL leads, and a request as bytes
dial        connecting: names, both IP families, TLS
usual       heads of answers as most are, read without llhttp
parser      llhttp, for all others
connection  one connection: asyncio's protocol
answer      one answer's body, on its way to a sink
content     compressed bodies, opened
pool        all connections: kept, counted, waited for
upstream    the `Upstream` port over them
auto        the same, with aiohttp's client for what is unusual
"""

from busbar.http.lean.auto import AutoUpstream
from busbar.http.lean.upstream import LeanUpstream

__all__ = ["AutoUpstream", "LeanUpstream"]
