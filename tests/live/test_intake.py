"""The way in, on real servers: what cannot be an event is refused with its reason, counted, listed and replayable, and nothing stops for it."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from deploy import check as checks
from pipeline import clock, topics
from pipeline.errors import Unavailable
from pipeline.intake import rejects
from pipeline.intake.ingest import MARK_LINES
from pipeline.intake.marks import marks
from pipeline.intake.records import read
from tests.live.system import System, eventually
from tests.pipeline.engine.test_records import Odd
from tests.streams import Line

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("intake")]
ROOT = Path(__file__).parents[2]
BAD = ROOT / "tests" / "samples" / "bad"
MANIFEST = json.loads((BAD / "manifest.json").read_text())
# What a file can hold but a connector's log never says: ingest skips it, so it reaches the worker only from other producers.
SKIPPED = {
    "chatter": {"bare-word", "binary", "deep-10000", "null", "number", "string"},
    "blank": {"blank"},
    "nothing": {"empty"},
}
# Ingest leaves the byte order mark out, opens an array and knows which topic a sign-in belongs to: these are events then, two of them the same one.
MENDED = {"array", "bom", "sign-in-on-connections", "enveloped-sign-in-on-connections"}
GOOD = b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"%b"}}'


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    os.environ["ACTIVITY_SESSION_TIMEOUT_SECONDS"] = "2"
    try:
        with System(tmp_path_factory.mktemp("system")) as running:
            worker = running.stack.child("worker").process.pid
            eventually(lambda: whole(running))
            yield running
            assert running.stack.child("worker").process.pid == worker, "the worker was restarted"
    finally:
        del os.environ["ACTIVITY_SESSION_TIMEOUT_SECONDS"]


def whole(system) -> bool:
    with suppress(Unavailable):  # the group's coordinator is still being made
        return checks.check(system.settings).ok
    return False


def counted(system) -> Counter[str]:
    """Every offset of the source topics by what became of it, when all is judged."""

    def judged():
        found = checks.check(system.settings)
        return found if found.worker_lag == 0 else None

    found = eventually(judged, look=system.stack.look)
    assert found.off == []
    total = Counter({f"rejected {reason}": n for reason, n in found.rejected.items()})
    for ledger in found.ledgers:
        total += Counter({"applied": ledger["applied"], "duplicate": ledger["duplicate"]})
    return total


def listed(system, *arguments: str) -> dict:
    done = system.activity("rejects", "list", "--json", "--limit", "1000", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ids(system) -> set[str]:
    return set(rejects.rejects(system.settings))


def refused(reasons) -> Counter[str]:
    return Counter(f"rejected {reason}" for reason in reasons)


def test_every_bad_sample_becomes_a_reject_that_is_counted_listed_and_replayed(system):
    before, known = counted(system), ids(system)
    done = system.activity("ingest", *(str(BAD / name) for name in MANIFEST), "--json")
    assert done.returncode == 0, done.stderr
    account = json.loads(done.stdout)
    assert account["skipped"]["blank"] >= 1
    direct = [f"{name}.bin" for name in set().union(MENDED, *SKIPPED.values())]
    assert sum(account["sent"].values()) == len(MANIFEST) - len(direct) + len(MENDED)
    assert account["sent"]["authentications"] == 3
    system.produce(Line("connections", None, (BAD / name).read_bytes()) for name in direct)

    reasons = Counter(m["reason"] for m in MANIFEST.values())
    assert counted(system) - before == refused(reasons.elements()) + Counter(applied=len(MENDED) - 1, duplicate=1)
    said = json.loads(system.activity("check", "--json").stdout)
    assert said["ok"]
    assert Counter(said["rejected"]) >= reasons
    found = listed(system)
    new = {r["id"]: r for r in found["rejects"] if r["id"] not in known}
    assert len(new) == len(MANIFEST)
    kept = Counter(
        (r.value, dict(r.headers)["activity-reason"].decode(), dict(r.headers)["activity-path"].decode())
        for r in read(system.settings, topics.REJECTS)
        if dict(r.headers)["activity-origin"].decode() in new
    )
    assert kept == Counter(((BAD / name).read_bytes(), m["reason"], m["path"]) for name, m in MANIFEST.items())
    some = listed(system, "--reason", "bad_time")
    assert {r["reason"] for r in some["rejects"]} == {"bad_time"}
    assert len({r["id"] for r in some["rejects"]} & set(new)) == reasons["bad_time"]

    before = counted(system)
    chosen = sorted(new)[:2]
    assert b"2 sent again" in system.activity("rejects", "replay", "--ids", ",".join(chosen)).stderr
    assert counted(system) - before == refused(new[i]["reason"] for i in chosen)
    assert b" sent again" in system.activity("rejects", "replay", "--all").stderr
    everything = [*(new[i]["reason"] for i in chosen), *Counter(found["counts"]).elements()]
    assert counted(system) - before == refused(everything), "each replay is a record of its own and counted once"
    again = listed(system)
    assert again["counts"] == found["counts"], "a replay that is refused again is the same reject"
    assert {r["id"]: r["reason"] for r in again["rejects"]} == {r["id"]: r["reason"] for r in found["rejects"]}


def test_a_large_line_is_a_reject_and_a_huge_one_is_skipped_and_said(system, tmp_path):
    before, known = counted(system), ids(system)
    file = tmp_path / "large.log"
    large = b'{"x":"' + b"y" * (300 << 10) + b'"}'
    file.write_bytes(b"\n".join([GOOD % b"a", large, b'{"x":"' + b"z" * 5_000_000 + b'"}', GOOD % b"b", b""]))
    done = system.activity("ingest", str(file))
    assert done.returncode == 0
    assert b"read 4 lines\n  3 sent to connections\n  1 skipped: longer than 1 MiB (lines 3)\n" in done.stderr
    assert counted(system) - before == Counter({"applied": 2, "rejected too_large": 1})
    (new,) = [r for r in listed(system, "--reason", "too_large")["rejects"] if r["id"] not in known]
    assert new["bytes"] == len(large)


def test_nothing_that_kafka_takes_stops_the_worker_or_the_service(system):
    """The broker limits what is packed: a record may be larger than any reject, have headers without values or with names that are no text, and texts without an end."""
    before, known = counted(system), ids(system)
    endless = b"{" * 33 + b'"' + b'\\"' * 131_000
    records = [
        (b"k", b"x" * (3 << 20), [("h", b"1")]),
        (b"k" * (1 << 20), b"x" * (1 << 20), []),
        (b"k", b"rubbish", [("traceparent", None)]),
        (b"k", endless, []),
        (b"k", GOOD % b"behind-them", []),
    ]

    async def send():
        packing = {"compression_type": "gzip", "max_request_size": 64 << 20}
        async with AIOKafkaProducer(bootstrap_servers=system.settings.kafka, **packing) as gateway:
            for key, value, headers in records:
                await gateway.send_and_wait("activity.connections", key=key, value=value, headers=headers, partition=0)

    asyncio.run(send())
    named = [(Odd("\xfcber"), b"1")]
    for value in (b"odd", GOOD % b"named-oddly"):
        system.producer.send("activity.connections", value, key=b"k", headers=named, partition=0).get()
    reasons = ["too_large", "too_large", "not_json", "too_deep", "not_json"]
    assert counted(system) - before == refused(reasons) + Counter(applied=2)
    new = [r for r in listed(system)["rejects"] if r["id"] not in known]
    assert sorted(r["bytes"] for r in new) == [3, 7, len(endless), 1 << 20, 3 << 20]
    run, _ = system.report(**{"kind": "active", "from": "2026-03-27", "to": "2026-03-28"})
    assert run["state"] == "ready"


def test_ids_of_any_length_and_forms_of_any_kind_are_taken_in(system, tmp_path):
    before = counted(system)
    long_id = b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"%b"}}'
    lines = [
        GOOD % b"first",
        long_id % (b"x" * (topics.MAX_RECORD_BYTES - len(long_id) + 2)),
        b'{"action":{},"event_type":[]}',
        GOOD % b"last",
    ]
    file = tmp_path / "odd.ndjson"
    file.write_bytes(b"\n".join(lines))
    done = system.activity("ingest", str(file))
    assert done.returncode == 0, done.stderr
    assert sum((counted(system) - before).values()) == 4


def test_a_reject_that_is_no_longer_wrong_is_applied_by_a_replay_and_only_once(system):
    before, known = counted(system), ids(system)
    ahead = b'{"event_type":"closed_connection","timestamp":%d,"user":{"id":"ahead"}}' % (
        clock.now_ms() + topics.DAY_MS + 4_000
    )
    system.produce([Line("connections", b"ahead", ahead)])
    assert counted(system) - before == Counter({"rejected bad_time": 1})
    (new,) = ids(system) - known

    def replay():
        found = rejects.rejects(system.settings)
        assert rejects.replay(system.settings, rejects.choose(found, ids=new, reason="")) == 1

    def replayed():
        replay()
        return (counted(system) - before)["applied"]

    assert eventually(replayed) == 1
    applied = counted(system)
    replay()
    assert counted(system) - applied == Counter(duplicate=1)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("replay",), 1, "say which: --ids, --reason or --all"),
        (("replay", "--ids", "activity.connections/0/999999"), 1, "no such reject: activity.connections/0/999999"),
        (("list", "--reason", "ugly"), 1, "no such reason: ugly; the reasons are "),
        (("replay", "--reason", "ugly"), 1, "no such reason: ugly; the reasons are "),
    ],
)
def test_a_reject_that_is_not_there_is_one_clear_line(system, arguments, code, says):
    done = system.activity("rejects", *arguments)
    assert done.returncode == code
    assert says in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_record_with_an_origin_of_its_producers_own_is_listed_but_never_sent_there(system):
    before, known = counted(system), ids(system)
    origins = [b"elsewhere/0/1", b"nonsense", b"activity.connections/x/1", b"activity.connections/4096/1"]
    system.produce(Line("connections", b"k", b"{", [("activity-origin", o)]) for o in origins)
    system.produce([Line("connections", b"k", b"{")])
    assert counted(system) - before == Counter({"rejected not_json": 5})
    new = ids(system) - known
    assert len(new) == 5
    assert new > {o.decode() for o in origins}
    done = system.activity("rejects", "replay", "--ids", ",".join(sorted(new)))
    assert done.returncode == 0, done.stderr
    assert b"1 sent again\n4 cannot be" in done.stderr
    assert counted(system) - before == Counter({"rejected not_json": 6})
    assert ids(system) - known == new


def log_of(path: Path, name: str, count: int) -> Path:
    path.write_bytes(b"".join(b"ANALYTICS " + GOOD % b"%b%d" % (name.encode(), n) + b"\n" for n in range(count)))
    return path


def account_of(done: subprocess.CompletedProcess) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def dies(system, file: Path, line: int, number: int) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.live.dying_ingest", str(system.stack.data), str(file), str(line)]
    return subprocess.run([*command, str(int(number))], cwd=ROOT, capture_output=True, check=False)


def test_every_form_of_a_file_is_taken_in_once(system, tmp_path):
    before = counted(system)
    (tmp_path / "array.json").write_bytes(b"[\n " + b",\n ".join(GOOD % b"array%d" % n for n in range(50)) + b"\n]\n")
    head = b"start_time,end_time,status,user\n"
    rows = b"".join(b"2026-03-27 10:00:00.0 UTC,2026-03-27 10:00:0%d.5 UTC,NORMAL,csv\r\n" % n for n in range(7))
    (tmp_path / "export.csv").write_bytes(b"\xef\xbb\xbf" + head + rows + b"2026-03-27 10:00:00.0 UTC,cut\r\n")
    log = log_of(tmp_path / "connector.log", "once", 20)
    files = [str(tmp_path / "array.json"), str(tmp_path / "export.csv"), str(log)]
    assert account_of(system.activity("ingest", "--json", *files))["sent"] == {"connections": 78}
    assert counted(system) - before == Counter({"applied": 77, "rejected unknown_type": 1})

    packed = tmp_path / "connector.log.1.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    (tmp_path / "empty.log").write_bytes(b"")
    new = log_of(tmp_path / "new.log", "new", 3)
    done = system.activity("ingest", str(packed), str(tmp_path / "empty.log"), str(new), str(new))
    assert done.returncode == 1
    known, twice, *rest = done.stderr.decode().splitlines()
    assert f"{packed} was taken in before (20" in known
    assert "give --again to send it once more" in known
    assert f"{new} was taken in before" in twice
    assert rest == ["read 3 lines", "  3 sent to connections"]
    assert system.activity("ingest", str(tmp_path / "empty.log")).returncode == 0
    before = counted(system)
    assert account_of(system.activity("ingest", str(packed), "--again", "--json"))["read"] == 20
    assert counted(system) - before == Counter(duplicate=20)


def test_a_killed_ingest_goes_on_where_it_was_and_every_line_counts_once(system, tmp_path):
    before = counted(system)
    total = 3 * MARK_LINES + 1000
    file = log_of(tmp_path / "killed.log", "killed", total)
    assert dies(system, file, 2 * MARK_LINES + 3000, signal.SIGKILL).returncode == -signal.SIGKILL
    account = account_of(system.activity("ingest", str(file), "--json"))
    assert account["resumed"] == 2 * MARK_LINES
    assert account["sent"] == {"connections": total - 2 * MARK_LINES}
    found = counted(system) - before
    assert found["applied"] == total
    assert found["duplicate"] <= MARK_LINES
    assert set(found) <= {"applied", "duplicate"}
    assert system.activity("ingest", str(file)).returncode == 1


def test_an_ingest_that_is_asked_to_stop_sends_nothing_twice(system, tmp_path):
    before = counted(system)
    file = log_of(tmp_path / "stopped.log", "stopped", 5000)
    done = dies(system, file, 4500, signal.SIGTERM)
    assert f"{file}: stopped after line 4500; give it again to go on from there\n" == done.stderr.decode()
    done = system.activity("ingest", str(file))
    assert done.stderr.decode().splitlines() == [
        f"{file}: going on after line 4500, where an earlier run had stored everything",
        "read 500 lines after the first 4500",
        "  500 sent to connections",
    ]
    assert counted(system) - before == Counter(applied=5000)


class Running:
    """A verb that goes on until it is asked to stop."""

    def __init__(self, system, *arguments: str, **streams) -> None:
        command = [sys.executable, "-m", "deploy.cli", *arguments, "--data", str(system.stack.data)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, **streams)

    def __enter__(self) -> subprocess.Popen:
        return self.process

    def __exit__(self, *args) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def test_a_followed_file_goes_on_over_growth_rotation_and_death(system, tmp_path):
    before = counted(system)

    def applied(count):
        return eventually(lambda: (counted(system) - before)["applied"] >= count)

    log = log_of(tmp_path / "follow.log", "f", 100)
    with Running(system, "ingest", "--follow", str(log)) as process:
        applied(100)
        with log.open("ab") as file:
            file.write((GOOD % b"grown") + b"\n" + (GOOD % b"half")[:9])
        applied(101)
        log.rename(tmp_path / "follow.log.1")
        with (tmp_path / "follow.log.1").open("ab") as file:
            file.write((GOOD % b"half")[9:] + b"\n")
        log_of(log, "g", 50)
        applied(152)
        eventually(lambda: 50 in {mark.lines for mark in marks(system.settings).values()})
        process.kill()
        assert process.wait() == -signal.SIGKILL
    with log.open("ab") as file:
        file.write((GOOD % b"after") + b"\n")
    with Running(system, "ingest", "--follow", "--json", str(log), stdout=subprocess.PIPE) as process:
        applied(153)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate()
        assert process.returncode == 0
    assert json.loads(out)["read"] == 1
    assert counted(system) - before == Counter(applied=153)


def test_standard_input_is_sent_as_it_comes_and_a_signal_ends_it(system):
    before = counted(system)
    with Running(system, "ingest", "-", stdin=subprocess.PIPE) as process:
        process.stdin.write((GOOD % b"came") + b"\n" + (GOOD % b"half")[:20])
        process.stdin.flush()
        eventually(lambda: (counted(system) - before)["applied"] == 1)
        process.send_signal(signal.SIGINT)
        eventually(lambda: process.poll() is not None)
        assert process.returncode == 0
        assert b"read 2 lines\n  2 sent to connections\n" in process.stderr.read()
    assert counted(system) - before == Counter({"applied": 1, "rejected not_json": 1})


def test_a_terminal_sees_how_far_it_is(system, tmp_path):
    file = log_of(tmp_path / "bar.log", "bar", 3000)
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "deploy.cli", "ingest", str(file), "--data", str(system.stack.data)]
    seen = b""
    with subprocess.Popen(command, cwd=ROOT, stderr=follower, env={**os.environ, "TERM": "xterm"}):
        os.close(follower)
        with suppress(OSError):  # the other end is closed
            while more := os.read(leader, 4096):
                seen += more
    os.close(leader)
    assert b"looking at bar.log" in seen
    assert "━".encode() in seen
    assert b"3000 sent to connections" in seen


def directory_of(system) -> dict[str, dict]:
    """{id: account} as the topic has it."""
    found = {}
    for record in read(system.settings, topics.DIRECTORY):
        found[record.key.decode()] = record.value and json.loads(record.value)
    return {id_: account for id_, account in found.items() if account}


def inactive(system) -> list[list[str]]:
    _, body = system.report(kind="inactive", days=90)
    return list(csv.reader(io.StringIO(body.decode(), newline="")))[1:]


def test_accounts_come_in_every_form_and_leave_with_replace(system, tmp_path):
    # Ids that no event of a test beside this one has.
    def users(name: str, content: str, *flags: str) -> dict:
        (tmp_path / name).write_text(content)
        return account_of(system.activity("users", "import", str(tmp_path / name), "--json", *flags))

    assert users("a.csv", "id,email,state\nu1,Ada@x.example,active\nu2,bo@x.example,pending\n") == {"added": 2}
    assert users("b.json", '[{"id":"u2","email":"bo@x.example"},{"id":"u3","email":"cy@x.example"}]') == {"changed": 1, "added": 1}  # fmt: skip
    assert users("c.ndjson", '{"id":"u3","email":"cy@x.example"}\n{"id":"u4","email":"di@x.example"}\n') == {"unchanged": 1, "added": 1}  # fmt: skip
    assert set(directory_of(system)) == {"u1", "u2", "u3", "u4"}
    assert [row[0] for row in inactive(system)] == ["ada@x.example", "bo@x.example", "cy@x.example", "di@x.example"]
    assert users("d.csv", "id,email\nu2,bo@x.example\nu5,ed@x.example\n", "--replace") == {"unchanged": 1, "added": 1, "removed": 3}  # fmt: skip
    assert {id_: a["state"] for id_, a in directory_of(system).items()} == {"u2": "active", "u5": "active"}
    assert [row[0] for row in inactive(system)] == ["bo@x.example", "ed@x.example"]
    assert users("d.csv", "id,email\nu1,ada@x.example\n", "--replace") == {"added": 1, "removed": 2}


@pytest.mark.parametrize("flags", [(), ("--replace",)])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "there is no account in it"),
        ("id,email\n9,good@x.example\n10,\n", "line 3: email is missing"),
        ('[{"id":"9"', "not a JSON array"),
    ],
)
def test_a_wrong_file_of_accounts_changes_nothing(system, tmp_path, content, says, flags):
    before = directory_of(system)
    if content is not None:
        (tmp_path / "users").write_text(content)
    done = system.activity("users", "import", str(tmp_path / "users"), *flags)
    assert done.returncode == 2
    assert says in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert directory_of(system) == before


def every_verb(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    (tmp_path / "a.log").write_bytes(GOOD % b"a")
    (tmp_path / "users.csv").write_text("id,email\n1,a@x.example\n")
    verbs = (
        ("ingest", str(tmp_path / "a.log")),
        ("ingest", "-"),
        ("ingest", "--follow", str(tmp_path / "a.log")),
        ("users", "import", str(tmp_path / "users.csv")),
        ("rejects", "list"),
        ("rejects", "replay", "--all"),
    )
    return {" ".join(verb[:2]): verb for verb in verbs}


def all_fail(verbs, data: Path, environment: dict[str, str]) -> set[str]:
    """The lines that the verbs, run side by side, end with; each is one line and exit 2."""
    command = [sys.executable, "-m", "deploy.cli"]
    running = [
        subprocess.Popen([*command, *verb, "--data", str(data)], cwd=ROOT, env={**os.environ, **environment},
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for verb in verbs.values()
    ]  # fmt: skip
    said = set()
    for verb, process in zip(verbs, running, strict=True):
        out, errors = process.communicate((GOOD % b"a") + b"\n")
        assert (process.returncode, out, errors.count(b"\n")) == (2, b"", 1), (verb, errors)
        said.add(errors.decode().strip())
    return said


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:9092", "nonsense", "127.0.0.1:port"])
def test_a_kafka_that_does_not_answer_is_one_line_from_every_verb(tmp_path, address):
    said = all_fail(every_verb(tmp_path), tmp_path, {"ACTIVITY_KAFKA": address})
    assert said == {f"activity: Kafka at {address} does not answer; start it or correct ACTIVITY_KAFKA"}


def test_missing_topics_are_one_line_from_every_verb(system, tmp_path):
    said = all_fail(every_verb(tmp_path), system.stack.data, {"ACTIVITY_TOPIC_PREFIX": "elsewhere"})
    assert said == {
        *(f"activity: the topic elsewhere.{t} is missing; run `activity topics create`" for t in ("ingested", "directory", "rejects")),
        "activity: elsewhere.connections cannot be written (KafkaTimeoutError); run `activity topics check`",
    }  # fmt: skip
