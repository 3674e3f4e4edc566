"""Makes the files of open runs: waits until the store has everything that was acknowledged when the run was asked for, then builds."""

from __future__ import annotations

import threading
from pathlib import Path

from exporters.reports.build import build
from exporters.reports.runs import BUILDING, EXPIRED, FAILED, OPEN, QUEUED, READY, WAITING, Run, Runs
from exporters.store.projector import Projector
from exporters.store.store import Store
from pipeline import clock, logs
from pipeline.errors import Problem
from pipeline.metrics import Metrics
from pipeline.settings import Settings

log = logs.logger("builder")

DAY_MS = 24 * 3600 * 1000
TURN_SECONDS = 0.5


class Builder(threading.Thread):
    """One at a time, oldest first.  What a crash left open is simply built again: a file appears whole or not at all."""

    def __init__(self, settings: Settings, store: Store, projector: Projector, runs: Runs, metrics: Metrics) -> None:
        super().__init__(name="builder", daemon=True)
        self._settings = settings
        self._store = store
        self._projector = projector
        self._runs = runs
        self._metrics = metrics
        self._stopping = threading.Event()
        self.kick = threading.Event()

    def path(self, run: Run) -> Path:
        return self._settings.data / "reports" / run.run

    def stop(self) -> None:
        self._stopping.set()
        self.kick.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._expire()
                for run in reversed(self._runs.all() if self._runs.journal.ready else []):
                    if run.state in OPEN:
                        self._make(run)
            except Problem as problem:
                log.warning(str(problem))
            self.kick.wait(1.0)
            self.kick.clear()

    def _make(self, run: Run) -> None:
        run = self._runs.change(run, WAITING)
        if run.state != WAITING:
            return
        if not self._complete(run):
            if self._stopping.is_set() or not self._wanted(run):
                return
            behind = self._projector.problem or "; ".join(self._projector.behind(run.ends)[:3])
            self._finish(
                run,
                FAILED,
                error=f"not complete after {run.timeout_seconds:.0f} s: {behind}. Is a worker running? See `activity check`",
            )
            return
        run = self._runs.change(run, BUILDING)
        if run.state != BUILDING:
            return
        began = clock.monotonic()
        try:
            built = build(self._store, run.kind, run.parameters, asked_at_ms=run.requested_at, path=self.path(run))
        except Exception as error:
            log.exception("a report could not be built", kind=run.kind)
            self._finish(run, FAILED, error=f"building failed ({type(error).__name__}); see the service's log")
            return
        self._metrics["activity_reports_build_seconds"].labels(run.kind).observe(clock.monotonic() - began)
        written, notes = built.written, built.notes
        if lost := self._projector.lost():
            notes = [
                *notes,
                f"NOT COMPLETE: {lost} records were lost to retention before a worker read them; see `activity check`",
            ]
        self._finish(
            run,
            READY,
            file=built.file_name,
            rows=written.rows,
            bytes=written.bytes,
            sha256=written.sha256,
            notes=notes,
            complete_through=run.requested_at,
        )

    def _complete(self, run: Run) -> bool:
        """Wait for what the run must contain; in short turns, so that a cancelled run holds up nobody."""
        deadline = clock.monotonic() + max(1.0, run.timeout_seconds - (clock.now_ms() - run.requested_at) / 1000)
        while (left := deadline - clock.monotonic()) > 0 and self._wanted(run) and not self._stopping.is_set():
            if self._projector.wait(run.ends, min(left, TURN_SECONDS)):
                return True
            if self._projector.problem is not None:
                return False
        return False

    def _wanted(self, run: Run) -> bool:
        now = self._runs.get(run.run)
        return now is not None and now.state in OPEN

    def forget(self, run: Run) -> None:
        """Delete a run and its file.  Raises Unavailable."""
        self._runs.forget(run)
        self.path(run).unlink(missing_ok=True)

    def _finish(self, run: Run, state: str, **fields: object) -> None:
        if self._runs.change(run, state, **fields).state != READY:
            self.path(run).unlink(missing_ok=True)  # cancelled or deleted while it was built
        self._metrics["activity_reports_runs_total"].labels(run.kind, state).inc()

    def _expire(self) -> None:
        limit = clock.now_ms() - self._settings.report_expiry_days * DAY_MS
        for run in self._runs.all():
            if run.state not in (*OPEN, QUEUED, EXPIRED) and run.changed_at < limit:
                self.path(run).unlink(missing_ok=True)
                self._runs.change(run, EXPIRED)
