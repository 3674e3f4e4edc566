"""The fast way to read an instant and the exact one say the same, whatever is written."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.model import times

DIGITS = st.sampled_from("0123456789")


def read(parse, text):
    try:
        return parse(text)
    except (ValueError, OverflowError):
        return None


@given(st.from_regex(r"\A\d{4}[-W]\d\d[-:]\d\d?[T t]\d\d:?\d\d:?\d\d[.,:]\d{6}[+-]\d\d:?\d\d\Z"))
@example("2026-03-27T10:00:00.123999+00:00")
@example("2026-W13-5T10:00:00.123456+00:00")
@example("2026-03-27T10:00:60.000000+00:00")
@example("2026-02-30T10:00:00.000000+00:00")
@example("٢٠٢٦-03-27T10:00:00.123456+00:00")
@example("2026-03-27T1٠:00:00.123456+00:00")
@example("2026-03-27T10:00:00.12345x+00:00")
@example("1969-12-31T23:59:59.999999+00:00")
@example("2026-03-27T10:00   .123456+00:00")
def test_both_ways_read_the_same(text):
    assert read(times.parse, text) == read(times._parse, text)


@given(st.text(alphabet="0123456789-T:.+", min_size=32, max_size=32))
def test_whatever_is_as_long_as_the_usual_spelling_is_read_the_same(text):
    assert read(times.parse, text) == read(times._parse, text)
