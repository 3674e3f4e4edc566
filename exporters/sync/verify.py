"""Prove a delivery from what lies in the bucket alone: `python verify.py s3://bucket/prefix` (or a directory).

This file is complete in itself: the standard library, and boto3 for buckets (zstandard to look inside .zst objects).  It only reads.

Manifests account for every offset of the source: objects, duplicates, rejects, offsets without a record.  Verified is that they follow one another
without gap or overlap from where the delivery began and in every partition as far as in the others, that every object they name is there with one of
the hashes they name and as many lines, that the counts of each stretch add up to its length, that nothing else lies among the objects, and that a
backfill came to its end.  Memory does not grow with the bucket.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sqlite3
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

CHUNK = 1 << 20
READERS = 8
PAUSES = (0.0, 2.0)  # seconds before an object is read a second and a third time
GIVE_UP = (
    20,
    3,
)  # so many reads in a row that came to nothing are the place's fault, not the objects'; before any came to something
VERSION = 1  # of manifests
MANIFEST_BYTES, KEY_BYTES, DIGITS = 16 << 20, 1024, 20  # more than any has
# A few bytes of zstd may say a block of 128 KiB: what so many come to can be held by every reader, and so can their window.
ZSTD_BYTES, ZSTD_WINDOW = 256, 8 << 20
PARTITIONS = 100_000  # more than names have room for
LISTED, LETTERS = 200, 2_000  # so many problems are kept in words, and so much of each; all are counted
FINISHED = "finished"  # the last word of a chain that has an end
BAD = -1  # lines of what cannot be unpacked
COUNTS = ("events", "rejects", "duplicates", "filtered", "gaps")
T = TypeVar("T")

_FOLDER = r"dt=(?P<day>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
_NAME_BEGIN = r"(?P<stream>[0-9a-f]{8})-(?P<partition>\d{5})-(?P<first>\d{20})"
_NAME = rf"{_NAME_BEGIN}-(?P<last>\d{{20}})"
MANIFEST = re.compile(rf"(?P<root>.*?)manifests/(?P<kind>[a-z_]+)/{_FOLDER}{_NAME}\.json", re.ASCII)
OBJECT = re.compile(
    rf"(?P<root>.*?)(?P<errors>errors/(?=.*-[0-9a-f]{{8}}\.ndjson))?(?P<kind>[a-z_]+)/{_FOLDER}{_NAME}(-[0-9a-f]{{8}})?\.ndjson(\.gz|\.zst)?",
    re.ASCII,
)
OWN = re.compile(r"(.*/)?_activity/.*", re.DOTALL)  # the claim of the place, and what set-up checks wrote
VENDOR = re.compile(
    r"(?P<root>.*?)(?P<kind>authentication|network_access)/(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00)"
    rf"(-{_NAME_BEGIN}|-(?P<own>\d{{5}}))?\.json(\.gz|\.zst)?",
    re.ASCII,
)


class Unreadable(Exception):  # noqa: N818 - an outcome with a name
    """The place cannot be read; the text says why."""


class Broken(Exception):  # noqa: N818
    """One object cannot be read; the text says why."""


class Missing(Broken):
    """It is not there."""


class Place(Protocol):
    """What is verified.  `keys` raises Unreadable, `read` raises Missing and Broken."""

    name: str

    def keys(self) -> Iterator[str]: ...
    def read(self, key: str) -> Iterator[bytes]: ...


class Directory:
    def __init__(self, path: str) -> None:
        self.name = path
        self._path = Path(path).resolve()
        if not self._path.is_dir():
            raise Unreadable(f"{path} is not a directory; name the one that the destination writes to")

    def keys(self) -> Iterator[str]:
        waiting = [self._path]
        try:
            while waiting:
                for found in sorted(waiting.pop().iterdir()):
                    if found.name.startswith("."):  # what a writer has in hand, and may take away at any moment
                        continue
                    if found.is_symlink() and self._circular(found):
                        continue
                    if found.is_dir():
                        waiting.append(found)
                    elif found.is_file():  # a link may point nowhere
                        yield found.relative_to(self._path).as_posix()
        except OSError as error:
            raise Unreadable(f"{error.filename} cannot be listed ({error.strerror})") from None

    def _circular(self, link: Path) -> bool:
        """Whether it leads to where one comes from."""
        target = link.resolve()
        return any(p.resolve().is_relative_to(target) for p in link.parents if p.is_relative_to(self._path))

    def read(self, key: str) -> Iterator[bytes]:
        try:
            path = self._path / key
            if not path.is_file():
                raise Missing(f"{key} is missing")
            with path.open("rb") as source:
                while piece := source.read(CHUNK):
                    yield piece
        except FileNotFoundError:
            raise Missing(f"{key} is missing") from None
        except OSError as error:
            raise Broken(f"{key} cannot be read ({error.strerror})") from None


class Bucket:
    """`url` is s3://bucket/prefix; `options` go to boto3's client (endpoint_url, region_name, …)."""

    def __init__(self, url: str, client: Any = None, **options: Any) -> None:
        self.name = url
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._client = client or _client(url, **options)

    def keys(self) -> Iterator[str]:
        try:
            listing = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in listing:
                for found in page.get("Contents", ()):
                    yield found["Key"].removeprefix(self._prefix)
        except Exception as error:  # the vendor's errors are of many kinds
            raise Unreadable(
                f"{self.name} cannot be listed ({_code(error)}); {_NEEDS.format('s3:ListBucket')}"
            ) from None

    def read(self, key: str) -> Iterator[bytes]:
        try:
            yield from self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].iter_chunks(CHUNK)
        except Exception as error:
            if (code := _code(error)) in ("NoSuchKey", "NotFound", "404"):
                raise Missing(f"{key} is missing") from None
            raise Broken(f"{key} cannot be read ({code}); {_NEEDS.format('s3:GetObject')}") from None


