"""Named windows are what people mean by them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from exporters.reports.presets import PRESETS, preset_window

HOUR = 3_600_000


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("name", "zone", "now", "start", "end"),
    [
        ("24h", "UTC", "2026-03-29T10:07", "2026-03-28T10:15", "2026-03-29T10:15"),
        ("24h", "Asia/Kathmandu", "2026-03-29T10:00", "2026-03-28T10:15", "2026-03-29T10:15"),
        ("7d", "UTC", "2026-03-29T10:07", "2026-03-22T10:15", "2026-03-29T10:15"),
        ("this_month", "UTC", "2026-03-01T00:00", "2026-03-01T00:00", "2026-03-01T00:15"),
        ("last_month", "UTC", "2026-01-31T23:59", "2025-12-01T00:00", "2026-01-01T00:00"),
        ("last_month", "America/St_Johns", "2026-03-31T12:00", "2026-02-01T00:00", "2026-03-01T00:00"),
    ],
)
def test_a_preset_is_this_window(name, zone, now, start, end):
    found = preset_window(name, now_ms=at(now, zone), where=ZoneInfo(zone))
    assert found == (at(start, zone), at(end, zone))


def test_a_month_of_a_clock_change_is_an_hour_shorter():
    start, end = preset_window("last_month", now_ms=at("2026-04-15", "Europe/Berlin"), where=ZoneInfo("Europe/Berlin"))
    assert end - start == (31 * 24 - 1) * HOUR


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_ends_on_quarter_hours_everywhere(name):
    for zone in ("UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham", "Australia/Lord_Howe"):
        start, end = preset_window(name, now_ms=at("2026-10-05T11:11", zone), where=ZoneInfo(zone))
        assert start < end
        assert start % 900_000 == end % 900_000 == 0
