"""How state survives deaths, half-written flushes, sleepers that wake up, and compaction.  Pure: the worker and the simulation drive this module.

The laws:

1. One record per offset, one verdict per record, one place for it in the ledger.
2. A fragment's record holds everything of its key up to its revision; an event at or below the revision is already inside.
3. Changes go out in order, the ledger after them.  A durable ledger at X: every effect of every offset ≤ X is durable.
4. An owner begins with a fence; the fence's own offset is its epoch.  Readers refuse smaller epochs than the greatest they saw, and of the
   accepted records of a key the last one wins.
5. Only a ledger whose own answer and all earlier answers of this owner had the expected offset may be committed.

Together: any reader that adds up the accepted fragments gets the plain count of the log, whoever died when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from pipeline.model.events import Principal, Rejected
from pipeline.model.wire import (
    FENCE,
    LEDGER,
    Ledger,
    Point,
    State,
    decode_key,
    decode_ledger,
    encode_key,
    encode_ledger,
    encode_state,
)

BUCKET_MS = 900_000
# A tail longer than this is pruned to what lies beyond its ledger, so that a start from a whole changelog needs bounded memory.
TAIL_ROWS = 100_000
PIECE = 250


class Happening(Protocol):
    """What a judge lets through: who, when (UTC ms)."""

    @property
    def principal(self) -> Principal: ...
    @property
    def time(self) -> int: ...


class Rollup(Protocol):
    """A commutative monoid of measures.  `apply` returns by how many bytes the encoded form grew."""

    def apply(self, event: Any, /) -> int: ...


class Record(Protocol):
    """A record of any Kafka client."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def timestamp(self) -> int: ...


R = TypeVar("R", bound=Rollup)
# One verdict per record: the event, None for a duplicate, or Rejected.  A function of the log alone.
Judge = Callable[[Sequence[Any]], Sequence[Any]]


class ForeignWrite(Exception):  # noqa: N818 - an outcome with a name
    """Somebody else wrote into the changelog since our fence: start again."""


class SourceShorter(Exception):  # noqa: N818
    """The source ends before the ledger: it was recreated or cut."""


class Reader:
    """The one rule for everybody who reads a changelog partition in offset order."""

    __slots__ = ("epoch",)

    def __init__(self, epoch: int = -1) -> None:
        self.epoch = epoch

    def accepts(self, offset: int, key: bytes, epoch: int) -> bool:
        """Whether this record counts.  A fence never does; it raises the epoch to its own offset."""
        if key == FENCE:
            self.epoch = max(self.epoch, offset)
            return False
        if epoch < self.epoch:
            return False
        self.epoch = epoch
        return True


class Fragment(Generic[R]):
    """The rollup of one principal in one bucket over one stretch of the log."""

    __slots__ = ("bytes", "dirty", "key", "revision", "rollup", "touched")

    def __init__(self, key: bytes, revision: int, rollup: R, touched: float) -> None:
        self.key = key
        self.revision = revision
        self.rollup = rollup
        self.touched = touched
        self.bytes = 0
        self.dirty = False  # changed since the last flush


class Flush:
    """One partition's changes on their way out: `rows` in the order that must hold, the ledger (if one may be written) last."""

    __slots__ = ("ledger", "rows")

    def __init__(self, rows: list[tuple[bytes, bytes]], ledger: Ledger | None) -> None:
        self.rows = rows
        self.ledger = ledger


