"""From Kafka to objects on real servers: every event once, whoever dies, freezes or comes back; proved from the objects alone."""

from __future__ import annotations

import hmac
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from exporters.sync import app, lane, notices, pump, verify
from exporters.sync import desk as desk_module
from exporters.sync.desk import State, following
from exporters.sync.kafka import Gone, read_range
from exporters.sync.steps import Step
from tests.exporters.sync.test_verify import Writer, sign_in
from tests.live.syncing import KILLED, QUICK, Kafka, complete, delivered, dies, same
from tests.live.system import eventually
from tests.streams import Stream

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("sync")]
START = int(datetime(2026, 3, 25, tzinfo=UTC).timestamp() * 1000)
SIGN_INS, CONNECTIONS = "activity.authentications", "activity.connections"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with Kafka(tmp_path_factory.mktemp("sync")) as running:
        running.stream = Stream(11, start_ms=START)
        yield running


def test_every_event_is_delivered_once_and_proved(servers, tmp_path):
    servers.produce(servers.stream.lines(6_000))
    kinds = ["authentication", "network_access"]
    with servers.sync("both", tmp_path, kinds=kinds) as syncing:
        eventually(
            lambda: (
                servers.covered(tmp_path, "authentication", SIGN_INS)
                and servers.covered(tmp_path, "network_access", CONNECTIONS)
            ),
            look=syncing.look,
        )
    same(servers, tmp_path)
    ledger = servers.oracle().ledger
    assert len(delivered(tmp_path, "network_access")) == sum(
        count["applied"] for (role, _), count in ledger.items() if role == "connections"
    )
    found = complete(tmp_path)
    for kind, topic in (("authentication", SIGN_INS), ("network_access", CONNECTIONS)):
        told = [json.loads(file.read_bytes()) for file in (tmp_path / "manifests" / kind).rglob("*.json")]
        assert {m["partitions"] for m in told} == {len(servers.ends(topic))}
    assert found.rejects == sum(n for count in ledger.values() for what, n in count.items() if what.startswith("rej"))
    assert found.duplicates == sum(count["duplicate"] for count in ledger.values())


@pytest.mark.chaos
def test_deaths_at_every_step_and_a_sleeper_that_wakes_change_nothing(servers, tmp_path):
    settings = {"target": str(tmp_path), **QUICK, "cut_events": 20}
    (servers.data / "activity.toml").write_text(
        "session_timeout_seconds = 6\n[destinations.dying]\n"
        + "\n".join(f"{k} = {json.dumps(v)}" for k, v in settings.items())
    )
    steps = list(Step)
    for pair in zip(steps[::2], steps[1::2], strict=True):
        servers.produce(servers.stream.lines(400))
        processes = [servers.process(step.value, "3") for step in pair]  # two owners that disagree when it is over
        for process in processes:

            def feed(process=process):
                servers.produce(servers.stream.lines(60))
                return process.poll() is not None

            eventually(feed, seconds=90)
            assert process.returncode == KILLED
    sleeper = servers.process("none", "1")
    servers.produce(servers.stream.lines(300))
    eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), seconds=90)
    sleeper.send_signal(signal.SIGSTOP)
    servers.produce(servers.stream.lines(300))
    successor = servers.process("none", "1")
    try:
        eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), seconds=90)
        sleeper.send_signal(signal.SIGCONT)
        servers.produce(servers.stream.lines(300))
        eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), seconds=90)
        for process in (sleeper, successor):
            process.terminate()
            assert dies(process) == 0
    finally:
        for process in (sleeper, successor):
            process.kill()
            process.wait()
        (servers.data / "activity.toml").unlink()
    same(servers, tmp_path)
    # Whoever made an object again made the same bytes: no entry tells of another attempt.
    manifests = [json.loads(file.read_bytes()) for file in (tmp_path / "manifests").rglob("*.json")]
    assert not [e for m in manifests for e in m["entries"] if "other_attempts" in e]


