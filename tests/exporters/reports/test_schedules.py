"""When a schedule is due: exactly once a day, week or month, whatever the clock does there; and windows that tile."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.reports.schedules import Timing, due_after, due_before, window_of, words

DAY_MS = 24 * 3600 * 1000
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Apia",
)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def local(at: int, zone: str) -> str:
    return datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def dues(timing: Timing, start: str, count: int) -> list[int]:
    found, at = [], ms(start)
    for _ in range(count):
        at = due_after(timing, at)
        found.append(at)
    return found


def test_a_time_that_the_clock_skips_is_due_right_after_the_gap():
    timing = Timing("daily", "02:30", "Europe/Berlin")
    assert [local(d, "Europe/Berlin") for d in dues(timing, "2026-03-27T12:00Z", 4)] == [
        "2026-03-28 02:30",
        "2026-03-29 03:00",
        "2026-03-30 02:30",
        "2026-03-31 02:30",
    ]


def test_a_time_that_the_clock_has_twice_is_due_the_first_time_only():
    timing = Timing("daily", "02:30", "Europe/Berlin")
    found = dues(timing, "2026-10-24T12:00Z", 2)
    assert found == [ms("2026-10-25T00:30Z"), ms("2026-10-26T01:30Z")]


def test_a_month_without_the_day_has_it_on_its_last():
    timing = Timing("monthly", "06:00", "UTC", day=31)
    assert [local(d, "UTC") for d in dues(timing, "2026-01-15T00:00Z", 4)] == [
        "2026-01-31 06:00",
        "2026-02-28 06:00",
        "2026-03-31 06:00",
        "2026-04-30 06:00",
    ]


def test_a_week_begins_where_it_was_said():
    timing = Timing("weekly", "06:30", "America/St_Johns", weekday=0)
    found = dues(timing, "2026-03-01T00:00Z", 3)
    assert [datetime.fromtimestamp(d / 1000, ZoneInfo("America/St_Johns")).weekday() for d in found] == [0, 0, 0]
    assert [local(d, "America/St_Johns") for d in found] == ["2026-03-02 06:30", "2026-03-09 06:30", "2026-03-16 06:30"]
    assert words(timing) == "Every Monday at 06:30, America/St_Johns"


def test_a_day_that_a_country_left_out_is_due_when_the_next_begins():
    timing = Timing("daily", "10:00", "Pacific/Apia")  # the whole of 2011-12-30 was skipped there
    found = dues(timing, "2011-12-29T00:00Z", 3)
    assert found == sorted(set(found))


timings = st.builds(
    Timing,
    st.sampled_from(["daily", "weekly", "monthly"]),
    st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 45])),
    st.sampled_from(ZONES[:-1]),
    st.integers(0, 6),
    st.integers(1, 31),
)
instants = st.integers(ms("2024-01-01T00:00Z"), ms("2030-01-01T00:00Z"))


@settings(max_examples=300)
@given(timings, instants)
def test_due_instants_grow_and_each_is_found_from_anywhere_before_it(timing, at):
    due = due_after(timing, at)
    assert due > at
    assert due % 900_000 == 0
    assert due_after(timing, due - 1) == due
    following = due_after(timing, due)
    assert due_before(timing, following) == due
    shortest = {"daily": 22 * 3600 * 1000, "weekly": 6 * DAY_MS, "monthly": 27 * DAY_MS}[timing.every]
    longest = {"daily": 26 * 3600 * 1000, "weekly": 8 * DAY_MS, "monthly": 32 * DAY_MS}[timing.every]
    assert shortest <= following - due <= longest


@settings(max_examples=60)
@given(timings, instants)
def test_every_local_day_is_due_exactly_once(timing, at):
    daily = Timing("daily", timing.at, timing.tz)
    days = []
    due = at
    for _ in range(40):
        due = due_after(daily, due)
        days.append(datetime.fromtimestamp(due / 1000, ZoneInfo(timing.tz)).date())
    assert [b - a for a, b in itertools.pairwise(days)] == [timedelta(days=1)] * 39


@settings(max_examples=100)
@given(timings, instants)
def test_windows_since_the_time_before_tile(timing, at):
    due = due_after(timing, at)
    following = due_after(timing, due)
    assert window_of(timing, "since_last", following) == (due, following)


@pytest.mark.parametrize(
    ("preset", "start", "end"),
    [
        ("24h", "2026-03-31T04:00Z", "2026-04-01T04:00Z"),
        ("7d", "2026-03-25T04:00Z", "2026-04-01T04:00Z"),
        ("last_month", "2026-02-28T23:00Z", "2026-03-31T22:00Z"),
        ("this_month", "2026-03-31T22:00Z", "2026-04-01T04:00Z"),
    ],
)
def test_the_other_ranges_end_with_the_due_time_and_hold_nothing_that_is_not_over(preset, start, end):
    timing = Timing("monthly", "06:00", "Europe/Berlin", day=1)
    due = ms("2026-04-01T04:00Z")
    assert due_after(timing, due - 1) == due
    assert window_of(timing, preset, due) == (ms(start), ms(end))


def test_a_monthly_report_at_midnight_is_of_the_month_that_ended():
    timing = Timing("monthly", "00:00", "Europe/Berlin", day=1)
    due = ms("2026-03-31T22:00Z")
    for preset in ("last_month", "this_month"):
        assert window_of(timing, preset, due) == (ms("2026-02-28T23:00Z"), due)
    assert datetime.fromtimestamp(due / 1000, UTC).day == 31
