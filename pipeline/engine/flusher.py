"""Rejects, then data, then the ledger, then the acknowledgement, then the commit: this order and no other.

Lists are applied in memory at once; their acknowledgements are held until everything they caused is durable.  A failed flush ends the process: the
restart replays from the ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from typing import Any

from faust.types import TP

from pipeline import logs
from pipeline.engine import fence
from pipeline.engine.steps import Step, reach
from pipeline.engine.table import put
from pipeline.errors import Halt
from pipeline.metrics import Metrics
from pipeline.model import rejects as refusals
from pipeline.model.events import Rejected
from pipeline.settings import Settings

log = logs.logger("engine")

EXIT_FLUSH = 70
EXIT_CONTINUITY = 71
EXIT_SOURCE = 2
EXIT_STALLED = 74
EXIT_REJECTS = 77

ALARM_RECORDS = 10_000
WATCH_SECONDS = 5.0
# Far behind, nobody waits for the newest change, and fewer flushes write a fragment less often.
CATCH_UP_SECONDS = 1.0


class Quality:
    """The last records of a topic, by the lists they came in: with more than half of them rejected a producer sends something that we do not understand."""

    def __init__(self) -> None:
        self._lists: deque[tuple[int, int]] = deque()
        self._records = self._refused = 0

    def add(self, records: int, refused: int) -> bool:
        """Whether more than half of the last ALARM_RECORDS are rejected.  Lists may be of one record each: nothing is added up anew."""
        self._lists.append((records, refused))
        self._records += records
        self._refused += refused
        while self._records - self._lists[0][0] >= ALARM_RECORDS:
            records, refused = self._lists.popleft()
            self._records -= records
            self._refused -= refused
        return self._records >= ALARM_RECORDS and 2 * self._refused > self._records


class Flusher:
    """One per process.  `apply` is called by agents, `run` is the background task."""

    def __init__(self, app: Any, settings: Settings, metrics: Metrics, rejects_topic: str) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._rejects_topic = rejects_topic
        self._held: list[Any] = []
        self._events = 0
        self._refused: list[tuple[TP, Any, Rejected]] = []
        self._kick, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._turn, self._over = asyncio.Lock(), False
        self._swept = self._watched = self._idled = self._flushed = time.monotonic()
        self._progress: dict[TP, tuple[int, float]] = {}
        self._quality: dict[str, Quality] = defaultdict(Quality)

    async def apply(self, event: Any) -> None:
        """Apply one list; returns when there is room for the next.  The event is acknowledged by a later flush."""
        message = event.message
        tp = TP(message.topic, message.partition)
        start, until = message.key
        partition = self._app.consumer.partitions.get(tp)
        if partition is None or start != partition.next:
            have = "is not assigned" if partition is None else f"is at {partition.next}"
            fence.leave(
                Halt(
                    f"{tp.topic}/{tp.partition} {have} but was handed {start}: something in between was dropped; the process ends so that a restart replays",
                    exit_code=EXIT_CONTINUITY,
                )
            )
        refused = partition.apply(event.value, until=until, judge=self._app.judges[tp], now=time.monotonic())
        if refused:
            self._refused.extend((tp, record, rejected) for record, rejected in refused)
        self._watch_quality(tp.topic, len(event.value), len(refused))
        self._events += len(event.value)
        event.value = message.value = None  # an acknowledgement needs no records, and thousands may wait for one
        self._held.append(event)
        if self._events >= self._settings.flush_events:
            self._room.clear()
            self._kick.set()
            await self._room.wait()

    async def run(self) -> None:
        try:
            while True:
                try:
                    await asyncio.wait_for(self._kick.wait(), self._settings.flush_seconds)
                except TimeoutError:
                    pass
                now = time.monotonic()
                if (
                    not self._kick.is_set()
                    and self._app.consumer.catching_up
                    and now - self._flushed < CATCH_UP_SECONDS
                ):
                    continue
                self._kick.clear()
                self._flushed = now
                async with self._turn:
                    if self._over:
                        return
                    self._keep_house(now)
                    await self._flush()
                if now - self._watched >= WATCH_SECONDS:
                    self._watched = now
                    await self._watch_progress(now)
        except asyncio.CancelledError:
            if self._held:
                fence.leave(Halt("stopped with a flush under way; a restart replays", exit_code=EXIT_FLUSH))
            raise
        except Halt as halt:
            fence.leave(halt)
        except BaseException as error:
            log.exception("flush failed")
            fence.leave(
                Halt(
                    f"a flush failed ({type(error).__name__}); the process ends so that a restart replays",
                    exit_code=EXIT_FLUSH,
                )
            )

    async def end(self) -> None:
        """Before a graceful stop takes the producer away.  All that was applied is durable by then; no idle ledger may begin."""
        async with self._turn:
            self._over = True

    async def _flush(self) -> None:
        held, refused = self._held, self._refused
        jobs: dict[str, list[Any]] = {}
        for tp, partition in list(self._app.consumer.partitions.items()):
            flush = partition.flush()
            if flush is not None:
                jobs.setdefault(self._app.specs[tp.topic].changelog, []).append((partition, tp.partition, flush))
        self._held, self._refused, self._events = [], [], 0
        self._room.set()  # encoded: what comes now belongs to the next flush
        if not jobs and not held:
            return
        began = time.monotonic()
        if refused:
            await self._send_rejects(refused)
            reach(Step.REJECTS_SENT)
        for topic, flushes in jobs.items():
            await put(self._app, topic, flushes)
        if jobs:
            reach(Step.LEDGER_DURABLE)
        for topic, flushes in jobs.items():
            for partition, _, flush in flushes:
                partition.settled(flush)
            self._metrics["activity_worker_changelog_records_total"].labels(topic).inc(
                sum(len(f.rows) for _, _, f in flushes)
            )
        for event in held:
            event.ack()
        if held:
            reach(Step.ACKNOWLEDGED)
        self._metrics["activity_worker_flush_seconds"].observe(time.monotonic() - began)

    async def _send_rejects(self, refused: list[tuple[TP, Any, Rejected]]) -> None:
        fence.check(self._app)
        producer = self._app.producer._ensure_producer()
        futures = []
        for tp, record, rejected in refused:
            key, value, headers = refusals.refused(tp.topic, tp.partition, record, rejected)
            futures.append(
                await producer.send(self._rejects_topic, value=value, key=key, partition=tp.partition, headers=headers)
            )
            self._metrics["activity_worker_rejects_total"].labels(tp.topic, rejected.reason.value).inc()
        for future in futures:
            await future

    def _keep_house(self, now: float) -> None:
        settings = self._settings
        if now - self._swept >= min(5.0, settings.fragment_idle_seconds):
            self._swept = now
            for partition in self._app.consumer.partitions.values():
                partition.forget(now - settings.fragment_idle_seconds)
            self._gauge()
        if now - self._idled >= settings.idle_ledger_seconds:
            self._idled = now
            for partition in self._app.consumer.partitions.values():
                partition.ledger_due = True

    def _gauge(self) -> None:
        held: dict[str, int] = {}
        for tp, partition in self._app.consumer.partitions.items():
            held[tp.topic] = held.get(tp.topic, 0) + len(partition.open)
        for topic, count in held.items():
            self._metrics["activity_worker_open_fragments"].labels(topic).set(count)

    async def _watch_progress(self, now: float) -> None:
        """A partition that stands still with events waiting, or whose source became shorter, ends the process."""
        consumer = self._app.consumer
        partitions = dict(consumer.partitions)
        if not partitions:
            self._progress.clear()
            return
        ends = await consumer._thread.call_thread(consumer._thread.positions, list(partitions))
        for tp, partition in partitions.items():
            if consumer.partitions.get(tp) is not partition:
                continue
            durable, end = partition.durable.offset + 1, ends[tp]
            self._metrics["activity_worker_lag_records"].labels(tp.topic, tp.partition).set(max(0, end - durable))
            if end < durable:
                raise Halt(
                    f"{tp.topic}/{tp.partition} ends at {end}, before its ledger ({durable}): the topic was recreated; start the worker again for the remedy",
                    exit_code=EXIT_SOURCE,
                )
            before, since = self._progress.get(tp, (-1, now))
            if end == durable or before != durable:
                self._progress[tp] = (durable, now)
            elif now - since > self._settings.stall_seconds:
                raise Halt(
                    f"{tp.topic}/{tp.partition} stands at {durable} of {end} for {now - since:.0f} s; the process ends so that a restart continues",
                    exit_code=EXIT_STALLED,
                )

    def _watch_quality(self, topic: str, records: int, refused: int) -> None:
        self._metrics["activity_worker_records_total"].labels(topic, "rejected").inc(refused)
        self._metrics["activity_worker_records_total"].labels(topic, "judged").inc(records - refused)
        alarm = self._quality[topic].add(records, refused)
        gauge = self._metrics["activity_worker_reject_alarm"].labels(topic)
        if alarm and not gauge._value.get():
            log.error(
                "more than half of the last 10,000 records are rejected; see `activity rejects list`", topic=topic
            )
            if self._settings.stop_on_rejects:
                fence.leave(
                    Halt(
                        f"{topic}: more than half of the last {ALARM_RECORDS:,} records are rejected and ACTIVITY_STOP_ON_REJECTS is set",
                        exit_code=EXIT_REJECTS,
                    )
                )
        gauge.set(int(alarm))