class Listener:
    """A webhook's far side: keeps what is posted, refuses the first post with 503, and answers none that comes before `answers` is set."""

    def __init__(self) -> None:
        self.posts, self.attempts = [], 0
        self.answers = threading.Event()
        self.answers.set()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.attempts += 1
                listener.answers.wait()
                busy = listener.attempts == 1
                if not busy:
                    listener.posts.append((json.loads(body), self.headers["X-Activity-Signature"], body))
                self.send_response(503 if busy else 204)
                self.end_headers()

            def log_message(self, *_):
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_an_episode_is_told_once_when_it_begins_and_once_when_it_is_over(servers, tmp_path, monkeypatch):
    monkeypatch.setattr(lane, "REFUSED_SECONDS", 0.5)
    monkeypatch.setattr(lane, "RETRY_SECONDS", (0.2, 0.5))
    monkeypatch.setattr(notices, "PATIENCE_SECONDS", 1.0)
    servers.produce(servers.stream.lines(300))
    target, secret = tmp_path / "in-the-way" / "out", tmp_path / "secret"
    target.parent.write_text("a file where the directory should be")
    secret.write_text("s3cret\n")
    with Listener() as listener:
        hook = {"url": listener.url, "secret_file": str(secret)}
        with servers.sync("watched", target, webhook=hook) as syncing:
            eventually(lambda: listener.posts, look=syncing.look)
            summary = eventually(lambda: (s := summary_of(servers, syncing)).problem and s, look=syncing.look)
            assert summary.state in ("failing", "needs attention")
            assert summary.lag_records > 0
            target.parent.unlink()
            eventually(lambda: len(listener.posts) >= 2, look=syncing.look)
            eventually(lambda: servers.covered(target, "authentication", SIGN_INS), look=syncing.look)
            assert eventually(lambda: (s := summary_of(servers, syncing)).lag_records == 0 and s).state == "delivering"
    types = [told["type"] for told, _, _ in listener.posts]
    assert types[0] in ("EVENTS_SYNC_ERRORS", "EVENTS_SYNC_REQUIRES_ATTENTION")
    assert types[1:] == ["EVENTS_SYNC_ERROR_RESOLVED"]
    for told, header, body in listener.posts:
        assert {"type", "version", "timestamp", "tenant", "sync_type", "message", "manage_sync"} <= set(told)
        stamp = header.partition(",")[0].removeprefix("t=")
        expected = hmac.new(b"s3cret", stamp.encode() + b"." + body, "sha256").hexdigest()
        assert header == f"t={stamp},v1={expected}"
    same(servers, target)


def test_an_episode_of_a_quiet_delivery_is_over_when_its_manifest_is_there(servers, tmp_path, monkeypatch):
    monkeypatch.setattr(lane, "REFUSED_SECONDS", 0.5)
    in_the_way = tmp_path / "manifests"
    in_the_way.write_text("a file where the directory should be")
    with servers.sync("quiet", tmp_path, start="latest") as syncing:
        eventually(lambda: summary_of(servers, syncing).state == "needs attention", look=syncing.look)
        in_the_way.unlink()
        eventually(lambda: summary_of(servers, syncing).state == "delivering", look=syncing.look)
        assert summary_of(servers, syncing).last_object == ""


def test_a_webhook_that_does_not_answer_holds_nothing_else_up(servers, tmp_path, monkeypatch):
    monkeypatch.setattr(lane, "REFUSED_SECONDS", 0.5)
    monkeypatch.setattr(notices, "POST_SECONDS", 60.0)
    in_the_way = tmp_path / "out"
    in_the_way.write_text("a file where the directory should be")
    with Listener() as listener:
        listener.answers.clear()
        hook = {"url": listener.url}
        with servers.sync("slow", in_the_way, webhook=hook) as syncing, following(syncing.settings) as desk:
            eventually(lambda: listener.attempts, look=syncing.look)
            (asked,) = desk.states("slow")
            eventually(lambda: desk.states("slow")[0].at > asked.at, look=syncing.look)
            assert listener.attempts == 1
            listener.answers.set()


def test_who_delivers_is_said_after_a_stop_and_after_a_death(servers, tmp_path, monkeypatch):
    monkeypatch.setattr(desk_module, "SILENT_MS", 6_000)
    servers.produce(servers.stream.lines(100))
    target = {"target": str(tmp_path), **QUICK}
    (servers.data / "activity.toml").write_text(
        "session_timeout_seconds = 15\n[destinations.followed]\n"
        + "\n".join(f"{k} = {json.dumps(v)}" for k, v in target.items())
    )
    with servers.sync("followed", tmp_path) as syncing, following(syncing.settings) as desk:
        eventually(lambda: summary_of(servers, syncing).lag_records == 0, look=syncing.look)
        desk.tell("followed", State(1, "dead for long", []))
    stopped = summary_of(servers, syncing)
    assert (stopped.state, bool(stopped.last_object)) == ("nobody delivers", True)
    process = servers.process("none", "1")
    eventually(lambda: summary_of(servers, syncing).lag_records == 0)
    process.kill()
    process.wait()
    with servers.sync("followed", tmp_path) as syncing:
        waits = eventually(lambda: (s := summary_of(servers, syncing)).state == "rebalancing" and s, look=syncing.look)
        assert waits.lag_records is None
        assert waits.last_object
        assert waits.problem.startswith(f"{len(servers.ends(SIGN_INS))} of {len(servers.ends(SIGN_INS))} partitions")
        eventually(lambda: summary_of(servers, syncing).lag_records == 0, look=syncing.look)
        with following(syncing.settings) as desk:
            assert "followed/dead for long" not in desk._states
    (servers.data / "activity.toml").unlink()


