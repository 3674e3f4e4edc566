"""The short way from a fetched answer to records gives what the client's own way gives, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition
from kafka.record import default_records as theirs

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


class Odd(str):
    """A header's name as a gateway in another language may write it."""

    __slots__ = ()

    def encode(self, *_):
        return str.encode(self, "latin-1")


def odd(first: int, compression: int) -> bytes:
    """A batch with names that are no UTF-8 in the middle."""
    builder = theirs.DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1 << 20)
    for n, name in enumerate(["plain", Odd("s\xfcden"), Odd("\xff"), "ende"]):
        builder.append(n, 1_774_600_000_000, b"\xff%d" % n, b"\xfe%d" % n, [(name, b"\xfd"), ("none", None)])
    return first.to_bytes(8) + bytes(builder.build())[8:]


def fetched(data: bytes, position: int):
    async def make():
        state = SubscriptionState()
        state.assign_from_user({TP})
        assignment = state.subscription.assignment
        assignment.state_value(TP).reset_to(position)
        parts = PartitionRecords(TP, records.Answer(data), None, position, None, None, True, READ_UNCOMMITTED)
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


@pytest.mark.parametrize("compression", [0, 1, 3])
def test_a_record_is_read_whatever_its_headers_are_called(compression):
    data = answer((0, 3), (3, 2)) + odd(5, compression) + answer((9, 2))
    result, _, assignment = fetched(data, 6)
    got, position = seen(records._getall(result), assignment)
    assert [r[:3] for r in got[:3]] == [(5 + n, b"\xff%d" % n, b"\xfe%d" % n) for n in (1, 2, 3)]
    assert [[name for name, _ in r[4]] for r in got[:3]] == [
        ["s\ufffdden", "none"],
        ["\ufffd", "none"],
        ["ende", "none"],
    ]
    assert [r[4][0][1] for r in got[:3]] == [b"\xfd"] * 3
    assert ([r[0] for r in got], position) == ([6, 7, 8, 9, 10], 11)


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
