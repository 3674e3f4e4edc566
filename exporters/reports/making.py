"""One making of a run: rows into a file beside, the file to its place, and the word in the journal, in this order."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from exporters.reports.build import Built, build
from exporters.reports.completeness import lost_notes, retention_notes
from exporters.reports.estimates import Estimates
from exporters.reports.files import Files
from exporters.reports.mails import Mails
from exporters.reports.progress import PACE_SECONDS, Progress, Watch
from exporters.reports.runs import FAILED, READY, WAITING, Run, Runs
from exporters.reports.steps import Step, reach
from exporters.store.projector import Projector
from exporters.store.store import Store
from pipeline import clock, logs
from pipeline.errors import ConfigError, Problem, Refused, RequestError, Unavailable
from pipeline.metrics import Metrics

log = logs.logger("builder")

# A failure that may pass (disk, store or Kafka away) is tried again so often, after 1, 4, 16 and 60 seconds.
TRIES = 5
BACK_OFF_SECONDS = (1.0, 4.0, 16.0, 60.0)
# Until the first row is there, the time that passed stands for the work that is done, up to here.
BEFORE_ROWS = 0.9


class Abandoned(Exception):  # noqa: N818 - what was asked for, not what went wrong
    """Nobody wants this file any more."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What makings have in common."""

    store: Store
    projector: Projector
    runs: Runs
    mails: Mails
    files: Files
    estimates: Estimates
    watch: Watch
    metrics: Metrics
    retention_months: int


class Making:
    """`work` runs in its own thread; `abandon` is heeded at the next rows, and nothing of it is kept."""

    def __init__(self, tools: Tools, run: Run, *, size: int, over: Callable[[], object]) -> None:
        self._tools = tools
        self._run = run
        self._size = size
        self._expected = tools.estimates.seconds(run.kind, size)
        self._over = over
        self._stop = threading.Event()
        self._told = 0.0
        self._rows = 0
        self.began = clock.monotonic()
        self.finished = False

    def abandon(self) -> None:
        self._stop.set()

    def work(self) -> None:
        """Ends with the journal saying ready, failed or when to try again; or with nothing, if Kafka is away."""
        run, tools = self._run, self._tools
        part = tools.files.part(run)
        try:
            built = build(
                tools.store, run.kind, run.parameters, asked_at_ms=run.requested_at, path=part, watch=self._watch
            )
            reach(Step.WRITTEN)
            self._deliver(built)
        except Abandoned:
            tools.files.discard(run)
        except Exception as error:
            tools.files.discard(run)
            self._failed(error)
        finally:
            self.finished = True
            self._over()

    @property
    def seconds(self) -> float:
        """How long the run has been made until now, earlier tries included; the shortest try took a millisecond."""
        return math.ceil(1000 * (self._run.build_seconds + clock.monotonic() - self.began)) / 1000

    def tell(self) -> None:
        """Say how far it is, if it is time to."""
        now = clock.monotonic()
        if now - self._told < PACE_SECONDS or self.finished:
            return
        self._told = now
        passed = now - self.began
        share = min(BEFORE_ROWS, passed / self._expected)
        left = max(0.0, self._expected - passed)
        self._tools.watch.tell(Progress(self._run.run, round(share, 3), self._rows, round(left * 1000)))

    def _watch(self, rows: int) -> None:
        if self._stop.is_set():
            raise Abandoned
        if rows and not self._rows:
            reach(Step.HALF_WRITTEN)
        self._rows += rows
        self.tell()

    def _deliver(self, built: Built) -> None:
        run, tools = self._run, self._tools
        if self._stop.is_set():
            raise Abandoned
        stored = tools.files.store(run, tools.files.part(run), sha256=built.written.sha256)
        reach(Step.STORED)
        seconds = clock.monotonic() - self.began
        notes = [
            *built.notes,
            *retention_notes(run.kind, run.parameters, now_ms=clock.now_ms(), months=tools.retention_months),
            *lost_notes(tools.projector.lost()),
        ]
        now = tools.runs.change(
            run,
            READY,
            file=built.file_name,
            rows=built.written.rows,
            bytes=built.written.bytes,
            sha256=built.written.sha256,
            notes=notes,
            complete_through=run.requested_at,
            build_seconds=self.seconds,
            stored=stored,
            error=None,
        )
        won = now.state == READY and now.stored == stored
        with suppress(Unavailable):  # what earlier attempts left then goes with the run
            tools.files.remove(run, keep=now.stored)
        if won:
            reach(Step.READY)
            tools.estimates.learn(run.kind, self._size, seconds)
            tools.metrics["activity_reports_build_seconds"].labels(run.kind).observe(seconds)
            tools.metrics["activity_reports_runs_total"].labels(run.kind, READY).inc()

    def _failed(self, error: Exception) -> None:
        run, tools = self._run, self._tools
        passing = isinstance(error, (OSError, Problem)) and not isinstance(error, (ConfigError, Refused, RequestError))
        tries = run.tries + 1
        try:
            if passing and tries < TRIES:
                pause = BACK_OFF_SECONDS[tries - 1]
                log.warning("a report could not be built; it is tried again", kind=run.kind, error=type(error).__name__)
                tools.metrics["activity_reports_retries_total"].labels(run.kind).inc()
                tools.runs.change(
                    run,
                    WAITING,
                    holder="",
                    tries=tries,
                    retry_at=clock.now_ms() + round(pause * 1000),
                    build_seconds=self.seconds,
                    error=f"try {tries} of {TRIES} failed: {said(error)}",
                )
                return
            log.error("a report could not be built", kind=run.kind, error=type(error).__name__, exc_info=error)
            why = f"{said(error)} (tried {tries} times)" if passing else said(error)
            tools.runs.change(run, FAILED, tries=tries, error=why, build_seconds=self.seconds)
            tools.metrics["activity_reports_runs_total"].labels(run.kind, FAILED).inc()
        except Problem as problem:
            log.warning(str(problem))  # still ours in the journal: it is claimed anew as soon as Kafka is back


def said(error: Exception) -> str:
    """A failure in words; a bug's own words stay in the log."""
    if isinstance(error, Problem):
        return str(error)
    if isinstance(error, OSError):
        return f"the file could not be written ({error.strerror or type(error).__name__})"
    return f"building failed ({type(error).__name__}); see the service's log"
