"""Makes the run of every due instant of every schedule, exactly one each (see plans.py for why)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

from exporters.reports.ask import Ask, parameters_of
from exporters.reports.build import INACTIVE_KIND
from exporters.reports.plans import Plans, Schedule, run_name
from exporters.reports.runs import QUEUED, Run, Runs
from exporters.reports.schedules import due_after, window_of
from exporters.reports.steps import Step, reach
from pipeline import clock, logs
from pipeline.errors import Problem
from pipeline.model.times import iso
from pipeline.model.windows import BUCKET_MS
from pipeline.settings import Settings

log = logs.logger("scheduler")

DAY_MS = 24 * 3600 * 1000
TURN_SECONDS = 1.0
# A report that nobody waits for may wait for a worker that is being restarted.
TIMEOUT_SECONDS = 3600.0

Ends = Callable[[], dict[str, dict[int, int]]]


class Scheduler(threading.Thread):
    """`turn` is one look at all schedules; `ends` are the sources' ends, as every run must contain them."""

    def __init__(self, settings: Settings, plans: Plans, runs: Runs, ends: Ends) -> None:
        super().__init__(name="scheduler", daemon=True)
        self._settings = settings
        self._plans = plans
        self._runs = runs
        self._ends = ends
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
            except Problem as problem:
                log.warning(str(problem))
            except Exception as error:
                log.exception("the scheduler failed; trying again", error=type(error).__name__)
            self._stopping.wait(TURN_SECONDS)

    def turn(self) -> None:
        """Raises Unavailable; what is due stays due."""
        if not self._runs.journal.ready:
            return
        now = clock.now_ms()
        for schedule in self._plans.all():
            try:
                self._catch_up(schedule, now)
            except Problem:
                raise
            except Exception as error:  # one that cannot be followed must not stop the others
                log.exception("a schedule could not be followed", error=type(error).__name__)

    def _catch_up(self, schedule: Schedule, now: int) -> None:
        following: Schedule | None = schedule
        while following is not None and following.next_due is not None and following.next_due <= now:
            following = self._follow(following, following.next_due, now)
            if self._stopping.is_set():
                return

    def run_now(self, schedule: Schedule, *, by: str) -> Run:
        """One more run, of this instant; the schedule goes on as it was.  Raises Unavailable."""
        now = clock.now_ms()
        run = self._run(schedule, uuid.uuid4().hex, now - now % BUCKET_MS, due=None, now=now)
        run.by = by
        return self._runs.change(run, QUEUED)

    def _follow(self, schedule: Schedule, due: int, now: int) -> Schedule | None:
        """Make the run of one due instant and move on; the schedule as it is then."""
        reach(Step.DUE)
        too_old = due < now - self._settings.report_expiry_days * DAY_MS  # its file would be gone before it is made
        name = run_name(schedule.id, due)
        if not too_old and self._runs.get(name) is None and not self._runs.deleted(name):
            self._runs.change(self._run(schedule, name, due, due=due, now=now), QUEUED)
            reach(Step.SCHEDULED)
        after = due_after(schedule.timing, due)
        moved = self._plans.change(schedule, next_due=after, last_due=due, skipped=schedule.skipped + too_old)
        reach(Step.ADVANCED)
        return moved

    def _run(self, schedule: Schedule, name: str, at: int, *, due: int | None, now: int) -> Run:
        settings = self._settings
        if schedule.ask["kind"] == INACTIVE_KIND:
            asked = schedule.ask | {"as_of": iso(at - at % BUCKET_MS)}
        else:
            from_ms, to_ms = window_of(schedule.timing, schedule.preset, at)
            asked = schedule.ask | {"from": iso(from_ms), "to": iso(to_ms)}
        ask = Ask.model_validate(asked | {"tz": schedule.timing.tz})
        parameters = parameters_of(
            ask, now_ms=now, inactive_days=settings.inactive_days, device_days=settings.device_days
        )
        return Run(
            name, ask.kind, QUEUED, parameters, now, now, timeout_seconds=TIMEOUT_SECONDS, ends=self._ends(),
            by=schedule.by, recipients=schedule.recipients, schedule=schedule.id, due=due,
        )  # fmt: skip
