"""The verdict on source records: event, duplicate or reject.  A function of the partition's log, so every reader comes to the same one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.model.duplicates import Duplicates
from pipeline.model.events import Event, Rejected
from pipeline.model.identity import SHORT, identity

Decode = Callable[[Sequence[Any]], Sequence[Event | Rejected]]
Verdict = Event | Rejected | None  # None: a duplicate


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
        seen = self._seen.seen
        verdicts: list[Verdict] = []
        say = verdicts.append
        for record, event in zip(records, self._decode(records), strict=True):
            if isinstance(event, Rejected):
                say(event)
                continue
            id_, headers = event.id, record.headers
            mark = id_ if 0 < len(id_) <= SHORT and not headers else identity(id_, record.value, headers)
            say(None if seen(record.offset, record.timestamp, mark) else event)
        return verdicts

    def recall(self, records: Sequence[Any]) -> None:
        """Note what earlier owners judged."""
        self(records)
