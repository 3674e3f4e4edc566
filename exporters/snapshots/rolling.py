"""The numbers of each person over a rolling window, seconds old, without adding up weeks of quarter hours each time.

A day of UTC in which nothing changed lately is *settled*: added up once per principal in the table `days`.  A window is its settled days plus the
fragments of all others, and a change in a settled day unsettles it first; so it always equals the report over the same window.
"""

from __future__ import annotations

from datetime import date, timedelta

from exporters.reports.columns import Active
from exporters.snapshots.shapes import at
from exporters.store.changes import Changed
from exporters.store.store import Store

DAY_MS = 86_400_000
DAY_SECONDS = 86_400
BUCKET_MS = 900_000
# A day with late events stays unsettled until they have stopped for so long; settling it once costs as much as reading it a few times.
QUIET_MS = 120_000
# So many days are settled between two looks at the numbers, once the first ones are there.
SETTLED_AT_ONCE = 4


class Rolling:
    """Used by one thread.  `service` tells its settled days from those of other services at the same store."""

    def __init__(self, store: Store, service: str) -> None:
        self._store = store
        self._service = service
        self._settled: set[date] = set()
        self._touched: dict[date, int] = {}
        self._begun = False

    def change(self, changed: Changed, now_ms: int) -> None:
        """Unsettle what changed."""
        for day in {_day(bucket * 1000) for bucket in changed.connections}:
            self._touched[day] = now_ms
            self._settled.discard(day)

    def settle(self, from_ms: int, now_ms: int) -> None:
        """Settle quiet days from an instant on, all of them at first, then a few; forget those before."""
        days = _whole_days(from_ms, now_ms - now_ms % DAY_MS)
        if not self._begun:
            self._store.run("forget_days", service=self._service)
        for day in sorted(self._settled - set(days)):
            self._store.run("unsettle", service=self._service, day=day)
            self._settled.discard(day)
        quiet = [
            d for d in days if d not in self._settled and now_ms - self._touched.get(d, now_ms - QUIET_MS) >= QUIET_MS
        ]
        for day in quiet if not self._begun else quiet[:SETTLED_AT_ONCE]:
            self._store.run("unsettle", service=self._service, day=day)
            start = _start(day)
            self._store.run("settle", service=self._service, a=at(start), b=at(start + DAY_MS))
            self._settled.add(day)
            self._touched.pop(day, None)
        self._begun = True

    def people(self, from_ms: int, to_ms: int, devices: dict[str, int]) -> list[Active]:
        """As the Active Users report has them, by e-mail."""
        rows = self._store.rows("rolling", a=at(from_ms), b=at(to_ms), **self._sources(from_ms, to_ms))
        return [Active._make((*row[:9], devices.get(row[0], 0), *row[9:])) for row in rows]

    def devices(self, days: int, now_ms: int) -> dict[str, int]:
        """{person: active devices} as a report counts them that is asked for now."""
        bucket = now_ms - now_ms % BUCKET_MS
        from_ms, to_ms = bucket - days * DAY_MS, bucket + BUCKET_MS
        return dict(self._store.rows("rolling_devices", a=at(from_ms), b=at(to_ms), **self._sources(from_ms, to_ms)))

    def _sources(self, from_ms: int, to_ms: int) -> dict[str, object]:
        return {
            "service": self._service,
            "settled": [d for d in _whole_days(from_ms, to_ms) if d in self._settled],
        }


def _day(ms: int) -> date:
    return at(ms).date()


def _start(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_MS


def _whole_days(from_ms: int, to_ms: int) -> list[date]:
    """The days of UTC that lie wholly inside."""
    first, last = -(-from_ms // DAY_MS), to_ms // DAY_MS
    return [date(1970, 1, 1) + timedelta(days=n) for n in range(first, last)]
