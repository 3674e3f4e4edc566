"""Who speaks: connectors and sources, when each was heard last, and whether that is too long ago.  PURE.

A source is what a record's `ce_source` header names, else its topic.  Silence is measured by when records arrive, not by the times inside them: old
events taken in from a file are no silence, and a gateway with a wrong clock is heard all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pipeline.model.dialects import ANALYTICS
from pipeline.model.times import parse

CONNECTOR, SOURCE = "connector", "source"
DAY_MS = 86_400_000
# Whoever was not heard for so long is forgotten.
FORGOTTEN_MS = 30 * DAY_MS
# Ids come from outside; more than these are not followed.
MOST = 10_000
# Where records had to be left out, a speaker is silent only after so many times its usual pause between sightings.
PAUSES = 20


class Speaker(msgspec.Struct):
    """`event_at` the newest event time, `heard_at` when its newest record arrived, both UTC ms; `sightings` in how many looks it was heard;
    `noticed_at` when its present silence was told, or 0.
    """

    kind: str
    id: str
    name: str
    event_at: int
    heard_at: int
    first_heard_at: int
    sightings: int = 1
    noticed_at: int = 0

    def hear(self, other: Speaker) -> None:
        """Take in what a later look found."""
        self.name = other.name or self.name
        self.event_at = max(self.event_at, other.event_at)
        self.heard_at = max(self.heard_at, other.heard_at)
        self.first_heard_at = min(self.first_heard_at, other.first_heard_at)
        self.sightings += 1

    def silent(self, now_ms: int, *, limit_ms: int, everything_read: bool) -> bool:
        """Whether it has been quiet for longer than the limit; where not every record was read, longer than chance explains as well."""
        usual = (self.heard_at - self.first_heard_at) / max(1, self.sightings - 1)
        return now_ms - self.heard_at > (limit_ms if everything_read else max(limit_ms, PAUSES * usual))


class _Named(msgspec.Struct, gc=False):
    id: str | None = None
    name: str | None = None


class _Said(msgspec.Struct, gc=False):
    """What is looked at of an event; everything else costs nothing."""

    timestamp: int | None = None
    time: str | None = None
    end_time: str | None = None
    start_time: str | None = None
    connector: _Named | str | None = None
    connector_id: str | None = None
    event: _Said | None = None


_decoder = msgspec.json.Decoder(_Said)


def heard(records: list[Any], source: str) -> dict[tuple[str, str], Speaker]:
    """Who spoke in these records of one topic; what cannot be read speaks for its source only."""
    found: dict[tuple[str, str], Speaker] = {}
    for record in records:
        for speaker in _speakers(record, source):
            known = found.get((speaker.kind, speaker.id))
            if known is None:
                found[speaker.kind, speaker.id] = speaker
            else:
                known.hear(speaker)
                known.sightings = 1
    return found


def _speakers(record: Any, source: str) -> Iterator[Speaker]:
    at = record.timestamp
    named = next((v for k, v in record.headers if k == "ce_source"), None) if record.headers else None
    name = named.decode("utf-8", "replace")[:200] if named else source
    try:
        said = _decoder.decode((record.value or b"").removeprefix(ANALYTICS))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        yield Speaker(SOURCE, name, name, 0, at, at)
        return
    said = said.event or said
    event_at = _time(said, at)
    yield Speaker(SOURCE, name, name, event_at, at, at)
    connector = said.connector if isinstance(said.connector, _Named) else _Named(said.connector_id, said.connector)
    id_ = connector.id or connector.name
    if id_:
        yield Speaker(CONNECTOR, id_[:200], (connector.name or "")[:200], event_at, at, at)


def _time(said: _Said, record_ms: int) -> int:
    try:
        text = said.time or said.end_time or said.start_time
        at = said.timestamp if said.timestamp is not None else parse(text) if text else 0
    except ValueError:
        return 0
    return at if 0 < at <= record_ms + DAY_MS else 0
