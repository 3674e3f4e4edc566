"""When a schedule is due: a time of day in a named zone, on every day, one weekday or one day of the month.  PURE.

A clock that is set forward skips times of day: what is due at such a one is due at the first instant after the gap.  A clock that is set back has some
twice: due is the first of the two, once.  A month without the chosen day has it on its last.  So every day, week or month has exactly one due
instant, and they grow.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from typing import Literal, cast

import msgspec

from exporters.reports.presets import PRESETS, preset_window
from pipeline.model.windows import BUCKET_MS, instant, zone

Every = Literal["daily", "weekly", "monthly"]
DAILY, WEEKLY, MONTHLY = cast("tuple[Every, ...]", ("daily", "weekly", "monthly"))
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# A window that begins where the last one ended: nothing is left out and nothing twice, whatever the clock does.
SINCE_LAST = "since_last"
WINDOWS = {SINCE_LAST: "Since the time before", **PRESETS}


class Timing(msgspec.Struct, frozen=True):
    """`at` is a time of day on a quarter of an hour, HH:MM; `weekday` 0 is Monday; `day` 1 to 31."""

    every: Every
    at: str
    tz: str
    weekday: int = 0
    day: int = 1


def due_after(timing: Timing, ms: int) -> int:
    """The first due instant after this one, UTC ms."""
    day = _local_day(timing, ms) - timedelta(days=1)  # a due instant may lie on the day before its wall time's, in UTC
    while (due := _due_on_or_after(timing, day))[1] <= ms:
        day = due[0] + timedelta(days=1)
    return due[1]


def due_before(timing: Timing, ms: int) -> int:
    """The last due instant before this one, UTC ms."""
    back = {DAILY: 3, WEEKLY: 9, MONTHLY: 63}[timing.every]
    due = due_after(timing, ms - back * 24 * 3600 * 1000)
    while (following := due_after(timing, due)) < ms:
        due = following
    return due


def window_of(timing: Timing, preset: str, due: int) -> tuple[int, int]:
    """[from, to) of a report that is due at this instant: complete quarter hours only, the last of them over."""
    edge = due - due % BUCKET_MS
    if preset == SINCE_LAST:
        before = due_before(timing, due)
        return before - before % BUCKET_MS, edge
    # Rolling windows end with the quarter hour that holds their instant: the one that has just ended, here.
    now = edge if preset == "last_month" else edge - 1
    return preset_window(preset, now_ms=now, where=zone(timing.tz))


def words(timing: Timing) -> str:
    """Every Monday at 06:00, Europe/Berlin"""
    when = {
        DAILY: "Every day",
        WEEKLY: f"Every {WEEKDAYS[timing.weekday]}",
        MONTHLY: f"Every month on day {timing.day}" + (" (or its last)" if timing.day > 28 else ""),
    }[timing.every]
    return f"{when} at {timing.at}, {timing.tz}"


def _local_day(timing: Timing, ms: int) -> date:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone(timing.tz)).date()


def _due_on_or_after(timing: Timing, day: date) -> tuple[date, int]:
    """The first day from this one on that the schedule names, and its instant."""
    if timing.every == WEEKLY:
        day += timedelta(days=(timing.weekday - day.weekday()) % 7)
    elif timing.every == MONTHLY:
        chosen = _in_month(day.year, day.month, timing.day)
        if chosen < day:
            chosen = _in_month(*((day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)), timing.day)
        day = chosen
    return day, instant(f"{day.isoformat()}T{timing.at}", zone(timing.tz))


def _in_month(year: int, month: int, day: int) -> date:
    return date(year, month, min(day, calendar.monthrange(year, month)[1]))
