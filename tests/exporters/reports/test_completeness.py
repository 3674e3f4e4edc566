from datetime import UTC, datetime

import pytest

from exporters.reports.build import ACTIVE_KIND, AUTHENTICATION_KIND, INACTIVE_KIND, Parameters
from exporters.reports.completeness import retention_notes
from exporters.store.retention import complete_from


def ms(*day):
    return int(datetime(*day, tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("now", "months", "kept"),
    [
        (ms(2026, 3, 31, 23), 1, ms(2026, 2, 1)),
        (ms(2026, 3, 1), 1, ms(2026, 2, 1)),
        (ms(2026, 1, 1), 1, ms(2025, 12, 1)),
        (ms(2026, 1, 15), 13, ms(2024, 12, 1)),
        (ms(2026, 1, 15), 1200, 0),
        (ms(2026, 1, 15), 0, 0),
    ],
)
def test_the_running_month_and_so_many_whole_ones_before_it_are_kept(now, months, kept):
    assert complete_from(now, months) == kept


def test_a_report_says_from_when_on_it_is_complete_and_nothing_if_it_is():
    now = ms(2026, 3, 20)
    whole, cut = Parameters(from_ms=ms(2026, 2, 1)), Parameters(from_ms=ms(2026, 1, 31))
    for kind in (ACTIVE_KIND, AUTHENTICATION_KIND):
        assert retention_notes(kind, whole, now_ms=now, months=1) == []
        [said] = retention_notes(kind, cut, now_ms=now, months=1)
        assert said.startswith("complete from 2026-02-01T00:00:00.000Z on")
        assert retention_notes(kind, cut, now_ms=now, months=0) == []
    [devices] = retention_notes(ACTIVE_KIND, whole, now_ms=ms(2026, 3, 1), months=1)
    assert devices == "active_devices are counted from 2026-02-01T00:00:00.000Z on"
    [seen] = retention_notes(INACTIVE_KIND, whole, now_ms=now, months=1)
    assert "accesses before 2026-02-01T00:00:00.000Z are no longer stored" in seen
