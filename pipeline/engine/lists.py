"""One pseudo-message per partition and take: Faust's conductor, stream and acknowledgements move whole lists unchanged.

A list carries the consumer's position before and after the take.  Positions move only by seeking and by handing out, so a list that begins where
the last one ended proves that nothing between log and agent was dropped; offsets without a record inside are holes of the log itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import faust
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

# Long enough to spread Faust's cost of about 0.1 ms a list, short enough that the loop answers heartbeats and HTTP in between.
MAX_RECORDS = 5_000


class RecordList:
    """Looks like one record of the client; `value` is the list, `key` the half-open range of source offsets it stands for."""

    __slots__ = (
        "checksum",
        "headers",
        "key",
        "offset",
        "partition",
        "serialized_key_size",
        "serialized_value_size",
        "timestamp",
        "timestamp_type",
        "topic",
        "value",
    )

    def __init__(self, tp: TP, records: list[Any], *, start: int, until: int) -> None:
        self.topic, self.partition = tp.topic, tp.partition
        self.key = (start, until)
        self.value = records
        self.offset = until - 1
        self.timestamp, self.timestamp_type = 0, 1
        self.headers: tuple[()] = ()
        self.checksum = None
        self.serialized_key_size = self.serialized_value_size = -1


def slices(tp: TP, records: list[Any], *, start: int, until: int) -> Iterator[RecordList]:
    """Cut a take of [start, until) into lists that tile it."""
    for i in range(0, len(records), MAX_RECORDS):
        part = records[i : i + MAX_RECORDS]
        last = i + MAX_RECORDS >= len(records)
        end = until if last else part[-1].offset + 1
        yield RecordList(tp, part, start=start, until=end)
        start = end


class ListScheduler(DefaultSchedulingStrategy):
    """A take already comes as lists: hand them out in turn."""

    def iterate(self, records: Mapping[TP, Iterable[RecordList]]) -> Iterator[tuple[TP, RecordList]]:
        for tp, lists in records.items():
            for one in lists:
                yield tp, one


class ListSchema(faust.Schema):
    """No codec work per message: the agent decodes records itself."""

    def compile(self, app: Any, **_: Any) -> Any:
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(message.key, message.value, None, message)

        return decode
