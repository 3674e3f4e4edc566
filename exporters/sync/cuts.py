"""Where one delivery ends and the next begins, so that every offset lies in exactly one object.  Pure: the pump and the simulation drive this module.

The laws:

1. A cut is in the log before its object is in the bucket.  Whoever wrote it, *the first cut in the log that begins where the chain ends extends the
   chain*; every other cut is nothing.  An owner acts on a cut only after it read it back.
2. No bytes leave whose hash is not in the log: an attempt whose documents differ from all earlier ones (other code, other settings) is written
   down, and read back, before it is put.
3. Objects are only created, never written over; one that is there already was put there by an earlier attempt at this very cut.
4. A cut ends (`Ended`) after all its documents are there, and what is committed lies behind ended cuts only.
5. A manifest is a record first: it covers the ended cuts from where the last one stopped, so its bytes are a function of the log as well.

So owners may die, freeze, wake up and overlap at every step; nothing here knows who is the right one.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

START: Final = "start"
EVENTS: Final = "events"
LOST: Final = "lost"
Kind = Literal["start", "events", "lost"]
STORED: Final = "stored"
UNKNOWN: Final = "unknown"
NOTHING: Final = "nothing"  # the cut has no documents: it ends by being read


class Part(msgspec.Struct, frozen=True):
    """One document of a cut: `bytes` as stored, `lines` one per event or reject."""

    key: str
    sha256: str
    bytes: int
    lines: int


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one making of a cut's documents came to.  `filtered` are events that this destination does not want, `gaps` offsets without a record."""

    events: Part | None = None
    rejects: Part | None = None
    duplicates: int = 0
    filtered: int = 0
    gaps: int = 0
    min_time: int = 0
    max_time: int = 0
    encoder: str = ""
    revision: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """In the order in which they must be put.

        Other code may call a record an event that this one rejects.  Rejects have their hash in their key, so that every attempt's can lie side by
        side; with them first, whichever events win, the records that *their* code refused are there as well.
        """
        return tuple(p for p in (self.rejects, self.events) if p is not None)


class Cut(msgspec.Struct, frozen=True, omit_defaults=True, tag="cut", tag_field="record"):
    """The offsets [first, end).  `key` is that of its events, whatever attempt they come from; `hour` (UTC ms) names its folder, `window` the
    vendor's five minutes; `at` is when it was written, UTC ms.
    """

    first: int
    end: int
    kind: Kind = EVENTS
    key: str = ""
    hour: int = 0
    window: int = 0
    at: int = 0
    attempt: Attempt = Attempt()


class Again(msgspec.Struct, frozen=True, tag="again", tag_field="record"):
    """Another attempt at the cut whose record lies at `cut`."""

    cut: int
    attempt: Attempt


class Ended(msgspec.Struct, frozen=True, tag="ended", tag_field="record"):
    """The record at `of` (a cut, a manifest) is done with: its documents are there, or (UNKNOWN) its source is gone and nobody can say."""

    of: int
    outcome: Literal["stored", "unknown"] = STORED


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, tag="manifest", tag_field="record"):
    """The account of the ended cuts in [first, end), given in `hour`.  `partitions` is how many the source had then; 0: not said."""

    first: int
    end: int
    hour: int
    at: int
    partitions: int = 0


class Marker(msgspec.Struct, frozen=True, tag="marker", tag_field="record"):
    """Something that explains a silence: started, paused, resumed, stopped, finished (nothing more is to come), configured."""

    what: str
    at: int
    note: str = ""


Record = Cut | Again | Ended | Manifest | Marker
encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Record).decode


class Point(msgspec.Struct, frozen=True):
    """A place of the log to start reading from: what lies before `at` is delivered and in manifests up to offset `end` of the source.

    Any point that was ever right stays right; an old one only means a longer tail.
    """

    at: int
    end: int
    manifest_hour: int
    marked: int  # markers before this place of the log are in a manifest
    hour: int = 0
    window: int = 0


@dataclass(slots=True)
class Entry:
    """A cut of the chain: `at` is its place in the log, `attempts` every making that may lie in the bucket."""

    at: int
    cut: Cut
    attempts: list[Attempt] = field(default_factory=list)
    outcome: str = ""


@dataclass(slots=True)
class Account:
    """A manifest of the chain and what it covers."""

    at: int
    manifest: Manifest
    entries: list[Entry]
    markers: list[Marker]


