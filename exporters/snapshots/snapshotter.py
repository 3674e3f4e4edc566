"""Keeps the rolling windows seconds old: looks what changed in the store, computes the snapshots anew, hands them to readers and to Redis.

Readers in this process take them from memory, so that they need no Redis; Redis holds them for everybody else.  Nothing is computed while nothing
changes and no window moves; `complete_through` moves on all the same.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from exporters.reports.build import ACTIVE_KIND, AUTHENTICATION_KIND, INACTIVE_KIND
from exporters.snapshots.everyone import Census, Everyone
from exporters.snapshots.horizon import Ends, Horizon
from exporters.snapshots.quarters import Cell, Quarters
from exporters.snapshots.rolling import DAY_MS, Rolling
from exporters.snapshots.shapes import (
    WINDOWS,
    Counted,
    Head,
    Snapshot,
    WindowName,
    active_totals,
    edges,
    inactive_rows,
)
from exporters.snapshots.shelf import Shelf
from exporters.store.changes import Changed
from exporters.store.projector import Projector
from exporters.store.store import Store
from pipeline import clock, logs
from pipeline.errors import ConfigError, Unavailable
from pipeline.metrics import Metrics
from pipeline.settings import Settings

log = logs.logger("snapshots")

# Between the looks at the store the processor belongs to others at least as long as a look took, but for the first one, which adds up weeks.
REST = 1.0
# How far the store is may be asked more often: it costs nothing beside a look, and what the numbers are complete through is no older than that.
HORIZON_SECONDS = 0.5
# So large a part of all principals is looked up by itself; more of them are not found faster than everybody is.
FEW = 0.5


class Moment(NamedTuple):
    """All snapshots of one version.  `complete_through`: every event that Kafka had acknowledged then is inside; None: not known yet."""

    version: int
    made_at: int
    complete_through: int | None
    snapshots: dict[tuple[str, str], Snapshot]
    connections: dict[int, Cell]
    sign_ins: dict[int, dict[tuple[str, str, str], int]]
    everyone: Everyone


class Snapshotter(threading.Thread):
    """`moment` is the newest one, or None before the first; `redis` says why Redis does not have it, or nothing."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        projector: Projector,
        source_ends: Callable[[], Ends],
        metrics: Metrics,
    ) -> None:
        super().__init__(name="snapshotter", daemon=True)
        self._settings = settings
        self._projector = projector
        self._metrics = metrics
        owner = f"{platform.node()}:{settings.data.resolve()}"
        self._rolling = Rolling(store, owner)
        self._quarters = Quarters(store)
        self._census = Census(store)
        self._numbers: dict[WindowName, dict[str, Counted]] = {}
        self._counted_to = 0  # where the windows ended whose numbers these are
        self._shelf = Shelf(settings, owner)
        self._horizon = Horizon(source_ends, projector.behind)
        self._listeners: list[Callable[[], object]] = []
        self._stopping = threading.Event()
        self.moment: Moment | None = None
        self.redis: str | None = None

    def run(self) -> None:
        seconds = self._settings.snapshot_seconds
        due = clock.monotonic() + seconds
        while not self._stopping.wait(min(seconds, HORIZON_SECONDS)):
            began, first = clock.monotonic(), self.moment is None
            if not self._projector.ready:
                continue
            try:
                self._horizon.advance()
                if began < due:
                    continue
                self._look()
            except Exception as error:
                log.exception("snapshots could not be made; trying again", error=type(error).__name__)
            took = clock.monotonic() - began
            due = began + max(seconds, took if first else took + REST * took)

    def stop(self) -> None:
        self._stopping.set()

    def listen(self, told: Callable[[], object]) -> Callable[[], None]:
        """Have `told` called, in this thread, after every change; the answer ends that."""
        self._listeners.append(told)
        return lambda: self._listeners.remove(told)

    def _look(self) -> None:
        now = clock.now_ms()
        changed = self._projector.changes.take()
        before = self.moment
        moved = before is None or before.snapshots[ACTIVE_KIND, WINDOWS[0]].head.to_ms != edges(WINDOWS[0], now)[1]
        fresh = bool(changed) or moved or self._census.behind
        if fresh:
            try:
                self.moment = self._compute(changed, now)
            except BaseException:
                self._projector.changes.put_back(changed)
                raise
            self._metrics["activity_snapshot_seconds"].observe((clock.now_ms() - now) / 1000)
        elif before is not None:
            self.moment = before._replace(complete_through=self._horizon.at)
        moment = self.moment
        assert moment is not None
        behind = behind_seconds(moment)
        if behind is not None:
            self._metrics["activity_snapshot_behind_seconds"].set(behind)
        if fresh:
            for tell in list(self._listeners):
                tell()
        self._publish(moment, fresh=fresh)
        if fresh and before is not None:
            # Freed all at once, tens of thousands of people would hold up every answer for as long as that takes.
            held = [a for window in before.everyone.windows.values() for a in window.values()]
            del before
            while held:
                held.pop()

    def _compute(self, changed: Changed, now: int) -> Moment:
        widest = WINDOWS[-1]
        from_ms, to_ms = edges(widest, now)
        through = self._horizon.at
        self._rolling.change(changed, now)
        self._rolling.settle(from_ms, now)
        self._quarters.change(changed, from_ms, to_ms)
        self._census.read(changed)
        self._count(changed, now)
        everyone = self._census.everyone(changed, from_ms, self._numbers, widest)
        version = max(now, self.moment.version + 1 if self.moment else 0)
        made: list[Snapshot] = []
        for window in WINDOWS:
            ends = edges(window, now)

            def head(kind: str, count: int, totals: dict[str, Any], window: WindowName = window) -> Head:
                a, b = edges(window, now)
                return Head(
                    kind=kind,
                    window=window,
                    version=version,
                    from_ms=a,
                    to_ms=b,
                    complete_through=through,
                    made_at=now,
                    count=count,
                    totals=totals,
                )

            numbers = self._numbers[window]
            names = sorted(numbers)
            active = [numbers[name] for name in names]
            made.append(
                Snapshot(
                    head(ACTIVE_KIND, len(active), active_totals(active)),
                    names,
                    [a.row for a in active],
                )
            )
            inactive = everyone.inactive(*ends)
            totals = {
                "inactive_users": len(inactive),
                "never": sum(not i.last_ms for i in inactive),
                "population": len(everyone.directory or everyone.people),
                "directory": bool(everyone.directory),
            }
            made.append(
                Snapshot(
                    head(INACTIVE_KIND, len(inactive), totals),
                    [(i.last_ms, i.person) for i in inactive],
                    inactive_rows(inactive),
                )
            )
            made.append(_authentication(self._quarters.outcomes(*ends), head))
        return Moment(
            version,
            now,
            through,
            {(s.head.kind, s.head.window): s for s in made},
            self._quarters.connections,
            self._quarters.sign_ins,
            everyone,
        )

    def _count(self, changed: Changed, now: int) -> None:
        """The numbers of each window anew: of the people that changed, and of everybody once the windows have moved or names have changed.

        Devices are those of a window of their own, the same for all.
        """
        windows = [edges(w, now) for w in WINDOWS]
        to_ms = windows[0][1]
        everybody = to_ms != self._counted_to or changed.accounts or len(changed.seen) > FEW * self._census.principals
        people = {} if everybody else self._census.people(changed.seen)
        only = None if everybody else [name for names in people.values() for name in names]
        of_devices = (to_ms - self._settings.device_days * DAY_MS, to_ms)
        if everybody or only:
            self._counted_to = 0  # until it is done
            found = self._rolling.people(windows, of_devices, only)
            kept = [
                {} if everybody else {p: a for p, a in self._numbers.get(w, {}).items() if p not in people}
                for w in WINDOWS
            ]
            # Readers hold what was handed out.
            self._numbers = {w: k | f for w, k, f in zip(WINDOWS, kept, found, strict=True)}
        self._counted_to = to_ms

    def _publish(self, moment: Moment, *, fresh: bool) -> None:
        try:
            self._shelf.put(
                list(moment.snapshots.values()),
                partial(series, moment),
                version=moment.version,
                complete_through=moment.complete_through,
                fresh=fresh,
            )
            self.redis = None
        except (ConfigError, Unavailable) as problem:
            if self.redis is None:
                log.warning("snapshots do not reach Redis", reason=str(problem))
            self.redis = str(problem)


