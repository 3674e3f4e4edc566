"""Rejects in the store: the topic's newest record of each, with its bytes, for as long as the topic keeps them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

from exporters.store.store import Store
from pipeline import clock
from pipeline.model.rejects import reject_of
from pipeline.topics import REJECTS

RETENTION_MS = int(REJECTS.config["retention.ms"])

Place = tuple[int, str]
_NEWEST: Place = (2**62, "")


class Rejected(NamedTuple):
    """One reject: `at` when it was refused last, UTC ms; `path` the JSON path at fault; `size` in bytes."""

    id: str
    at: int
    reason: str
    path: str
    size: int


class Content(NamedTuple):
    id: str
    key: bytes | None
    value: bytes


def row(record: Any) -> tuple[Any, ...]:
    """A record of the rejects topic as a row of the table."""
    r = reject_of(record)
    keyed = record.key is not None
    return (r.id, r.at, r.reason, r.path, r.size, *r.place, int(keyed), record.key or b"", record.value or b"")


def counts(store: Store) -> dict[str, int]:
    """{reason: how many}"""
    return dict(store.rows("rejects_counts", since=_since()))


def page(store: Store, *, reason: str, after: Place | None, limit: int) -> tuple[list[Rejected], Place | None]:
    """Newest first, and the place to go on from."""
    at, id_ = after or _NEWEST
    rows = [
        Rejected(*r) for r in store.rows("rejects_page", since=_since(), reason=reason, at=at, id=id_, limit=limit + 1)
    ]
    return rows[:limit], (rows[limit - 1].at, rows[limit - 1].id) if len(rows) > limit else None


def one(store: Store, id_: str) -> Rejected | None:
    return next((Rejected(*r) for r in store.rows("reject", since=_since(), id=id_)), None)


def contents(store: Store, *, ids: list[str], reason: str) -> Iterator[Content]:
    """Keys and bytes of those with these ids, or with this reason if none is given, or of all."""
    for id_, keyed, key, value in store.rows("rejects_contents", since=_since(), ids=ids, reason=reason):
        yield Content(id_, base64.b64decode(key) if keyed else None, base64.b64decode(value))


def _since() -> int:
    return clock.now_ms() - RETENTION_MS
