"""The journal's order decides which run of a schedule comes into being: one for each due time, whoever is late."""

from __future__ import annotations

import msgspec

from exporters.reports.build import Parameters
from exporters.reports.plans import SCHEDULE, Plans, Schedule, run_name
from exporters.reports.runs import QUEUED, READY, Run, Runs
from exporters.reports.schedules import Timing
from pipeline.settings import Settings


class Topic:
    """Two tables on one topic, as every service reads it."""

    def __init__(self) -> None:
        self.plans = Plans()
        self.runs = Runs(Settings(kafka="127.0.0.1:1"), {SCHEDULE: self.plans.apply}, admits=self.plans.admits)

    def schedule(self, **fields):
        made = Schedule("s", "Daily", Timing("daily", "06:00", "UTC"), "24h", {"kind": "active"}, "jane", 1, 1)
        return self.plans.apply("schedule/s", msgspec.json.encode(msgspec.structs.replace(made, **fields)))

    def run(self, due, state=QUEUED, **fields):
        name = run_name("s", due) if due is not None else "now"
        run = Run(name, "active", state, Parameters(), 1, 1, schedule="s", due=due, **fields)
        return self.runs.apply(name, msgspec.json.encode(run))


def test_a_due_time_has_one_run_whoever_writes_it_and_however_late():
    topic = Topic()
    topic.schedule(next_due=100)
    assert topic.run(100)
    assert topic.run(100) is False  # the other service, at the same moment
    assert topic.schedule(next_due=200, revision=2)
    topic.runs.apply(run_name("s", 100), None)  # made, fetched, deleted
    assert topic.run(100) is False  # a service that slept meanwhile
    assert topic.run(300) is False  # not due yet
    assert topic.run(200)


def test_a_paused_or_deleted_schedule_makes_nothing_but_one_may_still_be_asked_for():
    topic = Topic()
    topic.schedule(next_due=None)
    assert topic.run(100) is False
    assert topic.run(None)
    topic.plans.apply("schedule/s", None)
    topic.runs.apply("now", None)
    assert topic.run(100) is False
    assert topic.schedule(next_due=100) is False  # what was deleted does not come back


def test_of_two_changes_at_once_the_first_counts():
    topic = Topic()
    topic.schedule(next_due=100, name="first")
    assert topic.schedule(next_due=200, name="second", revision=2)
    assert topic.schedule(next_due=None, name="third", revision=2) is False
    assert topic.schedule(next_due=None, name="fourth", revision=3)


def test_after_compaction_a_run_whose_schedule_is_still_to_come_is_taken():
    topic = Topic()
    assert topic.run(100)
    assert topic.schedule(next_due=200, revision=7)
    late = Topic()
    late.schedule(next_due=200, revision=7)
    assert late.run(100, READY, attempt=1, holder="a", stored="x")  # its last record, written after the schedule's
