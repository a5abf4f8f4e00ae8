"""Everything that Metrics counts, by the labels under which it is shown.

Labels are bounded: names of dialects, of pools and members as they are configured, and words from closed sets. All of
them are counted from the start, with 0: a rate of a counter that only appears with its first event misses that event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import permutations

from msgspec import Struct

from busbar.actors.histogram import Distribution, Histogram
from busbar.actors.telemetry import AttemptDone, RequestDone
from busbar.protocols.failures import FailureClass
from busbar.protocols.usage import Usage

UNRESOLVED = "unresolved"
"""The pool of requests that named none that there is."""

OUTCOMES = ("ok", "client_error", "exhausted", "error", "cancelled")
REASONS = tuple(kind.value for kind in FailureClass)
FAILURES = (*REASONS, "diverged")
NO_FAILURES = frozenset({"ok", "cancelled"})
"""What else `AttemptDone.disposition` may say."""
TOKENS = ("input", "output", "cache_read", "cache_write", "reasoning")

DURATION_SECS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
FIRST_TOKEN_SECS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
OVERHEAD_SECS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)
GAP_SECS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Labels(Struct, frozen=True):
    """What there is to be told apart."""

    protocols: tuple[str, ...] = ()
    """Those that callers may speak."""
    pools: Mapping[str, tuple[str, ...]] = {}
    """By name the members of each pool, implicit ones included."""


class Relabel(Struct, frozen=True):
    """To Metrics: the configuration has changed, and this is what there is to be told apart now."""

    labels: Labels


class Tallied(Struct, frozen=True, kw_only=True):
    """The answer to `Tally`. Keys are label values, in the order that is said of each."""

    requests: Mapping[tuple[str, str, str], int]
    """(ingress protocol, pool, outcome)"""
    durations: Mapping[tuple[str, str], Distribution]
    """(ingress protocol, pool), in seconds like all distributions here"""
    first_tokens: Mapping[tuple[str, str], Distribution]
    """(ingress protocol, pool), of streams"""
    overheads: Mapping[tuple[str], Distribution]
    """(ingress protocol,)"""
    gap_means: Mapping[tuple[str], Distribution]
    """(pool,)"""
    gaps_longest: Mapping[tuple[str], Distribution]
    """(pool,)"""
    attempts: Mapping[tuple[str, str], int]
    """(pool, lane)"""
    failures: Mapping[tuple[str, str, str], int]
    """(pool, lane, disposition)"""
    tokens: Mapping[tuple[str, str, str], int]
    """(pool, lane, kind)"""
    picodollars: Mapping[tuple[str, str], int]
    """(pool, lane)"""
    failovers: Mapping[tuple[str, str], int]
    """(pool, reason)"""
    translations: Mapping[tuple[str, str], int]
    """(from, to)"""
    dropped_fields: Mapping[tuple[str], int]
    """(ingress protocol,)"""


class _Door:
    """Requests of one dialect to one pool."""

    __slots__ = ("duration", "first_token", "outcomes", "overhead")

    def __init__(self, overhead: Histogram) -> None:
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.duration = Histogram(DURATION_SECS)
        self.first_token = Histogram(FIRST_TOKEN_SECS)
        self.overhead = overhead
        """Of all requests in the dialect."""


class _Track:
    """Attempts that one pool sent to one member."""

    __slots__ = (
        "cache_read",
        "cache_write",
        "dispositions",
        "gap_longest",
        "gap_mean",
        "input",
        "output",
        "picodollars",
        "reasoning",
    )

    def __init__(self, gap_mean: Histogram, gap_longest: Histogram) -> None:
        self.dispositions = dict.fromkeys((*FAILURES, *NO_FAILURES), 0)
        self.gap_mean = gap_mean
        self.gap_longest = gap_longest
        """Both of all the pool's streams."""
        self.input = self.output = self.cache_read = self.cache_write = self.reasoning = 0
        self.picodollars = 0

    def add_tokens(self, usage: Usage) -> None:
        self.input += usage.input_tokens or 0
        self.output += usage.output_tokens or 0
        self.cache_read += usage.cache_read_tokens or 0
        self.cache_write += usage.cache_write_tokens or 0
        self.reasoning += usage.reasoning_tokens or 0

    def tokens(self) -> dict[str, int]:
        return {kind: getattr(self, kind) for kind in TOKENS}


