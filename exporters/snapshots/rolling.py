"""The numbers of each person over rolling windows, seconds old, without adding up weeks of quarter hours each time.

A day of UTC in which nothing changed lately is *settled*: added up once per principal in the table `days`, and the settled days that lie wholly in a
window once more in the table `spans`.  These, and of the other days what lies before a moment called *hot*, are added up in the table `recent`.  A window
is its recent part and the fragments from hot on.  A change in a settled day unsettles it first, and one before hot moves hot back to it; so a window
always equals the report over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from exporters.snapshots.shapes import Counted
from exporters.store.changes import Changed
from exporters.store.store import Store, at

DAY_MS = 86_400_000
DAY_SECONDS = 86_400
# A day with late events stays unsettled until they have stopped for so long; settling it once costs as much as reading it a few times.
QUIET_MS = 120_000
# Hot is so long before the end of the windows: most events come within the hour.
NEVER = 1 << 62
HOT_MS = 3_600_000
# So many days are settled in one pass over the store, and at most between two looks once the first numbers are there.
SETTLED_AT_ONCE = 4


class Rolling:
    """Used by one thread.  `service` tells its settled days from those of other services at the same store."""

    def __init__(self, store: Store, service: str) -> None:
        self._store = store
        self._service = service
        self._settled: set[date] = set()
        self._spans: dict[int, set[date]] = {}  # what lies in the span of each window
        self._touched: dict[date, int] = {}
        self._begun = False
        self._hot = 0
        self._oldest = NEVER  # of what changed since the windows moved
        self._recent: dict[str, Any] | None = None  # what `recent` is about

    def change(self, changed: Changed, now_ms: int) -> None:
        """Unsettle what changed."""
        self._oldest = min([self._oldest, *(bucket * 1000 for bucket in changed.connections)])
        for day in {_day(bucket * 1000) for bucket in changed.connections}:
            self._touched[day] = now_ms
            self._settled.discard(day)

    def settle(self, from_ms: int, now_ms: int) -> None:
        """Settle quiet days from an instant on, all of them at first, then a few; forget those before."""
        days = _whole_days(from_ms, now_ms - now_ms % DAY_MS)
        if not self._begun:
            self._store.run("forget_days", service=self._service)
            self._store.run("forget_spans", service=self._service)
        for day in sorted(self._settled - set(days)):
            self._store.run("unsettle", service=self._service, day=day)
            self._settled.discard(day)
        quiet = [
            d for d in days if d not in self._settled and now_ms - self._touched.get(d, now_ms - QUIET_MS) >= QUIET_MS
        ]
        if self._begun:
            quiet = quiet[:SETTLED_AT_ONCE]
        for start in range(0, len(quiet), SETTLED_AT_ONCE):
            some = quiet[start : start + SETTLED_AT_ONCE]
            for day in some:
                self._store.run("unsettle", service=self._service, day=day)
            a, b = at(_start(some[0])), at(_start(some[-1]) + DAY_MS)
            self._store.run("settle", service=self._service, a=a, b=b, days=some)
            self._settled.update(some)
            for day in some:
                self._touched.pop(day, None)
        self._begun = True

    def people(
        self,
        windows: Sequence[tuple[int, int]],
        of_devices: tuple[int, int],
        only: Sequence[tuple[str, str]] | None = None,
    ) -> list[dict[str, Counted]]:
        """As the Active Users report has them over each window, by e-mail, with the devices used in one of their own.  All of them end together.

        `only`: the ids and e-mails of people who are all that is wanted.
        """
        wanted = len(windows)
        windows = windows if of_devices in windows else [*windows, of_devices]
        settled = [{d for d in _whole_days(*window) if d in self._settled} for window in windows]
        for number, days in enumerate(settled, 1):
            if self._spans.get(number) != days:
                self._span(number, days)
        live = {day for (a, b), days in zip(windows, settled, strict=True) for day in _days(a, b) if day not in days}
        which = {
            "service": self._service,
            "starts": [at(a) for a, _ in windows],
            "settled": [sorted(days) for days in settled],
            "live": sorted(live),
        }
        self._keep_recent(windows, which)
        rows = self._store.rows(
            "rolling",
            **which,
            a=at(self._hot),
            b=at(windows[0][1]),
            everybody=only is None,
            principals=msgspec.json.encode(only or []).decode(),
            of_devices=windows.index(of_devices) + 1,
            windows=wanted,
        )
        people: list[dict[str, Counted]] = [{} for _ in range(wanted)]
        for window, *row, said in rows:
            people[window - 1][row[0]] = Counted(*(*row, said.encode()))
        return people

    def _keep_recent(self, windows: Sequence[tuple[int, int]], which: dict[str, Any]) -> None:
        """Add up anew what lies before hot, if it is not what it was; hot goes back at most a few times between two moves of the windows."""
        if self._recent == which and self._oldest >= self._hot:
            return
        if self._recent is None or self._recent["starts"] != which["starts"]:
            self._oldest = NEVER
        self._recent = None  # until it is done
        self._hot = min(windows[0][1] - HOT_MS, self._oldest)
        self._store.run("forget_recent", service=self._service)
        self._store.run("recent", **which, a=min(which["starts"]), b=at(self._hot), everybody=True, principals="[]")
        self._recent = which

    def _span(self, number: int, days: set[date]) -> None:
        self._spans.pop(number, None)
        self._store.run("drop_span", service=self._service, window=number)
        self._store.run("span", service=self._service, window=number, settled=sorted(days))
        self._spans[number] = days


def _day(ms: int) -> date:
    return at(ms).date()


def _start(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_MS


def _days(from_ms: int, to_ms: int) -> list[date]:
    """The days of UTC of which any part lies inside."""
    return _whole_days(from_ms - from_ms % DAY_MS, to_ms + -to_ms % DAY_MS)


def _whole_days(from_ms: int, to_ms: int) -> list[date]:
    """The days of UTC that lie wholly inside."""
    first, last = -(-from_ms // DAY_MS), to_ms // DAY_MS
    return [date(1970, 1, 1) + timedelta(days=n) for n in range(first, last)]
