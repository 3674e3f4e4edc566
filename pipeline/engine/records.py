"""Hand out aiokafka's own C records: building a ConsumerRecord for each one costs more than all of its parsing."""

from __future__ import annotations

from typing import Any

from aiokafka import errors
from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords

from pipeline.unpacking import batch_at, forgiving

_SLOW = fetcher.FetchResult.getall


def install() -> None:
    """Once per process.  Only reads without a record limit and without transactions take the short way."""
    fetcher.FetchResult.getall = _getall
    fetcher.MemoryRecords = Answer


class Answer(MemoryRecords):
    """What a broker answered, with its bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


def _getall(self: Any, max_records: int | None = None) -> list[Any]:
    tp, partition = self._topic_partition, self._partition_records
    if max_records is not None or partition is None or partition._isolation_level == fetcher.READ_COMMITTED:
        slow: list[Any] = _SLOW(self, max_records)
        return slow
    if not self.check_assignment(tp) or not self.has_more():
        return []
    out: list[Any] = []
    position, batches = partition.next_fetch_offset, partition._records
    while batches.has_next():
        batch = batches.next_batch()
        if partition._check_crcs and not batch.validate_crc():
            raise errors.CorruptRecordException(f"Invalid CRC - {tp}")
        if not batch.is_control_batch:
            try:
                records = list(batch)
            except UnicodeDecodeError:
                records = forgiving(batch_at(batches.data, batch.base_offset))
            # A fetch answers with whole batches: the first may begin before the position.
            if records and records[0].offset < position:
                records = [r for r in records if r.offset >= position]
            out += records
        position = max(position, batch.next_offset)
    partition.next_fetch_offset = position
    self._update_position()
    self._partition_records = None
    # Its unused iterator and it hold each other, and with them the whole answer of the broker.
    partition._records_iterator = None
    return out
