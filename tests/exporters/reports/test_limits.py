"""One person's share: how many at once, and how long within the hour."""

from __future__ import annotations

import msgspec
import pytest

from exporters.reports.build import Parameters
from exporters.reports.limits import check
from exporters.reports.runs import BUILDING, EXPIRED, HOUR_MS, QUEUED, READY, Run, Runs
from pipeline import clock
from pipeline.errors import RequestError
from pipeline.settings import Settings

SETTINGS = Settings(report_open_limit=3, report_hour_seconds=100)
NOW = 10 * HOUR_MS


def run(number, state, *, by="jane", at=NOW, seconds=0.0):
    return Run(str(number), "active", state, Parameters(), at, at, by=by, build_seconds=seconds)


def test_open_reports_are_counted_by_person():
    open_ = [run(n, QUEUED) for n in range(2)] + [run(9, QUEUED, by="joe")]
    check(open_, by="jane", now_ms=NOW, settings=SETTINGS)
    with pytest.raises(RequestError) as refused:
        check([*open_, run(3, QUEUED)], by="jane", now_ms=NOW, settings=SETTINGS)
    assert (refused.value.status, refused.value.code) == (429, "too_many_open")
    assert refused.value.retry_after_seconds > 0
    check([*open_, run(3, READY)], by="jane", now_ms=NOW, settings=SETTINGS)


def test_the_cost_of_an_hour_is_limited_and_the_answer_says_until_when():
    made = [
        run(1, READY, at=NOW - HOUR_MS + 5_000, seconds=40),
        run(2, READY, at=NOW - HOUR_MS + 60_000, seconds=30),
        run(3, READY, at=NOW - 1000, seconds=70),
        run(4, READY, at=NOW - 2 * HOUR_MS, seconds=1000),  # long ago
    ]
    with pytest.raises(RequestError) as refused:
        check(made, by="jane", now_ms=NOW, settings=SETTINGS)
    assert (refused.value.status, refused.value.code) == (429, "too_costly")
    assert (
        refused.value.retry_after_seconds == 60
    )  # without the first it is exactly the limit, without the second below
    check(made, by="joe", now_ms=NOW, settings=SETTINGS)
    check(made, by="jane", now_ms=NOW + 60_001, settings=SETTINGS)


def test_what_was_deleted_costs_as_long_as_if_it_were_still_there(monkeypatch):
    runs = Runs(Settings(kafka="nowhere:1"))
    monkeypatch.setattr(clock, "now_ms", lambda: NOW)
    made = [
        run(1, READY, at=NOW - 1000, seconds=60),
        run(2, BUILDING, at=NOW - 1000, seconds=60),
        run(3, READY, at=NOW - HOUR_MS, seconds=60),  # long ago
        run(4, READY, at=NOW - 1000),
    ]
    for one in made:
        runs.apply(one.run, msgspec.json.encode(one))
        runs.apply(one.run, None)
    assert runs.all() == []
    assert [r.run for r in runs.deleted_lately()] == ["1", "2"]
    limits = {"now_ms": NOW, "settings": SETTINGS, "deleted": runs.deleted_lately()}
    with pytest.raises(RequestError) as refused:
        check(runs.all(), by="jane", **limits)
    assert (refused.value.code, refused.value.retry_after_seconds) == ("too_costly", 3599)
    check(runs.all(), by="joe", **limits)
    monkeypatch.setattr(clock, "now_ms", lambda: NOW + HOUR_MS)
    runs.apply("9", None)
    assert runs.deleted_lately() == []


def test_a_report_does_not_cost_again_when_its_file_expires():
    check([run(1, EXPIRED, seconds=1000)], by="jane", now_ms=NOW, settings=SETTINGS)