class Partition(Generic[R]):
    """One source partition in the hands of one owner, from its fence until it is revoked."""

    def __init__(self, *, epoch: int, ledger: Ledger, empty: Callable[[], R], fragment_bytes: int) -> None:
        self.epoch = epoch
        self.expect = epoch + 1  # offset that the next produce answer must have
        self.ledger = ledger
        self.durable = ledger.copy()
        self.point: Point | None = None  # newest verified ledger; the only thing that may be committed
        self.floor = -1  # greatest revision recovered: no ledger below it
        self.open: dict[tuple[Principal, int], Fragment[R]] = {}
        self.dirty: list[Fragment[R]] = []  # in the order of their first change
        self.heal: list[tuple[bytes, bytes]] = []
        self.ledger_due = True  # every start ends with a ledger
        self.opened = 0
        self._empty = empty
        self._fragment_bytes = fragment_bytes

    @property
    def next(self) -> int:
        """The source offset to be handed over next."""
        return self.ledger.offset + 1

    def apply(
        self, records: Sequence[Record], *, until: int, judge: Judge, now: float
    ) -> list[tuple[Record, Rejected]]:
        """Apply what lies between `next` and `until` (exclusive), in offset order; offsets without a record are holes of the log.

        `now` only paces closing.  Returns the refused records.
        """
        ledger = self.ledger
        if records and not ledger.waiting_since:
            ledger.waiting_since = records[0].timestamp
        refused: list[tuple[Record, Rejected]] = []
        duplicates = 0
        # In pieces, so that an event is used while it still lies in the processor's cache.
        for i in range(0, len(records), PIECE):
            piece = records[i : i + PIECE]
            duplicates += self._apply(piece, judge(piece), now, refused)
        for _, rejected in refused:
            reason = rejected.reason.value
            ledger.rejected[reason] = ledger.rejected.get(reason, 0) + 1
        ledger.applied += len(records) - duplicates - len(refused)
        ledger.duplicate += duplicates
        ledger.gaps += until - self.next - len(records)
        ledger.offset = until - 1
        return refused

    def _apply(
        self,
        records: Sequence[Record],
        verdicts: Sequence[Any],
        now: float,
        refused: list[tuple[Record, Rejected]],
    ) -> int:
        """Returns the number of duplicates.  This loop runs once per event."""
        open_, dirty, limit = self.open, self.dirty, self._fragment_bytes
        newest, duplicates = self.ledger.max_event_time, 0
        for record, event in zip(records, verdicts, strict=True):
            if event is None:
                duplicates += 1
                continue
            if event.__class__ is Rejected:
                refused.append((record, event))
                continue
            offset, time = record.offset, event.time
            if time > newest:
                newest = time
            where = (event.principal, time // BUCKET_MS)
            fragment = open_.get(where)
            # A sealed fragment needs no farewell: it lies before its successor in every flush, so it is durable first.
            if fragment is None or (fragment.bytes >= limit and offset > fragment.revision):
                fragment = open_[where] = Fragment(encode_key(*where, offset), -1, self._empty(), now)
                self.opened += 1
            if offset <= fragment.revision:
                continue
            fragment.revision = offset
            grown = fragment.rollup.apply(event)
            if grown:
                fragment.bytes += grown
            if not fragment.dirty:
                fragment.dirty = True
                fragment.touched = now
                dirty.append(fragment)
        self.ledger.max_event_time = newest
        return duplicates

    def flush(self) -> Flush | None:
        """Take what must go out now, encoded; None if nothing must.  At most one flush of a partition is under way."""
        ledger = self.ledger
        moved = ledger.offset > self.durable.offset
        if not (self.dirty or self.heal or moved or self.ledger_due):
            return None
        assert ledger.holds, f"ledger does not add up: {ledger}"
        epoch = self.epoch
        rows = self.heal
        for fragment in self.dirty:
            fragment.dirty = False
            rows.append((fragment.key, encode_state(epoch, fragment.revision, fragment.rollup)))
        self.heal, self.dirty = [], []
        written = None
        if ledger.offset >= self.floor:
            written = ledger.copy()
            ledger.waiting_since = 0
            rows.append((LEDGER, encode_ledger(epoch, written)))
            self.ledger_due = False
        return Flush(rows, written) if rows else None

    def answered(self, offset: int, count: int) -> None:
        """The broker stored `count` of our rows from `offset` on.  Raises ForeignWrite if that is not where our last write ended."""
        if offset != self.expect:
            raise ForeignWrite(f"expected offset {self.expect}, the broker answered {offset}")
        self.expect = offset + count

    def settled(self, flush: Flush) -> None:
        """All rows of the flush were answered: its ledger is durable and verified."""
        if flush.ledger is not None:
            self.durable = flush.ledger
            self.point = Point(flush.ledger, self.expect - 1, self.epoch)

    def forget(self, idle_since: float) -> int:
        """Drop fragments not touched since then.  Only those that the durable ledger has passed may go: the others are still needed for replays."""
        passed = self.durable.offset
        gone = [k for k, f in self.open.items() if f.touched < idle_since and f.revision <= passed]
        for key in gone:
            del self.open[key]
        return len(gone)


class Start(Generic[R]):
    """The way into ownership: point, fence, tail, if need be the whole changelog, then the partition."""

    def __init__(self, point: Point | None, *, rollup: type[R], fragment_bytes: int) -> None:
        self.point = point or Point()
        self.epoch = -1
        self.refused: set[bytes] = set()
        self._rollup = rollup
        self._fragment_bytes = fragment_bytes
        self._decode: Callable[[bytes], State[R]] = msgspec.json.Decoder(State[rollup]).decode  # type: ignore[valid-type]
        self._reader = Reader(self.point.epoch)
        self._whole = Reader()
        # The last accepted one, not the greatest: after compaction a reader from the beginning may lack an old fence, and then
        # accepts for a moment what a later record corrects.
        self._ledger: Ledger | None = None
        self._rows: dict[bytes, State[R]] = {}

    def fenced(self, offset: int) -> None:
        """Our fence lies at `offset`: that is our epoch, and the end of what must be read."""
        self.epoch = offset

    def read(self, records: Iterable[Record]) -> None:
        """Feed the tail in order: from the point's changelog offset up to the fence."""
        for record in records:
            self._accept(record, self._reader, self.refused.add)
        if len(self._rows) > TAIL_ROWS and self._ledger is not None:
            self._rows = {k: s for k, s in self._rows.items() if s.revision > self._ledger.offset}

    def reread(self, records: Iterable[Record]) -> None:
        """Feed the whole changelog up to the fence: called if `refused` is not empty, for the valid value may lie anywhere."""
        self._rows = {k: s for k, s in self._rows.items() if k not in self.refused}
        for record in records:
            if record.key in self.refused:
                self._accept(record, self._whole, lambda _key: None)
            elif record.key == FENCE:
                self._whole.accepts(record.offset, FENCE, -1)
            else:
                self._whole.epoch = max(self._whole.epoch, msgspec.json.decode(record.value or b"", type=_Head).epoch)

    def _accept(self, record: Record, reader: Reader, refuse: Callable[[bytes], None]) -> None:
        key, value = record.key or b"", record.value or b""
        if key == FENCE:
            reader.accepts(record.offset, key, -1)
        elif key == LEDGER:
            state = decode_ledger(value)
            if not reader.accepts(record.offset, key, state.epoch):
                refuse(key)
                return
            if reader is self._reader:
                self.refused.discard(key)
            self._ledger = state.ledger
        else:
            fragment = self._decode(value)
            if not reader.accepts(record.offset, key, fragment.epoch):
                refuse(key)
                return
            if reader is self._reader:
                self.refused.discard(key)
            self._rows[key] = fragment

    @property
    def ledger(self) -> Ledger | None:
        """The newest ledger known: the point's, or the last accepted one of what was read."""
        known = [x for x in (self.point.ledger, self._ledger) if x is not None]
        return max(known, key=lambda x: x.offset, default=None)

    def partition(
        self, *, begin: int, end: int, source_id: str = "", changelog_id: str = "", now: float = 0.0
    ) -> Partition[R]:
        """The partition as its new owner holds it.  `begin` and `end` are the source's own.  Raises SourceShorter."""
        ledger = self.ledger or Ledger(offset=begin - 1, first_offset=begin)
        ledger = msgspec.structs.replace(
            ledger, rejected=dict(ledger.rejected), source_id=source_id, changelog_id=changelog_id
        )
        if end < ledger.offset + 1:
            raise SourceShorter(f"the source ends at {end}, the ledger says {ledger.offset}")
        if begin > ledger.offset + 1:
            ledger.lost += begin - 1 - ledger.offset
            ledger.offset = begin - 1
        partition: Partition[R] = Partition(
            epoch=self.epoch, ledger=ledger, empty=self._rollup, fragment_bytes=self._fragment_bytes
        )
        partition.floor = max((s.revision for s in self._rows.values()), default=-1)
        # All of it before any ledger: a commit must not pass what is not healed.
        for key in sorted(self.refused - {LEDGER}):
            state = self._rows.get(key)
            partition.heal.append(
                (key, encode_state(self.epoch, state.revision if state else -1, state.rollup if state else None))
            )
        for key, state in self._rows.items():
            if state.rollup is None:
                continue
            principal, bucket, _ = decode_key(key)
            current = partition.open.get((principal, bucket))
            if current is None or state.revision > current.revision:
                fragment = Fragment(key, state.revision, state.rollup, now)
                fragment.bytes = len(msgspec.json.encode(state.rollup))
                partition.open[principal, bucket] = fragment
        return partition


class _Head(msgspec.Struct):
    epoch: int
