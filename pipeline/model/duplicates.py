"""Whether an event was there before: a function of the log alone, so that every reader and every restart comes to the same verdict.

An occurrence at offset o looks back over its own generation of 16,384 offsets and the one before it, and at most 24 hours of record time:

    |--- generation g-1 ---|--- generation g --o
    ^ looked at from here on

Memory is two dictionaries per partition, whatever the history.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.model.identity import Identity

GENERATION = 16_384
HORIZON_MS = 24 * 3600 * 1000


class Duplicates:
    """The identities of one partition's current and previous generation, each with its newest record time (UTC ms)."""

    __slots__ = ("_current", "_end", "_generation", "_horizon_ms", "_length", "_previous")

    def __init__(self, *, generation: int = GENERATION, horizon_ms: int = HORIZON_MS) -> None:
        self._length = generation
        self._horizon_ms = horizon_ms
        self._generation = 0
        self._end = generation  # the first offset of the next generation
        self._current: dict[Identity, int] = {}
        self._previous: dict[Identity, int] = {}

    def refill_from(self, offset: int) -> int:
        """The first offset to read again so that verdicts from `offset` on come out right."""
        return max(0, (offset // self._length - 1) * self._length)

    def seen(self, offset: int, timestamp: int, identity: Identity) -> bool:
        """Note this occurrence and say whether it is a duplicate.  Called for every decodable record, in offset order, duplicates included."""
        if offset >= self._end:
            self._turn(offset // self._length)
        current = self._current
        known = len(current)
        before = current.setdefault(identity, timestamp)
        older = self._previous.get(identity)
        since = timestamp - self._horizon_ms
        if len(current) > known:
            return older is not None and older >= since
        if timestamp > before:
            current[identity] = timestamp
        return before >= since or (older is not None and older >= since)

    def none_of(self, last: int, timestamps: Sequence[int], identities: Sequence[Identity]) -> bool:
        """Whether none of these is a duplicate for a reason that is quickly seen; only then they are noted.  `last` is their last offset."""
        new = set(identities)
        if last >= self._end or len(new) < len(identities):
            return False
        if not self._current.keys().isdisjoint(new) or not self._previous.keys().isdisjoint(new):
            return False
        self._current.update(zip(identities, timestamps, strict=True))
        return True

    def _turn(self, generation: int) -> None:
        self._previous = self._current if generation == self._generation + 1 else {}
        self._current = {}
        self._generation = generation
        self._end = (generation + 1) * self._length
