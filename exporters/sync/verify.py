"""Prove a delivery from what lies in the bucket alone: `python verify.py s3://bucket/prefix` (or a directory).

This file is complete in itself: the standard library, and boto3 for buckets (zstandard to look inside .zst objects).  It only reads.

Manifests account for every offset of the source: objects, duplicates, rejects, offsets without a record.  Verified is that they follow one another
without gap or overlap from where the delivery began and in every partition as far as in the others, that every object they name is there with one of
the hashes they name and as many lines, that the counts of each stretch add up to its length, and that nothing else lies among the objects.  Memory does
not grow with the bucket.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sqlite3
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

CHUNK = 1 << 20
READERS = 8
PAUSES = (0.0, 2.0)  # seconds before an object is read a second and a third time
# A few bytes of zstd may say a block of 128 KiB: what so many come to can be held by every reader, and so can their window.
ZSTD_BYTES, ZSTD_WINDOW = 256, 8 << 20
PARTITIONS = 100_000  # more than names have room for
LISTED = 200  # so many problems are kept in words; all are counted
COUNTS = ("events", "rejects", "duplicates", "filtered", "gaps")
T = TypeVar("T")

_FOLDER = r"dt=(?P<day>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
_NAME_BEGIN = r"(?P<stream>[0-9a-f]{8})-(?P<partition>\d{5})-(?P<first>\d{20})"
_NAME = rf"{_NAME_BEGIN}-(?P<last>\d{{20}})"
MANIFEST = re.compile(rf"(?P<root>.*?)manifests/(?P<kind>[a-z_]+)/{_FOLDER}{_NAME}\.json")
OBJECT = re.compile(
    rf"(?P<root>.*?)(?P<errors>errors/)?(?P<kind>[a-z_]+)/{_FOLDER}{_NAME}(-[0-9a-f]{{8}})?\.ndjson(\.gz|\.zst)?"
)
VENDOR = re.compile(
    r"(?P<root>.*?)(?P<kind>authentication|network_access)/(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00)"
    rf"(-{_NAME_BEGIN}|-(?P<own>\d{{5}}))?\.json(\.gz|\.zst)?"
)


class Unreadable(Exception):  # noqa: N818 - an outcome with a name
    """What is to be verified cannot be read; the text says why."""


class Place(Protocol):
    """What is verified."""

    name: str

    def keys(self) -> Iterator[tuple[str, int]]: ...
    def read(self, key: str) -> Iterator[bytes]: ...


class Directory:
    def __init__(self, path: str) -> None:
        self.name = path
        self._path = Path(path)
        if not self._path.is_dir():
            raise Unreadable(f"{path} is not a directory; name the one that the destination writes to")

    def keys(self) -> Iterator[tuple[str, int]]:
        waiting = [self._path]
        try:
            while waiting:
                for found in sorted(waiting.pop().iterdir()):
                    if found.name.startswith("."):  # what a writer has in hand, and may take away at any moment
                        continue
                    if found.is_dir():
                        waiting.append(found)
                    elif found.exists():  # a link may point nowhere
                        yield found.relative_to(self._path).as_posix(), found.stat().st_size
        except OSError as error:
            raise Unreadable(f"{error.filename} cannot be listed ({error.strerror})") from None

    def read(self, key: str) -> Iterator[bytes]:
        try:
            with (self._path / key).open("rb") as source:
                while piece := source.read(CHUNK):
                    yield piece
        except OSError as error:
            raise Unreadable(f"{self._path / key} cannot be read ({error.strerror})") from None


class Bucket:
    """`url` is s3://bucket/prefix; `options` go to boto3's client (endpoint_url, region_name, …)."""

    def __init__(self, url: str, client: Any = None, **options: Any) -> None:
        self.name = url
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._client = client or _client(url, **options)

    def keys(self) -> Iterator[tuple[str, int]]:
        listing = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        pages = iter(listing)
        while (page := self._asked(lambda: next(pages, None), "listed", "s3:ListBucket")) is not None:
            for found in page.get("Contents", ()):
                yield found["Key"].removeprefix(self._prefix), found["Size"]

    def read(self, key: str) -> Iterator[bytes]:
        whole = {"Bucket": self._bucket, "Key": self._prefix + key}
        body = self._asked(lambda: self._client.get_object(**whole)["Body"], f"read at {key}", "s3:GetObject")
        pieces = body.iter_chunks(CHUNK)
        while (piece := self._asked(lambda: next(pieces, None), f"read at {key}", "s3:GetObject")) is not None:
            yield piece

    def _asked(self, ask: Callable[[], Any], what: str, needs: str) -> Any:
        """The vendor's errors are of many kinds; each ends the verification with one line."""
        try:
            return ask()
        except Exception as error:
            answer = getattr(error, "response", None)
            code = (answer.get("Error", {}).get("Code") if isinstance(answer, dict) else "") or type(error).__name__
            raise Unreadable(
                f"{self.name} cannot be {what} ({code}); it needs {needs}, credentials and the right region"
            ) from None


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
    faults: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    chains: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.faults

    def wrong(self, line: str) -> None:
        self.faults += 1
        if len(self.problems) < LISTED:
            self.problems.append(_printable(line))


