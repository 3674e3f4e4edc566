"""Random histories around the protocol that the worker runs: deaths, half-written flushes, sleepers that wake up, compaction, retention.

One source partition, one changelog partition, one commit.  Owners begin step by step, apply, flush in pieces, die, freeze and wake up; fragments
are sealed and forgotten at any moment; the changelog is compacted behind the lag.  After each history the sum over fragments, as a reader from the
beginning and a reader that followed along see it, equals a plain count of the log, and the last ledger accounts for every offset.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from pipeline.model.duplicates import Duplicates
from pipeline.model.events import Principal, Reason, Rejected
from pipeline.model.protocol import BUCKET_MS, Flush, ForeignWrite, Partition, Reader, Start
from pipeline.model.wire import (
    FENCE,
    FENCE_VALUE,
    LEDGER,
    Ledger,
    State,
    decode_key,
    decode_ledger,
    decode_point,
    encode_point,
)

GENERATION = 8
HORIZON_MS = 40
FRAGMENT_BYTES = 4


class Tally(msgspec.Struct):
    """The smallest rollup: it counts, and grows by one byte for each event so that fragments are sealed often."""

    n: int = 0

    def apply(self, _event: object) -> int:
        self.n += 1
        return 1


class Event(NamedTuple):
    principal: Principal
    time: int


class SourceRecord(NamedTuple):
    offset: int
    timestamp: int
    identity: int
    event: Event | None  # None: a record that is rejected

    key = None
    value = None


class ChangelogRecord(NamedTuple):
    offset: int
    key: bytes
    value: bytes


def judge_of(duplicates: Duplicates):
    def verdict(record: SourceRecord) -> Event | Rejected | None:
        if record.event is None:
            return Rejected(Reason.NOT_JSON)
        if duplicates.seen(record.offset, record.timestamp, record.identity.to_bytes(16)):
            return None
        return record.event

    return lambda records: [verdict(record) for record in records]


class Follower:
    """A reader of the changelog that keeps the last accepted record of each key, as the report store does."""

    def __init__(self) -> None:
        self.reader, self.rows, self.at = Reader(), {}, 0
        self.refused: dict[bytes, int] = {}

    def feed(self, records: list[ChangelogRecord]) -> Follower:
        for record in records:
            self.at = record.offset + 1
            epoch = -1 if record.key == FENCE else msgspec.json.decode(record.value)["epoch"]
            if self.reader.accepts(record.offset, record.key, epoch):
                self.rows[record.key] = record.value
                self.refused.pop(record.key, None)
            elif record.key != FENCE:
                self.refused.setdefault(record.key, record.offset)
        return self

    def total(self) -> Counter:
        out: Counter = Counter()
        for key, value in self.rows.items():
            if key != LEDGER:
                state = msgspec.json.decode(value, type=State[Tally])
                principal, bucket, _ = decode_key(key)
                if state.rollup is not None:
                    out[principal, bucket] += state.rollup.n
        return out

    def ledger(self) -> Ledger | None:
        return decode_ledger(self.rows[LEDGER]).ledger if LEDGER in self.rows else None


@dataclass
class Owner:
    """A worker, one step at a time: others may act in between."""

    world: World
    phase: int = 0
    start: Start | None = None
    partition: Partition | None = None
    flush: Flush | None = None
    queue: list = field(default_factory=list)

    def begin(self) -> None:
        world = self.world
        if self.phase == 0:
            point = decode_point(world.commit) if world.commit else None
            self.start = Start(point, rollup=Tally, fragment_bytes=FRAGMENT_BYTES)
        elif self.phase == 1:
            self.start.fenced(world.append(FENCE, FENCE_VALUE))
        else:
            upto = [r for r in world.changelog if r.offset <= self.start.epoch]
            self.start.read(r for r in upto if r.offset >= self.start.point.at)
            if self.start.refused:
                self.start.reread(upto)
            self.partition = self.start.partition(begin=world.begin, end=len(world.log))
            self.duplicates = Duplicates(generation=GENERATION, horizon_ms=HORIZON_MS)
            for record in world.log[
                max(world.begin, self.duplicates.refill_from(self.partition.next)) : self.partition.next
            ]:
                if record is not None and record.event is not None:
                    self.duplicates.seen(record.offset, record.timestamp, record.identity.to_bytes(16))
            self.judge = judge_of(self.duplicates)
        self.phase += 1

    def apply(self, n: int) -> None:
        world, partition = self.world, self.partition
        if partition.next < world.begin:
            return  # retention overtook it: the engine's guard ends such a process
        until = min(partition.next + n, len(world.log))
        records = [r for r in world.log[partition.next : until] if r is not None]
        partition.apply(records, until=until, judge=self.judge, now=0.0)

    def take(self, *, idle: bool = False) -> None:
        if self.queue:
            return
        self.partition.ledger_due |= idle
        self.flush = self.partition.flush()
        if self.flush is not None:
            self.queue = list(self.flush.rows)
            # A ledger is last; what lies before it may go out in several batches.
            assert LEDGER not in [k for k, _ in self.queue[:-1]]

    def write(self, n: int) -> bool:
        """False: somebody else wrote in between."""
        for _ in range(n):
            if not self.queue:
                break
            key, value = self.queue.pop(0)
            try:
                self.partition.answered(self.world.append(key, value), 1)
            except ForeignWrite:
                return False
        if not self.queue and self.flush is not None:
            self.partition.settled(self.flush)
            self.flush = None
        return True

    def commit(self) -> None:
        if self.partition.point is not None:
            self.world.commit = encode_point(self.partition.point)

    def forget(self) -> None:
        for fragment in self.partition.open.values():
            fragment.touched = self.world.rng.choice((0.0, 2.0))
        self.partition.forget(1.0)


class World:
    def __init__(self, seed: int, *, retention: bool = False) -> None:
        self.rng = random.Random(seed)
        self.retention = retention
        self.log: list[SourceRecord | None] = []  # None: a hole of the log
        self.begin = 0
        self.changelog: list[ChangelogRecord] = []
        self.end = 0
        self.commit = ""
        self.zombies: list[Owner] = []
        self.follower = Follower()
        self.owner = Owner(self)

    def append(self, key: bytes, value: bytes) -> int:
        self.changelog.append(ChangelogRecord(self.end, key, value))
        self.end += 1
        return self.end - 1

    def produce(self, n: int) -> None:
        rng = self.rng
        for _ in range(n):
            offset, kind = len(self.log), rng.random()
            if kind < 0.06:
                self.log.append(None)
                continue
            event = (
                None
                if kind < 0.12
                else Event(Principal("user", str(rng.randrange(4)), ""), rng.randrange(3) * BUCKET_MS)
            )
            self.log.append(
                SourceRecord(
                    offset, offset * 3 + rng.randrange(3), rng.randrange(24) if kind < 0.4 else 1000 + offset, event
                )
            )

    def unhealed(self) -> int:
        """Offset of the oldest refused record whose key has no accepted record after it."""
        return min(Follower().feed(self.changelog).refused.values(), default=self.end)

    def compact(self) -> None:
        border = min(
            self.rng.randint(0, self.end), self.unhealed()
        )  # the lag is longer than it takes to notice and heal
        newest = {r.key: r.offset for r in self.changelog if r.offset < border}
        self.changelog = [r for r in self.changelog if r.offset >= border or newest[r.key] == r.offset]

    def replace(self, *, freeze: bool) -> None:
        if freeze:
            self.zombies.append(self.owner)
        self.owner = Owner(self)

    def wake(self, zombie: Owner) -> None:
        if zombie.phase < 3:
            zombie.begin()
            return
        zombie.apply(3)
        zombie.take()
        zombie.write(self.rng.randint(0, 3))
        zombie.commit()

    def step(self) -> None:
        r, owner, rng = self.rng.random(), self.owner, self.rng
        if r < 0.05:
            self.follower.feed([x for x in self.changelog if x.offset >= self.follower.at])
        elif r < 0.25:
            self.produce(rng.randint(1, 4))
        elif r < 0.29:
            self.replace(freeze=False)
        elif r < 0.32:
            self.replace(freeze=True)
        elif r < 0.38:
            for zombie in self.zombies:
                self.wake(zombie)
        elif r < 0.41:
            self.compact()
        elif r < 0.42:
            self.lose()
        elif owner.phase < 3:
            owner.begin()
        elif r < 0.60:
            owner.apply(rng.randint(1, 5))
        elif r < 0.70:
            owner.take(idle=rng.random() < 0.2)
        elif r < 0.86:
            if not owner.write(rng.randint(1, 4)):
                self.replace(freeze=False)
        elif r < 0.93:
            owner.commit()
        else:
            owner.forget()

    def lose(self) -> None:
        """The group's commit expires; or, if asked for, retention overtakes whoever is there."""
        if not self.retention:
            if self.rng.random() < 0.2:
                self.commit = ""
            return
        self.begin = min(len(self.log), self.begin + self.rng.randint(0, 6))
        if self.owner.partition is not None and self.owner.partition.next < self.begin:
            self.replace(freeze=False)

    def finish(self) -> None:
        """Everybody but one owner is gone; it goes on until nothing is left to do."""
        self.zombies = []
        for _ in range(50):
            owner = self.owner
            while owner.phase < 3:
                owner.begin()
            owner.apply(10**9)
            ok = owner.write(10**9)
            for idle in (False, True):
                if ok:
                    owner.take(idle=idle)
                    ok = owner.write(10**9)
            if ok and self.unhealed() == self.end and owner.partition.durable.offset == len(self.log) - 1:
                break
            self.replace(freeze=False)
        else:
            raise AssertionError("this history never heals")
        self.follower.feed([x for x in self.changelog if x.offset >= self.follower.at])
        self.compact()

    def truth(self) -> tuple[Counter, Counter]:
        """Events per principal and bucket, and what became of the offsets, by reading the log with no protocol at all."""
        counts: Counter = Counter()
        became: Counter = Counter()
        decodable: list[SourceRecord] = []
        for offset, record in enumerate(self.log):
            if record is None:
                became["gaps"] += 1
            elif record.event is None:
                became["rejected"] += 1
            else:
                generation = offset // GENERATION
                twin = any(
                    d.identity == record.identity
                    and generation - d.offset // GENERATION <= 1
                    and record.timestamp - d.timestamp <= HORIZON_MS
                    for d in decodable[-2 * GENERATION :]
                )
                decodable.append(record)
                became["duplicate" if twin else "applied"] += 1
                if not twin:
                    counts[record.event.principal, record.event.time // BUCKET_MS] += 1
        return counts, became


def run(seed: int, *, retention: bool = False) -> World:
    world = World(seed, retention=retention)
    for _ in range(world.rng.randint(20, 250)):
        world.step()
    world.finish()
    return world


def faults(world: World) -> list[str]:
    """What is wrong at the end of a history; empty if it ended right."""
    wrong = []
    fresh, ledger = Follower().feed(world.changelog), world.follower.ledger()
    if fresh.ledger() != ledger:
        wrong.append("the two readers disagree about the ledger")
    if ledger is None or ledger.offset != len(world.log) - 1 or not ledger.holds:
        wrong.append(f"the ledger does not account for {len(world.log)} offsets: {ledger}")
        return wrong
    if world.retention:
        if fresh.total() != world.follower.total():
            wrong.append("the two readers disagree")
        return wrong
    counts, became = world.truth()
    for name, reader in (("fresh", fresh), ("following", world.follower)):
        if reader.total() != counts:
            wrong.append(f"the {name} reader counts {sum(reader.total().values())} instead of {sum(counts.values())}")
    said = Counter(
        {
            "applied": ledger.applied,
            "duplicate": ledger.duplicate,
            "rejected": sum(ledger.rejected.values()),
            "gaps": ledger.gaps,
        }
    )
    if +said != +became or ledger.lost:
        wrong.append(f"the ledger says {dict(said)}, the log {dict(became)}")
    return wrong
