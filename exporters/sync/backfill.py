"""Deliver a stretch of event time once more, into a folder of its own, beside the live delivery and without touching it.

It is a delivery like any other, with cuts and manifests of its own: killed, it goes on where it was when the same command is given again; given again
after it was done, it delivers what arrived since.  An event may arrive a day before its own time says, and any time later; so the source is read from a
day before the stretch up to its end, as far as Kafka still has it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from exporters.sync.batches import Batch, Former
from exporters.sync.cuts import Point
from exporters.sync.destinations import SOURCES, Destination
from exporters.sync.door import Door
from exporters.sync.kafka import CutLog, TopicPartition, bounds, events_consumer, first_record, read_range
from exporters.sync.lane import Delivery
from exporters.sync.pump import Assignments, Pump
from exporters.sync.setup import owner
from pipeline import clock
from pipeline.errors import Refused
from pipeline.metrics import Metrics
from pipeline.model.times import AHEAD_MS, iso
from pipeline.settings import Settings

PATIENCE_SECONDS = 2.0


@dataclass
class Plan:
    """What would be read: {partition: (from, to)}, and what cannot be any more."""

    ranges: dict[TopicPartition, tuple[int, int]]
    out_of_reach: list[str] = field(default_factory=list)

    @property
    def records(self) -> int:
        return sum(end - start for start, end in self.ranges.values())


def label(from_ms: int, to_ms: int) -> str:
    """The folder's name: both instants, UTC, to the minute, or as far as they are exact: 20260301T1000_20260301T103015."""
    return "_".join(map(_instant, (from_ms, to_ms)))


def _instant(ms: int) -> str:
    seconds, rest = divmod(ms, 1000)
    exactly = datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S") + f"{rest:03d}"
    return exactly.removesuffix("000").removesuffix("00") if not rest else exactly


def plan(settings: Settings, destination: Destination, from_ms: int) -> Plan:
    """Which offsets may hold events of the stretch.  Raises Unavailable."""
    consumer = events_consumer(settings, group=None, client=f"{settings.app_id}-sync-backfill")
    try:
        names = [SOURCES[k].name(prefix=settings.topic_prefix, app=settings.app_id) for k in destination.kinds]
        tps = [TopicPartition(n, p) for n in names for p in sorted(consumer.partitions_for_topic(n) or ())]
        found = bounds(consumer, tps)
        since = consumer.offsets_for_times(dict.fromkeys(tps, max(0, from_ms - AHEAD_MS)))
        made = Plan({tp: (since[tp].offset if since[tp] is not None else end, end) for tp, (_, end) in found.items()})
        for tp, (begin, end) in found.items():
            oldest = first_record(consumer, tp, begin, end) if begin else None
            if oldest is not None and oldest.timestamp > from_ms - AHEAD_MS:
                made.out_of_reach.append(
                    f"{tp.topic}/{tp.partition}: what arrived before {iso(oldest.timestamp)} is gone from Kafka"
                )
        return made
    finally:
        consumer.close()


def count(
    settings: Settings, destination: Destination, stretch: tuple[int, int], made: Plan, advance: Callable[[int], None]
) -> dict[str, int]:
    """What a backfill would deliver, by reading all of it and sending nothing.  Raises Unavailable."""
    total = {"events": 0, "rejects": 0, "duplicates": 0, "filtered": 0}
    kinds = {SOURCES[k].name(prefix=settings.topic_prefix, app=settings.app_id): k for k in destination.kinds}
    for tp, (start, end) in made.ranges.items():
        if start >= end:
            continue
        former = Former(kinds[tp.topic], destination, stretch)
        verdicts = former.verdicts()
        for records in read_range(settings, tp, start, end, verdicts.recall_from(start)):
            before = [r for r in records if r.offset < start]
            verdicts.recall(before)
            inside = records[len(before) :]
            batch = Batch(start, start)
            former.take(batch, inside, verdicts(inside), limit=end)
            total["events"] += batch.events
            total["rejects"] += batch.rejected
            total["duplicates"] += batch.duplicates
            total["filtered"] += batch.filtered
            advance(len(inside))
    return total


class Backfill(Pump):
    """A pump that owns all partitions, by nobody's leave, and ends when it has read what there was."""

    def __init__(
        self, settings: Settings, name: str, destination: Destination, made: Plan, stretch: tuple[int, int]
    ) -> None:
        door = Door(destination.target, partial(owner, settings, name, destination))
        super().__init__(settings, name, destination, door, Metrics(), memory_bytes=settings.sync_memory_bytes)
        self._made = made
        self._stretch = stretch
        self.events = 0

    @property
    def done(self) -> int:
        """Records behind the ends of the chains."""
        lanes = self.lanes.items()
        return sum(max(0, (lane.chain.through or 0) - self._made.ranges[tp][0]) for tp, lane in lanes)

    def _over(self) -> bool:
        problem, _ = self.worst or (None, 0.0)
        if isinstance(problem, Refused):
            raise problem  # somebody waits for this one, and can mend it
        over = bool(self.lanes) and all(lane.done for lane in self.lanes.values())
        if over:
            self.stop()
        return over

    def _point(self, consumer: Any, tp: TopicPartition) -> Point | None:  # noqa: ARG002 - no group, no commit
        return None

    def _commit(self, tp: TopicPartition, point: Point, through: int) -> None:
        """Nothing: the log of cuts is read from its beginning each time."""

    def _delivered(self, attempt: Any) -> None:
        super()._delivered(attempt)
        self.events += attempt.events.lines if attempt.events is not None else 0

    def _deliver(self) -> None:
        cut_topic = self._prepare()
        settings = self._settings
        consumer = events_consumer(settings, group=None, client=f"{settings.app_id}-sync-backfill")
        self._consumer = consumer
        cut_log = CutLog(settings, cut_topic)
        ranges = self._made.ranges
        with ThreadPoolExecutor(4, thread_name_prefix="put-backfill") as work:
            delivery = Delivery(
                name=self.destination_name,
                destination=self.destination,
                settings=settings,
                door=self._door,
                log=cut_log,
                work=work,
                bounds=lambda tp: bounds(consumer, [tp])[tp],
                commit=self._commit,
                start=lambda tp, _begin, _end: ranges[tp][0],
                delivered=self._delivered,
                event_window=self._stretch,
                until={tp: end for tp, (_, end) in ranges.items()},
                backfill=label(*self._stretch),
            )
            assignments = Assignments(consumer)
            try:
                consumer.assign(list(ranges))
                assignments.changes.extend(("assigned", tp) for tp in ranges)
                self._loop(consumer, cut_log, delivery, assignments)
            finally:
                self._let_go(consumer, cut_log)

    def deliver(self, advance: Callable[[int], None]) -> None:
        """Run to the end.  Raises what ended it otherwise, and Refused if the place refuses."""
        self.start()
        shown = 0
        while self.is_alive():
            clock.pause(0.1)
            done = self.done
            if done > shown:
                advance(done - shown)
                shown = done
        self.join()
        if self.problem is not None:
            raise self.problem