_NEEDS = "it needs {}, credentials and the right region"


def _code(error: Exception) -> str:
    answer = getattr(error, "response", None)
    code = answer.get("Error", {}).get("Code") if isinstance(answer, dict) else ""
    return code or type(error).__name__


def _client(url: str, **options: Any) -> Any:
    try:
        import boto3  # noqa: PLC0415 - directories need none

        return boto3.client("s3", **options)
    except Exception as error:
        raise Unreadable(f"{url} cannot be reached: {error}") from None


@dataclass
class Findings:
    """What was looked at and what is wrong.  `notes` are no faults."""

    manifests: int = 0
    objects: int = 0
    events: int = 0
    rejects: int = 0
    duplicates: int = 0
    filtered: int = 0
    bytes: int = 0
    uncounted: int = 0  # objects whose lines nothing here can count; their hashes were checked
    through: str = ""  # the hour up to which everything is complete
    faults: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    chains: dict[str, dict[str, Any]] = field(default_factory=dict)  # {partition: first and end offset, newest hour}

    @property
    def ok(self) -> bool:
        return not self.faults

    def wrong(self, line: str) -> None:
        self.faults += 1
        if len(self.problems) < LISTED:
            self.problems.append(line[:LETTERS])


@dataclass(frozen=True)
class Seen:
    """One object, read: `lines` is None if nothing here can unpack it."""

    sha256: str
    size: int
    lines: int | None


@dataclass
class Chain:
    """The manifests of one partition.  `first` and `end` are those of the hours that were asked for, the others of all there are.

    Hours are those in which manifests were written, as far as they were read: a wrong clock may have put them into later ones.
    """

    first: int = 0
    end: int = 0
    named: int = 0  # where the last one ends
    begun: str = ""  # the hour of the first one
    first_key: str = ""
    starts: bool = False  # it says that nothing was before
    hour: str = ""  # of the last one
    key: str = ""
    marker: str = ""  # the last word of the last one that was looked at
    looked_at: str = ""  # its key
    unread: bool = False  # one of them could not be read
    backfill: bool = False
    newer: bool = False  # there are objects of which none tells yet


Advance = Callable[[int, int], None]  # done, of