def test_a_destination_that_is_made_again_while_it_ends_is_delivered_on(servers, tmp_path):
    content = {"target": str(tmp_path), **QUICK}
    servers.produce(servers.stream.lines(100))
    house = app.House(servers.settings)
    house.start()
    try:
        with following(servers.settings) as desk:
            desk.put("again", content)
            eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), look=house.look)
            first = house._pumps["again"]
            desk.remove("again")
            eventually(first._stopping.is_set, look=house.look)
            desk.put("again", content)
            first.join()
            servers.produce(servers.stream.lines(100))
            eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), look=house.look)
            desk.remove("again")
    finally:
        house.stop()
    same(servers, tmp_path)


def test_another_name_at_a_place_is_refused_and_the_first_goes_on(servers, tmp_path, monkeypatch):
    monkeypatch.setattr(pump, "STOP_SECONDS", 600)  # who is refused is not waited for
    servers.produce(servers.stream.lines(100))
    with servers.sync("before", tmp_path) as syncing:
        eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), look=syncing.look)
    with servers.sync("after", tmp_path) as syncing:
        problem = eventually(attention(lambda: summary_of(servers, syncing)), look=syncing.look)
    assert "is claimed by before@" in problem
    assert "sync-after" not in [thread.name for thread in threading.enumerate()]
    assert "give it its former name back, or choose another prefix" in problem
    for _ in range(2):
        servers.produce(servers.stream.lines(100))
        with servers.sync("before", tmp_path) as syncing:
            eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), look=syncing.look)
    same(servers, tmp_path)


def test_a_destination_made_by_the_api_around_one_of_the_settings_is_refused_and_the_others_go_on(
    servers, tmp_path, monkeypatch
):
    monkeypatch.setattr(pump, "STOP_SECONDS", 600)  # who is refused is not waited for
    with following(servers.settings) as desk:
        desk.put("made", {"target": str(tmp_path), **QUICK})
        try:
            with servers.sync("within", tmp_path / "within") as syncing:
                made = desk.destinations()["made"]
                problem = eventually(attention(lambda: desk.summary("made", made)), look=syncing.look)
                eventually(lambda: servers.covered(tmp_path / "within", "authentication", SIGN_INS), look=syncing.look)
        finally:
            desk.remove("made")
    assert problem == f"destinations made and within share {tmp_path}/within: give each a prefix of its own"
    assert [file.name for file in tmp_path.iterdir()] == ["within"]


def attention(summary):
    return lambda: (s := summary()).state == "needs attention" and s.problem


def summary_of(servers, syncing):
    with following(syncing.settings) as desk:
        ((name, destination),) = desk.destinations().items()
        return desk.summary(name, destination)


def test_a_paused_delivery_says_so_in_its_manifest_and_goes_on_where_it_was(servers, tmp_path):
    out = tmp_path / "out"
    (servers.data / "activity.toml").write_text(f'[destinations.held]\ntarget = "{out}"\n')
    activity = [sys.executable, "-m", "deploy.cli", "sync"]
    data = ["--data", str(servers.data)]
    with servers.sync("held", out) as syncing:
        eventually(lambda: servers.covered(out, "authentication", SIGN_INS), look=syncing.look)
        done = subprocess.run([*activity, "pause", "held", "--note", "moving house", *data], check=False)
        assert done.returncode == 0
        eventually(lambda: summary_of(servers, syncing).state == "paused")
        servers.produce(servers.stream.lines(300))
        told = subprocess.run([*activity, "status", "--json", *data], capture_output=True, text=True, check=True)
        assert json.loads(told.stdout)[0]["state"] == "paused"
        assert not servers.covered(out, "authentication", SIGN_INS)
        assert subprocess.run([*activity, "resume", "held", *data], check=False).returncode == 0
        eventually(lambda: servers.covered(out, "authentication", SIGN_INS), look=syncing.look)
        assert subprocess.run([*activity, "pause", "nobody", *data], check=False).returncode == 1
    (servers.data / "activity.toml").unlink()
    same(servers, out)
    markers = [
        (m["what"], m.get("note"))
        for file in sorted((out / "manifests").rglob("*.json"))
        for m in json.loads(file.read_bytes())["markers"]
    ]
    assert ("paused", "moving house") in markers
    assert {"started", "resumed"} <= {what for what, _ in markers}


