"""Schedules as the journal has them, and the order in which one makes its runs.

A schedule says its next due instant.  The run of that instant is written first, then the schedule with the one after it; a run of a schedule is
admitted only while the schedule says that very instant.  So whoever comes late, on whatever service, after whatever pause, makes nothing twice:
the topic's order has decided.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from exporters.journal import Journal
from exporters.reports.runs import Run
from exporters.reports.schedules import Timing
from pipeline import clock

SCHEDULE = "schedule/"


class Schedule(msgspec.Struct):
    """A report that is made by itself.  `ask` is what the API takes, `preset` its window; each change is `revision` + 1, or refused.

    `next_due` is UTC ms, None while it is paused; `skipped` counts due instants too long ago to be made up for.
    """

    id: str
    name: str
    timing: Timing
    preset: str
    ask: dict[str, Any]
    by: str
    made_at: int
    changed_at: int
    recipients: list[str] = []
    revision: int = 1
    next_due: int | None = None
    last_due: int | None = None
    skipped: int = 0

    @property
    def paused(self) -> bool:
        return self.next_due is None


_decoder = msgspec.json.Decoder(Schedule)


def run_name(schedule: str, due: int) -> str:
    """The one name of the run of a due instant, on every service."""
    return hashlib.sha256(f"{schedule}/{due}".encode()).hexdigest()[:32]


class Plans:
    """The schedules."""

    def __init__(self) -> None:
        self._schedules: dict[str, Schedule] = {}
        self._gone: set[str] = set()
        self._journal: Journal | None = None

    def lie_on(self, journal: Journal) -> None:
        self._journal = journal

    def apply(self, key: str, value: bytes | None) -> bool | None:
        id_ = key.removeprefix(SCHEDULE)
        if value is None:
            self._schedules.pop(id_, None)
            self._gone.add(id_)
            return True
        try:
            schedule = _decoder.decode(value)
        except msgspec.MsgspecError:
            return None
        before = self._schedules.get(id_)
        if schedule.id != id_:
            return None
        if id_ in self._gone or (before is not None and schedule.revision != before.revision + 1):
            return False
        self._schedules[id_] = schedule
        return True

    def admits(self, run: Run) -> bool:
        """Whether a run that says it is of a schedule may come into being.  Called by the journal, under its lock."""
        if not run.schedule:
            return True
        if run.schedule in self._gone:
            return False
        schedule = self._schedules.get(run.schedule)
        # Not known: the record that made it is compacted away and a later one is still to come.
        return schedule is None or run.due is None or run.due == schedule.next_due

    def all(self) -> list[Schedule]:
        """Newest first."""
        with self.on.changed:
            return sorted(self._schedules.values(), key=lambda s: (s.made_at, s.id), reverse=True)

    def get(self, id_: str) -> Schedule | None:
        with self.on.changed:
            return self._schedules.get(id_)

    def put(self, schedule: Schedule) -> Schedule | None:
        """Write one as it is; None if somebody else changed or deleted it first.  Raises Unavailable."""
        self.on.write(f"{SCHEDULE}{schedule.id}", msgspec.json.encode(schedule))
        return schedule if self.get(schedule.id) == schedule else None

    def change(self, schedule: Schedule, **fields: Any) -> Schedule | None:
        """Write the next revision; None if somebody else was first.  Raises Unavailable."""
        fields |= {"revision": schedule.revision + 1, "changed_at": clock.now_ms()}
        return self.put(msgspec.structs.replace(schedule, **fields))

    def forget(self, schedule: Schedule) -> None:
        """Raises Unavailable."""
        self.on.write(f"{SCHEDULE}{schedule.id}", None)

    def name(self, id_: str) -> str:
        """What the schedule is called, also after it was deleted."""
        schedule = self.get(id_) if id_ else None
        return schedule.name if schedule else ("A deleted schedule" if id_ else "")

    @property
    def on(self) -> Journal:
        assert self._journal is not None
        return self._journal
