"""Between the broker and the agents nothing is lost: no take straddles a rebalance, and a commit names only a verified ledger.

Faust and aiokafka together drop fetched records around rebalances and recoveries: a request that waited through a rebalance takes records of the new
assignment, and Faust throws them away as foreign.  So a take never waits inside aiokafka, works on a frozen set of partitions, and looks at generation
and assignment at the very moment of taking.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline import logs
from pipeline.engine import fence
from pipeline.engine.lists import RecordList, slices
from pipeline.engine.steps import Step, reach
from pipeline.model.protocol import Partition
from pipeline.model.wire import encode_point

log = logs.logger("engine")

# At low rates the cost is per list, not per record: a short rest between small takes halves the worker's CPU, at the price of this much delay.
LINGER_SECONDS = 0.05
# A take of this size means catching up: no rest.
BIG_TAKE = 5_000
# A fetch in flight delays each seek by up to this long.
FETCH_WAIT_MS = 200

_vendor_tp = driver.ensure_aiokafka_TP


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that owns the client.  Everything here runs in its loop."""

    _rest_until = 0.0

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    def _current(self, generation: int, assignment: Any) -> bool:
        """Whether what was asked for still belongs to us."""
        subscriptions = self._ensure_consumer()._fetcher._subscriptions
        return (
            generation == self.app.consumer_generation_id
            and assignment is not None
            and not subscriptions.reassignment_in_progress
            and subscriptions.subscription.assignment is assignment
        )

    async def take(self, generation: int, active: frozenset[TP], timeout: float) -> dict[TP, list[RecordList]] | None:
        """What has been fetched, as lists that tile the movement of each position; None if a rebalance came."""
        client = self._ensure_consumer()
        fetcher = client._fetcher
        if client._closed or fetcher._closed:
            raise driver.ConsumerStoppedError
        subscriptions = fetcher._subscriptions
        assignment = subscriptions.subscription and subscriptions.subscription.assignment
        if (rest := self._rest_until - time.monotonic()) > 0:
            await asyncio.sleep(rest)
        deadline = time.monotonic() + timeout
        with subscriptions.fetch_context():
            while True:
                if not self.consumer.flow_active or not self._current(generation, assignment):
                    return None
                before = {
                    tp: assignment.state_value(tp).position
                    for tp in active
                    if assignment.state_value(tp).has_valid_position
                }
                records = await fetcher.fetched_records(
                    active, timeout=0, max_records=None
                )  # timeout 0: does not suspend
                taken = {}
                for tp, start in before.items():
                    until = assignment.state_value(tp).position
                    if until > start:
                        taken[tp] = list(slices(tp, records.get(_vendor_tp(tp), []), start=start, until=until))
                left = deadline - time.monotonic()
                if taken or left <= 0:
                    self.consumer.catching_up = sum(map(len, records.values())) >= BIG_TAKE
                    if not self.consumer.catching_up:
                        self._rest_until = time.monotonic() + LINGER_SECONDS
                    return taken
                await _wait_for_fetch(fetcher, min(left, 0.1))

    async def read_points(
        self, source: list[TP], changelog: list[TP]
    ) -> tuple[dict[Any, Any], dict[Any, int], dict[Any, int]]:
        """Commits with their metadata, and the begin and end offsets of the source partitions."""
        client = self._ensure_consumer()
        # Faust's own pause is only a filter; without this one aiokafka fetches the changelogs from their beginning.
        client.pause(*map(_vendor_tp, changelog))
        tps = [_vendor_tp(tp) for tp in source]
        commits = await client._coordinator.fetch_committed_offsets(tps)  # the public committed() drops the metadata
        return commits, await client.beginning_offsets(tps), await client.end_offsets(tps)

    async def read(
        self, wanted: dict[TP, tuple[int, int]], generation: int, feed: Callable[[TP, list[Any]], None]
    ) -> bool:
        """Feed the records of each half-open range [first, end) in offset order, as they come.  False if a rebalance came."""
        client = self._ensure_consumer()
        fetcher = client._fetcher
        subscriptions = fetcher._subscriptions
        assignment = subscriptions.subscription and subscriptions.subscription.assignment
        left = {_vendor_tp(tp): tp for tp, (first, end) in wanted.items() if first < end}
        if not self._current(generation, assignment):
            return False
        for vendor, tp in left.items():
            client.seek(vendor, wanted[tp][0])
            client.resume(vendor)
        with subscriptions.fetch_context():
            while left:
                if not self._current(generation, assignment):
                    return False
                records = await fetcher.fetched_records(frozenset(left), timeout=0, max_records=None)
                for vendor, some in records.items():
                    end = wanted[left[vendor]][1]
                    feed(left[vendor], [r for r in some if r.offset < end])
                    await asyncio.sleep(0)  # heartbeats live in this loop
                for vendor in [v for v, tp in left.items() if assignment.state_value(v).position >= wanted[tp][1]]:
                    del left[vendor]
                    client.pause(vendor)
                if not records and left:
                    await _wait_for_fetch(fetcher, 0.1)
        return True

    async def seek_and_resume(self, to: dict[TP, int]) -> None:
        client = self._ensure_consumer()
        for tp, offset in to.items():
            client.seek(_vendor_tp(tp), offset)
            client.resume(_vendor_tp(tp))

    async def positions(self, tps: list[TP]) -> dict[TP, int]:
        """End offsets as the broker says now."""
        client = self._ensure_consumer()
        ends = await client.end_offsets([_vendor_tp(tp) for tp in tps])
        return {tp: ends[_vendor_tp(tp)] for tp in tps}

    async def commit_points(self, partitions: dict[TP, Partition[Any]]) -> bool:
        """Commit each partition's newest verified ledger; the metadata travels with the number."""
        client = self._ensure_consumer()
        mine = self.assignment()
        offsets = {
            _vendor_tp(tp): OffsetAndMetadata(p.point.ledger.offset + 1, encode_point(p.point))
            for tp, p in partitions.items()
            if tp in mine and p.point is not None and p.point.ledger is not None
        }
        # Thrown out of the group the client's generation is -1, and an empty group would accept that.
        if not offsets or client._coordinator.generation != self.app.consumer_generation_id:
            return False
        try:
            await client.commit(offsets)
        except CommitFailedError:
            return False
        except Exception as error:
            await self.crash(error)
            return False
        reach(Step.COMMITTED)
        return True


