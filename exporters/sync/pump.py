"""One destination's delivery in this process: a member of the destination's group, one lane per partition it is given, one budget over them all.

The group only spreads the partitions.  What was delivered stands in the log of cuts; two members that both believe to own a partition, a sleeper that
wakes up, a member that was put out: all of them can only finish what the log says, never repeat it.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from exporters.sinks.sink import Sink
from exporters.sync import keys
from exporters.sync.batches import Place
from exporters.sync.cuts import Point
from exporters.sync.destinations import SOURCES, Destination
from exporters.sync.kafka import (
    AsyncConsumerRebalanceListener,
    CutLog,
    KafkaError,
    OffsetAndMetadata,
    TopicPartition,
    bounds,
    events_consumer,
)
from exporters.sync.lane import Delivery, Lane
from pipeline import broker, clock, logs, topics
from pipeline.errors import ConfigError, Problem, Unavailable
from pipeline.metrics import Metrics
from pipeline.settings import Settings

log = logs.logger("sync")

UPLOADS = 4
BUSY_MS, IDLE_MS = 5, 100
LOOK_SECONDS = 1.0
STOP_SECONDS = 15.0


class _Committed(msgspec.Struct, frozen=True):
    """What the group's commit carries: a point, and of which log and stream it is."""

    log: str
    stream: str
    point: Point


_committed = msgspec.json.Decoder(_Committed)


class _Assignments(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Called inside a poll, from the client's own thread: only notes what happened, and keeps new partitions silent until their place is known."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.changes: deque[tuple[str, TopicPartition]] = (
            deque()
        )  # filled while the poll that caused it may be over already

    async def on_partitions_revoked(self, revoked: Any) -> None:
        self.changes.extend(("revoked", tp) for tp in revoked)

    async def on_partitions_lost(self, lost: Any) -> None:
        self.changes.extend(("revoked", tp) for tp in lost)

    async def on_partitions_assigned(self, assigned: Any) -> None:
        if assigned:
            self._consumer.pause(*assigned)
        self.changes.extend(("assigned", tp) for tp in assigned)


