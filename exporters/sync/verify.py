"""Prove a delivery from what lies in the bucket alone: `python verify.py s3://bucket/prefix` (or a directory).

This file is complete in itself: the standard library, and boto3 for buckets (zstandard to look inside .zst objects).  It only reads.

Manifests account for every offset of the source: objects, duplicates, rejects, offsets without a record.  Verified is that they follow one another
without gap or overlap from where the delivery began, that every object they name is there with one of the hashes they name and as many lines, that
the counts of each stretch add up to its length, and that nothing else lies among the objects.  Memory does not grow with the bucket.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sqlite3
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

CHUNK = 1 << 20
READERS = 8
LISTED = 200  # so many problems are kept in words; all are counted

_FOLDER = r"dt=(?P<day>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
_NAME = r"(?P<stream>[0-9a-f]{8})-(?P<partition>\d{5})-(?P<first>\d{20})-(?P<last>\d{20})"
MANIFEST = re.compile(rf"(?P<root>.*?)manifests/(?P<kind>[a-z_]+)/{_FOLDER}{_NAME}\.json")
OBJECT = re.compile(
    rf"(?P<root>.*?)(?P<errors>errors/)?(?P<kind>[a-z_]+)/{_FOLDER}{_NAME}(-[0-9a-f]{{8}})?\.ndjson(\.gz|\.zst)?"
)
VENDOR = re.compile(
    r"(?P<root>.*?)(?P<kind>authentication|network_access)/(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00)(-[0-9a-f-]+)?\.json(\.gz|\.zst)?"
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
        while waiting:
            for found in sorted(waiting.pop().iterdir()):
                if found.name.startswith("."):  # what a writer has in hand, and may take away at any moment
                    continue
                if found.is_dir():
                    waiting.append(found)
                else:
                    yield found.relative_to(self._path).as_posix(), found.stat().st_size

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
        if client is None:
            import boto3  # noqa: PLC0415 - directories need none

            client = boto3.client("s3", **options)
        self._client = client

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
            code = getattr(error, "response", {}).get("Error", {}).get("Code") or type(error).__name__
            raise Unreadable(
                f"{self.name} cannot be {what} ({code}); it needs {needs}, credentials and the right region"
            ) from None


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
            self.problems.append(line)


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
        self._last_hour: dict[tuple[str, str], str] = {}

    def run(self) -> Findings:
        self._db.executemany("INSERT OR IGNORE INTO there VALUES (?, ?)", self._place.keys())
        rows = self._db.execute("SELECT key FROM there WHERE key LIKE '%manifests/%' ORDER BY key")
        keys = ((key, match) for (key,) in rows if (match := MANIFEST.fullmatch(key)))
        total = sum(1 for (key,) in self._db.execute("SELECT key FROM there") if MANIFEST.fullmatch(key))
        with ThreadPoolExecutor(READERS) as readers:
            for n, (key, match) in enumerate(keys):
                self._advance(n, total)
                hour = f"{match['day']}T{match['hour']}"
                if self._since and hour < self._since:
                    continue
                later = bool(self._until) and hour >= self._until
                self._manifest(key, match, hour, readers, only_names=later)
        self._advance(total, total)
        if not self.found.manifests:
            self.found.wrong(
                f"{self._place.name} holds no manifest" + (" of these hours" if self._since or self._until else "")
            )
        self._strangers()
        return self.found

    def _manifest(
        self, key: str, match: re.Match[str], hour: str, readers: ThreadPoolExecutor, *, only_names: bool
    ) -> None:
        try:
            told = json.loads(b"".join(self._place.read(key)))
            first, end, entries = int(told["first"]), int(told["end"]), list(told["entries"])
        except (ValueError, KeyError, TypeError) as error:
            self.found.wrong(f"{key} cannot be read as a manifest ({type(error).__name__})")
            return
        names = [(o["key"],) for e in entries for a in _attempts(e) for o in a["objects"]]
        self._db.executemany("INSERT OR IGNORE INTO named VALUES (?)", names)
        self._last_hour[match["root"], match["kind"]] = max(
            hour, self._last_hour.get((match["root"], match["kind"]), "")
        )
        chain = f"{match['root']}{match['kind']}/{match['stream']}-{match['partition']}"
        if only_names:
            self.found.chains.setdefault(chain, {"first": first, "end": end})["named"] = end
            return
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
        for entry, problems in zip(entries, readers.map(self._entry, entries), strict=True):
            for problem in problems:
                self.found.wrong(f"{chain} [{entry.get('first')}, {entry.get('end')}): {problem}")

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
            told = sum(attempt[n] for n in ("events", "rejects", "duplicates", "filtered", "gaps"))
            if told != entry["end"] - entry["first"]:
                wrong.append(f"the manifest accounts for {told} of {entry['end'] - entry['first']} offsets")
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
        digest, size, lines = hashlib.sha256(), 0, 0
        unpack = _unpacker(key)
        try:
            for piece in self._place.read(key):
                digest.update(piece)
                size += len(piece)
                if unpack is not None:
                    lines += sum(raw.count(b"\n") for raw in unpack(piece))
        except (zlib.error, EOFError):
            lines = -1
        return Seen(digest.hexdigest(), size, lines if unpack is not None else None)

    def _strangers(self) -> None:
        """What lies there and is named by no manifest."""
        others, newer = 0, 0
        for (key,) in self._db.execute("SELECT key FROM there EXCEPT SELECT key FROM named ORDER BY key"):
            if MANIFEST.fullmatch(key):
                continue
            match = OBJECT.fullmatch(key)
            if match is not None:
                hour = f"{match['day']}T{match['hour']}"
                if (self._since and hour < self._since) or (self._until and hour >= self._until):
                    continue
                chain = self.found.chains.get(f"{match['root']}{match['kind']}/{match['stream']}-{match['partition']}")
                if chain is None or int(match["first"]) >= chain.get("named", 0):
                    newer += 1
                else:
                    self.found.wrong(f"{key} is named by no manifest, though its offsets are accounted for")
            elif (vendor := VENDOR.fullmatch(key)) is not None:
                if vendor["at"][:13] >= self._last_hour.get((vendor["root"], vendor["kind"]), ""):
                    newer += 1
                elif not self._since:
                    self.found.wrong(f"{key} is named by no manifest")
            else:
                others += 1
        if newer:
            self.found.notes.append(f"{newer} objects are newer than the last manifest and not verified yet")
        if others:
            self.found.notes.append(f"{others} objects are no part of a delivery and were left alone")


def _attempts(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry, *entry.get("other_attempts", ())] if entry["kind"] == "events" else []


def _object(attempt: dict[str, Any], of: str) -> dict[str, Any]:
    return next((o for o in attempt["objects"] if o["of"] == of), {})


def _unpacker(key: str) -> Callable[[bytes], Iterator[bytes]] | None:
    """What turns pieces as stored into pieces of text; None if it cannot be done here."""
    if key.endswith(".gz"):
        inflate = zlib.decompressobj(31)

        def gzip(piece: bytes) -> Iterator[bytes]:
            while piece:
                yield inflate.decompress(piece, CHUNK)
                piece = inflate.unconsumed_tail

        return gzip
    if key.endswith(".zst"):
        try:
            import zstandard  # noqa: PLC0415 - not everybody has it
        except ImportError:
            return None
        reader = zstandard.ZstdDecompressor().decompressobj()
        return lambda piece: iter((reader.decompress(piece),))
    return lambda piece: iter((piece,))


def place_of(where: str, **options: Any) -> Place:
    return Bucket(where, **options) if where.startswith("s3://") else Directory(where)


def hour_of(text: str) -> str:
    """`2026-03-27`, or an instant in UTC, as the hour it lies in.  Raises ValueError."""
    if not text:
        return ""
    at = datetime.fromisoformat(text)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H")


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
    parser.add_argument("--to", dest="until", default="", help="end, exclusive")
    parser.add_argument("--endpoint-url", default=None)
    parser.add_argument("--region", default=None)
    asked = parser.parse_args(arguments)
    options = {k: v for k, v in (("endpoint_url", asked.endpoint_url), ("region_name", asked.region)) if v}
    try:
        since, until = hour_of(asked.since), hour_of(asked.until)
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
