"""The protocol under random histories, and each of its laws broken once to see that the histories notice."""

from __future__ import annotations

import os

import pytest

from pipeline.model.duplicates import Duplicates
from pipeline.model.protocol import Partition, Point, Reader, Start
from pipeline.model.wire import LEDGER
from tests import simulation

HISTORIES = int(os.environ.get("ACTIVITY_TEST_HISTORIES", "10000"))
SHARES = 4


@pytest.mark.parametrize("share", range(SHARES))
def test_every_history_ends_with_the_plain_count_of_the_log(share):
    length = HISTORIES // SHARES
    for seed in range(share * length, (share + 1) * length):
        assert simulation.faults(simulation.run(seed, retention=seed % 5 == 4)) == [], f"seed {seed}"


def everything_is_accepted(patch):
    def accepts(self, offset, key, epoch):
        return key != b"#fence"

    patch.setattr(Reader, "accepts", accepts)


def ledger_goes_first(patch):
    flush = Partition.flush

    def wrong(self):
        out = flush(self)
        if out is not None:
            out.rows.sort(key=lambda row: row[0] != LEDGER)
        return out

    patch.setattr(Partition, "flush", wrong)
    patch.setattr(simulation, "LEDGER", b"?")  # the simulation itself asserts the order


def replays_are_counted_again(patch):
    apply = Partition.apply

    def wrong(self, records, **kwargs):
        for fragment in self.open.values():
            fragment.revision = -1
        return apply(self, records, **kwargs)

    patch.setattr(Partition, "apply", wrong)


def ledgers_below_what_was_recovered(patch):
    partition = Start.partition

    def wrong(self, **kwargs):
        made = partition(self, **kwargs)
        made.floor = -1
        return made

    patch.setattr(Start, "partition", wrong)
    # A ledger may then say less than what is there; only together with a fragment that was forgotten is that wrong.
    forget = Partition.forget
    patch.setattr(Partition, "forget", lambda self, _since: forget(self, 3.0))


def unverified_ledgers_are_committed(patch):
    flush = Partition.flush

    def wrong(self):
        out = flush(self)
        if out is not None and out.ledger is not None:
            self.point = Point(out.ledger, self.expect, self.epoch)
        return out

    patch.setattr(Partition, "flush", wrong)


def foreign_writes_are_ignored(patch):
    def wrong(self, offset, count):
        self.expect = offset + count

    patch.setattr(Partition, "answered", wrong)


def nothing_is_healed(patch):
    partition = Start.partition

    def wrong(self, **kwargs):
        made = partition(self, **kwargs)
        made.heal = []
        return made

    patch.setattr(Start, "partition", wrong)


def fragments_are_forgotten_before_they_are_durable(patch):
    def wrong(self, _since):
        self.open.clear()

    patch.setattr(Partition, "forget", wrong)
    patch.setattr(simulation.Owner, "forget", lambda self: self.partition.forget(0.0))


def duplicates_are_not_recalled(patch):
    patch.setattr(Duplicates, "refill_from", lambda _self, offset: offset)


def the_greatest_ledger_is_taken(patch):
    accept = Start._accept

    def wrong(self, record, reader, refuse):
        before = self._ledger
        accept(self, record, reader, refuse)
        if before is not None and self._ledger is not None and before.offset > self._ledger.offset:
            self._ledger = before

    patch.setattr(Start, "_accept", wrong)


BROKEN = (
    everything_is_accepted,
    ledger_goes_first,
    replays_are_counted_again,
    ledgers_below_what_was_recovered,
    unverified_ledgers_are_committed,
    foreign_writes_are_ignored,
    nothing_is_healed,
    fragments_are_forgotten_before_they_are_durable,
    duplicates_are_not_recalled,
    the_greatest_ledger_is_taken,
)


@pytest.mark.parametrize("law", BROKEN, ids=lambda law: law.__name__)
def test_a_broken_law_is_noticed(law, monkeypatch):
    law(monkeypatch)
    assert any(_red(seed) for seed in range(4_000))


def _red(seed):
    try:
        return bool(simulation.faults(simulation.run(seed)))
    except (AssertionError, ValueError, KeyError):
        return True