class Pump(threading.Thread):
    """`name` is the destination's.  Runs until `stop`; `problem` is set if it ended by something else."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        destination: Destination,
        sink: Sink,
        metrics: Metrics,
        *,
        memory_bytes: int,
        member: str = "",
    ) -> None:
        super().__init__(name=f"sync-{name}", daemon=True)
        self.destination_name = name
        self.destination = destination
        self.lanes: dict[TopicPartition, Lane] = {}
        self.problem: BaseException | None = None
        self.paused = False
        self.member = member
        self._settings = settings
        self._sink = sink
        self._metrics = metrics
        self._memory_bytes = memory_bytes
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._kinds = {SOURCES[k].name(prefix=settings.topic_prefix, app=settings.app_id): k for k in destination.kinds}
        self._consumer: Any = None

    @property
    def group(self) -> str:
        return f"{self._settings.app_id}-sync-{self.destination.chain(self.destination_name)}"

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._deliver()
                except (KafkaError, Unavailable) as error:
                    said = str(error) if isinstance(error, Problem) else type(error).__name__
                    log.warning("Kafka is away; trying again", destination=self.destination_name, error=said)
                    self._stopping.wait(1)
        except BaseException as error:
            self.problem = error
        finally:
            self._ended.set()

    def _deliver(self) -> None:
        facts = broker.describe(self._settings)
        cut_topic = topics.CUTS.name(prefix=self._settings.topic_prefix, app=self._settings.app_id)
        missing = [n for n in (*self._kinds, cut_topic) if n not in facts]
        if missing:
            raise ConfigError(f"topics are missing: {', '.join(missing)}; run `activity topics create`")
        short = [n for n in self._kinds if facts[n].partitions > facts[cut_topic].partitions]
        if short:
            raise ConfigError(f"{cut_topic} has fewer partitions than {', '.join(short)}; run `activity topics check`")
        self._log_id = keys.short(facts[cut_topic].id)
        self._streams = {name: keys.short(facts[name].id) for name in self._kinds}
        consumer = events_consumer(self._settings, group=self.group, client=f"{self._settings.app_id}-sync")
        self._consumer = consumer
        cut_log = CutLog(self._settings, cut_topic)
        with ThreadPoolExecutor(UPLOADS, thread_name_prefix=f"put-{self.destination_name}") as work:
            delivery = Delivery(
                name=self.destination_name,
                destination=self.destination,
                settings=self._settings,
                sink=self._sink,
                log=cut_log,
                work=work,
                bounds=lambda tp: bounds(consumer, [tp])[tp],
                commit=self._commit,
                start=lambda _tp, begin, end: begin if self.destination.start == "earliest" else end,
            )
            assignments = _Assignments(consumer)
            try:
                consumer.subscribe(list(self._kinds), listener=assignments)
                self._loop(consumer, cut_log, delivery, assignments)
            finally:
                for lane in self.lanes.values():
                    lane.close()
                self.lanes = {}
                cut_log.close()
                consumer.close(autocommit=False)

    def _loop(self, consumer: Any, cut_log: CutLog, delivery: Delivery, assignments: _Assignments) -> None:
        looked, deadline, busy = 0.0, 0.0, True
        while True:
            taken = consumer.poll(timeout_ms=BUSY_MS if busy else IDLE_MS)
            self._assign(consumer, delivery, assignments)
            for tp, records in taken.items():
                if tp in self.lanes:
                    self.lanes[tp].take(records, lambda tp: bounds(consumer, [tp])[tp][0])
            busy = self._turn(cut_log) or bool(taken)
            self._keep_budget()
            now = clock.monotonic()
            if now - looked >= LOOK_SECONDS and self.lanes:
                looked = now
                for tp, (_, end) in bounds(consumer, self.lanes).items():
                    self.lanes[tp].look(end)
                self._measure()
            for lane in self.lanes.values():
                lane.pause(paused=self.paused)
            if self._stopping.is_set():
                deadline = deadline or now + STOP_SECONDS
                for lane in self.lanes.values():
                    lane.stop()
                if all(lane.done for lane in self.lanes.values()) or now > deadline:
                    return

    def _assign(self, consumer: Any, delivery: Delivery, assignments: _Assignments) -> None:
        while assignments.changes:
            what, tp = assignments.changes.popleft()
            if tp in self.lanes:
                self.lanes.pop(tp).close()
            if what == "assigned" and tp in consumer.assignment():
                place = Place(self._kinds[tp.topic], self._streams[tp.topic], tp.partition)
                self.lanes[tp] = Lane(delivery, tp, place, consumer, self._point(consumer, tp))

    def _point(self, consumer: Any, tp: TopicPartition) -> Point | None:
        """Where the group's commit says that reading the log of cuts may begin.  One of another log or stream says nothing."""
        committed = consumer.committed(tp, metadata=True)
        try:
            found = _committed.decode((committed.metadata if committed is not None else "") or "")
        except msgspec.MsgspecError:
            return None
        return found.point if (found.log, found.stream) == (self._log_id, self._streams[tp.topic]) else None

    def _commit(self, tp: TopicPartition, point: Point, through: int) -> None:
        told = msgspec.json.encode(_Committed(self._log_id, self._streams[tp.topic], point)).decode()
        self._consumer.commit_async({tp: OffsetAndMetadata(through, told, -1)})

    def _turn(self, cut_log: CutLog) -> bool:
        moved = False
        for partition, records in cut_log.poll(0).items():
            for lane in self.lanes.values():
                if lane.place.partition == partition:
                    lane.read(records)
            moved = True
        for lane in self.lanes.values():
            while lane.turn():
                moved = True
        return moved or any(lane.working for lane in self.lanes.values())

    def _keep_budget(self) -> None:
        """Over the budget: cut the largest batch, and read nothing until there is room."""
        held = sum(lane.held for lane in self.lanes.values())
        over = held > self._memory_bytes
        if over:
            ready = [lane for lane in self.lanes.values() if lane.can_cut]
            if ready:
                max(ready, key=lambda lane: lane.held).cut_now()
        for lane in self.lanes.values():
            lane.starve(over)
        self._metrics["activity_sync_held_bytes"].labels(self.destination_name).set(held)

    def _measure(self) -> None:
        lag = sum(lane.lag for lane in self.lanes.values())
        self._metrics["activity_sync_lag_records"].labels(self.destination_name).set(lag)
        failing = sum(lane.problem is not None for lane in self.lanes.values())
        self._metrics["activity_sync_failing_partitions"].labels(self.destination_name).set(failing)
