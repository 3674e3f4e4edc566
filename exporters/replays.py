"""Rejects sent once more to where they came from, by the same rules as `activity rejects replay`."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from exporters.store.rejected import Content
from pipeline.errors import Unavailable
from pipeline.model.rejects import replay_headers, source_of
from pipeline.settings import Settings
from pipeline.topics import AUTHENTICATIONS, CONNECTIONS, MIB

STORE_SECONDS = 60.0


class Replays:
    """One producer, made when it is needed first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._making = threading.Lock()
        self._producer: Any = None

    def send(self, rejects: Iterable[Content]) -> int:
        """How many were sent; returns when they are stored.  Those whose origin is not a source topic of ours are not sent.  Raises Unavailable."""
        names = [
            t.name(prefix=self._settings.topic_prefix, app=self._settings.app_id)
            for t in (CONNECTIONS, AUTHENTICATIONS)
        ]
        failed: list[BaseException] = []
        sent = 0
        try:
            producer = self._sender()
            counts = {name: len(producer.partitions_for(name)) for name in names}
            for reject in rejects:
                if target := source_of(reject.id, counts):
                    topic, partition = target
                    producer.send(
                        topic,
                        key=reject.key,
                        value=reject.value,
                        partition=partition,
                        headers=replay_headers(reject.id),
                    ).add_errback(failed.append)
                    sent += 1
            producer.flush(timeout=STORE_SECONDS)
        except KafkaError as error:
            failed.append(error)
        if failed:
            raise Unavailable(
                f"not every reject was stored in Kafka ({type(failed[0]).__name__}); send them again: copies are duplicates"
            )
        return sent

    def _sender(self) -> Any:
        with self._making:
            if self._producer is None:
                self._producer = KafkaProducer(
                    bootstrap_servers=self._settings.kafka.split(","),
                    acks="all",
                    enable_idempotence=True,
                    max_block_ms=5_000,
                    max_request_size=2 * MIB,
                )
            return self._producer
