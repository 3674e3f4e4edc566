"""How long a report will take: what it must read, by the speed at which the last ones of its kind were made.

An estimate chooses the lane, the share shown as done, and what a run costs its asker; being wrong costs comfort, never a result.
"""

from __future__ import annotations

import threading

from exporters.reports.build import ACTIVE_KIND, AUTHENTICATION_KIND, INACTIVE_KIND
from exporters.reports.queue import LONG, SHORT
from exporters.reports.runs import Run
from exporters.store.store import Store, at

# What takes longer than a person waits for goes to the long lane, which never has every slot.
LONG_SECONDS = 20.0
# Rows read a second before anything was measured; on the slow side, so that the first long report is not taken for a short one.
FIRST_SPEED = {ACTIVE_KIND: 200_000.0, INACTIVE_KIND: 500_000.0, AUTHENTICATION_KIND: 50_000.0}
# The weight of the newest measurement, and from which size on one says anything.
NEW, SAYING_ROWS = 0.3, 20_000
START_SECONDS = 0.1


class Estimates:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._speed = dict(FIRST_SPEED)
        self._lock = threading.Lock()

    def size(self, run: Run) -> int:
        """Rows of the store that the run must read; 0 if the store does not say."""
        p = run.parameters
        try:
            if run.kind == AUTHENTICATION_KIND:
                rows = self._store.rows("size_sign_ins", a=p.from_ms, b=p.to_ms)
            else:
                a, b = (p.from_ms, p.to_ms) if run.kind == ACTIVE_KIND else (0, p.as_of_ms)
                rows = self._store.rows("size_connections", a=at(a), b=at(b))
            return int(next(rows)[0])
        except Exception:
            return 0  # the build itself will say what is wrong with the store

    def seconds(self, kind: str, size: int) -> float:
        with self._lock:
            return START_SECONDS + size / self._speed[kind]

    def lane(self, kind: str, size: int) -> str:
        return LONG if self.seconds(kind, size) > LONG_SECONDS else SHORT

    def learn(self, kind: str, size: int, seconds: float) -> None:
        """A run of this size took so long."""
        if size < SAYING_ROWS:
            return
        with self._lock:
            self._speed[kind] += NEW * (size / max(seconds, 0.001) - self._speed[kind])
