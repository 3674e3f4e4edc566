"""`activity check`: everything that can be off, each with what to do.

The heart is the identity per source partition: every offset from the first to the ledger's is applied, duplicate, rejected, a gap or lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import CoordinatorNotAvailableError, KafkaError

from exporters import redis
from exporters.client import Client
from exporters.sync.desk import following
from pipeline import broker, clock, topics
from pipeline.errors import Problem, Unavailable
from pipeline.model.wire import Ledger, decode_point
from pipeline.settings import Settings

NEW_BROKER_SECONDS = 15.0


@dataclass
class Findings:
    """What was looked at and what is off.  Nothing is right that was not looked at."""

    off: list[str] = field(default_factory=list)
    ledgers: list[dict[str, Any]] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)
    worker_lag: int = 0
    store_lag: dict[str, int] = field(default_factory=dict)
    deliveries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.off


def check(settings: Settings) -> Findings:
    """Look at everything.  Raises Unavailable if Kafka does not answer, for then nothing can be said."""
    found = Findings()
    found.off += broker.check(settings)
    if not found.off:
        read_ledgers(settings, found)
        _deliveries(settings, found)
    _redis(settings, found)
    _reports(settings, found)
    return found


def read_ledgers(settings: Settings, found: Findings) -> None:
    client = broker.admin(settings)
    try:
        sources = [
            t.name(prefix=settings.topic_prefix, app=settings.app_id)
            for t in (topics.CONNECTIONS, topics.AUTHENTICATIONS)
        ]
        facts = broker.describe(settings)
        tps = [TopicPartition(name, n) for name in sources for n in range(facts[name].partitions)]
        ends = {
            tp: info.offset for tp, info in client.list_partition_offsets(dict.fromkeys(tps, OffsetSpec.LATEST)).items()
        }
        commits = _commits(client, settings.app_id, tps)
        members = client.describe_groups([settings.app_id])[settings.app_id].get("members") or []
    except KafkaError as error:
        raise Unavailable(
            f"Kafka at {settings.kafka} answers badly ({type(error).__name__}: {error}); try again"
        ) from None
    finally:
        client.close()
    for tp in tps:
        commit = commits.get(tp)
        ledger = decode_point(commit.metadata).ledger if commit is not None and commit.metadata else None
        _one(found, tp, ledger, ends[tp], facts[tp.topic].id)
    if not members:
        found.off.append("no worker is running: start one with `activity worker`, or look at the worker's log")


def _commits(client: Any, group: str, tps: list[TopicPartition]) -> dict[TopicPartition, Any]:
    """What the workers committed.  A broker that is new makes its topic of groups at the first question, and says until then that it cannot answer."""
    deadline = clock.monotonic() + NEW_BROKER_SECONDS
    while True:
        try:
            found: dict[TopicPartition, Any] = client.list_group_offsets({group: tps})[group]
        except CoordinatorNotAvailableError:
            if clock.monotonic() > deadline:
                raise
            clock.pause(0.2)
        else:
            return found


def _one(found: Findings, tp: TopicPartition, ledger: Ledger | None, end: int, topic_id: str) -> None:
    where = f"{tp.topic}/{tp.partition}"
    if ledger is None:
        found.worker_lag += end
        if end:
            found.off.append(f"{where} has {end} records and no ledger: no worker has committed yet")
        return
    lag = max(0, end - ledger.offset - 1)
    found.worker_lag += lag
    for reason, count in ledger.rejected.items():
        found.rejected[reason] = found.rejected.get(reason, 0) + count
    found.ledgers.append({"partition": where, "end": end, "lag": lag, **msgspec.to_builtins(ledger)})
    if not ledger.holds:
        found.off.append(
            f"{where}: the ledger accounts for {ledger.accounted} of {ledger.offset + 1 - ledger.first_offset} offsets: keep the logs and report this"
        )
    if ledger.lost:
        found.off.append(
            f"{where}: {ledger.lost} records were lost to retention before a worker read them: lengthen the topic's retention or keep workers running"
        )
    if ledger.offset + 1 > end or (ledger.source_id and ledger.source_id != topic_id):
        found.off.append(
            f"{where}: the topic was recreated under the worker: choose another ACTIVITY_APP_ID, run `activity topics create`, delete the store's folder"
        )


def _deliveries(settings: Settings, found: Findings) -> None:
    with following(settings) as desk:
        summaries = [desk.summary(name, destination) for name, destination in sorted(desk.destinations().items())]
    for one in summaries:
        found.deliveries.append(msgspec.to_builtins(one))
        if one.state == "nobody delivers":
            found.off.append(f"destination {one.name}: nobody delivers; start `activity sync`")
        elif one.problem:
            found.off.append(f"destination {one.name}: {one.problem}")
        if one.lost_records:
            found.off.append(
                f"destination {one.name}: {one.lost_records} records were lost to retention before they were delivered: lengthen the topic's retention"
            )


def _redis(settings: Settings, found: Findings) -> None:
    if not settings.redis:
        found.off.append("no Redis is configured: set ACTIVITY_REDIS")
        return
    try:
        with redis.connect(settings) as client, redis.answering():
            client.ping()
    except Problem as problem:
        found.off.append(f"{problem}: start it or correct ACTIVITY_REDIS")


def _reports(settings: Settings, found: Findings) -> None:
    if not settings.reports_url:
        found.off.append("no reports service is configured: start `activity reports` and set ACTIVITY_REPORTS_URL")
        return
    try:
        health = Client(settings).health()
    except Problem as problem:
        found.off.append(str(problem))
        return
    found.store_lag = health["store_lag"]
    if health["reason"]:
        found.off.append(f"reports service: {health['reason']}")