def backfill(servers, name: str, since: str, until: str, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "deploy.cli", "sync", "backfill", name, "--from", since, "--to", until, *more]
    command += ["--json", "--data", str(servers.data)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_stretch_can_be_delivered_again_beside_the_live_delivery(servers, tmp_path):
    servers.produce(servers.stream.lines(500))
    out = tmp_path / "out"
    (servers.data / "activity.toml").write_text(f'[destinations.again]\ntarget = "{out}"\n')
    stretch = ("2026-03-26", "2026-03-28T12:00:00Z")
    counted = backfill(servers, "again", *stretch, "--dry-run")
    assert counted.returncode == 0, counted.stderr
    dry = json.loads(counted.stdout)
    assert not out.exists()
    done = backfill(servers, "again", *stretch)
    assert done.returncode == 0, done.stderr
    expected = servers.oracle().authentication(START + 86_400_000, START + 86_400_000 * 3 + 43_200_000)
    assert json.loads(done.stdout)["events"] == dry["events"] == len(expected) > 0
    folder = out / "backfill" / "20260326T0000_20260328T1200"
    assert json.loads(done.stdout)["to"] == str(folder)
    assert complete(folder).events == len(expected)
    last = {}
    for file in sorted((folder / "manifests").rglob("*.json")):
        last[file.name[:14]] = json.loads(file.read_bytes())["markers"][-1]["what"]
    assert set(last.values()) == {"finished"}, "no partition is waited for after its end"
    got = Counter(json.dumps(x, sort_keys=True) for x in delivered(folder))
    assert got == Counter(json.dumps(x, sort_keys=True) for x in expected)
    assert complete(out).events == len(expected)
    again = backfill(servers, "again", *stretch)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["events"] == 0, "what was delivered is not delivered again"
    with servers.sync("again", out) as syncing:
        eventually(lambda: servers.covered(out, "authentication", SIGN_INS), look=syncing.look)
    assert complete(out).events == len(expected) + len(delivered(out))
    (servers.data / "activity.toml").unlink()


def test_a_transaction_that_ends_a_quiet_log_is_delivered_and_leaves_no_lag(servers, tmp_path, monkeypatch):
    monkeypatch.setattr(lane, "DEAF_SECONDS", 0.5)  # what comes waits longer than that
    gateway = KafkaProducer(bootstrap_servers=servers.settings.kafka, transactional_id="gateway", acks="all")
    gateway.init_transactions()

    def begin(name):
        gateway.begin_transaction()
        for partition in servers.ends(SIGN_INS):
            user = {"id": f"{name}-{partition}"}
            event = {"time": "2026-03-26T10:00:00Z", "action": {"type": "reauth", "user": user}}
            gateway.send(SIGN_INS, json.dumps(event).encode(), partition=partition)
        gateway.flush()

    begin("early")
    gateway.commit_transaction()
    with servers.sync("gateway", tmp_path, idle_seconds=3, age_seconds=6) as syncing:
        eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), look=syncing.look)
        begin("late")
        eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), look=syncing.look)
        gateway.commit_transaction()  # nothing but its marker
        eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), look=syncing.look)
        eventually(lambda: (s := summary_of(servers, syncing)).stored_at and s.lag_records == 0)
    gateway.close()
    same(servers, tmp_path)


