"""The verdict on a source record: event, duplicate or reject.  A function of the partition's log, so every reader comes to the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pipeline.model.duplicates import Duplicates
from pipeline.model.events import Event, Reason, Rejected
from pipeline.model.identity import identity

Decode = Callable[[bytes, int], Event]


class Verdicts:
    """One source partition's judge.  Call it for each record once, in offset order; before the first, `recall` what lies just before."""

    def __init__(self, role: str, decode: Decode) -> None:
        self._role = role
        self._decode = decode
        self._seen = Duplicates()

    def recall_from(self, offset: int) -> int:
        """The first offset to `recall` so that verdicts from `offset` on come out right."""
        return self._seen.refill_from(offset)

    def __call__(self, record: Any) -> Event | None:
        """The event, or None for a duplicate.  Raises Rejected."""
        value, timestamp = record.value, record.timestamp
        if value is None:
            raise Rejected(Reason.NOT_JSON)
        event = self._decode(value, timestamp)
        if self._seen.seen(record.offset, timestamp, identity(self._role, event.id, value, record.headers)):
            return None
        return event

    def recall(self, records: Iterable[Any]) -> None:
        """Note what earlier owners judged, without judging it again."""
        for record in records:
            try:
                self(record)
            except Rejected:
                continue
