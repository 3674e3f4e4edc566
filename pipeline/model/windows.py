"""What people ask for, as instants: dates and times in a named zone become a half-open window of UTC milliseconds on 15-minute edges.

A wall time that a clock change makes happen twice takes its earlier instant as a start and its later one as an end; one that it skips takes the
instant right after the gap.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.model.times import iso

BUCKET_MS = 900_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(2106, 1, 1, tzinfo=UTC)  # what the store's seconds hold
_MS = timedelta(milliseconds=1)
END_MS = (_END - _EPOCH) // _MS
_TEXT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)


class WindowError(ValueError):
    """What was asked for is no window; the text says what would be one."""


def zone(name: str) -> ZoneInfo:
    """A named IANA zone.  Raises WindowError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise WindowError(f"unknown time zone {name!r}; give an IANA name such as Europe/Berlin or UTC") from None


def instant(text: str, where: ZoneInfo, *, end: bool = False) -> int:
    """A date or date-time as UTC ms on a 15-minute edge; an offset in the text overrides the zone.  Raises WindowError."""
    if not _TEXT.fullmatch(text):
        raise WindowError(f"{text!r} is neither a date (2026-03-01) nor a date-time (2026-03-01T10:15)")
    try:
        wall = datetime.fromisoformat(text)
        at = (wall if wall.tzinfo is not None else _resolve(wall, where, end=end)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise WindowError(f"{text!r} is not in the calendar") from None
    if not _EPOCH <= at < _END:
        raise WindowError(f"{text} is not between 1970 and {_END.year - 1}; events have times from 1980 on")
    ms = (at - _EPOCH) // _MS
    if ms % BUCKET_MS or wall.microsecond % 1000:
        below = ms - ms % BUCKET_MS
        near = " and ".join(_wall(edge, wall, where) for edge in (below, below + BUCKET_MS))
        raise WindowError(f"{text} is not on a 15-minute edge; the nearest are {near}")
    return ms


def _resolve(wall: datetime, where: ZoneInfo, *, end: bool) -> datetime:
    at = wall.replace(tzinfo=where, fold=1 if end else 0)
    there = at.astimezone(UTC)
    if there.astimezone(where).replace(tzinfo=None) != wall:  # skipped: move to the first instant after the gap
        before = wall.replace(tzinfo=where, fold=0).utcoffset() or timedelta()
        after = wall.replace(tzinfo=where, fold=1).utcoffset() or timedelta()
        low, high = sorted(((wall - after).replace(tzinfo=UTC), (wall - before).replace(tzinfo=UTC)))
        while high - low > timedelta(seconds=1):
            middle = low + (high - low) / 2
            if (middle.astimezone(where).utcoffset() or timedelta()) == min(before, after):
                low = middle
            else:
                high = middle
        return high.replace(microsecond=0)
    return there


def _wall(ms: int, wall: datetime, where: ZoneInfo) -> str:
    if wall.tzinfo is not None:
        return iso(ms)
    return (_EPOCH + timedelta(milliseconds=ms)).astimezone(where).strftime("%Y-%m-%dT%H:%M")


def window(start: str, end: str, zone_name: str) -> tuple[int, int]:
    """[from, to) in UTC ms.  Raises WindowError."""
    where = zone(zone_name)
    from_ms, to_ms = instant(start, where), instant(end, where, end=True)
    if from_ms >= to_ms:
        raise WindowError(f"the window is empty: {start} is not before {end} (the end is exclusive)")
    return from_ms, to_ms
