"""The intake's door to Kafka: an idempotent producer, and bounded reads of whole topics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from pipeline import clock
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.topics import MIB, Topic

# The client bounds nothing itself: what is read faster than Kafka takes it would fill the memory.
HELD_BYTES = 32 * MIB
ANSWER_MS = 5_000
STORE_SECONDS = 120.0
SILENCE_SECONDS = 30.0


class Sender:
    """`with Sender(settings) as sender:` sends; when the block ends well, everything is stored.  Raises Unavailable."""

    def __init__(self, settings: Settings) -> None:
        settings.needs("kafka")
        self._settings = settings
        self._failed: list[BaseException] = []
        self._held = 0
        try:
            self._producer: Any = KafkaProducer(
                bootstrap_servers=settings.kafka.split(","),
                bootstrap_timeout_ms=ANSWER_MS,
                max_block_ms=ANSWER_MS,
                allow_auto_create_topics=False,
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=20,
                batch_size=256 << 10,
                max_request_size=2 * MIB,
            )
        except (KafkaError, ValueError) as error:
            raise _silent(settings) from error

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.flush()
        with suppress(KafkaError):
            self._producer.close(timeout=5 if kind is None else 0)

    def partitions(self, name: str) -> int:
        """How many partitions a topic has; 0 if it is not there."""
        try:
            return len(self._producer.partitions_for(name))
        except KafkaError:
            return 0

    def send(
        self,
        topic: Topic | str,
        *,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: Any = (),
    ) -> None:
        name = (
            topic
            if isinstance(topic, str)
            else topic.name(prefix=self._settings.topic_prefix, app=self._settings.app_id)
        )
        try:
            future = self._producer.send(name, key=key, value=value, partition=partition, headers=list(headers))
        except KafkaError as error:
            raise Unavailable(
                f"{name} cannot be written ({type(error).__name__}); run `activity topics check`"
            ) from None
        future.add_errback(self._failed.append)
        self._held += len(value or b"")
        if self._held > HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Returns only when everything sent so far is stored."""
        self._held = 0
        try:
            self._producer.flush(timeout=STORE_SECONDS)
        except KafkaError as error:
            self._failed.append(error)
        if self._failed:
            raise Unavailable(
                f"Kafka at {self._settings.kafka} did not store everything ({type(self._failed[0]).__name__}); "
                "see to it and run the same command again"
            )


def read(settings: Settings, topic: Topic) -> Iterator[Any]:
    """Every record from the beginning up to the end as it is now, in offset order per partition.  Raises Unavailable."""
    settings.needs("kafka")
    name = topic.name(prefix=settings.topic_prefix, app=settings.app_id)
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=settings.kafka.split(","),
            bootstrap_timeout_ms=ANSWER_MS,
            allow_auto_create_topics=False,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
    except (KafkaError, ValueError) as error:
        raise _silent(settings) from error
    try:
        tps = [TopicPartition(name, n) for n in consumer.partitions_for_topic(name) or ()]
        if not tps:
            raise Unavailable(f"the topic {name} is missing; run `activity topics create`")
        consumer.assign(tps)
        consumer.seek_to_beginning(*tps)
        ends = consumer.end_offsets(tps)
        heard = clock.monotonic()
        while any(consumer.position(tp) < ends[tp] for tp in tps):
            found = consumer.poll(timeout_ms=200, max_records=10_000)
            for tp, records in found.items():
                yield from (r for r in records if r.offset < ends[tp])
            if found:
                heard = clock.monotonic()
            elif clock.monotonic() - heard > SILENCE_SECONDS:
                raise Unavailable(f"{name} cannot be read (no answer for {SILENCE_SECONDS:.0f} s); try again")
    except KafkaError as error:
        raise Unavailable(f"{name} cannot be read ({type(error).__name__}); try again") from None
    finally:
        consumer.close()


def _silent(settings: Settings) -> Unavailable:
    return Unavailable(f"Kafka at {settings.kafka} does not answer; start it or correct ACTIVITY_KAFKA")
