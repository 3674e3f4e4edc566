"""The verdict on source records: event, duplicate or reject.  A function of the partition's log, so every reader comes to the same one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from pipeline.model.duplicates import Duplicates
from pipeline.model.events import Event, Rejected
from pipeline.model.identity import SHORT, identity

Decode = Callable[[Sequence[Any]], Sequence[Event | Rejected]]
Verdict = Event | Rejected | None  # None: a duplicate
_headers = attrgetter("headers")


class Verdicts:
    """One source partition's judge.  Give it every record once, in offset order; before the first, `recall` what lies just before."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._seen = Duplicates()

    def recall_from(self, offset: int) -> int:
        """The first offset to `recall` so that verdicts from `offset` on come out right."""
        return self._seen.refill_from(offset)

    def __call__(self, records: Sequence[Any]) -> list[Verdict]:
        """One verdict per record."""
        events = self._decode(records)
        if self._all_new(records, events):
            return list(events)
        seen = self._seen.seen
        verdicts: list[Verdict] = []
        say = verdicts.append
        for record, event in zip(records, events, strict=True):
            if isinstance(event, Rejected):
                say(event)
                continue
            mark = identity(event.id, record.value, record.headers)
            say(None if seen(record.offset, record.timestamp, mark) else event)
        return verdicts

    def _all_new(self, records: Sequence[Any], events: Sequence[Event | Rejected]) -> bool:
        """Note them all at once if that can be: all have ids of their own that were not there before, as nearly always."""
        if any(map(_headers, records)):
            return False
        ids = [getattr(e, "id", "") for e in events]  # a reject has none
        if not ids or not all(ids) or max(map(len, ids)) > SHORT:
            return False
        return self._seen.none_of(records[-1].offset, [r.timestamp for r in records], ids)

    def recall(self, records: Sequence[Any]) -> None:
        """Note what earlier owners judged."""
        self(records)
