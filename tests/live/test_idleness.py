"""Hours of idleness change nothing: here they are many short ones, with sweeps, rewritten ledgers, commits and rebalances in each."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy import check as checks
from tests.live.system import System, eventually
from tests.live.workers import Workers
from tests.streams import Stream

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("idleness")]

START = int(datetime(2026, 3, 25, tzinfo=UTC).timestamp() * 1000)
WINDOW = {"from": "2026-03-01", "to": "2026-04-10", "tz": "UTC"}
PARTITIONS = 8
IDLE_PERIODS = 15
SHORT = {
    "ACTIVITY_IDLE_LEDGER_SECONDS": "0.1",
    "ACTIVITY_FRAGMENT_IDLE_SECONDS": "0.1",
    "ACTIVITY_FLUSH_SECONDS": "0.05",
    "ACTIVITY_COMMIT_SECONDS": "0.1",
    "ACTIVITY_SESSION_TIMEOUT_SECONDS": "2",
}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        for name, value in SHORT.items():
            environment.setenv(name, value)
        with System(tmp_path_factory.mktemp("idle")) as running:
            yield running


def reports(system):
    return [
        system.report(kind="active", **WINDOW)[1],
        system.report(kind="authentication", **WINDOW)[1],
        system.report(kind="inactive", days=2, as_of="2026-03-30")[1],
    ]


class Changelog:
    """How many records every partition of it has taken since `mark`."""

    def __init__(self, system):
        self.consumer = KafkaConsumer(bootstrap_servers=system.settings.kafka, enable_auto_commit=False)
        self.partitions = [TopicPartition("activity-connections-changelog", n) for n in range(PARTITIONS)]
        self.mark()

    def mark(self):
        self.began = self.consumer.end_offsets(self.partitions)

    def grew(self):
        now = self.consumer.end_offsets(self.partitions)
        return min(now[tp] - self.began[tp] for tp in self.partitions)


def settled(system):
    def found():
        seen = checks.check(system.settings)
        return seen if seen.worker_lag == 0 and len(seen.ledgers) == 2 * PARTITIONS else None

    return eventually(found, look=system.stack.look)


def test_many_idle_periods_and_rebalances_change_no_cell(system):
    stream = Stream(3, start_ms=START)
    system.produce(stream.lines(1_500))
    system.agrees(system.oracle(), [("2026-03-01", "2026-04-10", "UTC", START - 24 * 86_400_000, START + 16 * 86_400_000)])  # fmt: skip
    before, ledgers = reports(system), settled(system).ledgers
    log = Changelog(system)
    eventually(lambda: log.grew() >= IDLE_PERIODS, seconds=120, look=system.stack.look)
    workers = Workers(system)  # the stack's own leaves
    joined = [workers.start(), workers.start()]
    log.mark()
    eventually(lambda: log.grew() >= 2 * IDLE_PERIODS, seconds=120, look=lambda: workers.supervise(joined))
    for process in joined:
        process.terminate()
        assert workers.dies(process) == 0
    last = workers.start()
    try:
        log.mark()
        eventually(lambda: log.grew() >= IDLE_PERIODS, seconds=120)
        assert reports(system) == before
        after = settled(system)
        assert after.off == []
        counted = ("partition", "offset", "applied", "duplicate", "rejected", "gaps", "lost")
        assert [[r[c] for c in counted] for r in after.ledgers] == [[r[c] for c in counted] for r in ledgers]

        line = {"event_type": "closed_connection", "timestamp": START, "user": {"email": "late@x.example"}}
        assert system.activity("ingest", "-", stdin=json.dumps(line).encode() + b"\n").returncode == 0
        [now, *_] = reports(system)
        assert b"\nlate@x.example,2026-03-25T00:00:00.000Z,1,1," in now
    finally:
        last.terminate()
        last.wait()


def test_a_worker_that_is_asked_to_stop_in_its_idleness_stops_cleanly(system):
    workers = Workers(system)
    process, log = workers.start("slow-stop"), Changelog(system)
    eventually(lambda: log.grew() >= IDLE_PERIODS, seconds=120)
    process.terminate()
    assert workers.dies(process) == 0


def test_partitions_that_are_taken_away_before_their_start_is_ready_are_left_alone(system):
    workers, log = Workers(system), Changelog(system)
    both = [workers.start("late-start")]
    eventually(lambda: log.grew() >= 2)  # the fences and ledgers of its start
    both.append(workers.start())
    log.mark()
    eventually(lambda: log.grew() >= IDLE_PERIODS or any(p.poll() is not None for p in both), seconds=120)
    for process in both:
        process.terminate()
    assert [workers.dies(process) for process in both] == [0, 0]


def test_an_idle_ledger_moves_past_control_records_and_the_account_stays_exact(system):
    workers = Workers(system)
    process = workers.start()
    try:
        before = settled(system)
        producer = KafkaProducer(bootstrap_servers=system.settings.kafka, transactional_id="gateway", acks="all")
        producer.init_transactions()
        for number, ends in enumerate((producer.commit_transaction, producer.abort_transaction)):
            producer.begin_transaction()
            for partition in range(PARTITIONS):
                line = {
                    "event_type": "closed_connection",
                    "timestamp": START,
                    "user": {"id": f"tx-{number}-{partition}"},
                }
                sign_in = {
                    "time": "2026-03-25T00:00:00Z",
                    "action": {"type": "client_login", "user": {"id": f"tx-{number}-{partition}"}},
                }
                producer.send("activity.connections", json.dumps(line).encode(), partition=partition)
                producer.send("activity.authentications", json.dumps(sign_in).encode(), partition=partition)
            producer.flush()
            ends()
        producer.close()
        after = settled(system)
        assert after.off == []
        assert len(after.ledgers) == 2 * PARTITIONS
        for now, then in zip(after.ledgers, before.ledgers, strict=True):
            # Two records and two markers; that the second transaction was aborted is no business of a reader of what is written.
            assert (now["applied"] - then["applied"], now["gaps"] - then["gaps"]) == (2, 2)
            assert now["offset"] + 1 == now["end"] == then["end"] + 4
        assert all(f"tx-1-{n}".encode() in text for n in range(PARTITIONS) for text in reports(system)[:2])
        log = Changelog(system)
        eventually(lambda: log.grew() >= IDLE_PERIODS, seconds=120)
        assert [r["gaps"] for r in settled(system).ledgers] == [r["gaps"] for r in after.ledgers]
    finally:
        process.terminate()
        process.wait()
