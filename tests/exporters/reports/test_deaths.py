"""Kill the service at every named step of a run, its mail and a schedule: every run ends ready once, with one file, the right bytes and one mail.

`ACTIVITY_TEST_DEATHS` says how many seeded schedules of kills are lived through (`make chaos-reports`: 240).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest
from kafka import KafkaConsumer, TopicPartition

from exporters import redis
from exporters.reports.build import Parameters
from exporters.reports.mails import DONE
from exporters.reports.plans import Schedule, run_name
from exporters.reports.runs import EXPIRED, OPEN, QUEUED, READY, Run
from exporters.reports.schedules import Timing
from exporters.reports.steps import Step, reach
from exporters.store.schemas import SIGN_INS, table
from exporters.store.store import Store
from pipeline import clock
from tests.exporters.reports.conftest import installation
from tests.exporters.reports.lives import Kills, a_plan, live_through
from tests.mail import mail_server

SEEDS = int(os.environ.get("ACTIVITY_TEST_DEATHS", "8"))
GROUPS = 4
DAY_MS = 24 * 3600 * 1000
FROM = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)
LINES = [f'{{"event_type":"authentication","event":{{"id":"e{n}"}}}}' for n in range(300)]
RIGHT = "".join(f"{line}\n" for line in LINES).encode()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = Store.open(f"chdb://{tmp_path_factory.mktemp('store')}/store", memory_bytes=500_000_000)
    rows = [
        (FROM + n * 1000, f"e{n:04d}", 0, n, "u", "u@x.example", "reauth", "success", "", line)
        for n, line in enumerate(LINES)
    ]
    opened.insert("sign_ins", table(rows, SIGN_INS))
    yield opened
    opened.close()  # a process has one embedded store at a time


@pytest.fixture(scope="module")
def post():
    with mail_server() as server:
        yield server


@pytest.fixture
def office(servers, tmp_path, post):
    """An installation whose mail goes to a server of this test."""
    post.taken.clear()
    post.refuses.clear()
    made = installation(servers, tmp_path)
    return made.model_copy(update={"smtp_port": post.port})


def a_run(name="r1", **more):
    parameters = Parameters(from_ms=FROM, to_ms=FROM + DAY_MS, format="ndjson", gzip=True)
    now = clock.now_ms()
    return Run(name, "authentication", QUEUED, parameters, now, now, by="jane", recipients=["jane@x.example"], **more)


def asked(*runs):
    """Ask for each of them, unless the journal has it already."""

    def begin(works):
        for run in runs:
            if works.runs.get(run.run) is None and not works.runs.deleted(run.run):
                works.runs.change(run, QUEUED)
                reach(Step.ASKED)

    return begin


def over(names):
    def check(works):
        runs = [works.runs.get(n) for n in names]
        mails = [works.mails.get(n) for n in names]
        return all(r and r.state not in OPEN for r in runs) and all(m and m.state == DONE for m in mails)

    return check


def history(settings):
    """Every record of the runs: {run: [states in the topic's order]}, and the last one of each."""
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka, enable_auto_commit=False)
    tp = TopicPartition(f"{settings.topic_prefix}.reports", 0)
    consumer.assign([tp])
    consumer.seek_to_beginning(tp)
    end, found = consumer.end_offsets([tp])[tp], {}
    while consumer.position(tp) < end:
        for r in consumer.poll(timeout_ms=200).get(tp, []):
            if b"/" not in r.key and r.value:
                found.setdefault(r.key.decode(), []).append(msgspec.json.decode(r.value, type=Run))
    consumer.close()
    return found


def holds(settings, post, names, *, uncertain: int, repeats=True):
    """The promise, for every run of `names`."""
    told = Counter(message["Message-ID"] for message, _ in post.taken)
    records = history(settings)
    kept = {p.name for p in (settings.data / "reports").iterdir() if p.is_file()}
    assert len(kept) == len(names)
    assert list((settings.data / "reports" / ".parts").iterdir()) == []
    for name in names:
        ready = [r for r in records[name] if r.state == READY]
        assert len({r.stored for r in ready}) == 1, "ready once"
        run = ready[-1]
        body = (settings.data / "reports" / run.stored).read_bytes()
        assert gzip.decompress(body) == RIGHT
        assert (len(body), hashlib.sha256(body).hexdigest(), run.rows) == (run.bytes, run.sha256, len(LINES))
    assert set(told) == {f"<run-{n}@localhost>" for n in names}
    assert sum(told.values()) - len(names) <= uncertain
    assert max(told.values()) <= 2


@pytest.mark.parametrize("step", [s for s in Step if s not in (Step.DUE, Step.SCHEDULED, Step.ADVANCED, Step.EXPIRING)])
def test_a_death_at_a_step_of_a_run_costs_nothing(office, store, post, servers, step):
    kills = Kills([(step, 0)])
    run = a_run()
    deaths = live_through(office, store, kills, begin=asked(run), until=over([run.run]))
    assert deaths == 1
    holds(office, post, [run.run], uncertain=step in (Step.MAIL_HANDING, Step.MAIL_TAKEN))
    repeated = len(post.taken) == 2
    assert repeated == (step == Step.MAIL_TAKEN), "a mail is sent again only if the server had it and nobody knew"


@pytest.mark.parametrize("step", [Step.DUE, Step.SCHEDULED, Step.ADVANCED])
def test_a_death_at_a_step_of_a_schedule_costs_nothing(office, store, post, step):
    schedule, dues = a_schedule(2)
    names = [run_name(schedule.id, due) for due in dues]
    deaths = live_through(office, store, Kills([(step, 1)]), begin=planned(schedule), until=over(names))
    assert deaths == 1
    assert made_by(office, schedule) == sorted(names)


def test_a_death_while_a_file_expires_costs_nothing(office, store, post):
    run = a_run()
    live_through(office, store, Kills(), begin=asked(run), until=over([run.run]))
    old = office.model_copy(update={"report_expiry_days": -1})
    gone = lambda works: works.runs.get(run.run).state == EXPIRED  # noqa: E731
    assert live_through(old, store, Kills([(Step.EXPIRING, 0)]), until=gone) == 1
    assert [p.name for p in (office.data / "reports").iterdir() if p.is_file()] == []


def test_a_mail_whose_fate_is_open_twice_is_not_sent_a_third_time(office, store, post):
    run = a_run()
    plan = [(Step.MAIL_TAKEN, 0), (Step.MAIL_TAKEN, 0)]
    assert live_through(office, store, Kills(plan), begin=asked(run), until=over([run.run])) == 2
    assert [m["Message-ID"] for m, _ in post.taken] == [f"<run-{run.run}@localhost>"] * 2


def a_schedule(count):
    """A daily schedule that is due `count` times by now, and those instants."""
    now = datetime.now(UTC)
    at = now.replace(minute=now.minute - now.minute % 15, second=0, microsecond=0)
    last = int(at.timestamp() * 1000)
    dues = [last - (count - 1 - n) * DAY_MS for n in range(count)]
    timing = Timing("daily", at.strftime("%H:%M"), "UTC")
    ask = {"kind": "authentication", "format": "ndjson", "gzip": True}
    schedule = Schedule(
        "s1",
        "Weekly",
        timing,
        "90d",
        ask,
        "jane",
        1,
        1,
        recipients=["joe@x.example"],
        next_due=dues[0] if dues else None,
    )
    return schedule, dues


def planned(schedule):
    def begin(works):
        if works.plans.get(schedule.id) is None:
            works.plans.put(schedule)

    return begin


def made_by(settings, schedule):
    return sorted(n for n, records in history(settings).items() if records[0].schedule == schedule.id)


@pytest.mark.chaos
@pytest.mark.parametrize("group", range(GROUPS))
def test_seeded_schedules_of_kills(servers, tmp_path, store, post, group):
    """Several runs and a schedule, several deaths each, sometimes an emptied Redis between two lives."""
    for seed in range(group, SEEDS, GROUPS):
        rng = random.Random(seed)
        post.taken.clear()
        office = installation(servers, tmp_path / str(seed)).model_copy(update={"smtp_port": post.port})
        runs = [a_run(f"r{n}") for n in range(rng.randint(1, 2))]
        schedule, dues = a_schedule(rng.randint(0, 2))
        names = [r.run for r in runs] + [run_name(schedule.id, due) for due in dues]
        plan = a_plan(rng, 4)
        uncertain = sum(s in (Step.MAIL_HANDING, Step.MAIL_TAKEN) for s, _ in plan)
        kills, empties = Kills(plan), rng.random() < 0.3

        def begin(works, runs=runs, schedule=schedule, office=office, empties=empties):
            if empties:
                client = redis.connect(office)
                for name in client.scan_iter(match=f"{office.app_id}:*"):
                    client.delete(name)
            asked(*runs)(works)
            planned(schedule)(works)

        live_through(office, store, kills, begin=begin, until=over(names))
        told = Counter(m["Message-ID"] for m, _ in post.taken)
        assert set(told) == {f"<run-{n}@localhost>" for n in names}, (seed, plan)
        assert sum(told.values()) - len(names) <= uncertain, (seed, plan)
        assert made_by(office, schedule) == sorted(names[len(runs) :]), (seed, plan)
        records = history(office)
        for name in names:
            ready = {r.stored for r in records[name] if r.state == READY}
            assert len(ready) == 1, (seed, plan)
            body = (office.data / "reports" / ready.pop()).read_bytes()
            assert hashlib.sha256(body).hexdigest() == records[name][-1].sha256, (seed, plan)
            if name.startswith("r"):
                assert gzip.decompress(body) == RIGHT, (seed, plan)
        kept = [p for p in (office.data / "reports").iterdir() if p.is_file()]
        assert len(kept) == len(names), (seed, plan)
