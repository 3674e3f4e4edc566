"""What comes out of the quick way equals what the client says by itself."""

from __future__ import annotations

import random

import cramjam
import pytest
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import calc_crc32c

from exporters.unpacking import Records
from tests.pipeline.engine.test_records import odd

TP = TopicPartition("events", 3)
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CONTROL, APPEND_TIME = 0x20, 0x08
ATTRIBUTES, BASE, CHECKSUM = slice(21, 23), slice(0, 8), slice(17, 21)


def batch(rng, base, codec, *, attributes=0, producer=-1, gone=0):
    """One batch as a broker hands it out, with holes among its offsets."""
    builder = DefaultRecordBatchBuilder(
        2, codec, bool(attributes & CONTROL), producer, 0 if producer >= 0 else -1, -1, 1 << 20
    )
    for offset in sorted(rng.sample(range(30), 12)):
        key, value = (rng.choice((None, b"", b"k", rng.randbytes(200))) for _ in range(2))
        if attributes & CONTROL:
            key, value = b"\0\0\0\1", b"\0\0\0\0\0\0"
        headers = [(name, rng.choice((b"", b"v" * 90))) for name in rng.sample(["a", "ce_id", "Ü"], rng.randrange(3))]
        builder.append(offset, 1_774_000_000_000 + rng.randrange(-5_000, 5_000), key, value, headers)
    made = bytearray(builder.build())
    made[BASE] = base.to_bytes(8, "big")
    made[ATTRIBUTES] = (int.from_bytes(made[ATTRIBUTES], "big") | attributes).to_bytes(2, "big")
    made[23:27] = (int.from_bytes(made[23:27], "big") + gone).to_bytes(4, "big")
    return checked(made)


def checked(made):
    made[CHECKSUM] = calc_crc32c(memoryview(made)[21:]).to_bytes(4, "big")
    return bytes(made)


def legacy(rng, base):
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=NONE, batch_size=1 << 20)
    for offset in range(3):
        builder.append(base + offset, timestamp=1_774_000_000_000, key=b"k", value=rng.randbytes(9))
    return bytes(builder.build())


def taken(kind, data, since, sizes):
    """Records and positions, as often as somebody asks for so many."""
    drained, out = [], []
    records = kind(since, TP, MemoryRecords(data), on_drain=drained.append)
    for size in sizes:
        if not records:
            break
        out += [tuple(r)[:9] for r in records.take(size)]
        out.append(records.next_fetch_offset)
    return out, len(drained), records.leader_epoch


@pytest.mark.parametrize("seed", range(60))
def test_the_same_records_as_the_client_says(seed):
    rng = random.Random(seed)
    data, base = b"", 1_000
    for _ in range(rng.randrange(1, 5)):
        codec = rng.choice((NONE, GZIP, LZ4, ZSTD))
        attributes = rng.choice((0, 0, APPEND_TIME, CONTROL))
        data += legacy(rng, base) if rng.random() < 0.1 else batch(
            rng, base, NONE if attributes & CONTROL else codec, attributes=attributes, producer=7 if attributes & CONTROL else -1, gone=rng.randrange(3)
        )  # fmt: skip
        base += 40
    data += data[: rng.randrange(50)]  # what the broker cut off
    since, sizes = 1_000 + rng.randrange(40), [rng.randrange(1, 9) for _ in range(4)] + [None, None]
    assert taken(Records, data, since, sizes) == taken(Fetcher.PartitionRecords, data, since, sizes)


def test_snappy_which_the_client_itself_does_not_know_is_read():
    rng = random.Random(1)
    plain = bytearray(batch(rng, 1_000, NONE))
    packed = plain[:61] + cramjam.snappy.compress_raw(bytes(plain[61:]))
    packed[8:12] = (len(packed) - 12).to_bytes(4, "big")
    packed[ATTRIBUTES] = SNAPPY.to_bytes(2, "big")
    found, expected = (taken(Records, bytes(data), 1_000, [None]) for data in (checked(packed), plain))
    assert found == expected
    assert len(found[0]) == 13


@pytest.mark.parametrize("codec", [NONE, GZIP, LZ4, ZSTD])
def test_a_record_is_read_whatever_its_headers_are_called(codec):
    data = batch(random.Random(3), 1_000, NONE) + odd(1_040, codec) + batch(random.Random(4), 1_080, NONE)
    found, _, _ = taken(Records, data, 1_000, [None])
    names = {r[3]: [name for name, _ in r[8]] for r in found[:-1]}
    assert [names[n] for n in range(1_040, 1_044)] == [
        ["plain", "none"], ["s\ufffdden", "none"], ["\ufffd", "none"], ["ende", "none"]
    ]  # fmt: skip
    assert len(names) == 12 + 4 + 12


def test_a_broken_batch_is_noticed():
    data = bytearray(batch(random.Random(2), 1_000, LZ4))
    data[-1] ^= 1
    with pytest.raises(CorruptRecordError, match="events/3"):
        taken(Records, bytes(data), 1_000, [None])
