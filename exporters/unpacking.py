"""Records of a `kafka-python` consumer, unpacked by the C code of `aiokafka`: in a third of the time, and with every compression that Kafka has.

Everything else stays the client's: fetching, positions, checksums, the group.  It reaches into names that are not public; both libraries are pinned to
the version, and a test compares what comes out with what the client says by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatch
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import CorruptRecordError

from pipeline.unpacking import forgiving


def quick(consumer: Any) -> Any:
    """The same `KafkaConsumer`, for one that reads uncommitted records, too, and has no deserializers.  Its records have neither checksum nor sizes."""
    consumer._fetcher.PartitionRecords = Records  # noqa: SLF001 - there is no other way in
    return consumer


class Records(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of one partition."""

    def _unpack_records(self, tp: Any, records: Any, _key: Any, _value: Any) -> Iterator[Any]:
        topic, partition = tp
        while (batch := records.next_batch()) is not None:
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(f"a batch of {topic}/{partition} does not fit its checksum")
            new = batch.magic == 2
            if new:
                self.leader_epoch = batch.leader_epoch
            for record in self._records(batch) if new else batch:
                self.next_fetch_offset = record.offset + 1
                yield ConsumerRecord(
                    topic, partition, self.leader_epoch, record.offset, record.timestamp, record.timestamp_type,
                    record.key, record.value, record.headers, None, -1, -1, -1,
                )  # fmt: skip
            if new:
                # The last records of a batch may be gone: without this the same batch would be fetched for ever.
                self.next_fetch_offset = batch.next_offset
        self.drain()

    def _records(self, batch: Any) -> Iterator[Any]:
        """One by one: all of a batch at once would be held beside what was taken of it."""
        if batch.is_control_batch:  # the end of a transaction is nobody's record
            return
        try:
            yield from DefaultRecordBatch(bytes(batch._buffer))  # noqa: SLF001
        except UnicodeDecodeError:
            yield from (r for r in forgiving(bytes(batch._buffer)) if r.offset >= self.next_fetch_offset)  # noqa: SLF001
