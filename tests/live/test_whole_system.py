"""Gateway bytes to reports on real servers: every cell agrees with the oracle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import redis

from deploy.local.stack import Stack
from pipeline.errors import Problem
from tests.live.system import System, eventually
from tests.streams import Stream

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("system")]
# The European change to summer time lies inside.
START = int(datetime(2026, 3, 25, tzinfo=ZoneInfo("UTC")).timestamp() * 1000)


def at(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


WINDOWS = [
    (start, end, zone, at(start, zone), at(end, zone))
    for start, end, zone in (
        ("2026-03-26", "2026-03-31", "Europe/Berlin"),
        ("2026-03-29", "2026-03-30", "Europe/Berlin"),  # 23 hours
        ("2026-03-01", "2026-04-10", "America/St_Johns"),
        ("2026-03-28T05:45", "2026-03-30T17:15", "Asia/Kathmandu"),
        ("2026-03-27", "2026-03-28", "UTC"),
    )
]


@pytest.fixture(scope="module")
def system(tmp_path_factory, stream):
    data = tmp_path_factory.mktemp("system")
    (data / "users.json").write_text(json.dumps(stream.accounts()))
    os.environ["ACTIVITY_SESSION_TIMEOUT_SECONDS"] = "2"
    try:
        with System(data) as running:
            assert running.activity("users", "import", str(data / "users.json")).returncode == 0
            yield running
    finally:
        del os.environ["ACTIVITY_SESSION_TIMEOUT_SECONDS"]


@pytest.fixture(scope="module")
def stream():
    return Stream(42, start_ms=START)


def test_fifty_thousand_lines_become_the_oracles_reports(system, stream):
    system.produce(stream.lines(50_000))
    system.agrees(system.oracle(stream.accounts()), WINDOWS)


def test_a_line_on_standard_input_is_in_the_next_report(system):
    line = {
        "event_type": "closed_connection",
        "timestamp": START,
        "user": {"id": "stdin", "email": "Stdin@x.example"},
        "connection": {"client_ip": "192.0.2.9"},
    }
    assert system.activity("ingest", "-", stdin=b"ANALYTICS " + json.dumps(line).encode() + b"\n").returncode == 0
    done = system.activity("report", "active", "--from", "2026-03-25", "--to", "2026-03-26")
    assert b"\nstdin@x.example,2026-03-25T00:00:00.000Z,1,1,0,0,0,0,0,0,,,0,1,192.0.2.9\r\n" in done.stdout, done.stderr


def test_a_file_is_taken_in_once(system, tmp_path):
    file = tmp_path / "one.log"
    file.write_bytes(
        b'{"event_type":"established_connection","timestamp":1774605600000,"user":{"id":"f"}}\nchatter\n\n'
        b"{" + b" " * 2_000_000 + b"}\n"
    )
    first = system.activity("ingest", str(file), "--json")
    assert json.loads(first.stdout) == {
        "read": 4, "resumed": 0, "sent": {"connections": 1}, "skipped": {"chatter": 1, "blank": 1, "longer than 1 MiB": 1}, "too_long_lines": [4], "rejected": {},
    }  # fmt: skip
    again = system.activity("ingest", str(file))
    assert again.returncode == 1
    assert b"taken in before" in again.stderr
    assert system.activity("ingest", str(file), "--again").returncode == 0


def test_a_gzipped_report_is_one_member_with_its_name_inside(system):
    run, body = system.report(
        **{"kind": "active", "from": "2026-03-26", "to": "2026-03-31", "tz": "Europe/Berlin", "gzip": True}
    )
    assert run["file"] == "active-users_2026-03-26_2026-03-30.csv.gz"
    assert body[:10] == b"\x1f\x8b\x08\x08\0\0\0\0" + body[8:10]
    assert body[10:].startswith(b"active-users_2026-03-26_2026-03-30.csv\0")
    member = zlib.decompressobj(31)
    assert member.decompress(body).startswith(b"user_email,")
    assert member.eof
    assert member.unused_data == b""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ("report", "active", "--from", "2026-03-26T10:07", "--to", "2026-03-31"),
            1,
            b"the nearest are 2026-03-26T10:00 and 2026-03-26T10:15",
        ),
        (("report", "active", "--from", "2026-03-31", "--to", "2026-03-26"), 1, b"the window is empty"),
        (
            ("report", "active", "--from", "2026-03-26", "--to", "2026-03-31", "--tz", "Mars/Base"),
            1,
            b"unknown time zone",
        ),
        (("report", "active", "--wrong"), 2, b"No such option"),
        (("up",), 2, b"is in use by another"),
        (("ingest", "/nowhere"), 2, b"cannot be read"),
    ],
)
def test_what_cannot_be_is_one_clear_line(system, arguments, code, says):
    done = system.activity(*arguments)
    assert done.returncode == code
    assert says in done.stderr


def test_broker_and_service_die_redis_is_emptied_and_the_store_is_rebuilt(tmp_path):
    stream = Stream(7, start_ms=START)
    with System(tmp_path) as system:
        system.produce(stream.lines(3_000))
        system.agrees(system.oracle(), WINDOWS[:1])
        for name in ("reports", "kafka"):
            system.kill(name)
            eventually(
                lambda name=name: (
                    system.stack.child(name).process is None or system.stack.child(name).process.poll() is not None
                ),
                seconds=20,
            )
        system.stack.wait(60, "the service", lambda: healthy(system))
        system.produce(stream.lines(1_000))
        system.agrees(system.oracle(), WINDOWS[:1])
        with redis.Redis.from_url(system.settings.redis, protocol=3) as client:
            client.flushall()
        system.produce(stream.lines(500))
        system.agrees(system.oracle(), WINDOWS[:1])
    shutil.rmtree(tmp_path / "store")
    shutil.rmtree(tmp_path / "redis")
    with System(tmp_path) as system:
        system.agrees(system.oracle(), WINDOWS[:1])
        leftovers = [c.process.pid for c in system.stack._children]
    assert not [pid for pid in leftovers if Path(f"/proc/{pid}").exists()]


def healthy(system):
    from deploy.local.stack import _answers, _healthy

    return _answers(system.settings) and _healthy(system.stack.url)


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "up", "--data", str(tmp_path / "file" / "x")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert Stack is not None


def test_what_is_lost_or_foreign_is_said(tmp_path):
    from kafka import TopicPartition
    from kafka.admin import KafkaAdminClient

    stream = Stream(9, start_ms=START)
    home = tmp_path / "home"
    with System(home) as system:
        system.produce(stream.lines(1_000))
        system.agrees(system.oracle(), WINDOWS[:1])
        worker = system.stack.child("worker")
        system.stack._children.remove(worker)
        worker.stop(20)
        system.produce(stream.lines(500))
        admin = KafkaAdminClient(bootstrap_servers=system.settings.kafka)
        ends = {(row["partition"], row["end"]) for row in checks_of(system).ledgers}
        admin.delete_records({TopicPartition(name.split("/")[0], int(name.split("/")[1])): end for name, end in ends})
        worker.start()
        system.stack._children.append(worker)
        found = eventually(lambda: (f := checks_of(system)).worker_lag == 0 and f, look=system.stack.look)
        assert sum("lost to retention" in line for line in found.off) >= 1
        run, _ = system.report(**{"kind": "active", "from": "2026-03-26", "to": "2026-03-31"})
        assert any("NOT COMPLETE" in note for note in run["notes"])

        system.stack._children.remove(worker)
        worker.stop(20)
        admin.delete_topics(["activity.connections"])
        eventually(lambda: "activity.connections" not in admin.list_topics())
        eventually(lambda: system.activity("topics", "create").returncode == 0)
        admin.close()
        done = system.activity("worker")
        assert done.returncode == 2
        assert b"activity.connections was recreated" in done.stderr
        assert b"ACTIVITY_APP_ID" in done.stderr
    shutil.rmtree(home / "kafka")  # another Kafka under the same store
    with pytest.raises(Problem, match=r"reports ended with code 2.*belongs to another installation"), System(home):
        pass


def checks_of(system):
    from deploy import check as checks

    return checks.check(system.settings)
