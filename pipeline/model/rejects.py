"""What a record on the rejects topic says of itself, and where a replay of it must go.  PURE.

A reject is named by where its bytes first lay (topic/partition/offset), so a replay that is refused again is the same reject.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pipeline.model.events import Rejected
from pipeline.topics import CUT_HEADER, ORIGIN_HEADER, PATH_HEADER, REASON_HEADER, REJECT_BYTES

# A record's own numbers, a header's two lengths, and what the batch around them takes.
_AROUND, _BESIDE = 1024, 16
_OURS = (REASON_HEADER, PATH_HEADER, ORIGIN_HEADER, CUT_HEADER)
_LONGEST_ORIGIN = 512


class Reject(NamedTuple):
    """One refused record: `id` is its origin, `at` when it was refused last (UTC ms), `size` in bytes, `place` on the rejects topic."""

    id: str
    reason: str
    path: str
    at: int
    size: int
    place: tuple[int, int]


class Refused(NamedTuple):
    """A record for the rejects topic."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def refused(topic: str, partition: int, record: Any, rejected: Rejected) -> Refused:
    """The refused record with its bytes, key and headers unchanged, and why and from where.

    A gateway that packs its batches can send more than this topic takes.  Such a record goes without its key and the gateway's headers and, if need
    be, without its end; a header then says how many bytes there were.
    """
    given = dict(record.headers)
    origin = given.get(ORIGIN_HEADER)
    if not origin or len(origin) > _LONGEST_ORIGIN:
        origin = f"{topic}/{partition}/{record.offset}".encode()
    ours = [
        (REASON_HEADER, rejected.reason.value.encode()),
        (PATH_HEADER, rejected.path.encode()),
        (ORIGIN_HEADER, origin),
    ]
    key, value, theirs = record.key, record.value, [(k, v) for k, v in record.headers if k not in _OURS]
    if _size(key, value, [*theirs, *ours]) > REJECT_BYTES:
        key, theirs = None, []
        ours.append((CUT_HEADER, str(len(value or b"")).encode()))
        value = value and value[: REJECT_BYTES - _size(None, None, ours)]
    return Refused(key, value, [*theirs, *ours])


def _size(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Bytes, rather too many than too few."""
    beside = sum(len(k.encode()) + len(v or b"") + _BESIDE for k, v in headers)
    return _AROUND + len(key or b"") + len(value or b"") + beside


def reject_of(record: Any) -> Reject:
    """`record` as any Kafka client hands it over."""
    headers = {k: (v or b"").decode("utf-8", "replace") for k, v in record.headers}
    cut = headers.get(CUT_HEADER, "")
    return Reject(
        headers.get(ORIGIN_HEADER, f"{record.topic}/{record.partition}/{record.offset}"),
        headers.get(REASON_HEADER, "?"),
        headers.get(PATH_HEADER, "$"),
        record.timestamp,
        int(cut) if cut.isdecimal() and len(cut) < 12 else len(record.value or b""),
        (record.partition, record.offset),
    )


def replay_headers(id_: str) -> list[tuple[str, bytes]]:
    """A replay is a duplicate only of another replay of its origin."""
    return [(ORIGIN_HEADER, id_.encode())]


def source_of(id_: str, partitions: Mapping[str, int]) -> tuple[str, int] | None:
    """Topic and partition of an origin, if they are ours: `partitions` counts those of each source topic.

    A producer that gave its record an origin of its own has named a place that is not ours: such a reject is not sent.
    """
    topic, _, rest = id_.partition("/")
    partition, _, offset = rest.partition("/")
    if (
        not (partition.isdecimal() and offset.isdecimal())
        or len(partition) > 9
        or int(partition) >= partitions.get(topic, 0)
    ):
        return None
    return topic, int(partition)
