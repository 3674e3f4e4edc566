"""The way into ownership on a real broker: commit, fence, tail, (whole changelog,) healing and ledger, recall of duplicates, seek, feed.

Faust's own recovery is not used: it trusts high waters and a queue of lists that a rebalance leaves stale, swallows exceptions, and seeks one short.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka.errors import IllegalStateError
from faust.tables import TableManager as FaustTableManager
from faust.tables.recovery import RebalanceAgain, ServiceStopped
from faust.tables.recovery import Recovery as FaustRecovery
from faust.types import TP
from mode import Service

from pipeline import logs
from pipeline.engine import fence
from pipeline.engine.steps import Step, reach
from pipeline.engine.table import RollingTable, put
from pipeline.errors import Halt
from pipeline.model.protocol import Partition, SourceShorter, Start
from pipeline.model.verdicts import Verdicts
from pipeline.model.wire import FENCE, FENCE_VALUE, Ledger, Point, decode_point

log = logs.logger("engine")

EXIT_TOPIC = 2  # a topic is not the one the ledger speaks of: an operator must decide
EXIT_START = 76


class Recovery(FaustRecovery):
    """One start for each assignment; a rebalance in the middle simply begins the next one."""

    async def _wait(self, coro: Any, timeout: float | None = None) -> None:
        """Faust takes a time-out for "service stopped" and then waits in silence for ever."""
        result = await self.wait_first(coro, self.signal_recovery_start, timeout=timeout)
        if result.stopped:
            if not self.should_stop:
                fence.leave(
                    Halt(
                        "a start of partitions timed out; the process ends so that a restart tries again",
                        exit_code=EXIT_START,
                    )
                )
            raise ServiceStopped
        if self.signal_recovery_start in result.done:
            raise RebalanceAgain

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Changelog partitions stay paused; a start reads its ranges itself."""

    @Service.task
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start):
                break
            self.signal_recovery_start.clear()
            generation = self._generation_id
            try:
                self._set_recovery_started()
                await self._wait(asyncio.ensure_future(self._begin(generation)))
                if self._begun is not None:
                    await self._wait(self._hand_over(generation))
            except (RebalanceAgain, IllegalStateError):
                continue
            except ServiceStopped:
                break
            except Halt as halt:
                fence.leave(halt)
            except Exception:
                log.exception("start of partitions failed")
                fence.leave(Halt("the start of partitions failed, see the trace above", exit_code=EXIT_START))

    _begun: dict[TP, Partition[Any]] | None = None

    async def _begin(self, generation: int) -> None:
        self._begun = None
        app = self.app
        thread = app.consumer._thread
        began = time.monotonic()
        starts: dict[TP, tuple[TP, RollingTable, Start[Any]]] = {}  # by changelog partition
        tables = {tp: self.tp_to_table[tp] for tp in sorted(self.active_tps)}
        sources = {tp: TP(table.spec.source, tp.partition) for tp, table in tables.items()}
        if not tables:
            self._begun = {}
            return
        commits, begins, ends = await thread.call_thread(thread.read_points, list(sources.values()), list(tables))
        if not app.consumer.holds(generation):
            return
        for tp, table in tables.items():
            spec = table.spec
            point = _point(commits.get(sources[tp]))
            _same_topics(point.ledger if point else None, table)
            starts[tp] = (sources[tp], table, Start(point, rollup=spec.rollup, fragment_bytes=spec.fragment_bytes))
        await self._fence(starts)
        reach(Step.FENCED)

        def feed_tail(tp: TP, records: list[Any]) -> None:
            starts[tp][2].read(records)

        tails = {tp: (start.point.at, start.epoch + 1) for tp, (_, _, start) in starts.items()}
        if not await thread.call_thread(thread.read, tails, generation, feed_tail):
            return
        whole = {tp: (0, start.epoch + 1) for tp, (_, _, start) in starts.items() if start.refused}

        def feed_whole(tp: TP, records: list[Any]) -> None:
            starts[tp][2].reread(records)

        for tp in whole:
            starts[tp][2].reread(())
        if whole and not await thread.call_thread(thread.read, whole, generation, feed_whole):
            return
        partitions: dict[TP, Partition[Any]] = {}
        for source, table, start in starts.values():
            spec = table.spec
            _same_topics(start.ledger, table)  # the commit may have expired; the changelog knows as well
            try:
                partitions[source] = start.partition(
                    begin=begins[source],
                    end=ends[source],
                    source_id=spec.source_id,
                    changelog_id=spec.changelog_id,
                    now=time.monotonic(),
                )
            except SourceShorter as shorter:
                raise Halt(
                    f"{source.topic}/{source.partition}: {shorter}; the topic was recreated. {REMEDY}",
                    exit_code=EXIT_TOPIC,
                ) from None
            if partitions[source].ledger.lost > (start.point.ledger.lost if start.point.ledger else 0):
                log.error(
                    "events were lost: retention overtook the worker",
                    topic=source.topic,
                    partition=source.partition,
                    lost=partitions[source].ledger.lost,
                )
        await self._settle(starts, partitions)
        reach(Step.STARTED)
        if not await self._recall(partitions, begins, generation):
            return
        app.recovery_seconds(time.monotonic() - began)
        self._begun = partitions

    async def _fence(self, starts: dict[TP, tuple[TP, RollingTable, Start[Any]]]) -> None:
        fence.check(self.app)
        producer = self.app.producer._ensure_producer()
        fence.guard(self.app, producer)
        sent = []
        for tp, (_, _, start) in starts.items():
            batch = producer.create_batch()
            batch.append(timestamp=None, key=FENCE, value=FENCE_VALUE)
            sent.append((start, await producer.send_batch(batch, tp.topic, partition=tp.partition)))
        for start, future in sent:
            start.fenced((await future).offset)

    async def _settle(
        self, starts: dict[TP, tuple[TP, RollingTable, Start[Any]]], partitions: dict[TP, Partition[Any]]
    ) -> None:
        """Healing and the first ledger of this epoch."""
        for topic in {tp.topic for tp in starts}:
            flushes = []
            for tp, (source, _, _) in starts.items():
                flush = partitions[source].flush() if tp.topic == topic else None
                if flush is not None:
                    flushes.append((partitions[source], tp.partition, flush))
            await put(self.app, topic, flushes)
            for partition, _, flush in flushes:
                partition.settled(flush)

    async def _recall(self, partitions: dict[TP, Partition[Any]], begins: dict[Any, int], generation: int) -> bool:
        """Refill the memory of duplicates from the source itself."""
        app = self.app
        judges: dict[TP, Verdicts] = {tp: app.specs[tp.topic].verdicts() for tp in partitions}
        ranges = {tp: (max(begins[tp], judges[tp].recall_from(p.next)), p.next) for tp, p in partitions.items()}

        def feed(tp: TP, records: list[Any]) -> None:
            judges[tp].recall(records)

        thread = app.consumer._thread
        if not await thread.call_thread(thread.read, ranges, generation, feed):
            return False
        app.judges = judges
        return True

    async def _hand_over(self, generation: int) -> None:
        """Seek, install, and only then let lists flow: resuming the flow first would clear lists that are already under way."""
        app, consumer = self.app, self.app.consumer
        begun = self._begun or {}
        await app.on_rebalance_complete.send()
        self._set_recovery_ended()
        for table in self.tables.values():
            await table.on_recovery_completed(self.actives_for_table[table], self.standbys_for_table[table])
        assigned = {tp for tp in consumer.assignment() if not self._is_changelog_tp(tp)}
        if not consumer.holds(generation):
            return
        if assigned != set(begun):
            raise Halt(
                "source and changelog partitions are not assigned together; the process ends so that a restart asks again",
                exit_code=EXIT_START,
            )
        to = {tp: p.next for tp, p in begun.items()}
        await self._wait(
            consumer._thread.call_thread(consumer._thread.seek_and_resume, to), timeout=app.conf.broker_request_timeout
        )
        if not consumer.holds(generation):
            return
        for tp in to:
            consumer._read_offset[tp] = None
        consumer.partitions.clear()
        consumer.partitions.update(begun)
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        consumer.resume_partitions(set(to))
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()
        log.info("partitions ready", partitions=len(to))


REMEDY = (
    "Counts of the old topic stay in the old changelog; to count the new one from its beginning choose another ACTIVITY_APP_ID, "
    "run `activity topics create`, and delete the report store's folder"
)


def _point(commit: Any) -> Point | None:
    return decode_point(commit.metadata) if commit is not None and commit.metadata else None


def _same_topics(ledger: Ledger | None, table: RollingTable) -> None:
    if ledger is None:
        return
    spec = table.spec
    for topic, known, now in (
        (spec.source, ledger.source_id, spec.source_id),
        (spec.changelog, ledger.changelog_id, spec.changelog_id),
    ):
        if known and now and known != now:
            raise Halt(
                f"{topic} was recreated: it is not the topic that the ledger accounts for. {REMEDY}",
                exit_code=EXIT_TOPIC,
            )


class TableManager(FaustTableManager):
    """App(TableManager=TableManager)"""

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:  # type: ignore[has-type]
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
