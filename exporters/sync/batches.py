"""Records to documents.  Pure but for compression: the same records under the same settings become the same bytes, always.

A batch takes judged records in offset order until a limit is reached, and ends there; offsets without a record are holes of the log and lie inside.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any

import msgspec
import zstandard
from isal import igzip

from exporters import ocsf
from exporters.sinks.sink import Document
from exporters.sync import envelopes, keys
from exporters.sync.cuts import EVENTS, Attempt, Cut, Part
from exporters.sync.destinations import Destination
from pipeline.model.events import Rejected

# Changes when the same records would become other bytes.
ENCODER = "1"
# What a list keeps beside the bytes of a line.
LINE_BYTES = 60
GZIP_LEVEL, ZSTD_LEVEL = 2, 3

PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda raw: raw,
    "gzip": lambda raw: igzip.compress(raw, GZIP_LEVEL, mtime=0),
    "zstd": lambda raw: zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(raw),
}


class _Version(msgspec.Struct):
    version: Any = None
    event: _Version | None = None


_version = msgspec.json.Decoder(_Version)
# How nearly every event begins that says which version it has.
_VERSION_ONE = (
    b'{"version":1,',
    b'{"event_type":"network_access","event":{"version":1,',
    b'{"event_type":"authentication","event":{"version":1,',
)


def version_of(value: bytes) -> int:
    """The schema version that an event says it has; 1 if it says nothing."""
    if b'"version"' not in value:
        return 1
    try:
        found = _version.decode(value)
    except msgspec.MsgspecError:
        return 1
    said = (found.event or found).version
    return said if isinstance(said, int) else 1


_says_one = methodcaller("startswith", _VERSION_ONE)


@dataclass(slots=True)
class Batch:
    """What lies in [first, end) of one partition so far.  `size` is the JSON; times of events and records in UTC ms."""

    first: int
    end: int
    lines: list[bytes] = field(default_factory=list)
    rejects: list[bytes] = field(default_factory=list)
    size: int = 0
    duplicates: int = 0
    filtered: int = 0
    records: int = 0
    min_time: int = 0
    max_time: int = 0
    timestamp: int = 0  # of the first record
    version: int = 0
    full: bool = False

    @property
    def empty(self) -> bool:
        return self.end == self.first

    @property
    def held(self) -> int:
        """Bytes of memory."""
        return self.size + LINE_BYTES * (len(self.lines) + len(self.rejects))


class Former:
    """Makes batches of one kind for one destination."""

    def __init__(self, kind: str, destination: Destination, event_window: tuple[int, int] | None = None) -> None:
        self.kind = kind
        self._event_window = event_window
        self._destination = destination
        self._line = ocsf.line_of(kind) if destination.format == "ocsf" else envelopes.line_of(kind)
        self._sets = {
            "types": frozenset(destination.types),
            "results": frozenset(destination.results),
            "users": frozenset(u.casefold() for u in destination.users),
        }
        self._filters = any(self._sets.values()) or event_window is not None
        self._windows = destination.naming == "vendor"

    def take(  # noqa: PLR0915 - one loop, written out because it runs once per event
        self, batch: Batch, records: Sequence[Any], verdicts: Sequence[Any], limit: int | None = None
    ) -> int:
        """Add records (of the batch's partition, from its end on) until it is full; returns how many were taken.

        `limit`, an offset, is given when the batch's range is known beforehand: then nothing else ends it.
        """
        if limit is None and not self._filters and not self._windows and self._usual(batch, records, verdicts):
            return len(records)
        line, filters, windows = self._line, self._filters, self._windows
        free = limit is None
        most_lines, most_bytes = self._destination.cut_events - len(batch.rejects), self._destination.cut_bytes
        lines, say = batch.lines, batch.lines.append
        size, least, most, version = 0, batch.min_time, batch.max_time, batch.version
        room = most_bytes - batch.size
        taken = 0
        for record, event in zip(records, verdicts, strict=True):
            if free:
                if size >= room or len(lines) >= most_lines:
                    break
                if windows and batch.timestamp and keys.window_of(record.timestamp) != keys.window_of(batch.timestamp):
                    batch.full = True
                    break
            elif record.offset >= limit:
                break
            if event is None:
                batch.duplicates += 1
            elif event.__class__ is Rejected:
                size += self._reject(batch, record, event)
                most_lines -= 1
            else:
                value = record.value
                if free:
                    own = 1 if value.startswith(_VERSION_ONE) else version_of(value)
                    if own != version:
                        if version:
                            batch.full = True
                            break
                        version = own
                if filters and not self._wanted(event):
                    batch.filtered += 1
                else:
                    text = line(value, event)
                    say(text)
                    size += len(text) + 1
                    time = event.time
                    if time > most:
                        most = time
                    if time < least or not least:
                        least = time
            taken += 1
            if not batch.timestamp:
                batch.timestamp = record.timestamp
        if taken:
            batch.end = records[taken - 1].offset + 1
        batch.records += taken
        batch.size += size
        batch.min_time, batch.max_time, batch.version = least, most, version
        batch.full = batch.full or (free and (size >= room or len(lines) >= most_lines))
        return taken

    def _usual(self, batch: Batch, records: Sequence[Any], verdicts: Sequence[Any]) -> bool:
        """Add all of them at once, if none is refused, all have version 1, and there is room for all; the same as one by one, in half the time."""
        kept = [(r.value, e) for r, e in zip(records, verdicts, strict=True) if e is not None]
        room = self._destination.cut_events - len(batch.rejects) - len(batch.lines)
        if not 0 < len(kept) < room or batch.version > 1:
            return False
        values, events = zip(*kept, strict=True)
        if Rejected in set(map(type, events)) or not all(map(_says_one, values)):
            return False
        texts = list(map(self._line, values, events))
        size = sum(map(len, texts)) + len(texts)
        if batch.size + size >= self._destination.cut_bytes:
            return False
        times = [e.time for e in events]
        batch.lines += texts
        batch.size += size
        batch.duplicates += len(records) - len(kept)
        batch.records += len(records)
        batch.min_time = min(batch.min_time, *times) if batch.min_time else min(times)
        batch.max_time = max(batch.max_time, *times)
        batch.version = 1
        batch.timestamp = batch.timestamp or records[0].timestamp
        batch.end = records[-1].offset + 1
        return True

    def _wanted(self, event: Any) -> bool:
        window = self._event_window
        return (window is None or window[0] <= event.time < window[1]) and envelopes.wanted(event, **self._sets)

    def _reject(self, batch: Batch, record: Any, rejected: Rejected) -> int:
        """Add one; returns its size."""
        value = record.value
        told: dict[str, Any] = {
            "reason": rejected.reason.value,
            "path": rejected.path,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
        }
        try:
            told["value"] = None if value is None else value.decode()
        except UnicodeDecodeError:
            told["value_base64"] = base64.b64encode(value).decode()
        text = msgspec.json.encode(told)
        batch.rejects.append(text)
        return len(text) + 1


@dataclass(frozen=True, slots=True)
class Place:
    """Whose batch it is; `folder` is what its keys begin with, "" or with a slash at its end."""

    kind: str
    stream: str
    partition: int
    folder: str = ""


def cut_of(
    batch: Batch, place: Place, destination: Destination, *, hour: int, window: int, begun: bool, at: int
) -> tuple[Cut, dict[str, Document]]:
    """The cut that proposes this batch, and its documents by key.

    `hour` and `window` are those of the chain's last cut (the new one's are never earlier), `begun` says whether the chain has one.
    """
    own_window = max(window, keys.window_of(batch.timestamp or at))
    own_hour = max(hour, keys.hour_of(batch.timestamp or at))
    packed = destination.compression
    if destination.naming == "vendor":
        free = begun and own_window > window
        key = keys.vendor(place.kind, place.stream, place.partition, batch.first, own_window, packed, free=free)
    else:
        key = keys.events(place.kind, place.stream, place.partition, batch.first, batch.end, own_hour, packed)
    cut = Cut(batch.first, batch.end, EVENTS, place.folder + key, own_hour, own_window, at)
    attempt, documents = attempt_of(batch, cut, place, destination)
    return msgspec.structs.replace(cut, attempt=attempt), documents


def attempt_of(batch: Batch, cut: Cut, place: Place, destination: Destination) -> tuple[Attempt, dict[str, Document]]:
    """What the documents of this cut come to."""
    documents: dict[str, Document] = {}
    events = rejects = None
    if batch.lines:
        # Settings may have changed since; the key is the cut's, and says how its bytes are packed.
        packed = next(name for name in ("gzip", "zstd", "none") if cut.key.endswith(keys.SUFFIX[name]))
        events = _part(documents, cut.key, batch.lines, packed)
    if batch.rejects:
        packed = destination.compression
        body = PACK[packed](b"\n".join(batch.rejects) + b"\n")
        sha256 = hashlib.sha256(body).hexdigest()
        suffix = keys.SUFFIX[packed]
        key = place.folder + keys.rejects(
            place.kind, place.stream, place.partition, cut.first, cut.end, cut.hour, sha256, suffix
        )
        documents[key] = Document(key, body, keys.MEDIA_TYPE[packed], sha256)
        rejects = Part(key, sha256, len(body), len(batch.rejects))
    return Attempt(
        events=events,
        rejects=rejects,
        duplicates=batch.duplicates,
        filtered=batch.filtered,
        gaps=cut.end - cut.first - batch.records,
        min_time=batch.min_time,
        max_time=batch.max_time,
        encoder=ENCODER,
        revision=destination.revision,
    ), documents


def _part(documents: dict[str, Document], key: str, lines: list[bytes], packed: str) -> Part:
    body = PACK[packed](b"\n".join(lines) + b"\n")
    sha256 = hashlib.sha256(body).hexdigest()
    documents[key] = Document(key, body, keys.MEDIA_TYPE[packed], sha256)
    return Part(key, sha256, len(body), len(lines))