def series(moment: Moment) -> dict[str, Any]:
    """Quarter hours without anything are left out."""
    return {
        "version": moment.version,
        "step_seconds": 900,
        "connections": [
            {"at_ms": q * 1000, "success": c.success, "failed_dns": c.dns, "failed_other": c.other}
            for q, c in sorted(moment.connections.items())
        ],
        "sign_ins": [
            {
                "at_ms": q * 1000,
                "success": sum(n for (_, r, _), n in outcomes.items() if r == "success"),
                "failure": sum(n for (_, r, _), n in outcomes.items() if r != "success"),
            }
            for q, outcomes in sorted(moment.sign_ins.items())
        ],
    }


def _authentication(outcomes: dict[tuple[str, str, str], int], head: Callable[..., Head]) -> Snapshot:
    by_type: dict[str, dict[str, int]] = {}
    by_reason: dict[str, int] = {}
    for (type_, result, reason), many in outcomes.items():
        counts = by_type.setdefault(type_, {"success": 0, "failure": 0})
        counts[result] += many
        if result != "success":
            by_reason[reason] = by_reason.get(reason, 0) + many
    totals = {
        "sign_ins": sum(outcomes.values()),
        "failures": sum(by_reason.values()),
        "failures_by_reason": dict(sorted(by_reason.items(), key=lambda r: (-r[1], r[0]))),
        "by_type": by_type,
    }
    rows = [
        msgspec.json.encode({"type": t, "result": r, "reason": reason or None, "count": many})
        for (t, r, reason), many in outcomes.items()
    ]
    return Snapshot(head(AUTHENTICATION_KIND, len(rows), totals), list(outcomes), rows)


def behind_seconds(moment: Moment) -> float | None:
    """How old the newest complete instant is; None while there is none."""
    return None if moment.complete_through is None else max(0.0, (clock.now_ms() - moment.complete_through) / 1000)
