"""The internals that the engine replaces or leans on are the ones it was written for."""

from __future__ import annotations

import hashlib
import inspect
import json
from importlib.metadata import version
from pathlib import Path

import pytest
from aiokafka.consumer import fetcher, group_coordinator
from faust.tables import recovery
from faust.transport import consumer
from faust.transport.drivers import aiokafka as driver

PINNED = json.loads(Path(__file__).with_name("pins.json").read_text())
LEANED_ON = {
    "fetcher.fetched_records": fetcher.Fetcher.fetched_records,
    "FetchResult.getall": fetcher.FetchResult.getall,
    "PartitionRecords": fetcher.PartitionRecords,
    "GroupCoordinator._do_heartbeat": group_coordinator.GroupCoordinator._do_heartbeat,
    "GroupCoordinator.ensure_active_group": group_coordinator.GroupCoordinator.ensure_active_group,
    "Consumer.on_partitions_revoked": consumer.Consumer.on_partitions_revoked,
    "Consumer.getmany": consumer.Consumer.getmany,
    "Consumer._wait_next_records": consumer.Consumer._wait_next_records,
    "Consumer.force_commit": consumer.Consumer.force_commit,
    "Recovery._restart_recovery": recovery.Recovery._restart_recovery,
    "Recovery.on_recovery_completed": recovery.Recovery.on_recovery_completed,
    "AIOKafkaConsumerThread._create_worker_consumer": driver.AIOKafkaConsumerThread._create_worker_consumer,
    "Producer._settings_extra": driver.Producer._settings_extra,
}


def digest(thing) -> str:
    return hashlib.sha256(inspect.getsource(getattr(thing, "fun", thing)).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", LEANED_ON)
def test_an_internal_is_what_it_was(name):
    assert digest(LEANED_ON[name]) == PINNED[name], "read what changed, run the live tests, then write the new digest"


@pytest.mark.parametrize("package", ["faust-streaming", "mode-streaming", "aiokafka"])
def test_a_version_is_what_it_was(package):
    assert version(package) == PINNED[package]
