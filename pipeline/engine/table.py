"""A Faust table whose state is partitions of the protocol: Faust keeps nothing, writes nothing, and assigns the changelog beside the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import faust
from faust.stores import base
from faust.types import TP

from pipeline.engine import fence
from pipeline.engine.steps import Step, reach
from pipeline.errors import Halt
from pipeline.model.protocol import Flush, ForeignWrite, Partition, Rollup
from pipeline.model.verdicts import Verdicts

EXIT_FOREIGN = 73


@dataclass(frozen=True, slots=True)
class Spec:
    """What makes one rolling table: where its records come from, how they are judged, what they add up to."""

    role: str
    source: str
    changelog: str
    source_id: str
    changelog_id: str
    rollup: type[Rollup]
    verdicts: Callable[[], Verdicts]
    fragment_bytes: int


class NoStore(base.Store):
    """Faust insists on a store; the state lives in partitions of the protocol."""

    def apply_changelog_batch(self, batch: Any, to_key: Any, to_value: Any) -> None:
        raise NotImplementedError

    def persisted_offset(self, tp: TP) -> int | None:
        return None

    def set_persisted_offset(self, tp: TP, offset: int) -> None: ...

    async def on_rebalance(self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0) -> None: ...

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, key: Any) -> Any:
        raise KeyError(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise NotImplementedError

    def __delitem__(self, key: Any) -> None:
        raise NotImplementedError

    def clear(self) -> None: ...

    _clear = clear

    def reset_state(self) -> None: ...

    async def backup_partition(self, *args: Any, **kwargs: Any) -> None: ...

    def restore_backup(self, *args: Any, **kwargs: Any) -> None: ...


class RollingTable(faust.Table):
    """App(Table=RollingTable); `spec` is set right after it is made."""

    spec: Spec

    def _new_store(self) -> NoStore:
        return NoStore(
            "memory://",
            self.app,
            self,
            table_name=self.name,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
        )


async def put(app: Any, topic: str, jobs: list[tuple[Partition[Any], int, Flush]]) -> None:
    """Write flushes in order and wait until all is durable where it belongs.  Raises Halt on a foreign write, whatever Kafka raises otherwise.

    A partition's first batch is awaited before its second is sent: whoever lost the partition unknowingly leaves one batch at most.
    """
    fence.check(app)
    producer = app.producer._ensure_producer()
    fence.guard(app, producer)
    waves: list[list[tuple[Partition[Any], int, Any]]] = []
    for partition, number, flush in jobs:
        for i, batch in enumerate(_batches(producer, flush.rows)):
            if i == len(waves):
                waves.append([])
            waves[i].append((partition, number, batch))
    for i, wave in enumerate(waves):
        sent = [(p, b.record_count(), await producer.send_batch(b, topic, partition=n)) for p, n, b in wave]
        for partition, count, future in sent:
            answer = await future
            try:
                partition.answered(answer.offset, count)
            except ForeignWrite as foreign:
                raise Halt(
                    f"another worker wrote to {topic}/{answer.partition} ({foreign}); this one ends so that a restart heals it",
                    exit_code=EXIT_FOREIGN,
                ) from None
        if i == 0 and len(waves) > 1:
            reach(Step.HALF_SENT)


def _batches(producer: Any, rows: list[tuple[bytes, bytes]]) -> Iterator[Any]:
    batch = producer.create_batch()
    for key, value in rows:
        if batch.append(timestamp=None, key=key, value=value) is None:
            yield batch
            batch = producer.create_batch()
            if batch.append(timestamp=None, key=key, value=value) is None:
                raise ValueError(f"a state of {len(value)} bytes exceeds the producer's batch size")
    if batch.record_count():
        yield batch