class Verifier:
    """`since` and `until` bound the hours of manifests, as `2026-03-27T10`; empty: all there are.

    Manifests say in their names which offsets they account for, so all of them are held against each other; those of the hours that were asked for are
    read, with the objects that they name.
    """

    def __init__(
        self, place: Place, *, since: str = "", until: str = "", advance: Advance = lambda _n, _of: None
    ) -> None:
        self.found = Findings()
        self._place = place
        self._since, self._until = since, until or "~"
        self._advance = advance
        # On disk, in a file that vanishes with the process: names alone may be more than memory holds.
        self._db = sqlite3.connect("")
        self._db.executescript("""
            CREATE TABLE there (key TEXT PRIMARY KEY) WITHOUT ROWID;
            CREATE TABLE named (key TEXT PRIMARY KEY) WITHOUT ROWID;
            CREATE TABLE manifests (chain TEXT, hour TEXT, first TEXT, end TEXT, key TEXT, PRIMARY KEY (chain, hour, first, end, key)) WITHOUT ROWID;
            CREATE TABLE hours (delivery TEXT, hour TEXT, PRIMARY KEY (delivery, hour)) WITHOUT ROWID;
        """)
        self._chains: dict[str, Chain] = {}
        # By delivery (root, kind and stream): in which hour its topic was first said to have so many partitions.
        self._partitions: dict[str, dict[int, str]] = {}
        # By root, kind and partition: the newest window or hour of an object that a manifest names, and of how many streams there are manifests.
        self._windows: dict[tuple[str, str, int], str] = {}
        self._streams: dict[tuple[str, str, int], int] = {}
        self._listed_again = False
        # Stretches are looked at by several threads: the lock is for the findings and what follows.
        self._lock = threading.Lock()
        self._broken = 0  # reads in a row that came to nothing
        self._why = ""
        self._answered = False
        self._over = threading.Event()

    def run(self) -> Findings:
        """Raises Unreadable; what was found until then is in `found`."""
        try:
            self._list()
            if self._torn():
                self._list()
            with ThreadPoolExecutor(READERS) as readers:
                try:
                    self._follow(readers)
                except BaseException:
                    self._over.set()  # nobody waits for what is being read
                    raise
            if self._why and not self._answered:
                raise Unreadable(f"{self._place.name}: {self._why}")
            chains = self._chains.values()
            rested = any(c.begun < self._since for c in chains) and any(c.hour >= self._until for c in chains)
            if not self.found.manifests and not rested:
                asked = self._since or self._until != "~"
                self.found.wrong(f"{self._place.name} holds no manifest" + (" of these hours" if asked else ""))
            self._strangers()
            self._judge_ends()
            self._say_how_far()
        except sqlite3.Error as error:
            raise Unreadable(
                f"the names of what lies there cannot be kept ({error}); let TMPDIR name a directory with room"
            ) from None
        return self.found

    def _list(self) -> None:
        def seen() -> Iterator[tuple[str]]:
            for key in map(_printable, self._place.keys()):
                if match := MANIFEST.fullmatch(key):
                    row = _chain(match), _hour(match), match["first"], match["last"], key
                    self._db.execute("INSERT OR IGNORE INTO manifests VALUES (?, ?, ?, ?, ?)", row)
                elif not OWN.fullmatch(key):
                    yield (key,)

        self._db.executemany("INSERT OR IGNORE INTO there VALUES (?)", seen())

    def _torn(self) -> bool:
        """Whether a manifest seems to be missing, by the names: perhaps it came when its place had been listed, and the next one's had not."""
        rows = self._db.execute("SELECT chain, first, end FROM manifests ORDER BY chain, hour, first, end")
        return any(one[0] == two[0] and one[2] < two[1] for one, two in pairwise(rows))

    def _follow(self, readers: ThreadPoolExecutor) -> None:
        """Walk along every chain."""
        window = self._since, self._until
        [[total]] = self._db.execute("SELECT COUNT(*) FROM manifests WHERE hour >= ? AND hour < ?", window)
        rows = self._db.execute("SELECT chain, hour, first, end, key FROM manifests ORDER BY 1, 2, 3, 4, 5")
        for name, manifests in groupby(rows, itemgetter(0)):
            chain = self._chains[name] = Chain()
            expected, after = None, False
            for _, hour, first, end, key in manifests:
                begin, close = int(first), int(end)
                inside = self._since <= hour < self._until
                if expected is not None and (inside or (hour >= self._until and not after)):
                    self._follows(name, expected, begin, "manifest")
                after, written = hour >= self._until, hour
                if inside:
                    self._advance(self.found.manifests, total)
                    written = min(hour, self._manifest(name, key, readers, begins=expected is None) or hour)
                    chain.end = max(close, chain.end)
                    told = self.found.chains.setdefault(name, {"first": begin})
                    told.update(end=chain.end, through=written)
                chain.begun, chain.first_key = chain.begun or written, chain.first_key or key
                chain.hour, chain.key = written, key
                chain.named = expected = max(close, chain.named)
                row = name.rpartition("-")[0], written
                self._db.execute("INSERT OR IGNORE INTO hours VALUES (?, ?)", row)
        self._advance(total, total)

    def _follows(self, chain: str, expected: int, got: int, what: str) -> None:
        if got > expected:
            self.found.wrong(f"{chain}: gap, no {what} covers offsets [{expected}, {got})")
        elif got < expected:
            self.found.wrong(f"{chain}: overlap, a second {what} covers offsets [{got}, {expected})")

    def _manifest(self, name: str, key: str, readers: ThreadPoolExecutor, *, begins: bool) -> str:
        """Look at one manifest and at what it names; answers the hour in which it says that it was written."""
        match, chain = MANIFEST.fullmatch(key), self._chains[name]
        assert match is not None
        first, end, hour = int(match["first"]), int(match["last"]), _hour(match)
        if name not in self.found.chains:
            chain.first = first
        self.found.manifests += 1
        try:
            told = _parsed(self._again(lambda: self._whole(key)), match)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            chain.unread = True
            self.found.wrong(f"{key} cannot be read as a manifest ({type(error).__name__}: {str(error)[:300]})")
            return ""
        except Broken as error:
            chain.unread = True
            self.found.wrong(str(error))
            return ""
        entries = told["entries"]
        self._name(name, entries)
        chain.marker, chain.looked_at, chain.backfill = told["marker"], key, told["backfill"]
        if told["partitions"]:
            since, count = self._partitions.setdefault(name.rpartition("-")[0], {}), told["partitions"]
            since[count] = min(hour, since.get(count, hour))
        said = told.get("kind"), told.get("stream"), told.get("partition"), told["first"], told["end"], told["hour"]
        if said != (match["kind"], match["stream"], int(match["partition"]), first, end, hour):
            self.found.wrong(f"{key} does not say what its name says")
        if begins and told["starts"]:
            chain.first, chain.starts = 0, True
        elif begins and not self._since:
            self.found.wrong(
                f"{name} begins at offset {first} without a start: earlier manifests are missing "
                "(if they were deleted on purpose, verify with --from)"
            )
        at = first
        for entry in entries:
            self._follows(name, at, entry["first"], "entry")
            at = entry["end"]
        self._follows(name, at, end, "end")
        self._add_up(key, told)
        for entry, problems in zip(entries, readers.map(self._entry, entries), strict=True):
            for problem in problems:
                self.found.wrong(f"{name} [{entry['first']}, {entry['end']}): {problem}")
        return str(told["written"])

    def _name(self, chain: str, entries: list[dict[str, Any]]) -> None:
        """Remember what is named; attempts at one stretch share what others of it name."""
        for entry in entries:
            keys = {o["key"] for attempt in _attempts(entry) for o in attempt["objects"]}
            for key in sorted(keys):
                if not self._db.execute("INSERT OR IGNORE INTO named VALUES (?)", (key,)).rowcount:
                    self.found.wrong(f"{chain} [{entry['first']}, {entry['end']}): {key} is named a second time")
                if match := OBJECT.fullmatch(key) or VENDOR.fullmatch(key):
                    place, at = _place_of(match), match["at"] if match.re is VENDOR else _hour(match)
                    self._windows[place] = max(at, self._windows.get(place, ""))

    def _add_up(self, key: str, told: dict[str, Any]) -> None:
        """Hold the totals against the entries; an entry that says too little is at fault itself."""
        delivered = [e for e in told["entries"] if e["kind"] == "events"]
        try:
            added = {n: sum(e[n] for e in delivered) for n in COUNTS}
        except (KeyError, TypeError):
            return
        added["objects"] = sum(len(e["objects"]) for e in delivered)
        added["lost"] = sum(e["end"] - e["first"] for e in told["entries"] if e["kind"] == "lost")
        for name, count in added.items():
            if (total := told["totals"].get(name, count)) != count:
                self.found.wrong(f"{key} says {total} {name} in total, its entries say {count}")

    def _entry(self, entry: dict[str, Any]) -> list[str]:
        """What is wrong with one stretch; called from several threads."""
        try:
            return self._judge(entry)
        except (KeyError, TypeError, AttributeError) as error:
            return [f"the manifest's entry cannot be read ({type(error).__name__})"]
        except Broken as error:
            return [str(error)]

    def _judge(self, entry: dict[str, Any]) -> list[str]:
        if entry["kind"] == "start":
            return []
        if entry["kind"] == "lost":
            return ["lost: retention took these offsets from the source before they were delivered"]
        attempts, wrong = _attempts(entry), []
        for attempt in attempts:
            counts = [attempt[n] for n in COUNTS]
            if any(type(n) is not int or n < 0 for n in counts):
                wrong.append(f"the manifest says {counts} of {', '.join(COUNTS)}")
            elif sum(counts) != entry["end"] - entry["first"]:
                wrong.append(f"the manifest accounts for {sum(counts)} of {entry['end'] - entry['first']} offsets")
            wrong += [
                f"the manifest says {attempt[of]} {of}, and {lines} lines of them"
                for of in ("events", "rejects")
                if (lines := _object(attempt, of).get("lines", 0)) != attempt[of]
            ]
        chosen = self._chosen(entry, attempts, wrong)
        if chosen is not None and not wrong:
            with self._lock:
                for count in ("events", "rejects", "duplicates", "filtered"):
                    setattr(self.found, count, getattr(self.found, count) + chosen[count])
        return wrong

    def _chosen(self, entry: dict[str, Any], attempts: list[dict[str, Any]], wrong: list[str]) -> dict[str, Any] | None:
        """The attempt whose documents lie there."""
        with_events = [a for a in attempts if _object(a, "events")]
        key = _object(with_events[0], "events")["key"] if with_events else ""
        seen = self._look(key) if key else None
        if seen is None:
            unknown = entry.get("outcome") == "unknown"
            candidates = [a for a in attempts if not _object(a, "events") and not (key and unknown)]
            if not candidates:
                gone = "; its source was gone before anybody could know" if unknown else ""
                wrong.append(f"{key} is missing{gone}")
                return None
        else:
            candidates = [a for a in with_events if _object(a, "events")["sha256"] == seen.sha256]
            if not candidates:
                wrong.append(
                    f"{key} has SHA-256 {seen.sha256}, the manifest says {_object(with_events[0], 'events')['sha256']}"
                )
                return None
            self._count(key, _object(candidates[0], "events"), seen, wrong)
        # They may differ in their rejects alone; who cut and died has put none.
        looked = ((a, r, self._look(r["key"]) if r else None) for a in candidates for r in [_object(a, "rejects")])
        chosen, rejects, lying = next(
            (found for found in looked if not found[1] or found[2] is not None),
            (candidates[0], _object(candidates[0], "rejects"), None),
        )
        if rejects:
            if lying is None:
                wrong.append(f"{rejects['key']} is missing")
            elif lying.sha256 != rejects["sha256"]:
                wrong.append(f"{rejects['key']} has SHA-256 {lying.sha256}, the manifest says {rejects['sha256']}")
            else:
                self._count(rejects["key"], rejects, lying, wrong)
        return chosen

    def _count(self, key: str, told: dict[str, Any], seen: Seen, wrong: list[str]) -> None:
        with self._lock:
            self.found.objects += 1
            self.found.bytes += seen.size
            self.found.uncounted += seen.lines is None
        if seen.size != told["bytes"]:
            wrong.append(f"{key} has {seen.size} bytes, the manifest says {told['bytes']}")
        if seen.lines == BAD:
            wrong.append(f"{key} cannot be unpacked")
        elif seen.lines not in (None, told["lines"]):
            wrong.append(f"{key} has {seen.lines} lines, the manifest says {told['lines']}")

    def _look(self, key: str) -> Seen | None:
        """One object, read through; None if it is not there.  What was listed does not count: it may have come since."""
        try:
            return self._again(lambda: self._read(key))
        except Missing:
            return None

    def _read(self, key: str) -> Seen:
        digest, size, lines = hashlib.sha256(), 0, None

        def stored() -> Iterator[bytes]:
            nonlocal size
            for piece in self._pieces(key):
                digest.update(piece)
                size += len(piece)
                yield piece

        pieces = stored()
        if unpack := _unpacker(key):
            try:
                lines = sum(text.count(b"\n") for text in unpack(pieces))
            except ValueError:
                lines = BAD
        for _ in pieces:
            pass  # what cannot be unpacked has a hash as well
        return Seen(digest.hexdigest(), size, lines)

    def _whole(self, key: str) -> bytes:
        body = b""
        for piece in self._pieces(key):
            body += piece
            if len(body) > MANIFEST_BYTES:
                raise ValueError("longer than any")
        return body

    def _pieces(self, key: str) -> Iterator[bytes]:
        for piece in self._place.read(key):
            if self._over.is_set():
                raise Broken(f"{key} was not read to its end")
            yield piece

    def _again(self, read: Callable[[], T]) -> T:
        """What is read, if need be from its beginning once more: one connection in many breaks.  Raises Missing, Broken, Unreadable."""
        for seconds in (*PAUSES, None):
            try:
                answer = read()
            except Missing:
                raise
            except Broken as error:
                if seconds is None:
                    self._count_broken(error)
                self._over.wait(seconds)
            else:
                self._broken, self._answered = 0, True
                return answer
        raise AssertionError("unreachable")

    def _count_broken(self, error: Broken) -> NoReturn:
        """One that cannot be read is a finding; if none can, nothing is known about the delivery."""
        with self._lock:
            self._broken, self._why = self._broken + 1, str(error)
            if self._broken >= GIVE_UP[not self._answered]:
                raise Unreadable(f"{self._place.name}: {error}")
        raise error

    def _strangers(self) -> None:
        """What lies there and is named by no manifest."""
        others = newer = doubtful = 0
        newest = ""
        self._count_streams()
        for (key,) in self._db.execute("SELECT key FROM there EXCEPT SELECT key FROM named ORDER BY key"):
            match = OBJECT.fullmatch(key) or VENDOR.fullmatch(key)
            if match is None:
                others += 1
                continue
            match self._stranger(match):
                case "another's":
                    others += 1
                case "newer":
                    newer += 1
                    newest = max(newest, _hour(match))
                case "doubtful":
                    doubtful += 1
                case "alone":
                    self.found.wrong(f"{key} lies there, and not one manifest of its partition")
                case "strange":
                    self.found.wrong(f"{key} is named by no manifest, though its offsets are accounted for")
        if newer:
            self.found.notes.append(
                f"{newer} objects, up to {newest}, are newer than the last manifest and not verified yet"
            )
        if doubtful:
            self.found.notes.append(
                f"{doubtful} objects may be named by manifests that are not there or cannot be read"
            )
        if others:
            self.found.notes.append(f"{others} objects are no part of a delivery and were left alone")

    def _stranger(self, match: re.Match[str]) -> str:
        """What an object is that no manifest names.  Its time says nothing: it is that of its records."""
        if not match["first"]:
            return self._unnumbered(match)
        name, first = _chain(match), int(match["first"])
        end = int(match["last"]) + 1 if match.re is OBJECT else first + 1
        chain = self._known(lambda: self._chains.get(name))
        if chain is None:
            return self._alone(match)
        if first >= chain.named:
            chain.newer = True
            return "newer"
        if end <= chain.first or first >= chain.end:
            return "of other hours"
        return "doubtful" if chain.unread else "strange"

    def _alone(self, match: re.Match[str]) -> str:
        """One of whose partition there is no manifest at all; a rule may have deleted the manifests before the objects."""
        return "of other hours" if _hour(match) < self._since else "alone"

    def _unnumbered(self, match: re.Match[str]) -> str:
        """One in the vendor's naming without offsets: nothing says which manifest is to name it, but for the windows that others name."""
        place = _place_of(match)
        streams = self._known(lambda: self._streams.get(place))
        if streams is None and not any(root == match["root"] for root, _, _ in self._streams):
            return "another's"  # the vendor's own sync calls its objects so
        if streams is None:
            return self._alone(match)
        if self._since or self._until != "~":
            return "of other hours"
        if match["at"] > self._windows.get(place, ""):
            return "newer"
        return "doubtful" if streams > 1 else "strange"

    def _known(self, ask: Callable[[], T]) -> T:
        """A chain's first manifest comes before its first object, but was perhaps listed before: what is not known is looked for once more."""
        if not (answer := ask()) and not self._listed_again:
            self._listed_again = True
            self._list()
            for name, begun in self._db.execute("SELECT chain, MIN(hour) FROM manifests GROUP BY chain"):
                self._chains.setdefault(name, Chain(begun=begun, hour="~", starts=True))
            self._count_streams()
            answer = ask()
        return answer

    def _count_streams(self) -> None:
        self._streams.clear()
        for name in self._chains:
            place = *_root_and_kind(name), int(name[-5:])
            self._streams[place] = self._streams.get(place, 0) + 1

    def _judge_ends(self) -> None:
        """Hold the chains of each delivery against each other: every partition has a manifest for every hour in which any other has one.

        One that others have for two hours since is missing: they do not come at the same moment, nor begin again at the same moment after a rest.
        """
        deliveries: dict[str, list[Chain]] = {}
        for name, chain in self._chains.items():
            deliveries.setdefault(name.rpartition("-")[0], []).append(chain)
        for delivery, since in self._partitions.items():
            finished = all(chain.backfill and chain.marker == FINISHED for chain in deliveries[delivery])
            known = waiting = 0
            for count, hour in sorted(since.items()):
                for name in (f"{delivery}-{n:05d}" for n in range(known, count)):
                    begun = self._chains[name].begun if name in self._chains else ""
                    lacks = self._passed(delivery, hour, begun or "~") or (finished and not begun)
                    if lacks and not (begun and self._starts(self._chains[name])):
                        late = f" before {begun}" if begun else ""
                        self.found.wrong(f"{name} has no manifest{late}, though its topic had this partition in {hour}")
                    elif not begun:
                        waiting += 1
                known = max(known, count)
            if waiting:
                self.found.notes.append(f"{waiting} partitions of {delivery} have no manifest yet")
        for name, chain in sorted(self._chains.items()):
            self._judge_end(name, chain)
        self._compare_kinds(deliveries)

    def _judge_end(self, name: str, chain: Chain) -> None:
        if chain.hour >= self._until:
            return
        if chain.backfill and chain.key == chain.looked_at and (chain.marker != FINISHED or chain.newer):
            self.found.wrong(
                f"{name}: the backfill has not come to its end; wait for it, give its command once more, or delete its folder"
            )
            return
        newest = self._passed(name.rpartition("-")[0], chain.hour, self._until if chain.hour >= self._since else "~")
        if newest and not self._finished(chain):
            self.found.wrong(
                f"{name}: nothing is accounted for after {chain.hour}, though other partitions go on to {newest}"
            )

    def _finished(self, chain: Chain) -> bool:
        """Whether there is to be no more of it; its last manifest may be of other hours than those that were asked for."""
        if chain.key != chain.looked_at:
            told = self._told(chain.key)
            chain.marker, chain.backfill = told.get("marker", ""), told.get("backfill", False)
        return chain.backfill and chain.marker == FINISHED

    def _starts(self, chain: Chain) -> bool:
        """Whether nothing was before its first manifest, which may be of other hours as well."""
        return chain.starts or self._told(chain.first_key).get("starts", False)

    def _told(self, key: str) -> dict[str, Any]:
        """What a manifest of other hours says; nothing if it cannot be read."""
        match = MANIFEST.fullmatch(key)
        assert match is not None
        try:
            return _parsed(self._again(lambda: self._whole(key)), match)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Broken):
            return {}

    def _passed(self, delivery: str, hour: str, until: str) -> str:
        """The newest hour in which others have a manifest, if there are two of them since; else nothing."""
        [[count, newest]] = self._db.execute(
            "SELECT COUNT(*), MAX(hour) FROM hours WHERE delivery = ? AND hour > ? AND hour < ?",
            (delivery, hour, until),
        )
        return str(newest) if count > 1 else ""

    def _say_how_far(self) -> None:
        """Of several destinations the one that is behind says how far all are; a backfill says so only if there is nothing else."""
        live: dict[str, str] = {}
        ended = ""
        for name, told in self.found.chains.items():
            root, _ = _root_and_kind(name)
            if self._chains[name].backfill:
                ended = max(told["through"], ended)
            else:
                live[root] = max(told["through"], live.get(root, ""))
        self.found.through = min(live.values(), default=ended)

    def _compare_kinds(self, deliveries: dict[str, list[Chain]]) -> None:
        """A kind may end because nobody wants it any more, which only the owner of the destination knows."""
        roots: dict[str, dict[str, str]] = {}
        longest: dict[str, tuple[str, str]] = {}
        for delivery, chains in deliveries.items():
            if not any(chain.backfill for chain in chains):
                root, kind = _root_and_kind(delivery)
                newest = max(chain.hour for chain in chains)
                kinds = roots.setdefault(root, {})
                kinds[kind] = max(newest, kinds.get(kind, ""))
                longest[root] = max((newest, delivery), longest.get(root, ("", "")))
        for root, kinds in sorted(roots.items()):
            for kind, hour in sorted(kinds.items()):
                if newest := self._passed(longest[root][1], hour, self._until):
                    note = f"{root}{kind} ends with {hour}, though others go on to {newest}: right if nobody asks for it any more"
                    self.found.notes.append(note)


