"""The vendor's own sync as a source: every object once, whatever breaks on the way.  A real S3 server, a real Kafka."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
import zstandard

from deploy.local.stack import Stack
from pipeline import topics
from pipeline.intake.records import read
from tests import s3
from tests.faults.proxy import Fault, Proxy
from tests.live.system import eventually

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("objects")]


def event(name, number=0):
    user = {"id": f"{name}-{number}", "email": "jane@example.com"}
    inner = {"version": 1, "time": "2026-03-27T10:00:00.000000+00:00", "status": "closed_connection", "user": user}
    return json.dumps({"event_type": "network_access", "event": inner}).encode() + b"\n"


def events(name, count):
    return b"".join(event(name, n) for n in range(count))


class World:
    """Kafka alone, and a bucket behind a proxy."""

    def __init__(self, stack, server, proxy):
        self.stack, self.server, self.proxy = stack, server, proxy
        self.client = server.client()

    def bucket(self, **objects):
        self.name = self.server.bucket()
        self.put(**objects)

    def put(self, **objects):
        for key, body in objects.items():
            self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def arguments(self, *more, prefix="sync"):
        way = ["--endpoint-url", self.proxy.endpoint, "--keys", str(self.server.keys), "--data", str(self.stack.data)]
        return [sys.executable, "-m", "deploy.cli", "ingest", f"s3://{self.name}/{prefix}", *way, *more]

    def ingest(self, *more, prefix="sync"):
        return subprocess.run(self.arguments(*more, prefix=prefix), capture_output=True, text=True, check=False)

    def sent(self):
        """How often each user's events lie on the topic."""
        return Counter(
            json.loads(record.value)["event"]["user"]["id"]
            for record in read(self.stack.settings(), topics.CONNECTIONS)
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    home = tmp_path_factory.mktemp("objects")
    with (
        Stack(home / "data", servers_only=True) as stack,
        s3.seaweed(home / "s3") as server,
        Proxy(int(server.endpoint.rsplit(":", 1)[1])) as proxy,
    ):
        yield World(stack, server, proxy)


def test_objects_of_every_form_are_taken_in_once(world):
    frames = [zstandard.ZstdCompressor().compress(events(f"zstd{n}", 2)) for n in range(2)]
    world.bucket(**{
        "sync/2025-07-25T18:20:00+00:00.json": events("plain", 3),
        "sync/dt=2026-03-27/a.ndjson.gz": gzip.compress(events("gzip", 2)) + gzip.compress(events("member", 1)),
        "sync/dt=2026-03-27/b.ndjson.zst": b"".join(frames),
        "sync/readme.txt": b"not events",
        "sync/empty.json": b"",
        "sync/_activity/claim.json": b'{"delivered by": "us"}',
        "elsewhere/c.json": events("elsewhere", 1),
    })  # fmt: skip
    done = world.ingest("--dry-run", "--json")
    assert json.loads(done.stdout)["sent"] == {"connections": 10}
    before = world.sent()
    done = world.ingest("--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sent"] == {"connections": 10}
    assert "3 objects taken in, 1 have other names" in done.stderr
    sent = world.sent() - before
    assert len(sent) == 10
    assert set(sent.values()) == {1}

    again = world.ingest()
    assert again.returncode == 0
    assert "0 objects taken in, 3 were taken in before" in again.stderr
    world.put(**{"sync/2025-07-25T18:20:00+00:00.json": events("rewritten", 2)})
    assert "1 objects taken in, 2 were taken in before" in world.ingest().stderr
    assert world.sent()["rewritten-1"] == 1
    assert "3 objects taken in" in world.ingest("--again").stderr
    assert world.sent()["gzip-0"] == 2
    world.put(**{"other/d.json": events("other", 1), "other/e.txt": b"not events"})
    both = subprocess.run(
        [*world.arguments(prefix="other"), f"s3://{world.name}/sync"], capture_output=True, text=True, check=False
    )
    assert "1 objects taken in, 3 were taken in before, 2 have other names" in both.stderr
    # The same object seen from further up is the same object.
    assert "3 were taken in before" in world.ingest(prefix="sync/").stderr


def test_an_object_that_is_broken_is_said_and_holds_nobody_up(world):
    whole = gzip.compress(os.urandom(50_000).hex().encode())
    world.bucket(**{"sync/a.json.gz": whole[:-30_000], "sync/b.json": events("after-broken", 1)})
    tried, done = world.ingest("--dry-run", "--json"), world.ingest()
    for each in (tried, done):
        assert each.returncode == 1
        assert f"s3://{world.name}/sync/a.json.gz: its gzip data is broken" in each.stderr
    assert json.loads(tried.stdout)["sent"] == {"connections": 1}
    assert "1 objects taken in, 1 could not be read" in done.stderr
    assert world.sent()["after-broken-0"] == 1


def test_a_connection_that_breaks_within_an_object_is_made_anew_where_it_was(world):
    world.bucket(**{"sync/long.ndjson": events("long", 30_000)})
    world.proxy.clear()
    world.proxy.plan("Get", Fault.SLOW)  # the listing
    world.proxy.plan("Get", Fault.TRUNCATED)
    done = world.ingest("--json")
    assert done.returncode == 0, done.stderr
    assert world.proxy.met == [("Get", Fault.SLOW), ("Get", Fault.TRUNCATED)]
    mine = {k: n for k, n in world.sent().items() if k.startswith("long-")}
    assert len(mine) == 30_000
    # The piece that was in hand when it broke ends within a line, and that half is read again as a whole one.
    assert set(mine.values()) == {1}
    account = json.loads(done.stdout)
    assert account["resumed"] == 0


DYING = """
import os, sys
from pipeline.intake.records import Sender
send, count, last = Sender.send, [0], int(sys.argv.pop(1))
def dying(self, topic, **more):
    count[0] += 1
    if count[0] > last:
        os.kill(os.getpid(), 9)
    send(self, topic, **more)
Sender.send = dying
from deploy.cli import main
main()
"""


def test_after_a_kill_every_line_is_there_and_few_are_there_twice(world):
    world.bucket(**{f"sync/{n:04}.json": events(f"kill{n:04}", 10) for n in range(150)})
    world.put(**{"sync/long.json": events("kill-long", 10_000)})
    before = world.sent()
    for last in (1_000, 6_000):
        arguments = world.arguments()
        command = [arguments[0], "-c", DYING, str(last), *arguments[3:]]
        assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert world.ingest().returncode == 0
    sent = world.sent() - before
    assert len(sent) == 150 * 10 + 10_000
    assert sum(n - 1 for n in sent.values()) <= 4096 + 2 * 64 * 10


def test_what_comes_later_is_followed_and_a_store_that_is_away_is_waited_for(world):
    world.bucket(**{"sync/a.json": events("first", 1)})
    world.proxy.clear()
    with subprocess.Popen(world.arguments("--follow"), stderr=subprocess.PIPE, text=True) as following:
        try:
            eventually(lambda: world.sent()["first-0"] == 1)
            world.proxy.plan("Get", Fault.UNAVAILABLE, times=2)
            world.put(**{"sync/b.json": events("second", 1)})
            eventually(lambda: world.sent()["second-0"] == 1, seconds=120)
            assert not world.proxy.plans
            following.send_signal(signal.SIGTERM)
            assert following.wait(30) == 0
            assert "SlowDown" in (said := following.stderr.read())
            assert "2 objects taken in\n" in said
        finally:
            following.kill()
    assert world.sent()["first-0"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["ftp://somewhere/else"], 2, "ftp is no place that can be read"),
        (["s3://Not_A_Bucket/x"], 2, "bucket"),
        (["s3://bucket/x", "file.log"], 1, "file.log is a file"),
    ],
)
def test_a_place_that_cannot_be_is_one_line(tmp_path, arguments, code, says):
    command = [sys.executable, "-m", "deploy.cli", "ingest", *arguments, "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bucket_that_is_not_there_is_one_line(world):
    world.name = "not-there"
    done = world.ingest()
    assert done.returncode == 2
    assert "NoSuchBucket" in done.stderr
    assert done.stderr.count("\n") == 1
