"""The rows of the reports over people, in memory that does not grow with them.

Principals are added up slice by slice, along the order in which the store keeps them, into a table in the order of names; people are added up from that,
slice of names by slice of names.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise, starmap
from typing import Any

from exporters.reports.columns import Active, Inactive
from exporters.store.store import Store, at

# In a slice, about: their sums and addresses lie in memory at once.  More slices would take longer where few people have many rollups.
SLICE_PEOPLE = 250_000


class People:
    """Used for one report.  `between` is called now and then; what it raises ends the work."""

    def __init__(
        self, store: Store, between: Callable[[], object] = lambda: None, *, slice_people: int = SLICE_PEOPLE
    ) -> None:
        self._store = store
        self._between = between
        self._slice_people = slice_people

    def active(self, window: tuple[int, int], devices: tuple[int, int]) -> Iterator[Active]:
        """Who used the network in a window, by name; devices are those of a window of their own.  Windows [from, to) in UTC ms, on quarter hours."""
        (a, b), (device_a, device_b) = window, devices
        with self._gathering("active_people") as report:
            for principals in self._principals(min(a, device_a), max(b, device_b)):
                asked = {"a": at(a), "b": at(b), "device_a": at(device_a), "device_b": at(device_b)}
                self._store.run("gather_active", report=report, **principals, **asked)
            for names in self._names("active_people", report):
                yield from starmap(Active, self._store.rows("active", report=report, **names))

    def inactive(self, as_of_ms: int, cut_ms: int, *, directory: bool) -> Iterator[Inactive]:
        """Whose last access before an instant lies before `cut_ms`, never first, then by it: of the directory, or of everyone ever seen."""
        with self._gathering("inactive_people", "inactive_users") as report:
            for principals in self._principals(0, as_of_ms):
                self._store.run("gather_inactive", report=report, **principals, as_of=at(as_of_ms))
            self._store.run("gather_accounts" if directory else "gather_seen", report=report)
            for names in self._names("inactive_people", report):
                self._store.run("gather_users", report=report, **names, cut=cut_ms)
            for row in self._store.rows("inactive", report=report):
                yield Inactive._make((*row, as_of_ms))

    @contextmanager
    def _gathering(self, *tables: str) -> Iterator[str]:
        report = uuid.uuid4().hex
        try:
            yield report
        finally:
            for table in tables:
                self._store.run(f"forget_{table}", report=report)

    def _principals(self, from_ms: int, to_ms: int) -> Iterator[dict[str, Any]]:
        """What slice.sql asks for, so that every principal of these months lies in one of them."""
        months = {"from_month": _month(from_ms), "to_month": _month(to_ms)}
        places = self._store.rows("slices_of_principals", **months, people=self._slice_people)
        # All e-mails of an id are in one slice, unless it is empty.
        for after, to in self._slices((id_, "" if id_ else email) for id_, email in places):
            (id_, email), (to_id, to_email) = after or ("", ""), to or ("", "")
            ends = {"after": id_, "after_email": email, "to": to_id, "to_email": to_email}
            yield {"first": after is None, "last": to is None, **ends}

    def _names(self, table: str, report: str) -> Iterator[dict[str, Any]]:
        """Likewise for what was gathered."""
        names = self._store.rows("slices_of_people", gathered=table, report=report, people=self._slice_people)
        for after, to in self._slices(name for (name,) in names):
            yield {"first": after is None, "last": to is None, "after": after or "", "to": to or ""}

    def _slices(self, places: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """From nothing to the first place, from there to the next, and on to the end."""
        for ends in pairwise([None, *dict.fromkeys(places), None]):
            self._between()
            yield ends


def _month(ms: int) -> int:
    day = at(ms)
    return day.year * 100 + day.month
