"""When so many records are rejected that somebody must be told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine import flusher
from pipeline.engine.flusher import ALARM_RECORDS, Quality


def test_the_alarm_is_about_the_last_records_only():
    quality = Quality()
    assert not any(quality.add(1, 1) for _ in range(ALARM_RECORDS - 1))
    assert quality.add(1, 1)
    assert all(quality.add(1, 0) for _ in range(ALARM_RECORDS // 2 - 1))
    assert not quality.add(1, 0)
    assert not quality.add(ALARM_RECORDS, ALARM_RECORDS // 2)
    assert quality.add(ALARM_RECORDS, ALARM_RECORDS // 2 + 1)


@given(st.lists(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=40))
def test_it_is_what_adding_up_anew_says(lists):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flusher, "ALARM_RECORDS", 20)
        quality = Quality()
        for end in range(1, len(lists) + 1):
            last = lists[:end]
            while sum(n for n, _ in last[1:]) >= 20:
                last = last[1:]
            total, refused = (sum(column) for column in zip(*last, strict=True))
            assert quality.add(*lists[end - 1]) == (total >= 20 and 2 * refused > total)