@dataclass(frozen=True)
class Seen:
    """One object, read: `lines` is None if nothing here can unpack it."""

    sha256: str
    size: int
    lines: int | None


Advance = Callable[[int, int], None]  # done, of


class Verifier:
    """`since` and `until` bound the hours of manifests, as `2026-03-27T10`; empty: all there are."""

    def __init__(
        self, place: Place, *, since: str = "", until: str = "", advance: Advance = lambda _n, _of: None
    ) -> None:
        self.found = Findings()
        self._place = place
        self._since, self._until = since, until
        self._advance = advance
        # On disk, in a file that vanishes with the process: names alone may be more than memory holds.
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute("CREATE TABLE there (key TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID")
        self._db.execute("CREATE TABLE named (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._lock = threading.Lock()  # of the findings and the names: stretches are looked at by several threads
        # Of whole deliveries, by root, kind and stream: the two newest hours of manifests, and since when the topic is said to have so many partitions.
        self._hours: dict[str, list[str]] = {}
        self._partitions: dict[str, dict[int, str]] = {}
        # Of chains: the hour of the last manifest, and whether it is the one with which the delivery stopped.
        self._ends: dict[str, str] = {}
        self._stopped: dict[str, bool] = {}
        # The newest window that a manifest names, by root, kind and partition.
        self._windows: dict[tuple[str, str, int], str] = {}

    def run(self) -> Findings:
        keys = self._place.keys()
        self._db.executemany("INSERT OR IGNORE INTO there VALUES (?, ?)", ((_printable(k), size) for k, size in keys))
        rows = self._db.execute("SELECT key FROM there WHERE key LIKE '%manifests/%' ORDER BY key")
        manifests = ((key, match) for (key,) in rows if (match := MANIFEST.fullmatch(key)))
        total = sum(1 for (key,) in self._db.execute("SELECT key FROM there") if MANIFEST.fullmatch(key))
        with ThreadPoolExecutor(READERS) as readers:
            for n, (key, match) in enumerate(manifests):
                self._advance(n, total)
                hour = f"{match['day']}T{match['hour']}"
                later = bool(self._until) and hour >= self._until
                if not later:
                    self._ends[_chain(match)] = hour  # they come in the order of their hours
                if hour >= self._since:
                    self._manifest(key, match, hour, readers, only_names=later)
        self._advance(total, total)
        if not self.found.manifests:
            self.found.wrong(
                f"{self._place.name} holds no manifest" + (" of these hours" if self._since or self._until else "")
            )
        self._strangers()
        self._judge_ends()
        return self.found

    def _manifest(
        self, key: str, match: re.Match[str], hour: str, readers: ThreadPoolExecutor, *, only_names: bool
    ) -> None:
        chain = _chain(match)
        if not only_names:
            hours = self._hours.setdefault(chain.rpartition("-")[0], [])
            hours[:] = sorted({*hours, hour})[-2:]
        try:
            told = _parsed(self._again(lambda: b"".join(self._place.read(key))), match["root"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.found.wrong(f"{key} cannot be read as a manifest ({type(error).__name__})")
            return
        first, end, entries = told["first"], told["end"], told["entries"]
        self._name([o["key"] for e in entries for a in _attempts(e) for o in a["objects"]])
        if only_names:
            self.found.chains.setdefault(chain, {"first": first, "end": end})["named"] = end
            return
        self._stopped[chain] = told["markers"][-1:] == ["stopped"]
        if told["partitions"]:
            self._partitions.setdefault(chain.rpartition("-")[0], {}).setdefault(told["partitions"], hour)
        self.found.manifests += 1
        said = (told.get("stream"), told.get("partition"), first, end)
        if said != (match["stream"], int(match["partition"]), int(match["first"]), int(match["last"])):
            self.found.wrong(f"{key} does not say what its name says")
        known = self.found.chains.get(chain)
        if known is None:
            known = self.found.chains[chain] = {"first": first, "end": first}
            if not self._since and (not entries or entries[0]["kind"] != "start"):
                self.found.wrong(
                    f"{chain} begins at offset {first} without a start: earlier manifests are missing "
                    "(if they were deleted on purpose, verify with --from)"
                )
        self._follows(chain, known["end"], first, "manifest")
        known["end"] = known["named"] = max(end, known["end"])
        at = first
        for entry in entries:
            self._follows(chain, at, entry["first"], "entry")
            at = entry["end"]
        self._follows(chain, at, end, "end")
        self._add_up(key, told)
        for entry, problems in zip(entries, readers.map(self._entry, entries), strict=True):
            for problem in problems:
                self.found.wrong(f"{chain} [{entry.get('first')}, {entry.get('end')}): {problem}")

    def _name(self, keys: list[str]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO named VALUES (?)", ((key,) for key in keys))
        for match in filter(None, map(VENDOR.fullmatch, keys)):
            place = _window_of(match)
            self._windows[place] = max(match["at"], self._windows.get(place, ""))

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

    def _follows(self, chain: str, expected: int, got: int, what: str) -> None:
        if got > expected:
            self.found.wrong(f"{chain}: gap, no {what} covers offsets [{expected}, {got})")
        elif got < expected:
            self.found.wrong(f"{chain}: overlap, a second {what} covers offsets [{got}, {expected})")

    def _entry(self, entry: dict[str, Any]) -> list[str]:
        """What is wrong with one stretch; called from several threads."""
        try:
            return self._judge(entry)
        except (KeyError, TypeError, AttributeError) as error:
            return [f"the manifest's entry cannot be read ({type(error).__name__})"]

    def _judge(self, entry: dict[str, Any]) -> list[str]:
        if entry["kind"] == "start":
            return []
        if entry["kind"] == "lost":
            return ["lost: retention took these offsets from the source before they were delivered"]
        attempts, wrong = _attempts(entry), []
        for attempt in attempts:
            told = sum(attempt[n] for n in COUNTS)
            if told != entry["end"] - entry["first"]:
                wrong.append(f"the manifest accounts for {told} of {entry['end'] - entry['first']} offsets")
            wrong += [
                f"the manifest says {attempt[of]} {of}, and {lines} lines of them"
                for of in ("events", "rejects")
                if (lines := _object(attempt, of).get("lines", 0)) != attempt[of]
            ]
        chosen = self._chosen(entry, attempts, wrong)
        if chosen is not None:
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
            candidates = [a for a in attempts if not _object(a, "events")]
            if not candidates:
                gone = "; its source was gone before anybody could know" if entry.get("outcome") == "unknown" else ""
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
        chosen = next(
            (a for a in candidates if not (r := _object(a, "rejects")) or self._lies(r["key"])), candidates[0]
        )
        rejects = _object(chosen, "rejects")
        if rejects:
            lying = self._look(rejects["key"])
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
        if seen.size != told["bytes"]:
            wrong.append(f"{key} has {seen.size} bytes, the manifest says {told['bytes']}")
        if seen.lines is None:
            note = "zstandard is not installed: lines of .zst objects were not counted, their hashes were checked"
            if note not in self.found.notes:
                self.found.notes.append(note)
        elif seen.lines != told["lines"]:
            wrong.append(f"{key} has {seen.lines} lines, the manifest says {told['lines']}")

    def _lies(self, key: str) -> bool:
        with self._lock:
            return self._db.execute("SELECT 1 FROM there WHERE key = ?", (key,)).fetchone() is not None

    def _look(self, key: str) -> Seen | None:
        """One object, read through; None if it is not there."""
        if not self._lies(key):
            return None
        return self._again(lambda: self._read(key))

    def _read(self, key: str) -> Seen:
        digest, size, lines = hashlib.sha256(), 0, 0
        unpack = _unpacker(key)
        for piece in self._place.read(key):
            digest.update(piece)
            size += len(piece)
            if unpack is not None and lines >= 0:
                try:
                    lines += sum(raw.count(b"\n") for raw in unpack(piece))
                except ValueError:
                    lines = -1
        return Seen(digest.hexdigest(), size, lines if unpack is not None else None)

    def _again(self, read: Callable[[], T]) -> T:
        """What is read, if need be from its beginning once more: one connection in many breaks."""
        for seconds in PAUSES:
            try:
                return read()
            except Unreadable:
                time.sleep(seconds)
        return read()

    def _strangers(self) -> None:
        """What lies there and is named by no manifest."""
        others, newer = 0, 0
        for (key,) in self._db.execute("SELECT key FROM there EXCEPT SELECT key FROM named ORDER BY key"):
            if MANIFEST.fullmatch(key):
                continue
            match = OBJECT.fullmatch(key) or VENDOR.fullmatch(key)
            if match is None:
                others += 1
            elif not self._looked_at(match):
                continue
            elif self._newer(match):
                newer += 1
            else:
                self.found.wrong(f"{key} is named by no manifest, though its offsets are accounted for")
        if newer:
            self.found.notes.append(f"{newer} objects are newer than the last manifest and not verified yet")
        if others:
            self.found.notes.append(f"{others} objects are no part of a delivery and were left alone")

    def _looked_at(self, match: re.Match[str]) -> bool:
        hour = _hour(match)
        if match.re is VENDOR and self._since:
            return False  # its window does not say the hour of its manifest
        return hour >= self._since and not (self._until and hour >= self._until)

    def _newer(self, match: re.Match[str]) -> bool:
        """Whether an object that no manifest names may have come after the last one.  Its time says nothing: it is that of its records."""
        if not match["first"]:
            return match["at"] >= self._windows.get(_window_of(match), "")
        chain = _chain(match)
        self._ends.setdefault(chain, _hour(match))
        known = self.found.chains.get(chain)
        return known is None or int(match["first"]) >= known.get("named", 0)

    def _judge_ends(self) -> None:
        """Hold the chains of each delivery against each other: every partition has a manifest for every hour in which any other has one.

        One that others have for two hours since is missing: they do not come at the same moment, nor begin again at the same moment after a rest.  A
        chain that says that it stopped may be a backfill's, which had no more to deliver there.
        """
        for delivery, since in self._partitions.items():
            known = [c for c in self._ends if c.rpartition("-")[0] == delivery]
            stopped = all(self._stopped.get(chain) for chain in known)
            waiting = 0
            for count, hour in sorted(since.items()):
                for chain in (f"{delivery}-{n:05d}" for n in range(count)):
                    if chain in self._ends:
                        continue
                    if stopped or self._passed(delivery, hour):
                        self.found.wrong(f"{chain} has no manifest, though its topic has this partition")
                    else:
                        waiting += 1
            if waiting:
                self.found.notes.append(f"{waiting} partitions of {delivery} have no manifest yet")
        for chain, hour in sorted(self._ends.items()):
            delivery = chain.rpartition("-")[0]
            if self._passed(delivery, hour) and not self._stopped.get(chain):
                newest = self._hours[delivery][-1]
                self.found.wrong(
                    f"{chain}: nothing is accounted for after {hour}, though other partitions go on to {newest}"
                )

    def _passed(self, delivery: str, hour: str) -> bool:
        hours = self._hours.get(delivery, [])
        return len(hours) > 1 and hours[0] > hour


def _printable(key: str) -> str:
    """What is no text, such as some names of files, gets escapes: nothing that was delivered is called so."""
    return key.encode(errors="backslashreplace").decode()


def _chain(match: re.Match[str]) -> str:
    return f"{match['root']}{match['kind']}/{match['stream']}-{match['partition']}"


def _hour(match: re.Match[str]) -> str:
    return match["at"][:13] if match.re is VENDOR else f"{match['day']}T{match['hour']}"


def _window_of(match: re.Match[str]) -> tuple[str, str, int]:
    """Root, kind and partition of an object in the vendor's naming."""
    return match["root"], match["kind"], int(match["partition"] or match["own"] or 0)


def _parsed(body: bytes, root: str) -> dict[str, Any]:
    """A manifest whose offsets and names can be relied on; what else its entries say is looked at one by one.  Keys are made relative to where one
    looks from: it lies below `root`, with its objects.  `markers` are what they say.  Raises ValueError, KeyError, TypeError, AttributeError,
    RecursionError.
    """
    told: dict[str, Any] = json.loads(body)
    for stretch in (told, *told["entries"]):
        if not type(stretch["first"]) is type(stretch["end"]) is int:
            raise TypeError("offsets are whole numbers")
    for entry in told["entries"]:
        for lying in (o for attempt in _attempts(entry) for o in attempt["objects"]):
            match = OBJECT.fullmatch(lying["key"]) or VENDOR.fullmatch(lying["key"])
            lying["key"] = root + lying["key"][len(match["root"]) :] if match else lying["key"]
            lying["key"].encode()
    told["markers"] = [m["what"] for m in told.get("markers", ())]
    told["totals"] = dict(told.get("totals", {}))
    told["partitions"] = told.get("partitions", 0)
    if type(told["partitions"]) is not int or not 0 <= told["partitions"] <= PARTITIONS:
        raise ValueError("not a number of partitions")
    return told


def _attempts(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry, *entry.get("other_attempts", ())] if entry["kind"] == "events" else []


def _object(attempt: dict[str, Any], of: str) -> dict[str, Any]:
    return next((o for o in attempt["objects"] if o["of"] == of), {})


def _unpacker(key: str) -> Callable[[bytes], Iterator[bytes]] | None:
    """What turns pieces as stored into pieces of text, or raises ValueError; None if it cannot be done here."""
    if key.endswith(".gz"):
        inflate = zlib.decompressobj(31)

        def gzip(piece: bytes) -> Iterator[bytes]:
            try:
                while piece:
                    yield inflate.decompress(piece, CHUNK)
                    piece = inflate.unconsumed_tail
            except zlib.error as error:
                raise ValueError(str(error)) from None

        return gzip
    if key.endswith(".zst"):
        try:
            import zstandard  # noqa: PLC0415 - not everybody has it
        except ImportError:
            return None
        reader = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()

        def zstd(piece: bytes) -> Iterator[bytes]:
            try:
                for at in range(0, len(piece), ZSTD_BYTES):
                    yield reader.decompress(piece[at : at + ZSTD_BYTES])
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from None

        return zstd
    return lambda piece: iter((piece,))


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


def lines_of(found: Findings) -> Iterator[str]:
    """The findings for a person."""
    for problem in found.problems:
        yield f"WRONG: {problem}"
    if found.faults > len(found.problems):
        yield f"… and {found.faults - len(found.problems)} more"
    for name, chain in sorted(found.chains.items()):
        yield f"{name}: offsets [{chain['first']}, {chain['end']})"
    yield from found.notes
    yield (
        f"{found.manifests} manifests, {found.objects} objects, {found.events} events, {found.rejects} rejects, "
        f"{found.duplicates} duplicates left out, {found.filtered} not wanted"
    )
    yield "NOT COMPLETE" if found.faults else "complete: no gap, no overlap, every hash and count right"


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

    try:
        found = Verifier(place_of(asked.where, **options), since=since, until=until, advance=advance).run()
    except Unreadable as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for line in lines_of(found):
        sys.stdout.write(line + "\n")
    return 0 if found.ok else 1


if __name__ == "__main__":
    sys.exit(main())
