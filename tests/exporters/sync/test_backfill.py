"""What a backfill is called; that it delivers is seen on real servers."""

from __future__ import annotations

import pytest

from exporters.cli_sync import _instant
from exporters.sync.backfill import label
from pipeline.errors import RequestError


@pytest.mark.parametrize(
    "text", ["9999-12-31", "2106-01-01", "0001-01-01", "1969-12-31", "9999-12-31T23:59-14:00", "0001-01-01T00:00+14:00"]
)
def test_an_instant_that_no_event_can_have_is_refused(text):
    with pytest.raises(RequestError, match=r"is not between 1970 and 2105"):
        _instant(text)


MINUTE = 1_772_359_200_000  # 2026-03-01T10:00Z


@pytest.mark.parametrize(
    ("to_ms", "name"),
    [
        (MINUTE + 86_400_000, "20260301T1000_20260302T1000"),
        (MINUTE + 30_000, "20260301T1000_20260301T100030"),
        (MINUTE + 30_007, "20260301T1000_20260301T100030007"),
        (MINUTE + 7, "20260301T1000_20260301T100000007"),
        (MINUTE + 600_000, "20260301T1000_20260301T1010"),
    ],
)
def test_a_folder_is_named_as_exactly_as_its_stretch(to_ms, name):
    assert label(MINUTE, to_ms) == name