class Tallies:
    """Counts requests that are over. One costs about 1 µs, and a look at all of them some 10 µs for each pool."""

    def __init__(self, labels: Labels) -> None:
        self._overheads: dict[str, Histogram] = {}
        self._gaps: dict[str, tuple[Histogram, Histogram]] = {}
        self._doors: dict[tuple[str, str], _Door] = {}
        self._tracks: dict[tuple[str, str], _Track] = {}
        self.failovers: Counter[tuple[str, str]] = Counter()
        """By pool and reason."""
        self.translations = Counter(dict.fromkeys(permutations(labels.protocols, 2), 0))
        """By the caller's dialect and the provider's."""
        self._dropped_fields = Counter(dict.fromkeys(labels.protocols, 0))
        self._labels = labels
        self._begin()

    def relabel(self, labels: Labels) -> None:
        """Begins what is new at 0. What there was before this and is no more ends with the next change, so that what
        is still under way is counted."""
        before, self._labels = self._labels, labels
        kept = before.pools.keys() | labels.pools.keys() | {UNRESOLVED}
        self._doors = {key: door for key, door in self._doors.items() if key[1] in kept}
        lanes = {
            (pool, member) for it in (before, labels) for pool, members in it.pools.items() for member in members
        }
        self._tracks = {key: track for key, track in self._tracks.items() if key in lanes}
        self._gaps = {pool: gaps for pool, gaps in self._gaps.items() if pool in kept}
        self.failovers = Counter({key: count for key, count in self.failovers.items() if key[0] in kept})
        self._begin()

    def _begin(self) -> None:
        labels = self._labels
        for pool in labels.pools:
            for reason in REASONS:
                self.failovers.setdefault((pool, reason), 0)
        for protocol in labels.protocols:
            for pool in (*labels.pools, UNRESOLVED):
                if (protocol, pool) not in self._doors:
                    self._open(protocol, pool)
        for pool, members in labels.pools.items():
            for member in members:
                if (pool, member) not in self._tracks:
                    self._lay(pool, member)

    def add(self, request: RequestDone) -> None:
        door = self._doors.get((request.ingress, request.pool)) or self._open(request.ingress, request.pool)
        door.outcomes[request.outcome] += 1
        door.duration.observe(request.latency_ms / 1000)
        if request.stream and request.ttft_ms is not None:
            door.first_token.observe(request.ttft_ms / 1000)
        if request.overhead_ms is not None:
            door.overhead.observe(request.overhead_ms / 1000)
        track: _Track | None = None
        for attempt in request.attempts:
            track = self._add_attempt(attempt)
        if track is not None and request.picodollars is not None:
            track.picodollars += request.picodollars
        for failover in request.failed_over:
            self.failovers[failover] += 1
        if request.translated_to is not None:
            self.translations[request.ingress, request.translated_to] += 1
        if request.dropped_fields:
            self._dropped_fields[request.ingress] += len(request.dropped_fields)

    def _add_attempt(self, attempt: AttemptDone) -> _Track:
        track = self._tracks.get((attempt.pool, attempt.member)) or self._lay(attempt.pool, attempt.member)
        track.dispositions[attempt.disposition] += 1
        if attempt.usage is not None:
            track.add_tokens(attempt.usage)
        if attempt.gap_mean_ms is not None and attempt.gap_longest_ms is not None:
            track.gap_mean.observe(attempt.gap_mean_ms / 1000)
            track.gap_longest.observe(attempt.gap_longest_ms / 1000)
        return track

    def _open(self, ingress: str, pool: str) -> _Door:
        overhead = self._overheads.setdefault(ingress, Histogram(OVERHEAD_SECS))
        door = self._doors[ingress, pool] = _Door(overhead)
        return door

    def _lay(self, pool: str, member: str) -> _Track:
        gaps = self._gaps.setdefault(pool, (Histogram(GAP_SECS), Histogram(GAP_SECS)))
        track = self._tracks[pool, member] = _Track(*gaps)
        return track

    # --- what is shown

    def tallied(self) -> Tallied:
        doors, tracks = self._doors.items(), self._tracks.items()
        failures = {(*key, word): track.dispositions[word] for key, track in tracks for word in FAILURES}
        return Tallied(
            requests=self.requests(),
            durations={key: door.duration.seen() for key, door in doors},
            first_tokens={key: door.first_token.seen() for key, door in doors},
            overheads={(ingress,): overhead.seen() for ingress, overhead in self._overheads.items()},
            gap_means={(pool,): mean.seen() for pool, (mean, _) in self._gaps.items()},
            gaps_longest={(pool,): longest.seen() for pool, (_, longest) in self._gaps.items()},
            attempts={key: sum(track.dispositions.values()) for key, track in tracks},
            failures=failures,
            tokens={(*key, kind): count for key, track in tracks for kind, count in track.tokens().items()},
            picodollars={key: track.picodollars for key, track in tracks},
            failovers=dict(self.failovers),
            translations=dict(self.translations),
            dropped_fields={(ingress,): count for ingress, count in self._dropped_fields.items()},
        )

    def requests(self) -> dict[tuple[str, str, str], int]:
        """By ingress protocol, pool and outcome."""
        return {(*key, word): count for key, door in self._doors.items() for word, count in door.outcomes.items()}

    def dispositions(self) -> dict[tuple[str, str], int]:
        """Attempts by member and how they ended."""
        found: Counter[tuple[str, str]] = Counter()
        for (_, member), track in self._tracks.items():
            for word, count in track.dispositions.items():
                found[member, word] += count
        return found

    def tokens(self) -> dict[str, int]:
        """By kind; none before the first."""
        found: Counter[str] = Counter()
        for track in self._tracks.values():
            found.update(track.tokens())
        return dict(found) if any(found.values()) else {}
