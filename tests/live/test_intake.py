"""The way in, on real servers: what cannot be an event is refused with its reason, counted, listed and replayable, and nothing stops for it."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from deploy import check as checks
from pipeline import clock, topics
from pipeline.errors import Unavailable
from pipeline.intake import rejects
from pipeline.intake.records import read
from tests.live.system import System, eventually
from tests.streams import Line

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("intake")]
BAD = Path(__file__).parents[1] / "samples" / "bad"
MANIFEST = json.loads((BAD / "manifest.json").read_text())
# What a file can hold but a connector's log never says: ingest skips it, so it reaches the worker only from other producers.
SKIPPED = {
    "chatter": {"array", "bare-word", "binary", "deep-10000", "null", "number", "string"},
    "blank": {"blank"},
    "nothing": {"empty"},
}
# Ingest leaves the byte order mark out and knows which topic a sign-in belongs to: these are events then.
MENDED = {"bom", "sign-in-on-connections", "enveloped-sign-in-on-connections"}
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
    assert counted(system) - before == refused(reasons.elements()) + Counter(applied=len(MENDED))
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
