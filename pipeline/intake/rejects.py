"""The refused records: what they are, without their content, and sending them once more after what was wrong is mended.

A reject is named by where its bytes first lay (topic/partition/offset).  A replay that is refused again is the same reject; on its source topic it
is a record of its own, counted once like any other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pipeline.errors import RequestError
from pipeline.intake.records import Sender, read
from pipeline.model.events import Reason
from pipeline.settings import Settings
from pipeline.topics import AUTHENTICATIONS, CONNECTIONS, ORIGIN_HEADER, PATH_HEADER, REASON_HEADER, REJECTS


class Reject(NamedTuple):
    """One refused record: `id` is its origin, `at` when it was refused last (UTC ms), `size` in bytes, `place` on the rejects topic."""

    id: str
    reason: str
    path: str
    at: int
    size: int
    place: tuple[int, int]


def _of(record: Any) -> Reject:
    headers = {k: v.decode("utf-8", "replace") for k, v in record.headers}
    return Reject(
        headers.get(ORIGIN_HEADER, f"{record.topic}/{record.partition}/{record.offset}"),
        headers.get(REASON_HEADER, "?"),
        headers.get(PATH_HEADER, "$"),
        record.timestamp,
        len(record.value or b""),
        (record.partition, record.offset),
    )


def rejects(settings: Settings) -> dict[str, Reject]:
    """{id: reject}, each once, however often it was refused."""
    return {reject.id: reject for reject in map(_of, read(settings, REJECTS))}


def choose(found: dict[str, Reject], *, ids: str, reason: str) -> list[Reject]:
    """Those asked for.  Raises RequestError if an id or a reason is not there."""
    if reason and reason not in set(Reason):
        raise RequestError(f"no such reason: {reason}; the reasons are {', '.join(Reason)}")
    if ids:
        wanted = dict.fromkeys(i.strip() for i in ids.split(",") if i.strip())
        missing = [i for i in wanted if i not in found]
        if missing:
            raise RequestError(f"no such reject: {', '.join(missing)}; see `activity rejects list`")
        return [found[i] for i in wanted]
    return [r for r in found.values() if not reason or r.reason == reason]


def replay(settings: Settings, chosen: list[Reject]) -> int:
    """Send rejects to where they came from, under their origin; how many were sent.

    A replay is a duplicate only of another replay of that origin.  A producer that gave its record an origin of its own has named a place
    that is not ours: such a reject is not sent.
    """
    with Sender(settings) as sender:
        names = [t.name(prefix=settings.topic_prefix, app=settings.app_id) for t in (CONNECTIONS, AUTHENTICATIONS)]
        counts = {name: sender.partitions(name) for name in names}
        targets = {r.place: target for r in chosen if (target := _source(r.id, counts))}
        for record in read(settings, REJECTS) if targets else ():
            if target := targets.get((record.partition, record.offset)):
                topic, partition = target
                origin = [(ORIGIN_HEADER, _of(record).id.encode())]
                sender.send(topic, key=record.key, value=record.value, partition=partition, headers=origin)
    return len(targets)


def _source(id_: str, counts: dict[str, int]) -> tuple[str, int] | None:
    """Topic and partition of an origin, if they are ours."""
    topic, _, rest = id_.partition("/")
    partition, _, offset = rest.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()) or int(partition) >= counts.get(topic, 0):
        return None
    return topic, int(partition)
