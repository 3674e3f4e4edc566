"""What a record on the rejects topic says of itself, and where a replay of it must go.  PURE.

A reject is named by where its bytes first lay (topic/partition/offset), so a replay that is refused again is the same reject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.topics import ORIGIN_HEADER, PATH_HEADER, REASON_HEADER


class Reject(NamedTuple):
    """One refused record: `id` is its origin, `at` when it was refused last (UTC ms), `size` in bytes, `place` on the rejects topic."""

    id: str
    reason: str
    path: str
    at: int
    size: int
    place: tuple[int, int]


def reject_of(record: Any) -> Reject:
    """`record` as any Kafka client hands it over."""
    headers = {k: v.decode("utf-8", "replace") for k, v in record.headers}
    return Reject(
        headers.get(ORIGIN_HEADER, f"{record.topic}/{record.partition}/{record.offset}"),
        headers.get(REASON_HEADER, "?"),
        headers.get(PATH_HEADER, "$"),
        record.timestamp,
        len(record.value or b""),
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
    if not (partition.isdecimal() and offset.isdecimal()) or int(partition) >= partitions.get(topic, 0):
        return None
    return topic, int(partition)
