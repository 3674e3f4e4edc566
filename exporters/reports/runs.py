"""Runs: reports that were asked for and what became of them.

    queued ──► waiting ──► building ──► ready ──► expired
       └──────────┴───────────┴──► failed | cancelled ──► expired

The topic is the truth: a change is a record, changes apply in the topic's order, and one that the rules do not allow is refused by every reader.
Whoever makes a run claims it first: the record carries the next number of `attempt` and its own name as `holder`.  The first claim with a number
wins, and only its holder's records count until the next claim; so of two services that take the same run, or of one that slept and one that took
over, exactly one can say ready.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from exporters.journal import Apply, Journal
from exporters.reports.build import Parameters
from pipeline import clock, topics
from pipeline.settings import Settings

QUEUED, WAITING, BUILDING, READY, FAILED, CANCELLED, EXPIRED = (
    "queued",
    "waiting",
    "building",
    "ready",
    "failed",
    "cancelled",
    "expired",
)
OPEN = (QUEUED, WAITING, BUILDING)
# For so long what a run took counts against whoever asked for it.
HOUR_MS = 3600 * 1000
# What may follow within one attempt.  Any open run may be claimed by a new one (waiting) or cancelled.
NEXT: dict[str, tuple[str, ...]] = {
    QUEUED: (WAITING, FAILED),
    WAITING: (WAITING, BUILDING, FAILED),
    BUILDING: (WAITING, BUILDING, READY, FAILED),  # waiting again: it failed and is tried again later
    READY: (EXPIRED,),
    FAILED: (EXPIRED,),
    CANCELLED: (EXPIRED,),
    EXPIRED: (),
}


class Run(msgspec.Struct):
    """One report that was asked for, `by` whom.  Instants UTC ms; `ends` are the source end offsets that it must contain, per role and partition.

    `retry_at` is when an open run without a holder may be claimed; `tries` counts failures, `attempt` claims.  `stored` names the file.
    `build_seconds` is what its makings took, those that failed included; of one that is being made or was cancelled, half a minute may be missing.
    """

    run: str
    kind: str
    state: str
    parameters: Parameters
    requested_at: int
    changed_at: int
    timeout_seconds: float = 60.0
    ends: dict[str, dict[int, int]] = {}
    complete_through: int | None = None
    file: str | None = None
    rows: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    error: str | None = None
    notes: list[str] = []
    by: str = ""
    recipients: list[str] = []
    schedule: str = ""
    due: int | None = None
    build_seconds: float = 0.0
    attempt: int = 0
    tries: int = 0
    retry_at: int = 0
    holder: str = ""
    stored: str = ""
    asked_by_key: str = ""  # hash of an Idempotency-Key and what was asked with it


_decoder = msgspec.json.Decoder(Run)


def allowed(before: Run, after: Run) -> bool:
    """Whether one record may follow another of the same run."""
    if after.state == CANCELLED:
        return before.state in OPEN
    if after.attempt == before.attempt + 1:
        return before.state in OPEN and after.state == WAITING
    if after.state == EXPIRED:
        return before.state not in (*OPEN, EXPIRED)
    mine = after.attempt == before.attempt and after.holder in (before.holder, "")
    return mine and after.state in NEXT[before.state]


class Runs:
    """The runs, as the journal has them; `beside` are the other tables on it.  `admits` says whether a run may come into being."""

    def __init__(
        self,
        settings: Settings,
        beside: dict[str, Apply] | None = None,
        *,
        admits: Callable[[Run], bool] = lambda _run: True,
    ) -> None:
        self._runs: dict[str, Run] = {}
        self._gone: set[str] = set()
        self._deleted: list[Run] = []
        self._admits = admits
        self.journal = Journal(settings, topics.REPORTS, {"": self.apply} | (beside or {}))
        # Held while somebody looks for an equal run and makes one if there is none.
        self.asking = threading.Lock()

    def apply(self, key: str, value: bytes | None) -> bool | None:
        """Apply one record of the topic; False if it is refused, None if it is not one of ours."""
        if value is None:
            before = self._runs.pop(key, None)
            self._gone.add(key)
            self._remember(before)
            return True
        try:
            run = _decoder.decode(value)
        except msgspec.MsgspecError:
            return None
        before = self._runs.get(key)
        if run.run != key or run.state not in NEXT:
            return None
        if key in self._gone or (before is None and run.state == QUEUED and not self._admits(run)):
            return False
        if before is not None and not allowed(before, run):
            return False
        self._runs[key] = run
        return True

    def all(self) -> list[Run]:
        """Newest first."""
        with self.journal.changed:
            return sorted(self._runs.values(), key=lambda r: (r.requested_at, r.run), reverse=True)

    def get(self, key: str) -> Run | None:
        with self.journal.changed:
            return self._runs.get(key)

    def _remember(self, deleted: Run | None) -> None:
        """What it took counts for as long as if it were still there."""
        after = clock.now_ms() - HOUR_MS
        more = [deleted] if deleted is not None and deleted.build_seconds else []
        self._deleted = [r for r in [*self._deleted, *more] if r.changed_at > after]

    def deleted_lately(self) -> list[Run]:
        """Those that took time within the hour, as they were before."""
        with self.journal.changed:
            return list(self._deleted)

    def deleted(self, key: str) -> bool:
        with self.journal.changed:
            return key in self._gone

    def change(self, run: Run, state: str, **fields: Any) -> Run:
        """Write a new state and return the run as the topic then has it.  Raises Unavailable."""
        new = msgspec.structs.replace(run, state=state, changed_at=clock.now_ms(), **fields)
        self.journal.write(run.run, msgspec.json.encode(new))
        return self.get(run.run) or msgspec.structs.replace(new, state=CANCELLED)  # gone: somebody deleted it

    def forget(self, run: Run) -> None:
        """Take a run off the topic.  Raises Unavailable."""
        self.journal.write(run.run, None)
