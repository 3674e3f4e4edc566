"""The intake's door to Kafka: an idempotent producer, and bounded reads of whole topics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.topics import Topic


class Sender:
    """Sends and counts.  `flush` returns only when everything sent so far is stored.  Raises Unavailable."""

    def __init__(self, settings: Settings) -> None:
        settings.needs("kafka")
        self._settings = settings
        self._failed: list[BaseException] = []
        try:
            self._producer: Any = KafkaProducer(
                bootstrap_servers=settings.kafka.split(","),
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=20,
                batch_size=256 << 10,
                max_request_size=2 << 20,
            )
        except KafkaError:
            raise Unavailable(
                f"Kafka at {settings.kafka} does not answer; start it or correct ACTIVITY_KAFKA"
            ) from None

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

    def flush(self) -> None:
        try:
            self._producer.flush(timeout=120)
        except KafkaError as error:
            self._failed.append(error)
        if self._failed:
            raise Unavailable(
                f"Kafka did not store everything ({type(self._failed[0]).__name__}); nothing was remembered as taken in, run it again"
            )

    def close(self) -> None:
        self._producer.close(timeout=5)


def read(settings: Settings, topic: Topic) -> Iterator[Any]:
    """Every record from the beginning up to the end as it is now, in offset order per partition.  Raises Unavailable."""
    settings.needs("kafka")
    name = topic.name(prefix=settings.topic_prefix, app=settings.app_id)
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=settings.kafka.split(","),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
    except KafkaError:
        raise Unavailable(f"Kafka at {settings.kafka} does not answer; start it or correct ACTIVITY_KAFKA") from None
    try:
        tps = [TopicPartition(name, n) for n in consumer.partitions_for_topic(name) or ()]
        if not tps:
            raise Unavailable(f"the topic {name} is missing; run `activity topics create`")
        consumer.assign(tps)
        consumer.seek_to_beginning(*tps)
        ends = consumer.end_offsets(tps)
        while any(consumer.position(tp) < ends[tp] for tp in tps):
            for tp, records in consumer.poll(timeout_ms=200, max_records=10_000).items():
                yield from (r for r in records if r.offset < ends[tp])
    except KafkaError as error:
        raise Unavailable(f"{name} cannot be read ({type(error).__name__}); try again") from None
    finally:
        consumer.close()
