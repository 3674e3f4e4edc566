"""Values as a person reads them."""

from __future__ import annotations

import re
from html import unescape
from zoneinfo import ZoneInfo

import pytest
from markupsafe import escape

from exporters.reports.build import Parameters
from exporters.reports.runs import Run
from exporters.web import words
from exporters.web.asks import Ask, repeat, unclear_ends
from exporters.web.pages.preferences import here
from pipeline.model.times import parse
from pipeline.model.windows import BUCKET_MS, instant

UTC = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (99_950, "100 kB"), (999_499, "999 kB"), (999_500, "1.0 MB"), (2**63, "9223 PB")],
)  # fmt: skip
def test_sizes(count, text):
    assert words.size(count) == text


def test_lengths_and_instants():
    assert words.length(0) == "0 s"
    assert words.length(23 * 3_600_000 + 59_000) == "23 h 59 s"
    assert words.instant(1_774_748_700_000, "Asia/Kathmandu") == "2026-03-29 07:30"
    assert words.offset(1_774_748_700_000, "Asia/Kathmandu") == "+05:45"
    assert words.count(1_234_567) == "1\u202f234\u202f567"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "UTC"])
def test_a_field_holds_every_quarter_hour_of_the_clock_changes_as_a_start_and_as_an_end(zone):
    where = ZoneInfo(zone)
    for day in ("2026-10-25", "2026-03-29", "2026-04-04", "2026-11-01", "2026-03-08"):
        midnight = instant(day, UTC)
        for ms in range(midnight, midnight + 2 * words.DAY_MS, BUCKET_MS):
            text = words.field_value(ms, zone)
            assert instant(text, where) == instant(text, where, end=True) == ms
            assert words.field_type(text) == ("datetime-local" if len(text) == len("2026-10-25T02:30") else "text")
    assert words.field_value(instant("2026-10-25T01:30Z", UTC), "Europe/Berlin") == "2026-10-25T02:30+01:00"


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "US/Pacific", "Etc/GMT+5", "GMT", "Mars/<One>"])
def test_the_chosen_zone_is_always_among_those_to_choose(zone):
    options = re.findall(r"<option( selected)?>([^<]*)</option>", words.zone_options(zone))
    assert [unescape(name) for selected, name in options if selected] == [zone]
    assert len({name for _, name in options}) == len(options)
    assert not re.findall(" selected", words.zone_options(""))


@pytest.mark.parametrize("text", ["last Tuesday", "2026-02-30T00:00:00Z", "<b>", "0001-01-01T00:00:00.000Z"])
def test_what_is_no_instant_is_shown_as_it_is(text):
    assert words.written(text, "America/New_York") == escape(text)
    assert "2026-03-29 07:30" in words.written("2026-03-29T01:45:00Z", "Asia/Kathmandu")


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-03-29T02:30", "2026-03-30", ["set forward"]),
        ("2026-10-25T02:30", "2026-10-25T02:45", ["earlier one", "later one"]),
        ("2026-10-25T02:30Z", "2026-10-26", []),
        ("", "nonsense", []),
    ],
)
def test_what_a_clock_change_does_is_said(start, end, said):
    lines = unclear_ends(Ask.model_validate({"kind": "active", "from": start, "to": end, "tz": "Europe/Berlin"}))
    assert len(lines) == len(said)
    for line, part in zip(lines, said, strict=True):
        assert part in line


@pytest.mark.parametrize(
    ("requested", "as_of", "schedule", "kept"),
    [
        ("2026-03-02T10:20:00.000Z", "2026-03-01T00:00:00.000Z", "", True),
        ("2026-03-02T10:20:00.000Z", "2026-03-02T10:15:00.000Z", "", False),  # of then: now it is of now
        ("2026-03-02T10:20:00.000Z", "2026-03-02T10:15:00.000Z", "nightly", True),
    ],
)
def test_whoever_is_counted_back_from_an_instant_is_so_again(requested, as_of, schedule, kept):
    parameters = Parameters(as_of_ms=parse(as_of), days=30)
    run = Run("r", "inactive", "ready", parameters, parse(requested), parse(requested), schedule=schedule)
    assert repeat(run).as_of == (as_of if kept else "")


@pytest.mark.parametrize("address", ["//evil.example", "https://evil.example", "/\\evil", "", "/a\nb"])
def test_a_way_back_stays_on_this_site(address):
    assert here(address) == "/"
    assert here("/users?x=1") == "/users?x=1"
