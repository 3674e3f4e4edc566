"""A changelog that is deleted or made again under running workers is named in one line with its remedy; nothing is counted over it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from kafka.admin import KafkaAdminClient

from deploy import check as checks
from pipeline import broker
from tests.live.system import System, eventually
from tests.live.workers import Workers
from tests.streams import Stream

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("idleness")]

CHANGELOG = "activity-connections-changelog"


def refused(done):
    assert done.returncode == 2
    assert done.stdout == b""
    [line] = done.stderr.decode().splitlines()
    return line


def test_a_changelog_that_is_deleted_and_made_again_under_a_worker_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ACTIVITY_STALL_SECONDS", "5")
    monkeypatch.setenv("ACTIVITY_SESSION_TIMEOUT_SECONDS", "2")
    stream = Stream(11, start_ms=int(datetime(2026, 3, 25, tzinfo=UTC).timestamp() * 1000))
    with System(tmp_path) as system:
        workers = Workers(system)
        worker = workers.start()
        system.produce(stream.lines(300))
        eventually(lambda: checks.check(system.settings).ok, look=system.stack.look)
        admin = KafkaAdminClient(bootstrap_servers=system.settings.kafka)
        admin.delete_topics([CHANGELOG])

        def feed_until_dead():
            system.produce(stream.lines(20))
            return worker.poll() is not None

        eventually(feed_until_dead, seconds=90)
        assert worker.returncode != 0
        missing = f"{CHANGELOG} is missing: run `activity topics create`"
        assert missing in checks.check(system.settings).off
        assert CHANGELOG in refused(system.activity("worker"))

        eventually(lambda: broker.create(system.settings)[CHANGELOG] in ("created", "exists"))
        admin.close()
        said = refused(system.activity("worker"))
        assert f"{CHANGELOG} was recreated" in said
        assert "choose another ACTIVITY_APP_ID" in said
        service = system.stack.child("reports")
        eventually(lambda: service.process is None or service.process.poll() is not None, seconds=60)
        # It saw that the topic was gone, or that another one had taken its place: while it ran, or when it began again.
        emptied = f"{CHANGELOG}/0 ends before what the store has seen; delete "
        ways = f"{CHANGELOG} is missing: run `activity topics create`", emptied, f"an earlier {CHANGELOG}; delete "
        said = service.last_words()
        assert any(way in said for way in ways), said
        again = refused(system.activity("reports", "--port", "0"))
        assert "delete" in again
        assert "it is rebuilt from Kafka" in again
