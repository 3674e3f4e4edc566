"""The sync's door to Kafka: the group that reads events, the log of cuts, and bounded reads of what lies in a cut.

The log of cuts is a topic with as many partitions as the sources; the cuts of source partition n lie in its partition n, filed under a key that
begins with the chain's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kafka import AsyncConsumerRebalanceListener, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from exporters.sync import cuts
from exporters.unpacking import quick
from pipeline import clock
from pipeline.errors import ConfigError, Unavailable
from pipeline.settings import Settings

__all__ = ["AsyncConsumerRebalanceListener", "KafkaError", "OffsetAndMetadata", "TopicPartition"]

POLL_RECORDS = 5_000
SILENCE_SECONDS = 30.0
# What one fetch may hold beside the budget of the batches.
FETCH_BYTES = 512 << 10


def events_consumer(settings: Settings, *, group: str | None, client: str) -> Any:
    """Reads sources.  Positions come from the log of cuts alone, so nothing here ever resets or commits one by itself."""
    return quick(
        KafkaConsumer(
            bootstrap_servers=settings.kafka.split(","),
            client_id=client,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            session_timeout_ms=int(settings.session_timeout_seconds * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_seconds * 1000 / 5),
            # Everything that was fetched, always: this client parks the rest of a partition that is paused half read, and may never take it up again.
            max_poll_records=1_000_000_000,
            fetch_max_bytes=FETCH_BYTES,
            fetch_max_wait_ms=100,
            reconnect_backoff_max_ms=2000,
            metrics_enabled=False,
        )
    )


@dataclass(frozen=True, slots=True)
class ChainId:
    """Whose cuts: the delivery, the stream, the partition."""

    delivery: str
    kind: str
    stream: str
    partition: int

    @property
    def prefix(self) -> str:
        return f"{self.delivery}/{self.kind}-{self.stream}/{self.partition}/"


class CutLog:
    """The topic of cuts in one process: appends, and reads of the partitions that are followed."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._topic = topic
        servers = settings.kafka.split(",")
        self._producer: Any = KafkaProducer(
            bootstrap_servers=servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_block_ms=5_000,
            max_request_size=2 << 20,
            reconnect_backoff_max_ms=2000,
            allow_auto_create_topics=False,
        )
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=500,
            fetch_max_bytes=FETCH_BYTES,
            reconnect_backoff_max_ms=2000,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        self._followers: dict[int, int] = {}

    def append(self, chain: ChainId, record: cuts.Record) -> Any:
        """A future of where it lies."""
        first = record.first if isinstance(record, cuts.Cut | cuts.Manifest) else ""
        key = f"{chain.prefix}{first}".encode()
        return self._producer.send(self._topic, key=key, value=cuts.encode(record), partition=chain.partition)

    def follow(self, partition: int, since: int) -> tuple[int, int]:
        """Read this partition from `since` on; answers its (begin, end) as of now.  Others who follow it may be given a part again."""
        tp = TopicPartition(self._topic, partition)
        positions = {t: self._consumer.position(t) for t in self._consumer.assignment()}
        self._followers[partition] = self._followers.get(partition, 0) + 1
        begin: int = self._consumer.beginning_offsets([tp])[tp]
        end: int = self._consumer.end_offsets([tp])[tp]
        if end < since:
            raise ConfigError(
                f"{self._topic}/{partition} ends at {end}, before what was delivered ({since}): it was recreated; "
                "give every destination a prefix of its own that was never used, for what lies in the old one cannot be continued"
            )
        since = max(since, begin)
        positions[tp] = min(positions.get(tp, since), since)
        self._assign(positions)
        return begin, end

    def leave(self, partition: int) -> None:
        self._followers[partition] -= 1
        if not self._followers[partition]:
            del self._followers[partition]
            positions = {t: self._consumer.position(t) for t in self._consumer.assignment()}
            self._assign({t: at for t, at in positions.items() if t.partition != partition})

    def _assign(self, positions: dict[TopicPartition, int]) -> None:
        self._consumer.assign(list(positions))
        for tp, at in positions.items():
            self._consumer.seek(tp, at)

    def poll(self, wait_ms: int) -> dict[int, list[Any]]:
        """{partition: records} of what is followed."""
        if not self._followers:
            return {}
        found = self._consumer.poll(timeout_ms=wait_ms, max_records=20_000)
        return {tp.partition: records for tp, records in found.items()}

    def close(self) -> None:
        self._producer.close(timeout=3)
        self._consumer.close()


class Gone(Unavailable):
    """Retention took a part of what was to be read."""


def read_range(settings: Settings, tp: TopicPartition, since: int, end: int, back_to: int) -> Iterator[list[Any]]:
    """The records in [since, end) of one partition, in lists, and those from `back_to` on that are still there.

    Raises Unavailable; Gone if retention took a part of [since, end), which it may do in the middle of the reading.
    """
    consumer = events_consumer(settings, group=None, client="activity-sync-range")
    gone = Gone(f"{tp.topic}/{tp.partition} no longer has all of [{since}, {end}), retention took some; begin anew")
    try:
        consumer.assign([tp])
        begin = consumer.beginning_offsets([tp])[tp]
        if begin > since:
            raise gone
        consumer.seek(tp, max(begin, back_to))
        through, heard = since, clock.monotonic()  # what there was in [since, through) was handed over
        while through < end:
            records = consumer.poll(timeout_ms=200, max_records=POLL_RECORDS).get(tp, [])
            at = consumer.position(tp)
            # Offsets without a record are none, or were taken: this client then goes on where the log begins, and says nothing.
            if (
                sum(r.offset >= through for r in records) < at - through
                and consumer.beginning_offsets([tp])[tp] > through
            ):
                raise gone
            through = max(through, at)
            if records:
                heard = clock.monotonic()
                yield [r for r in records if r.offset < end]
            elif clock.monotonic() - heard > SILENCE_SECONDS:
                raise Unavailable(f"{tp.topic}/{tp.partition} cannot be read (no answer for {SILENCE_SECONDS:.0f} s)")
    except KafkaError as error:
        raise Unavailable(f"{tp.topic}/{tp.partition} cannot be read ({type(error).__name__})") from None
    finally:
        consumer.close()


def finish_joining(consumer: Any) -> None:
    """To be called after each poll: let the next one end a join that this client has forgotten.

    When a group is joined anew because the partitions known have changed, the leader's own assignment takes that reason away while the join is still
    under way.  If a poll's time is over in this very moment, no later one sees a need to join, nobody awaits the join, and the member is neither in
    the group nor out of it, for ever.
    """
    coordinator = consumer._coordinator  # noqa: SLF001 - it tells nobody
    if coordinator.rejoining and not coordinator.need_rejoin():
        coordinator.request_rejoin()


def bounds(consumer: Any, tps: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
    """{partition: (begin, end)} as of now."""
    wanted = list(tps)
    begins, ends = consumer.beginning_offsets(wanted), consumer.end_offsets(wanted)
    return {tp: (begins[tp], ends[tp]) for tp in wanted}


def first_record(consumer: Any, tp: TopicPartition, begin: int, end: int) -> Any:
    """The oldest record that is there; None if there is none."""
    consumer.assign([tp])
    consumer.seek(tp, begin)
    heard = clock.monotonic()
    while consumer.position(tp) < end and clock.monotonic() - heard < SILENCE_SECONDS:
        records = consumer.poll(timeout_ms=200).get(tp, [])
        if records:
            return records[0]
    return None
