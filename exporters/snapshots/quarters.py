"""What happened in each quarter hour of the last 30 days, kept in memory: bars of hours and of days in any zone are sums of quarter hours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from exporters.store.changes import BUCKET_SECONDS, Changed
from exporters.store.store import Store, at

DAY_SECONDS = 86_400
Outcome = tuple[str, str, str]  # type, result, reason


class Cell(NamedTuple):
    """Connections of people in one quarter hour."""

    success: int
    dns: int
    other: int


class Quarters:
    """Used by one thread; what it hands out is never changed afterwards.  Quarter hours by their start in epoch seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._from = 0
        self.connections: dict[int, Cell] = {}
        self.sign_ins: dict[int, dict[Outcome, int]] = {}

    def change(self, changed: Changed, from_ms: int, to_ms: int) -> None:
        """Read again what changed, and everything at first."""
        start, end = from_ms // 1000, to_ms // 1000
        everything = [(start, end)] if not self._from else []
        connections = {k: v for k, v in self.connections.items() if k >= start}
        for a, b in everything or _runs(changed.connections, start, end):
            for quarter in range(a, b, BUCKET_SECONDS):
                connections.pop(quarter, None)
            rows = self._store.rows("quarters", a=at(a * 1000), b=at(b * 1000))
            connections |= {row[0]: Cell(*row[1:]) for row in rows}
        sign_ins = {k: v for k, v in self.sign_ins.items() if k >= start}
        for a, b in everything or _runs(changed.sign_ins, start, end):
            for quarter in range(a, b, BUCKET_SECONDS):
                sign_ins.pop(quarter, None)
            for quarter, *outcome, many in self._store.rows("quarters_sign_ins", a=a * 1000, b=b * 1000):
                sign_ins.setdefault(quarter, {})[outcome[0], outcome[1], outcome[2]] = many
        self.connections, self.sign_ins, self._from = connections, sign_ins, start

    def outcomes(self, from_ms: int, to_ms: int) -> dict[Outcome, int]:
        """Sign-ins of a window by type, result and reason."""
        found: dict[Outcome, int] = {}
        for quarter, outcomes in self.sign_ins.items():
            if from_ms <= quarter * 1000 < to_ms:
                for outcome, many in outcomes.items():
                    found[outcome] = found.get(outcome, 0) + many
        return dict(sorted(found.items()))


def _runs(quarters: set[int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Changed quarter hours as few ranges, each within neighbouring days: a query costs more than the quarters it reads too many."""
    first = last = None
    for quarter in sorted(q for q in quarters if start <= q < end):
        if first is None or last is None:
            first = quarter
        elif quarter - last > DAY_SECONDS:
            yield first, last + BUCKET_SECONDS
            first = quarter
        last = quarter
    if first is not None and last is not None:
        yield first, last + BUCKET_SECONDS
