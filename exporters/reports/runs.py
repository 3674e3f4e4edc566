"""Runs: reports that were asked for and what became of them.

    queued ──► waiting ──► building ──► ready ──► expired
       └──────────┴───────────┴──► failed | cancelled ──► expired

The topic is the truth: a change is a record, changes apply in the topic's order, and one that the table does not allow is ignored.
"""

from __future__ import annotations

from typing import Any

import msgspec

from exporters.journal import Journal
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
NEXT: dict[str | None, tuple[str, ...]] = {
    None: (QUEUED,),
    QUEUED: (WAITING, FAILED, CANCELLED),
    WAITING: (WAITING, BUILDING, FAILED, CANCELLED),
    BUILDING: (WAITING, READY, FAILED, CANCELLED),  # waiting again: the service ended while it built
    READY: (EXPIRED,),
    FAILED: (EXPIRED,),
    CANCELLED: (EXPIRED,),
    EXPIRED: (),
}


class Run(msgspec.Struct):
    """One report that was asked for, `by` whom.  Instants UTC ms; `ends` are the source end offsets that it must contain, per role and partition."""

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


_decoder = msgspec.json.Decoder(Run)


def apply(runs: dict[str, Run], key: str, value: bytes | None) -> bool:
    """Apply one record of the topic; False if the table does not allow it or it cannot be read."""
    if value is None:
        return runs.pop(key, None) is not None
    try:
        run = _decoder.decode(value)
    except msgspec.MsgspecError:
        return False
    before = runs.get(key)
    if run.run != key or run.state not in NEXT[before.state if before else None]:
        return False
    runs[key] = run
    return True


class Runs:
    """The runs, as the journal has them."""

    def __init__(self, settings: Settings) -> None:
        self._runs: dict[str, Run] = {}
        self.journal = Journal(settings, topics.REPORTS, {"": lambda key, value: apply(self._runs, key, value)})

    def all(self) -> list[Run]:
        """Newest first."""
        with self.journal.changed:
            return sorted(self._runs.values(), key=lambda r: (r.requested_at, r.run), reverse=True)

    def get(self, key: str) -> Run | None:
        with self.journal.changed:
            return self._runs.get(key)

    def change(self, run: Run, state: str, **fields: Any) -> Run:
        """Write a new state and return the run as the topic then has it.  Raises Unavailable."""
        new = msgspec.structs.replace(run, state=state, changed_at=clock.now_ms(), **fields)
        self.journal.write(run.run, msgspec.json.encode(new))
        return self.get(run.run) or msgspec.structs.replace(new, state=CANCELLED)  # gone: somebody deleted it

    def forget(self, run: Run) -> None:
        """Take a run off the topic.  Raises Unavailable."""
        self.journal.write(run.run, None)
