"""Who asked for, was refused and downloaded what, on the audit topic.  A request never waits for it, and never fails by it."""

from __future__ import annotations

import queue
import threading
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from pipeline import logs, topics
from pipeline.metrics import Metrics
from pipeline.settings import Settings

log = logs.logger("audit")

# Kafka may be away for minutes; requests are answered all the same.
HELD = 20_000


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
            except KafkaError as error:
                self._lost(error)
        if producer is not None:
            producer.close(timeout=3)

    def _lost(self, error: BaseException) -> None:
        self._metrics["activity_audit_lost_total"].inc()
        log.warning("an audit record is lost", error=type(error).__name__)