class Chain:
    """One partition's cuts as the log has them so far.  `read` every record of the chain's key, in the log's order."""

    def __init__(self, point: Point | None = None) -> None:
        self.end: int | None = point.end if point else None
        self.next = point.at if point else 0  # the place of the log to be read next
        self.hour = point.hour if point else 0  # of the last cut
        self.window = point.window if point else 0
        self.entries: list[Entry] = []  # not yet in a manifest
        self.accounts: list[Account] = []  # manifests not yet delivered
        self._markers: list[tuple[int, Marker]] = []
        self._accounted: int | None = self.end
        self.last_word = ""  # of the last manifest, if it was read here
        self._manifest_hour = point.manifest_hour if point else -1
        self._marked = point.marked if point else 0

    def read(self, at: int, record: Record) -> None:
        self.next = at + 1
        match record:
            case Cut():
                self._cut(at, record)
            case Again():
                entry = self._entry(record.cut)
                if entry is not None and not entry.outcome and record.attempt not in entry.attempts:
                    entry.attempts.append(record.attempt)
            case Ended():
                self._ended(record)
            case Manifest():
                self._manifest(at, record)
            case Marker():
                if at >= self._marked:
                    self._markers.append((at, record))

    def _cut(self, at: int, cut: Cut) -> None:
        if self.end is None:
            self._accounted = cut.first
        elif cut.first != self.end:
            return
        outcome = "" if cut.attempt.parts else NOTHING
        self.entries.append(Entry(at, cut, [cut.attempt], outcome))
        self.end, self.hour, self.window = cut.end, max(self.hour, cut.hour), max(self.window, cut.window)

    def _entry(self, at: int) -> Entry | None:
        return next((e for e in self.entries if e.at == at), None)

    def _ended(self, record: Ended) -> None:
        entry = self._entry(record.of)
        if entry is not None:
            entry.outcome = entry.outcome or record.outcome
        elif self.accounts and self.accounts[0].at == record.of:
            del self.accounts[0]

    def _manifest(self, at: int, manifest: Manifest) -> None:
        grown = manifest.end > manifest.first or manifest.hour > self._manifest_hour
        if (
            self._accounted is None
            or manifest.first != self._accounted
            or manifest.hour < self._manifest_hour
            or not grown
        ):
            return
        count = next((n for n, e in enumerate(self.entries) if not e.outcome), len(self.entries))
        covered = [e for e in self.entries[:count] if e.cut.end <= manifest.end]
        if (covered[-1].cut.end if covered else manifest.first) != manifest.end:
            return  # it names offsets that were not delivered
        del self.entries[: len(covered)]
        markers = [m for _, m in self._markers]
        self.accounts.append(Account(at, manifest, covered, markers))
        self._markers.clear()
        self.last_word = markers[-1].what if markers else ""
        self._accounted, self._manifest_hour, self._marked = manifest.end, manifest.hour, at + 1

    @property
    def unfinished(self) -> Entry | None:
        """The first cut that has not ended."""
        return next((e for e in self.entries if not e.outcome), None)

    @property
    def through(self) -> int | None:
        """Every offset before this one is delivered, or said to be lost."""
        entry = self.unfinished
        return entry.cut.first if entry is not None else self.end

    @property
    def unaccounted(self) -> tuple[int, int]:
        """What a manifest written now would cover, as [first, end)."""
        assert self._accounted is not None
        assert self.through is not None
        return self._accounted, self.through

    @property
    def manifest_hour(self) -> int:
        return self._manifest_hour

    @property
    def marked(self) -> bool:
        """Whether there are markers that no manifest has."""
        return bool(self._markers)

    @property
    def point(self) -> Point | None:
        """Where a successor may begin to read; None before the chain has begun.  To be asked when no manifest is on its way."""
        if self._accounted is None:
            return None
        assert not self.accounts
        at = min([self.next, *(e.at for e in self.entries[:1]), *(at for at, _ in self._markers[:1])])
        return Point(at, self._accounted, self._manifest_hour, self._marked, self.hour, self.window)


# What an owner asks of the world.  Each is answered before the next one is asked.


@dataclass(frozen=True, slots=True)
class Append:
    """Store this record at the log's end; answer where it lies.  May be stored twice."""

    record: Record


@dataclass(frozen=True, slots=True)
class Read:
    """Have the chain read everything up to and including this place."""

    through: int


@dataclass(frozen=True, slots=True)
class Make:
    """Answer the attempt that the documents of exactly this cut's offsets come to now; None: its source is gone."""

    cut: Cut


@dataclass(frozen=True, slots=True)
class Put:
    """Create the attempt's documents; answer when all are there, whoever put them."""

    entry: Entry
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Publish:
    """Create the manifest's document; answer when it is there."""

    account: Account


@dataclass(frozen=True, slots=True)
class Commit:
    point: Point
    through: int


@dataclass(frozen=True, slots=True)
class Next:
    """Wait for the next record to be written: a cut that begins at `first` (None: the chain's start), a manifest, a marker."""

    first: int | None


Effect = Append | Read | Make | Put | Publish | Commit | Next
Script = Generator[Effect, Any, None]


def own(chain: Chain) -> Script:
    """One owner's work on one partition, for ever.  It begins with a chain that has read the log up to an end seen after it became the owner."""
    committed: Point | None = None
    while True:
        while (entry := chain.unfinished) is not None:
            yield from _finish(entry)
        while chain.accounts:
            account = chain.accounts[0]
            yield Publish(account)
            yield Read((yield Append(Ended(account.at))))
        point, through = chain.point, chain.through
        if point is not None and through is not None and point != committed:
            yield Commit(point, through)
            committed = point
        yield Read((yield Append((yield Next(chain.end)))))


def _finish(entry: Entry) -> Script:
    attempt: Attempt | None = yield Make(entry.cut)
    if attempt is None:
        yield Read((yield Append(Ended(entry.at, UNKNOWN))))
        return
    if attempt not in entry.attempts:
        yield Read((yield Append(Again(entry.at, attempt))))
        if entry.outcome:
            return  # somebody ended it meanwhile: their documents are the ones
    yield Put(entry, attempt)
    yield Read((yield Append(Ended(entry.at))))