def test_a_backfill_ends_where_the_place_refuses_and_two_stretches_never_share_a_folder(servers, tmp_path):
    servers.produce(servers.stream.lines(200))
    (tmp_path / "file").write_text("in the way")
    (servers.data / "activity.toml").write_text(
        f'kafka = "{servers.settings.kafka}"\n'
        f'[destinations.refused]\ntarget = "{tmp_path}/file/out"\n[destinations.short]\ntarget = "{tmp_path}/short"\n'
    )

    refused = backfill(servers, "refused", "2026-03-25", "2026-04-01")
    assert (refused.returncode, "choose another directory" in refused.stderr) == (2, True), refused.stderr
    whole = servers.oracle().authentication(START, START + 86_400_000)
    at = datetime.fromisoformat(whole[len(whole) // 2]["event"]["time"])
    for second in (0, 1):
        stretch = [(at + timedelta(seconds=s)).isoformat() for s in (-30, second)]
        from_ms, to_ms = (int(datetime.fromisoformat(s).timestamp() * 1000) for s in stretch)
        done = backfill(servers, "short", *stretch)
        assert json.loads(done.stdout)["events"] == len(servers.oracle().authentication(from_ms, to_ms))
    assert complete(tmp_path / "short").events > 0
    (servers.data / "activity.toml").unlink()


def test_a_destination_that_was_made_by_the_api_can_be_verified_by_its_name(servers, tmp_path):
    writer = Writer(tmp_path)
    writer.deliver([sign_in(1)])
    writer.account()
    (servers.data / "activity.toml").write_text(f'kafka = "{servers.settings.kafka}"\n')
    command = [sys.executable, "-m", "deploy.cli", "verify", "made", "--data", str(servers.data)]
    with following(servers.settings) as desk:
        unknown = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (unknown.returncode, "neither a directory nor a destination" in unknown.stderr) == (1, True)
        desk.put("made", {"target": str(tmp_path)})
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
        desk.remove("made")
    assert (done.returncode, json.loads(done.stdout)["events"]) == (0, 1), done.stderr
    (servers.data / "activity.toml").unlink()


def test_memory_runs_out_before_any_limit_and_the_largest_batch_goes_first(servers, tmp_path):
    value = b'{"version":1,"id":"m%d","time":"2026-03-26T10:00:00Z","action":{"type":"reauth","user":{"id":"m"}},"pad":"%b"}'
    for n in range(6_000):
        servers.producer.send(SIGN_INS, key=b"%d" % (n % 8), value=value % (n, b"x" * 2_000))
    servers.producer.flush()
    limits = {"cut_events": 1_000_000, "cut_bytes": 64 << 20, "age_seconds": 3600, "idle_seconds": 3600}
    syncing = servers.sync("small", tmp_path, manifest_seconds=3600, **limits)
    syncing.settings = syncing.settings.model_copy(update={"sync_memory_bytes": 8_000_000})
    with syncing:
        eventually(lambda: list((tmp_path / "authentication").rglob("*.gz")), look=syncing.look)
    with servers.sync("small", tmp_path) as syncing:  # what had not been read when the other one was stopped
        eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), look=syncing.look)
    same(servers, tmp_path)


def test_retention_that_overtakes_the_reading_of_a_range_is_noticed(servers):
    tp, count = TopicPartition("overtaken", 0), 3_000
    admin = KafkaAdminClient(bootstrap_servers=servers.settings.kafka)
    admin.create_topics([NewTopic(tp.topic, num_partitions=1, replication_factor=1)])
    for _ in range(count):
        servers.producer.send(tp.topic, b"x" * 5_000, partition=0)
    servers.producer.flush()
    assert sum(map(len, read_range(servers.settings, tp, 0, count, 0))) == count
    with_the_last, without = (read_range(servers.settings, tp, 0, end, 0) for end in (count, count - 1))
    for reading in (with_the_last, without):
        assert 0 < len(next(reading)) < count / 2
    admin.delete_records({tp: count - 1})
    admin.close()
    for reading in (with_the_last, without):
        with pytest.raises(Gone, match="no longer has all"):
            list(reading)


def test_what_retention_took_is_said_and_the_rest_is_delivered(servers, tmp_path):
    with servers.sync("late", tmp_path) as syncing:
        eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), look=syncing.look)
    before = servers.ends(SIGN_INS)
    servers.produce(servers.stream.lines(500))
    admin = KafkaAdminClient(bootstrap_servers=servers.settings.kafka)
    ends = servers.ends(SIGN_INS)
    admin.delete_records({TopicPartition(SIGN_INS, n): end for n, end in ends.items()})
    admin.close()
    servers.produce(servers.stream.lines(300))
    with servers.sync("late", tmp_path) as syncing:
        eventually(lambda: servers.covered(tmp_path, "authentication", SIGN_INS), look=syncing.look)
        eventually(lambda: summary_of(servers, syncing).lost_records == sum(ends.values()) - sum(before.values()))
    found = verify.Verifier(verify.Directory(str(tmp_path))).run()
    assert not found.ok
    lost = [f"[{before[n]}, {ends[n]}): lost: retention took these offsets" for n in ends if ends[n] > before[n]]
    assert len(found.problems) == len(lost) > 0
    for words in lost:
        assert any(words in problem for problem in found.problems)
