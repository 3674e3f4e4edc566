"""The short way from a fetched answer to records gives what the client's own way gives, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from pipeline.engine import records

TP = TopicPartition("connections", 0)


def answer(*batches: tuple[int, int], compression: int = 0) -> bytes:
    """Batches as a broker stores them, given as (first offset, count)."""
    stored = b""
    for first, count in batches:
        builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1 << 20)
        for n in range(count):
            builder.append(n, 1_774_600_000_000 + n, b"k%d" % n, b"v%d" % (first + n), [("h", b"x")])
        encoded = bytes(builder.build())
        stored += first.to_bytes(8) + encoded[8:]  # the broker gives the offset
    return stored


def fetched(data: bytes, position: int):
    async def make():
        state = SubscriptionState()
        state.assign_from_user({TP})
        assignment = state.subscription.assignment
        assignment.state_value(TP).reset_to(position)
        parts = PartitionRecords(TP, MemoryRecords(data), None, position, None, None, True, READ_UNCOMMITTED)
        return FetchResult(TP, assignment=assignment, partition_records=parts, backoff=0), parts, assignment

    return asyncio.run(make())


def seen(got, assignment):
    return [(r.offset, r.key, r.value, r.timestamp, list(r.headers)) for r in got], assignment.state_value(TP).position


@pytest.mark.parametrize("compression", [0, 1, 3])
@pytest.mark.parametrize(("batches", "position"), [
    ([(0, 5)], 0),
    ([(0, 5), (5, 3)], 0),
    ([(0, 5), (5, 3)], 3),  # a fetch answers with whole batches
    ([(0, 5), (9, 3)], 2),  # a hole
    ([(0, 5), (9, 3)], 7),  # the position lies in the hole
])  # fmt: skip
def test_the_short_way_gives_what_the_long_way_gives(compression, batches, position):
    data = answer(*batches, compression=compression)
    short, _, moved = fetched(data, position)
    long, _, expected = fetched(data, position)
    assert seen(records._getall(short), moved) == seen(records._SLOW(long), expected)
    assert not short.has_more()


def test_a_handed_out_answer_dies_without_the_garbage_collector():
    gc.disable()
    try:
        result, parts, _ = fetched(answer((0, 5)), 0)
        gone = weakref.ref(parts)
        del parts
        assert len(records._getall(result)) == 5
        assert gone() is None
    finally:
        gc.enable()
