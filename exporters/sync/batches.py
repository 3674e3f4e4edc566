"""Records to documents.  Pure but for compression: the same records under the same settings become the same bytes, always.

A batch takes judged records in offset order until a limit is reached, and ends there; offsets without a record are holes of the log and lie inside.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import methodcaller
from typing import Any

import msgspec

from exporters import ocsf
from exporters.packing import pack
from exporters.sinks.sink import Document
from exporters.sync import envelopes, keys
from exporters.sync.cuts import EVENTS, Attempt, Cut, Part
from exporters.sync.destinations import Destination
from pipeline.model.dialects import decode_authentications, decode_connections
from pipeline.model.events import Rejected
from pipeline.model.verdicts import Decode, Verdicts

# Changes when the same records would become other bytes.
ENCODER = "4"


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
_DUPLICATE = type(None)


def _all_say_one(values: Sequence[bytes]) -> bool:
    """The plainest beginning is looked for first: that takes half the time."""
    plain = _VERSION_ONE[0]
    return {value[: len(plain)] for value in values} == {plain} or all(map(_says_one, values))


@dataclass(slots=True)
class Batch:
    """What lies in [first, end) of one partition so far.  `lines` and `rejects` are JSON, each line with its end, `events` and `rejected` their
    numbers; times of events and records in UTC ms.
    """

    first: int
    end: int
    lines: bytearray = field(default_factory=bytearray)
    rejects: bytearray = field(default_factory=bytearray)
    events: int = 0
    rejected: int = 0
    duplicates: int = 0
    filtered: int = 0
    records: int = 0
    min_time: int = 0
    max_time: int = 0
    timestamp: int = 0  # of the first record
    version: int | None = None  # of its events, once there is one
    full: bool = False

    @property
    def empty(self) -> bool:
        return self.end == self.first

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.lines) + len(self.rejects)


class Former:
    """Makes batches of one kind for one destination."""

    def __init__(self, kind: str, destination: Destination, event_window: tuple[int, int] | None = None) -> None:
        self.kind = kind
        self._event_window = event_window
        self._destination = destination
        ours = destination.format != "ocsf"
        self._line = envelopes.line_of(kind) if ours else ocsf.line_of(kind)
        at_once = ours and kind == envelopes.AUTHENTICATION
        self._lines = envelopes.authentication_lines if at_once else partial(envelopes.each, self._line)
        self._sets = {
            "types": frozenset(destination.types),
            "results": frozenset(destination.results),
            "users": frozenset(u.casefold() for u in destination.users),
        }
        self._decode: Decode = decode_connections
        if kind == envelopes.AUTHENTICATION:
            self._decode = partial(decode_authentications, who=bool(destination.users) or not ours)
        self._filters = any(self._sets.values()) or event_window is not None
        self._windows = destination.naming == "vendor"

    def verdicts(self) -> Verdicts:
        """A judge of one partition, whose events have what is looked at here."""
        return Verdicts(self._decode)

    def take(self, batch: Batch, records: Sequence[Any], verdicts: Sequence[Any], limit: int | None = None) -> int:
        """Add records (of the batch's partition, from its end on) until it is full; returns how many were taken.

        `limit`, an offset, is given when the batch's range is known beforehand: then nothing else ends it.
        """
        free = limit is None
        if free and not self._filters and not self._windows and self._usual(batch, records, verdicts):
            return len(records)
        most_events, most_bytes = self._destination.cut_events, self._destination.cut_bytes
        taken = 0
        for record, event in zip(records, verdicts, strict=True):
            if limit is not None:
                if record.offset >= limit:
                    break
            elif self._ends(batch, record, event):
                batch.full = True
                break
            if event is None:
                batch.duplicates += 1
            elif event.__class__ is Rejected:
                batch.rejects += self._reject(record, event)
                batch.rejected += 1
            elif self._filters and not self._wanted(event):
                batch.filtered += 1
            else:
                batch.lines += self._line(record.value, event)
                batch.lines += b"\n"
                batch.events += 1
                self._time(batch, event.time, event.time)
            batch.timestamp = batch.timestamp or record.timestamp
            taken += 1
            if free and (batch.size >= most_bytes or batch.events + batch.rejected >= most_events):
                batch.full = True
                break
        if taken:
            batch.end = records[taken - 1].offset + 1
        batch.records += taken
        return taken

    def _ends(self, batch: Batch, record: Any, event: Any) -> bool:
        """Whether the batch ends before this record: a document has one version, and with windows one window."""
        if self._windows and batch.timestamp and keys.window_of(record.timestamp) != keys.window_of(batch.timestamp):
            return True
        if event is None or event.__class__ is Rejected:
            return False
        own = 1 if record.value.startswith(_VERSION_ONE) else version_of(record.value)
        if batch.version not in (None, own):
            return True
        batch.version = own
        return False

    def _usual(self, batch: Batch, records: Sequence[Any], verdicts: Sequence[Any]) -> bool:
        """Add all of them at once, if none is refused, all have version 1, and there is room for all; the same as one by one, in half the time."""
        values, events = [r.value for r in records], verdicts
        kinds = set(map(type, verdicts))
        if _DUPLICATE in kinds:
            kept = [n for n, e in enumerate(verdicts) if e is not None]
            values, events = [values[n] for n in kept], [verdicts[n] for n in kept]
        if not 0 < len(events) < self._destination.cut_events - batch.rejected - batch.events:
            return False
        if batch.version not in (None, 1) or Rejected in kinds or not _all_say_one(values):
            return False
        lines = self._lines(values, events)
        if batch.size + len(lines) >= self._destination.cut_bytes:
            return False
        batch.lines += lines
        batch.events += len(events)
        batch.duplicates += len(records) - len(events)
        batch.records += len(records)
        times = [e.time for e in events]
        self._time(batch, min(times), max(times))
        batch.version = 1
        batch.timestamp = batch.timestamp or records[0].timestamp
        batch.end = records[-1].offset + 1
        return True

    @staticmethod
    def _time(batch: Batch, least: int, most: int) -> None:
        batch.min_time = min(batch.min_time, least) if batch.min_time else least
        batch.max_time = max(batch.max_time, most)

    def _wanted(self, event: Any) -> bool:
        window = self._event_window
        return (window is None or window[0] <= event.time < window[1]) and envelopes.wanted(event, **self._sets)

    @staticmethod
    def _reject(record: Any, rejected: Rejected) -> bytes:
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
        return msgspec.json.encode(told) + b"\n"


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
    own_hour, own_window = hour, window
    if batch.records:
        own_hour = max(hour, keys.hour_of(batch.timestamp or at))
        own_window = max(window, keys.window_of(batch.timestamp or at))
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
        events = _part(documents, batch.lines, batch.events, packed, lambda _sha256: cut.key)
    if batch.rejects:
        packed = destination.compression

        def rejects_key(sha256: str) -> str:
            own = keys.rejects(
                place.kind, place.stream, place.partition, cut.first, cut.end, cut.hour, sha256, keys.SUFFIX[packed]
            )
            return place.folder + own

        rejects = _part(documents, batch.rejects, batch.rejected, packed, rejects_key)
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


def _part(
    documents: dict[str, Document], lines: bytearray, count: int, packed: str, key_of: Callable[[str], str]
) -> Part:
    """Add a document of so many lines; its hash may be a part of its key."""
    body = pack(lines, packed)
    sha256 = hashlib.sha256(body).hexdigest()
    key = key_of(sha256)
    documents[key] = Document(key, body, keys.MEDIA_TYPE[packed], sha256)
    return Part(key, sha256, len(body), count)