def _printable(key: str) -> str:
    """What is no text, such as some names of files, gets escapes: nothing that was delivered is called so."""
    return key.encode(errors="backslashreplace").decode()


def _chain(match: re.Match[str]) -> str:
    return f"{match['root']}{match['kind']}/{match['stream']}-{match['partition']}"


def _hour(match: re.Match[str]) -> str:
    return match["at"][:13] if match.re is VENDOR else f"{match['day']}T{match['hour']}"


def _root_and_kind(delivery: str) -> tuple[str, str]:
    path = delivery.rpartition("/")[0]
    at = path.rfind("/") + 1
    return path[:at], path[at:]


def _place_of(match: re.Match[str]) -> tuple[str, str, int]:
    """Root, kind and partition of an object."""
    return match["root"], match["kind"], int(match["partition"] or (match.re is VENDOR and match["own"]) or 0)


def _parsed(body: bytes, match: re.Match[str]) -> dict[str, Any]:
    """A manifest whose offsets and names can be relied on; what else its entries say is looked at one by one.  Keys are made relative to where one
    looks from: it lies below the root of its own key, `match`, with its objects.  `marker` is its last word, `hour` and `written` are hours.  Raises
    ValueError, KeyError, TypeError, AttributeError, RecursionError.
    """
    told: dict[str, Any] = json.loads(body, parse_int=_integer)
    if told["version"] != VERSION:
        raise ValueError(f"its version is {told['version']}, this verifier knows {VERSION}")
    for stretch in (told, *told["entries"]):
        first, end = stretch["first"], stretch["end"]
        if not type(first) is type(end) is int or not 0 <= first <= end:
            raise ValueError("offsets are whole numbers, and an end comes after its beginning")
    for entry in told["entries"]:
        if entry["kind"] not in ("start", "events", "lost"):
            raise ValueError(f"an entry of no known kind, {entry['kind']}")
        if entry["kind"] == "start" and entry["first"] != entry["end"]:
            raise ValueError("a start that takes up offsets")
        for attempt in _attempts(entry):
            for lying in attempt["objects"]:
                lying["key"] = match["root"] + _own(lying, entry, match)
            if len({o["of"] for o in attempt["objects"]}) < len(attempt["objects"]):
                raise ValueError("two objects for the same")
        if len({_object(a, "events")["key"] for a in _attempts(entry) if _object(a, "events")}) > 1:
            raise ValueError("two names for the same")
    told["marker"] = ([m["what"] for m in told.get("markers", ())] or [""])[-1]
    if not type(told["hour"]) is type(told["written_at"]) is str:
        raise TypeError("times are texts")
    told["hour"], told["written"] = told["hour"][:13], told["written_at"][:13]
    told["backfill"] = bool(told.get("backfill"))
    told["starts"] = bool(told["entries"]) and told["entries"][0]["kind"] == "start"
    told["totals"] = dict(told.get("totals", {}))
    told["partitions"] = told.get("partitions", 0)
    if type(told["partitions"]) is not int or not 0 <= told["partitions"] <= PARTITIONS:
        raise ValueError("not a number of partitions")
    return told


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _own(lying: dict[str, Any], entry: dict[str, Any], manifest: re.Match[str]) -> str:
    """The key of an object, without its root.  Raises ValueError if it is not one that this manifest's entry can name."""
    key: str = lying["key"]
    if len(key.encode()) > KEY_BYTES:
        raise ValueError("the name of an object is longer than any")
    match = OBJECT.fullmatch(key) or VENDOR.fullmatch(key)
    if match is None:
        raise ValueError(f"not the name of an object: {key}")
    if match.re is OBJECT:
        place = match["stream"], match["partition"], int(match["first"]), int(match["last"]) + 1
    else:  # what the vendor's naming does not say cannot be wrong
        first = int(match["first"] or entry["first"])
        place = match["stream"] or manifest["stream"], f"{_place_of(match)[2]:05d}", first, entry["end"]
    of = "rejects" if match.re is OBJECT and match["errors"] else "events"
    said = manifest["kind"], lying["of"], manifest["stream"], manifest["partition"], entry["first"], entry["end"]
    if (match["kind"], of, *place) != said:
        raise ValueError(f"no object of these offsets: {key}")
    return key[len(match["root"]) :]


