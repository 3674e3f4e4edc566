"""What a flush says about the offsets it covers."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.model.dialects import decode_connections
from pipeline.model.protocol import Partition
from pipeline.model.rollups import ConnectionRollup
from pipeline.model.verdicts import Verdicts
from pipeline.model.wire import Ledger

NOW = 1_774_700_000_000
LINE = b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"1"},"connection":{"id":"%d"}}'


class Record(NamedTuple):
    offset: int
    value: bytes
    timestamp: int
    key: bytes | None = None
    headers: tuple[()] = ()


def partition(first: int) -> Partition[ConnectionRollup]:
    return Partition(epoch=0, ledger=Ledger(first - 1, first), empty=ConnectionRollup, fragment_bytes=65_536)


def test_every_offset_is_in_one_column_and_holes_are_gaps():
    mine, judge = partition(10), Verdicts(decode_connections)
    records = [
        Record(10, LINE % 1, NOW),
        Record(12, LINE % 1, NOW),
        Record(13, b"{", NOW),
        Record(17, LINE % 2, NOW),
    ]
    refused = mine.apply(records, until=20, judge=judge, now=0.0)
    ledger = mine.flush().ledger
    assert [record.offset for record, _ in refused] == [13]
    assert (ledger.applied, ledger.duplicate, ledger.rejected, ledger.gaps) == (2, 1, {"not_json": 1}, 6)
    assert (ledger.offset, ledger.accounted, ledger.holds) == (19, 10, True)


def test_a_ledger_says_since_when_the_oldest_record_behind_it_waited():
    mine, judge = partition(0), Verdicts(decode_connections)
    mine.apply([Record(0, LINE % 1, NOW), Record(1, LINE % 2, NOW + 5)], until=2, judge=judge, now=0.0)
    mine.apply([Record(2, LINE % 3, NOW + 9)], until=3, judge=judge, now=0.0)
    assert mine.flush().ledger.waiting_since == NOW
    mine.apply([Record(3, LINE % 4, NOW + 20)], until=4, judge=judge, now=0.0)
    assert mine.flush().ledger.waiting_since == NOW + 20
    mine.ledger_due = True
    assert mine.flush().ledger.waiting_since == 0