async def _wait_for_fetch(fetcher: Any, seconds: float) -> None:
    waiter = fetcher._create_fetch_waiter()
    done, _ = await asyncio.wait([waiter], timeout=seconds)
    if done:
        waiter.result()
    else:
        waiter.cancel()


class Consumer(driver.Consumer):
    """Faust's consumer with one truth: `partitions`, what this process owns now, by source partition."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.partitions: dict[TP, Partition[Any]] = {}
        self.rebalancing = False  # from a revocation to the assignment that follows it
        self.catching_up = False
        self._committed_points: dict[TP, Any] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Drain and commit while the group still listens; Faust would first forget what is acknowledged."""
        self.rebalancing = True
        if self.assignment() and not self.app.should_stop:
            self.stop_flow()
            self.app.flow_control.suspend()
            self.app.flow_control.clear()
            await self.wait(self.not_waiting_next_records, timeout=5)  # no take may straddle the rebalance
            await self.wait_empty()
            while await self.maybe_wait_for_commit_to_finish():
                pass
            try:
                await self.commit()
            except Exception as error:  # the next owner starts from an older commit: a longer tail, nothing else
                log.warning("commit on revoke failed", error=type(error).__name__)
        await super().on_partitions_revoked(revoked)
        self.partitions.clear()  # every assignment starts with a fence of its own
        self._committed_points.clear()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.rebalancing = False
        await super().on_partitions_assigned(assigned, generation_id)

    def holds(self, generation: int) -> bool:
        """Whether what this generation was given is still ours.  Its number alone changes only with the next assignment."""
        return not self.rebalancing and generation == self.app.consumer_generation_id

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        active = frozenset(
            self._get_active_partitions()
        )  # the live set empties in a rebalance, and empty means "all" to the client
        if not active:
            await self.sleep(0.01)  # Faust sleeps a whole second here
            return None, None
        generation = self.app.consumer_generation_id
        self.not_waiting_next_records.clear()
        try:
            taken = await self._thread.call_thread(self._thread.take, generation, active, timeout)
        finally:
            self.not_waiting_next_records.set()
        if not taken or not self.flow_active or generation != self.app.consumer_generation_id:
            return None, None
        return taken, active

    async def perform_seek(self) -> None:
        """Only a start seeks."""

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        for tp in list(self._acked):  # Faust's own bookkeeping, which nobody reads
            self._acked[tp].clear()
            self._acked_index[tp].clear()
        moved = {
            tp: p
            for tp, p in self.partitions.items()
            if p.point is not None and self._committed_points.get(tp) is not p.point
        }
        if not moved:
            return False
        points = {tp: p.point for tp, p in moved.items()}
        done: bool = await self._thread.call_thread(self._thread.commit_points, moved)
        if done:
            self._committed_points.update(points)
        return done

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Holes are the ledger's business."""


class Producer(driver.Producer):
    """Idempotent, so that the order of a flush holds over retries (Faust asks for that in transactions only)."""

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class Transport(driver.Transport):
    Consumer = Consumer
    Producer = Producer


def install(app: Any) -> None:
    """Give the app this transport, for reading and for writing."""
    app.transport = Transport(app.conf.broker_consumer, app)
    app.producer_transport = app.transport
    fence.install()
