"""Runs: reports that were asked for and what became of them.

    queued ──► waiting ──► building ──► ready ──► expired
       └──────────┴───────────┴──► failed | cancelled ──► expired

The topic is the truth: a change is a record, changes apply in the topic's order, and one that the table does not allow is ignored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from exporters.reports.build import Parameters
from pipeline import clock, logs, topics
from pipeline.errors import Unavailable
from pipeline.settings import Settings

log = logs.logger("runs")

QUEUED, WAITING, BUILDING, READY, FAILED, CANCELLED, EXPIRED = (
    "queued",
    "waiting",
    "building",
    "ready",
    "failed",
    "cancelled",
    "expired",
)
OPEN = (QUEUED, WAITING, BUILDING)
NEXT: dict[str | None, tuple[str, ...]] = {
    None: (QUEUED,),
    QUEUED: (WAITING, FAILED, CANCELLED),
    WAITING: (WAITING, BUILDING, FAILED, CANCELLED),
    BUILDING: (WAITING, READY, FAILED, CANCELLED),  # waiting again: the service ended while it built
    READY: (EXPIRED,),
    FAILED: (EXPIRED,),
    CANCELLED: (EXPIRED,),
    EXPIRED: (),
}


class Run(msgspec.Struct):
    """One report that was asked for, `by` whom.  Instants UTC ms; `ends` are the source end offsets that it must contain, per role and partition."""

    run: str
    kind: str
    state: str
    parameters: Parameters
    requested_at: int
    changed_at: int
    timeout_seconds: float = 60.0
    ends: dict[str, dict[int, int]] = {}
    complete_through: int | None = None
    file: str | None = None
    rows: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    error: str | None = None
    notes: list[str] = []
    by: str = ""
    recipients: list[str] = []


_decoder = msgspec.json.Decoder(Run)


def apply(runs: dict[str, Run], key: str, value: bytes | None) -> bool:
    """Apply one record of the topic; False if the table does not allow it or it cannot be read."""
    if value is None:
        return runs.pop(key, None) is not None
    try:
        run = _decoder.decode(value)
    except msgspec.MsgspecError:
        return False
    before = runs.get(key)
    if run.run != key or run.state not in NEXT[before.state if before else None]:
        return False
    runs[key] = run
    return True


class Runs(threading.Thread):
    """The topic of runs, followed and written.  A change counts when it was read back."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="runs", daemon=True)
        self._settings = settings
        self._topic = topics.REPORTS.name(prefix=settings.topic_prefix, app=settings.app_id)
        self._runs: dict[str, Run] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._seen = -1
        self._listeners: list[Callable[[], object]] = []
        self._producer: Any = None
        self.ready = False

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except KafkaError as error:
                log.warning("Kafka is away; trying again", error=type(error).__name__)
                self._stopping.wait(1)

    def stop(self) -> None:
        self._stopping.set()

    def all(self) -> list[Run]:
        """Newest first."""
        with self._changed:
            return sorted(self._runs.values(), key=lambda r: (r.requested_at, r.run), reverse=True)

    def get(self, key: str) -> Run | None:
        with self._changed:
            return self._runs.get(key)

    def change(self, run: Run, state: str, **fields: Any) -> Run:
        """Write a new state and return the run as the topic then has it.  Raises Unavailable."""
        new = msgspec.structs.replace(run, state=state, changed_at=clock.now_ms(), **fields)
        self._write(run.run, msgspec.json.encode(new))
        return self.get(run.run) or msgspec.structs.replace(new, state=CANCELLED)  # gone: somebody deleted it

    def forget(self, run: Run) -> None:
        """Take a run off the topic.  Raises Unavailable."""
        self._write(run.run, None)

    def listen(self, told: Callable[[], object]) -> Callable[[], None]:
        """Have `told` called, in another thread, after every change; the answer ends that."""
        with self._changed:
            self._listeners.append(told)
        return lambda: self._listeners.remove(told)

    def _write(self, key: str, value: bytes | None) -> None:
        try:
            if self._producer is None:
                self._producer = KafkaProducer(
                    bootstrap_servers=self._settings.kafka.split(","), acks="all", enable_idempotence=True
                )
            answer = self._producer.send(self._topic, key=key.encode(), value=value, partition=0).get(timeout=30)
        except KafkaError as error:
            raise Unavailable(f"the run could not be written to Kafka ({type(error).__name__}); try again") from None
        with self._changed:
            if not self._changed.wait_for(lambda: self._seen >= answer.offset, 30):
                raise Unavailable("Kafka does not hand back what was written; try again")

    def _follow(self) -> None:
        consumer = KafkaConsumer(
            bootstrap_servers=self._settings.kafka.split(","),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            reconnect_backoff_max_ms=2000,
            fetch_max_wait_ms=50,
        )
        tp = TopicPartition(self._topic, 0)
        try:
            consumer.assign([tp])
            consumer.seek(tp, self._seen + 1) if self._seen >= 0 else consumer.seek_to_beginning(tp)
            end = consumer.end_offsets([tp])[tp]
            while not self._stopping.is_set():
                records = consumer.poll(timeout_ms=100).get(tp, [])
                with self._changed:
                    for record in records:
                        apply(self._runs, (record.key or b"").decode(), record.value)
                        self._seen = record.offset
                    if consumer.position(tp) >= end:
                        self.ready = True
                    if records:
                        self._changed.notify_all()
                        told = list(self._listeners)
                for tell in told if records else ():
                    tell()
        finally:
            consumer.close()
