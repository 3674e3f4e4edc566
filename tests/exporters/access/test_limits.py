"""How often somebody may ask."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporters.access import limits
from exporters.access.limits import Limit


def test_a_minutes_worth_at_once_then_evenly():
    limit = Limit(60)
    assert [limit.take("a", 0.0) for _ in range(60)] == [0.0] * 60
    assert limit.take("a", 0.0) == 1.0
    assert limit.take("a", 0.5) == 0.5
    assert limit.take("b", 0.5) == 0.0
    assert limit.take("a", 1.0) == 0.0
    assert limit.take("a", 1.0) == 1.0


def test_looking_counts_nothing():
    limit = Limit(1)
    assert [limit.wait("a", 0.0) for _ in range(9)] == [0.0] * 9
    limit.take("a", 0.0)
    assert limit.wait("a", 15.0) == 45.0


@given(st.lists(st.floats(0, 600), max_size=300), st.integers(1, 50))
def test_no_minute_has_more_than_twice_what_is_allowed_and_whoever_waits_as_told_is_let_in(times, per_minute):
    limit, allowed = Limit(per_minute), []
    for now in sorted(times):
        wait = limit.take("a", now)
        if wait == 0.0:
            allowed.append(now)
        else:
            assert limit.wait("a", now + wait + 1e-6) == 0.0
    for start in allowed:
        assert sum(start <= t < start + 60 for t in allowed) <= 2 * per_minute


def test_names_that_are_made_up_fill_no_memory(monkeypatch):
    monkeypatch.setattr(limits, "MOST_NAMES", 100)
    limit = Limit(1)
    for number in range(1000):
        limit.take(str(number), 0.0)
    assert len(limit._buckets) == 100
    assert limit.take("999", 0.0) > 0
