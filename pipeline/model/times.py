"""Instants as UTC epoch milliseconds, from the texts that gateways write.  Milliseconds are kept, the rest is cut off."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

# Before 1980 zone offsets are not multiples of 15 minutes.
EARLIEST_MS = 315_532_800_000
# How far ahead of its record's own timestamp an event may lie: a connector whose clock is wrong by a zone, not by a year.
AHEAD_MS = 24 * 3600 * 1000

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*(Z|z|UTC|[+-]\d\d(?::?\d\d)?)",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


# The one spelling that the S3 form documents, 2026-03-27T10:00:00.123456+00:00, taken apart into what is looked up: many events share a second, and
# there are only a thousand of each of the other two.
_SECOND = 19
_MILLISECONDS = {f".{n:03d}": n for n in range(1000)}
_REST = frozenset(f"{n:03d}+00:00" for n in range(1000))
_SECONDS = 4096
_seconds: dict[str, int] = {}


def parse(text: str) -> int:
    """ISO 8601 with an offset, Z or "UTC".  Raises ValueError, also if the offset is missing: a local time is not an instant."""
    if text[23:] in _REST and (part := _MILLISECONDS.get(text[_SECOND:23])) is not None:
        second = _seconds.get(text[:_SECOND])
        return part + (_second(text, part) if second is None else second)
    return _parse(text)


def _second(text: str, part: int) -> int:
    if len(_seconds) >= _SECONDS:
        _seconds.clear()
    start = _seconds[text[:_SECOND]] = _parse(text) - part
    return start


def _parse(text: str) -> int:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"not an instant: {text!r}")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    at = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=_offset(zone))
    return (at - _EPOCH) // _MS + int((fraction or "0")[:3].ljust(3, "0"))


def _offset(zone: str) -> timezone:
    if zone in ("Z", "z", "UTC"):
        return UTC
    hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
    if minutes > 59:
        raise ValueError(f"not an offset: {zone}")
    size = timedelta(hours=hours, minutes=minutes)
    return timezone(-size if zone[0] == "-" else size)


def acceptable(time_ms: int, record_ms: int) -> bool:
    """Judged against the record, not the wall clock, so that a replay comes to the same verdict."""
    return EARLIEST_MS <= time_ms <= record_ms + AHEAD_MS


def iso(time_ms: int) -> str:
    """2026-03-27T10:00:00.123Z"""
    second, ms = divmod(time_ms, 1000)
    return f"{_written(second)}.{ms:03d}Z"


@lru_cache(_SECONDS)  # what happened lately is written again and again
def _written(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
