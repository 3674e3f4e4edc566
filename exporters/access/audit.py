"""Who asked for, was refused and downloaded what, on the audit topic.  A request never waits for it, and never fails by it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from pipeline import clock, logs, topics
from pipeline.errors import Unavailable
from pipeline.metrics import Metrics
from pipeline.settings import Settings

log = logs.logger("audit")

# Kafka may be away for minutes; requests are answered all the same.
HELD = 20_000
# Reading back goes in pieces, and ends after so many entries that nobody asked for: the answer then says where to go on.
PIECE, LOOKED_AT = 1_000, 20_000
ANSWER_SECONDS = 15.0


class Entry(msgspec.Struct):
    """One request, or one thing the service did for somebody.  `at` in UTC ms, `action` from a bounded set, `target` the path asked for."""

    at: int
    who: str
    action: str
    target: str
    outcome: str  # done | refused | failed
    status: int
    address: str = ""
    detail: str = ""


class Audit(threading.Thread):
    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        super().__init__(name="audit", daemon=True)
        self._settings = settings
        self._metrics = metrics
        self._topic = topics.AUDIT.name(prefix=settings.topic_prefix, app=settings.app_id)
        self._waiting: queue.Queue[Entry | None] = queue.Queue(HELD)

    def write(self, entry: Entry) -> None:
        """Hand over one entry; what finds no room is counted as lost."""
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self._metrics["activity_audit_lost_total"].inc()

    def stop(self) -> None:
        self._waiting.put(None)

    def run(self) -> None:
        producer: Any = None
        while (entry := self._waiting.get()) is not None:
            try:
                if producer is None:
                    producer = KafkaProducer(
                        bootstrap_servers=self._settings.kafka.split(","), acks="all", enable_idempotence=True
                    )
                producer.send(self._topic, value=msgspec.json.encode(entry), partition=0).add_errback(self._lost)
            except Exception as error:
                self._lost(error)
        if producer is not None:
            producer.close(timeout=3)

    def _lost(self, error: BaseException) -> None:
        self._metrics["activity_audit_lost_total"].inc()
        log.warning("an audit record is lost", error=type(error).__name__)


class Past:
    """The audit topic, read backwards.  One reader at a time; it keeps its connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tp = TopicPartition(topics.AUDIT.name(prefix=settings.topic_prefix, app=settings.app_id), 0)
        self._reading = threading.Lock()
        self._consumer: Any = None

    def before(
        self, offset: int | None, *, limit: int, wanted: Callable[[Entry], bool]
    ) -> tuple[list[tuple[int, Entry]], int | None]:
        """The newest wanted entries below an offset (None: the end), and below which offset there may be more.  Raises Unavailable."""
        with self._reading:
            try:
                return self._before(offset, limit, wanted)
            except KafkaError as error:
                self._consumer = None
                raise Unavailable(f"the audit cannot be read from Kafka ({type(error).__name__}); try again") from None

    def _before(
        self, offset: int | None, limit: int, wanted: Callable[[Entry], bool]
    ) -> tuple[list[tuple[int, Entry]], int | None]:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                bootstrap_servers=self._settings.kafka.split(","),
                enable_auto_commit=False,
                reconnect_backoff_max_ms=2000,
                fetch_max_wait_ms=50,
            )
            self._consumer.assign([self._tp])
        begin = self._consumer.beginning_offsets([self._tp])[self._tp]
        end = self._consumer.end_offsets([self._tp])[self._tp]
        at = end if offset is None else min(offset, end)
        found: list[tuple[int, Entry]] = []
        lowest = at - LOOKED_AT
        while at > max(begin, lowest):
            first = max(begin, at - PIECE)
            for record in reversed(self._range(first, at)):
                entry = _read(record.value)
                if entry is not None and wanted(entry):
                    found.append((record.offset, entry))
                    if len(found) == limit:
                        return found, record.offset if record.offset > begin else None
            at = first
        return found, at if at > begin else None

    def _range(self, first: int, end: int) -> list[Any]:
        records: list[Any] = []
        self._consumer.seek(self._tp, first)
        deadline = clock.monotonic() + ANSWER_SECONDS
        while self._consumer.position(self._tp) < end:
            got = self._consumer.poll(timeout_ms=200, max_records=PIECE).get(self._tp, [])
            records += [r for r in got if r.offset < end]
            if clock.monotonic() > deadline:
                raise Unavailable("the audit cannot be read from Kafka in time; try again")
        return records


_decoder = msgspec.json.Decoder(Entry)


def _read(value: bytes | None) -> Entry | None:
    try:
        return _decoder.decode(value or b"")
    except msgspec.MsgspecError:
        return None
