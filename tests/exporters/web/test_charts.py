"""Bars of hours and days, in zones that are not simple."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from exporters.web import charts


def ms(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "count"), [("UTC", 24), ("Europe/Berlin", 23), ("Asia/Kathmandu", 24), ("Australia/Lord_Howe", 24)]
)
def test_a_day_has_a_bar_for_each_of_its_hours(zone, count):
    found = charts.hours(ms("2026-03-29T00:00", zone), ms("2026-03-30T00:00", zone), zone)
    assert len(found) == count


def test_the_hour_that_happens_twice_is_two_bars():
    zone = "Europe/Berlin"
    found = charts.hours(ms("2026-10-25T00:00", zone), ms("2026-10-26T00:00", zone), zone)
    assert len(found) == 25
    assert [name for _, name, _ in found].count("Sun 25 Oct 02:00") == 2


def test_a_day_of_23_hours_is_one_bar_and_begins_at_midnight():
    zone = "Europe/Berlin"
    found = charts.days(ms("2026-03-28T00:00", zone), ms("2026-03-31T00:00", zone), zone)
    assert [start for start, _, _ in found] == [ms(f"2026-03-{d}T00:00", zone) for d in (28, 29, 30)]


def test_every_count_is_in_one_bar_and_none_before_the_first():
    steps = charts.days(ms("2026-03-28T12:00", "UTC"), ms("2026-03-30T12:00", "UTC"), "UTC")
    counts = [(ms(f"2026-03-{d}T{h:02}:00", "UTC"), 1, 2) for d in (28, 29, 30) for h in (0, 12, 23)]
    chart = charts.draw("x", "X", steps, [c for c in counts if c[0] < ms("2026-03-30T12:00", "UTC")], ("good", "bad"))
    assert [(b.good, b.bad) for b in chart.bars] == [(2, 4), (3, 6), (1, 2)]
    assert "18 in all, of them 12 bad" in chart.description


def test_a_chart_of_nothing_says_so():
    chart = charts.draw("x", "X", charts.days(0, 86_400_000, "UTC"), [], ("good", "bad"))
    assert chart.empty
    assert chart.lines == []


def test_the_tallest_bar_stays_inside_and_the_smallest_is_seen():
    steps = charts.days(0, 3 * 86_400_000, "UTC")
    chart = charts.draw("x", "X", steps, [(0, 999_999, 0), (86_400_000, 1, 0)], ("good", "bad"))
    assert chart.bars[0].good_y >= charts.TOP
    assert chart.bars[1].good_height >= charts.LEAST
