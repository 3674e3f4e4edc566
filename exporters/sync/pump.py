"""One destination's delivery in this process: a member of the destination's group, one lane per partition it is given, one budget over them all.

The group only spreads the partitions.  What was delivered stands in the log of cuts; two members that both believe to own a partition, a sleeper that
wakes up, a member that was put out: all of them can only finish what the log says, never repeat it.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from exporters.sync import keys
from exporters.sync.batches import Place
from exporters.sync.cuts import Attempt, Point
from exporters.sync.desk import LaneState, lag_seconds
from exporters.sync.destinations import SOURCES, Destination
from exporters.sync.door import Door
from exporters.sync.kafka import (
    AsyncConsumerRebalanceListener,
    CutLog,
    KafkaError,
    OffsetAndMetadata,
    TopicPartition,
    bounds,
    events_consumer,
    finish_joining,
)
from exporters.sync.lane import Delivery, Lane
from pipeline import broker, clock, logs, topics
from pipeline.errors import ConfigError, Problem, Refused, Unavailable
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


class Assignments(AsyncConsumerRebalanceListener):  # type: ignore[misc]
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
        door: Door,
        metrics: Metrics,
        *,
        memory_bytes: int,
    ) -> None:
        super().__init__(name=f"sync-{name}", daemon=True)
        self.destination_name = name
        self.destination = destination
        self.lanes: dict[TopicPartition, Lane] = {}
        self.problem: BaseException | None = None
        self.paused = ""  # why an operator holds it back; "": nobody does
        self.lane_states: list[LaneState] = []
        self.partitions = 0  # of all its topics, whoever holds them
        self.worst: tuple[Problem, float] | None = None  # and for how many seconds
        self.last_object = ""
        self.stored_at = 0
        self.worked_at = 0  # when the target last took something, be it a manifest
        self._settings = settings
        self._door = door
        self._metrics = metrics
        self.memory_bytes = memory_bytes  # its share, which changes when others come or go
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._kinds = {SOURCES[k].name(prefix=settings.topic_prefix, app=settings.app_id): k for k in destination.kinds}
        self._consumer: Any = None

    @property
    def group(self) -> str:
        return f"{self._settings.app_id}-sync-{self.destination.chain(self.destination_name)}"

    @property
    def resting(self) -> bool:
        """Whether a pause has come into force: nothing more is delivered until it is over."""
        return bool(self.paused) and all(lane.resting for lane in list(self.lanes.values()))

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
            self._door.close()
            self._ended.set()

    def _prepare(self) -> str:
        """Look at the topics; the name of the log of cuts.  Raises ConfigError, Unavailable."""
        facts = broker.describe(self._settings)
        cut_topic = topics.CUTS.name(prefix=self._settings.topic_prefix, app=self._settings.app_id)
        missing = [n for n in (*self._kinds, cut_topic) if n not in facts]
        if missing:
            raise ConfigError(f"topics are missing: {', '.join(missing)}; run `activity topics create`")
        short = [n for n in self._kinds if facts[n].partitions > facts[cut_topic].partitions]
        if short:
            raise ConfigError(f"{cut_topic} has fewer partitions than {', '.join(short)}; run `activity topics check`")
        self.partitions = sum(facts[n].partitions for n in self._kinds)
        self._log_id = keys.short(facts[cut_topic].id)
        self._streams = {name: keys.short(facts[name].id) for name in self._kinds}
        return cut_topic

    def _deliver(self) -> None:
        cut_topic = self._prepare()
        consumer = events_consumer(self._settings, group=self.group, client=f"{self._settings.app_id}-sync")
        self._consumer = consumer
        cut_log = CutLog(self._settings, cut_topic)
        with ThreadPoolExecutor(UPLOADS, thread_name_prefix=f"put-{self.destination_name}") as work:
            delivery = Delivery(
                name=self.destination_name,
                destination=self.destination,
                settings=self._settings,
                door=self._door,
                log=cut_log,
                work=work,
                bounds=lambda tp: bounds(consumer, [tp])[tp],
                commit=self._commit,
                start=lambda _tp, begin, end: begin if self.destination.start == "earliest" else end,
                delivered=self._delivered,
            )
            assignments = Assignments(consumer)
            try:
                consumer.subscribe(list(self._kinds), listener=assignments)
                self._loop(consumer, cut_log, delivery, assignments)
            finally:
                self._let_go(consumer, cut_log)

    def _let_go(self, consumer: Any, cut_log: CutLog) -> None:
        """Close everything, whatever of it fails: what ends this delivery is said elsewhere, and must not end the others."""
        for lane in self.lanes.values():
            lane.abandon()
        self.lanes = {}
        self._measure()
        for close in (cut_log.close, lambda: consumer.close(autocommit=False)):
            try:
                close()
            except Exception as error:
                log.debug("a client did not close well", error=type(error).__name__)

    def _over(self) -> bool:
        """Whether there is nothing left to do for ever: never, with a log that goes on."""
        return False

    def _loop(self, consumer: Any, cut_log: CutLog, delivery: Delivery, assignments: Assignments) -> None:
        looked, deadline, busy = 0.0, 0.0, True

        def begin(tp: TopicPartition) -> int:
            return bounds(consumer, [tp])[tp][0]

        while True:
            taken = consumer.poll(timeout_ms=BUSY_MS if busy else IDLE_MS)
            finish_joining(consumer)
            self._assign(consumer, delivery, assignments)
            for tp, records in taken.items():
                if tp in self.lanes:
                    self.lanes[tp].take(records, begin)
            busy = self._turn(cut_log) or bool(taken)
            self._keep_budget()
            now = clock.monotonic()
            if now - looked >= LOOK_SECONDS:
                looked = now
                for tp, (_, end) in bounds(consumer, self.lanes).items() if self.lanes else ():
                    self.lanes[tp].look(end, begin)
                self._measure()
            for lane in self.lanes.values():
                lane.pause(paused=bool(self.paused), note=self.paused)
            if self._over():
                return
            if self._stopping.is_set():
                deadline = deadline or now + STOP_SECONDS
                for lane in self.lanes.values():
                    lane.stop()
                # Who is refused could only wait; others, and whoever is to deliver instead, would wait with it.
                ended = all(lane.done or isinstance(lane.problem, Refused) for lane in self.lanes.values())
                if ended or now > deadline:
                    return

    def _assign(self, consumer: Any, delivery: Delivery, assignments: Assignments) -> None:
        while assignments.changes:
            what, tp = assignments.changes.popleft()
            if tp in self.lanes:
                self.lanes.pop(tp).close()
            if what == "assigned" and tp in consumer.assignment():
                place = Place(self._kinds[tp.topic], self._streams[tp.topic], tp.partition, delivery.folder)
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
        over = held > self.memory_bytes
        if over:
            ready = [lane for lane in self.lanes.values() if lane.can_cut]
            if ready:
                max(ready, key=lambda lane: lane.held).cut_now()
        for lane in self.lanes.values():
            lane.starve(over)
        self._metrics["activity_sync_held_bytes"].labels(self.destination_name).set(held)

    def _delivered(self, attempt: Attempt) -> None:
        name, metrics = self.destination_name, self._metrics
        self.stored_at = clock.now_ms()
        for part in attempt.parts:
            metrics["activity_sync_objects_total"].labels(name).inc()
            metrics["activity_sync_stored_bytes_total"].labels(name).inc(part.bytes)
        if attempt.events is not None:
            self.last_object = attempt.events.key
            metrics["activity_sync_events_total"].labels(name).inc(attempt.events.lines)

    def _measure(self) -> None:
        """Once a second: what others may know of this process."""
        lanes = list(self.lanes.values())
        self.lane_states = [
            LaneState(
                topic=lane.tp.topic,
                partition=lane.tp.partition,
                delivered=lane.chain.through or 0,
                end=lane.end,
                waiting_since=lane.waiting_since,
                lost=lane.lost,
                problem=str(lane.problem or ""),
            )
            for lane in lanes
        ]
        failing = [(lane.problem, lane.failing_seconds) for lane in lanes if lane.problem is not None]
        self.worked_at = max([self.worked_at, *(lane.worked_at for lane in lanes)])
        self.worst = max(failing, key=lambda f: (isinstance(f[0], Refused), f[1]), default=None)
        name, metrics = self.destination_name, self._metrics
        waited = lag_seconds(self.lane_states)
        metrics["activity_sync_lag_records"].labels(name).set(sum(lane.lag for lane in lanes))
        metrics["activity_sync_lag_seconds"].labels(name).set(math.nan if waited is None else waited)
        metrics["activity_sync_failing_partitions"].labels(name).set(len(failing))
        metrics["activity_sync_lost_records"].labels(name).set(sum(lane.lost for lane in lanes))
