"""A topic of one partition that holds the newest state of each key: followed into memory, written, and believed only as it is read back.

Every service that follows the same topic comes to the same state, because changes apply in the topic's order and nowhere else.  A record that a
table refuses changes nothing; but compaction keeps the last record of a key, refused or not, so whoever sees a refused one writes what stands once
more behind it.  A table must therefore take any record as the first one it sees of a key: the earlier ones may be gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from pipeline import logs
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.topics import Topic

log = logs.logger("journal")

ANSWER_SECONDS = 30
# Records are handed out as they come.  A poll that ends with none costs the client an exception and hundreds of objects that point at each other.
POLL_MS = 250
# What one record does to the state; a value of None: the key was deleted.  The answer False: refused, nothing was changed.
Apply = Callable[[str, bytes | None], object]


class Journal(threading.Thread):
    """`tables` is {prefix of keys: what applies their records}; "" takes the rest.  They are called under `changed`."""

    def __init__(self, settings: Settings, topic: Topic, tables: dict[str, Apply]) -> None:
        super().__init__(name=f"journal-{topic.role}", daemon=True)
        self._settings = settings
        self._topic = topic.name(prefix=settings.topic_prefix, app=settings.app_id)
        self._tables = sorted(tables.items(), key=lambda t: -len(t[0]))
        self._listeners: list[Callable[[], object]] = []
        self._stopping = threading.Event()
        self._making = threading.Lock()
        self._producer: Any = None
        self._seen = -1
        self._standing: dict[str, bytes | None] = {}  # the last record of each key that was not refused
        self._refused: set[str] = set()  # keys whose last record was
        self.changed = threading.Condition()
        self.ready = False

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except KafkaError as error:
                log.warning("Kafka is away; trying again", error=type(error).__name__)
                self._stopping.wait(1)
            except Exception as error:
                log.exception("following failed; trying again", topic=self._topic, error=type(error).__name__)
                self._stopping.wait(1)

    def stop(self) -> None:
        self._stopping.set()

    def write(self, key: str, value: bytes | None) -> None:
        """Returns when the record is stored and applied.  Raises Unavailable."""
        try:
            answer = self._sender().send(self._topic, key=key.encode(), value=value, partition=0)
            offset = answer.get(timeout=ANSWER_SECONDS).offset
        except KafkaError as error:
            raise Unavailable(
                f"{self._topic} could not be written to Kafka ({type(error).__name__}); try again"
            ) from None
        with self.changed:
            if not self.changed.wait_for(lambda: self._seen >= offset, ANSWER_SECONDS):
                raise Unavailable("Kafka does not hand back what was written; try again")

    def listen(self, told: Callable[[], object]) -> Callable[[], None]:
        """Have `told` called, in another thread, after every change; the answer ends that."""
        with self.changed:
            self._listeners.append(told)
        return lambda: self._listeners.remove(told)

    def _sender(self) -> Any:
        with self._making:
            if self._producer is None:
                self._producer = KafkaProducer(
                    bootstrap_servers=self._settings.kafka.split(","), acks="all", enable_idempotence=True
                )
            return self._producer

    def _follow(self) -> None:
        consumer = KafkaConsumer(
            bootstrap_servers=self._settings.kafka.split(","),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            reconnect_backoff_max_ms=2000,
            fetch_max_wait_ms=500,  # a record that comes is handed out at once all the same
        )
        tp = TopicPartition(self._topic, 0)
        try:
            consumer.assign([tp])
            consumer.seek(tp, self._seen + 1) if self._seen >= 0 else consumer.seek_to_beginning(tp)
            end = consumer.end_offsets([tp])[tp]
            # Of an empty topic at once, and not after a poll for nothing.
            self.ready = self.ready or consumer.position(tp) >= end
            while not self._stopping.is_set():
                records = consumer.poll(timeout_ms=POLL_MS).get(tp, [])
                with self.changed:
                    for record in records:
                        self._apply((record.key or b"").decode("utf-8", "replace"), record.value)
                        self._seen = record.offset
                    if consumer.position(tp) >= end:
                        self.ready = True
                    heal = [(k, self._standing.get(k)) for k in self._refused] if self.ready else []
                    self._refused.difference_update(k for k, _ in heal)
                    if records:
                        self.changed.notify_all()
                        told = list(self._listeners)
                for key, value in heal:
                    self._sender().send(self._topic, key=key.encode(), value=value, partition=0)
                for tell in told if records else ():
                    tell()
        finally:
            consumer.close()

    def _apply(self, key: str, value: bytes | None) -> None:
        self._refused.discard(key)
        if key in self._standing and self._standing[key] == value:
            return  # what stands, written once more
        for prefix, apply in self._tables:
            if key.startswith(prefix):
                if apply(key, value) is False and value is not None:
                    self._refused.add(key)
                else:
                    self._standing[key] = value
                return
