"""Whatever is asked is a window or is said not to be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.windows import BUCKET_MS, WindowError, instant, window, zone

ZONES = ["UTC", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


@pytest.mark.parametrize("where", ZONES)
@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01", "0001-01-01T00:00+14:00", "0050-01-01", "0999-01-01", "1969-12-31T00:00", "2107-01-01", "9999-12-31", "9999-12-31T23:50",
        "9999-12-31T23:45-14:00", "2026-02-29", "2026-03-01T24:15", "2026-3-1", "now", "",
    ],
)  # fmt: skip
def test_what_is_no_instant_of_ours_is_said(text, where):
    for end in (False, True):
        with pytest.raises(WindowError):
            instant(text, zone(where), end=end)


@given(
    st.datetimes().map(lambda at: at.isoformat(timespec="minutes")),
    st.sampled_from(["", "Z", "+14:00", "-12:00", "+05:45"]),
    st.sampled_from(ZONES),
)
def test_every_time_of_the_calendar_is_a_quarter_hour_or_refused(text, offset, where):
    try:
        ms = instant(text + offset, zone(where))
    except WindowError:
        return
    assert ms >= 0
    assert ms % BUCKET_MS == 0


def test_the_first_and_the_last_instant():
    assert window("1970-01-01", "2105-12-31T23:45", "UTC") == (0, 4_291_747_200_000 - BUCKET_MS)