def _attempts(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry, *entry.get("other_attempts", ())] if entry["kind"] == "events" else []


def _object(attempt: dict[str, Any], of: str) -> dict[str, Any]:
    return next((o for o in attempt["objects"] if o["of"] == of), {})


Unpack = Callable[[Iterator[bytes]], Iterator[bytes]]


def _unpacker(key: str) -> Unpack | None:
    """What turns pieces as stored into small pieces of text, and raises ValueError where they are not whole; None if it cannot be done here."""
    if key.endswith(".gz"):
        return _gzip
    if key.endswith(".zst"):
        try:
            import zstandard  # noqa: F401, PLC0415 - not everybody has it
        except ImportError:
            return None
        return _zstd
    return lambda pieces: pieces


def _gzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(31)
    try:
        for piece in pieces:
            while piece:
                if inflate.eof:
                    raise ValueError("it goes on after its end")  # zlib would keep all of it
                yield inflate.decompress(piece, CHUNK)
                piece = inflate.unconsumed_tail or inflate.unused_data  # noqa: PLW2901
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not inflate.eof:
        raise ValueError("its end is missing")


def _zstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415

    reader = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
    try:
        for piece in pieces:
            for at in range(0, len(piece), ZSTD_BYTES):
                yield reader.decompress(piece[at : at + ZSTD_BYTES])
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
    if not reader.eof or reader.unused_data:
        raise ValueError("its end is missing, or is not the end")


def place_of(where: str, **options: Any) -> Place:
    return Bucket(where, **options) if where.startswith("s3://") else Directory(where)


def hour_of(text: str, *, up: bool = False) -> str:
    """`2026-03-27`, or an instant in UTC, as the hour it lies in, or (`up`, for ends) the first that does not begin before it.  Raises ValueError."""
    if not text:
        return ""
    at = datetime.fromisoformat(text)
    try:
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        at += timedelta(hours=1, microseconds=-1) if up else timedelta()
    except OverflowError:
        raise ValueError("beyond every year") from None
    return at.isoformat()[:13]


def problems_of(found: Findings) -> Iterator[str]:
    for problem in found.problems:
        yield _shown(f"WRONG: {problem}")
    if found.faults > len(found.problems):
        yield f"… and {found.faults - len(found.problems)} more"


def _shown(line: str) -> str:
    """What lies there may be called so that a terminal would do something."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def lines_of(found: Findings) -> Iterator[str]:
    """The findings for a person."""
    yield from problems_of(found)
    for name, chain in sorted(found.chains.items()):
        yield _shown(f"{name}: offsets [{chain['first']}, {chain['end']}), manifests up to {chain['through']}")
    yield from map(_shown, found.notes)
    yield (
        f"{found.manifests} manifests, {found.objects} objects, {found.events} events, {found.rejects} rejects, "
        f"{found.duplicates} duplicates left out, {found.filtered} not wanted"
    )
    counted = "every hash and count right"
    if found.uncounted:
        counted = f"every hash right (without zstandard the lines of {found.uncounted} objects were not counted)"
    through = f" up to {found.through}" if found.through else " (these hours have no manifest, and none is missing)"
    yield "NOT COMPLETE" if found.faults else f"complete{through}: no gap, no overlap, {counted}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Prove a delivery from what lies in the bucket alone.")
    parser.add_argument("where", help="s3://bucket/prefix or a directory")
    parser.add_argument("--from", dest="since", default="", help="first hour of manifests, UTC (2026-03-27T10:00)")
    parser.add_argument("--to", dest="until", default="", help="end, exclusive; rounded up to an hour")
    parser.add_argument("--endpoint-url", default=None)
    parser.add_argument("--region", default=None)
    asked = parser.parse_args(arguments)
    options = {k: v for k, v in (("endpoint_url", asked.endpoint_url), ("region_name", asked.region)) if v}
    try:
        since, until = hour_of(asked.since), hour_of(asked.until, up=True)
    except ValueError:
        parser.error("--from and --to are days or instants, such as 2026-03-27 or 2026-03-27T10:00")

    def advance(done: int, of: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done} of {of} manifests" + ("\n" if done == of else ""))

    verifier = None
    try:
        verifier = Verifier(place_of(asked.where, **options), since=since, until=until, advance=advance)
        found = verifier.run()
    except Unreadable as error:
        _say(problems_of(verifier.found) if verifier is not None else ())
        sys.stderr.write(_printable(f"{error}\n"))
        return 2
    except KeyboardInterrupt:
        return 130
    _say(lines_of(found))
    return 0 if found.ok else 1


def _say(lines: Iterable[str]) -> None:
    """To whoever reads it, in whatever letters they have, and as far as they read."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        for line in lines:
            sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is not wanted either


if __name__ == "__main__":
    sys.exit(main())
