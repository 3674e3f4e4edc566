"""Who makes which run, when: lanes, places, cancelling, trying again, and services that share, sleep, or have no Redis."""

from __future__ import annotations

import gzip
import threading

import msgspec
import pytest

from deploy.local.processes import free_port
from exporters.reports import builder as builder_module
from exporters.reports import estimates, making, steps
from exporters.reports.builder import thread
from exporters.reports.estimates import LONG_SECONDS
from exporters.reports.mails import DONE
from exporters.reports.runs import BUILDING, CANCELLED, EXPIRED, FAILED, QUEUED, READY, WAITING
from exporters.reports.steps import Step
from pipeline.errors import Unavailable
from tests.exporters.reports.lives import Life
from tests.exporters.reports.test_deaths import (  # noqa: F401 - fixtures
    FROM,
    RIGHT,
    a_run,
    asked,
    history,
    office,
    post,
    store,
)
from tests.exporters.reports.test_queue import empty
from tests.live.system import eventually


class Held:
    """Makings stop when their first rows are written, until they are let go."""

    def __init__(self, most):
        self.left, self.inside, self.go = most, 0, threading.Event()
        self._lock = threading.Lock()

    def stand(self, step):
        if step != Step.HALF_WRITTEN:
            return
        with self._lock:
            if not self.left:
                return
            self.left -= 1
            self.inside += 1
        self.go.wait(60)


@pytest.fixture
def hold():
    made = []

    def holding(most):
        made.append(Held(most))
        steps.observer = made[-1].stand
        return made[-1]

    yield holding
    steps.observer = steps._nobody
    for held in made:
        held.go.set()


@pytest.fixture
def lives(office, store):  # noqa: F811
    made = []

    def alive(**options):
        settings = office.model_copy(update=options.pop("update", {}))
        spawn = options.pop("spawn", None)
        life = Life(settings, store, **options)
        if spawn is not None:
            life.works.builder._spawn = spawn
        made.append(life)
        return life

    yield alive
    for life in made:
        life.end()


def run_of(name, **more):
    run = a_run(name, **more)
    run.recipients = []
    return run


def until(life, name, state, *others):
    def there():
        for one in (life, *others):
            one.works.builder.turn()
        return life.works.runs.get(name).state == state

    eventually(there, seconds=60)
    return life.works.runs.get(name)


def test_without_redis_reports_are_made_all_the_same_and_the_page_says_so(lives):
    life = lives(update={"redis": f"redis://127.0.0.1:{free_port()}/0"})
    asked(run_of("r1"), run_of("r2"))(life.works)
    assert gzip.decompress(life.works.files.path(until(life, "r1", READY)).read_bytes()) == RIGHT
    until(life, "r2", READY)
    assert "Redis is away" in life.works.degraded()[0]


def test_an_emptied_redis_loses_nothing(lives, office):  # noqa: F811
    life = lives(alone=False)
    names = [f"r{n}" for n in range(6)]
    asked(*map(run_of, names))(life.works)
    life.works.builder._take()
    for name in names:
        empty(office)
        life.works.builder.turn()
        until(life, name, READY)
    assert life.works.degraded() == []


def test_redis_that_comes_back_is_used_again(lives, office):  # noqa: F811
    life = lives(update={"redis": f"redis://127.0.0.1:{free_port()}/0"})
    asked(run_of("r1"))(life.works)
    until(life, "r1", READY)
    life.works.builder._queue = lives().works.builder._queue
    life.works.builder._away_until = 0.0
    asked(run_of("r2"))(life.works)
    until(life, "r2", READY)
    assert life.works.degraded() == []


def test_two_services_share_the_work_and_make_nothing_twice(lives, office, monkeypatch):  # noqa: F811
    monkeypatch.setattr(builder_module, "HELD", {"short": 1, "long": 1})
    one, two = lives(alone=False), lives(alone=False)
    names = [f"r{n}" for n in range(8)]
    asked(*map(run_of, names))(one.works)
    for name in names:
        until(one, name, READY, two)
    ready = [r for records in history(office).values() for r in records if r.state == READY]
    assert len(ready) == len(names)
    assert len({r.holder for r in ready}) == 2


def test_a_service_that_slept_while_another_took_over_leaves_no_trace(lives, monkeypatch):
    waking = []
    sleeper, heir = lives(alone=False, spawn=waking.append), lives(alone=False)
    asked(run_of("r1"))(sleeper.works)
    until(sleeper, "r1", BUILDING)
    monkeypatch.setattr(builder_module, "STALE_MS", -1)
    monkeypatch.setattr("exporters.reports.queue.LEASE_SECONDS", 0.0)
    run = until(heir, "r1", READY)
    assert run.attempt == 2
    waking[0]()
    sleeper.works.builder.turn()
    assert sleeper.works.runs.get("r1") == run
    assert [p.name for p in (heir.works.files._root).iterdir() if p.is_file()] == [run.stored]
    assert gzip.decompress(heir.works.files.path(run).read_bytes()) == RIGHT


def test_a_cancelled_report_gives_its_place_back_at_once(lives, hold):
    held = hold(2)
    life = lives(spawn=thread)
    asked(run_of("r1"), run_of("r2"))(life.works)
    until(life, "r1", BUILDING)
    until(life, "r2", BUILDING)
    eventually(lambda: held.inside == 2)
    asked(run_of("r3"))(life.works)
    life.works.builder.turn()
    assert life.works.runs.get("r3").state == WAITING
    life.works.runs.change(life.works.runs.get("r1"), CANCELLED)
    until(life, "r3", READY)
    assert not held.go.is_set()
    held.go.set()
    until(life, "r2", READY)
    assert life.works.runs.get("r1").state == CANCELLED
    eventually(lambda: len([p for p in life.works.files._root.rglob("*") if p.is_file()]) == 2)


def test_a_cancelled_report_has_taken_the_time_until_its_lease_was_renewed(lives, hold, monkeypatch):
    monkeypatch.setattr(builder_module, "LEASE_SECONDS", -1.0)
    held = hold(1)
    life = lives(spawn=thread)
    asked(run_of("r1"))(life.works)
    until(life, "r1", BUILDING)
    eventually(lambda: held.inside == 1)
    life.works.builder.turn()
    cancelled = life.works.runs.change(life.works.runs.get("r1"), CANCELLED)
    assert cancelled.build_seconds > 0


def test_a_disk_that_cannot_be_written_is_tried_again_later(lives, office):  # noqa: F811
    life = lives()
    parts = office.data / "reports"
    parts.write_text("a file where a directory must be")
    asked(run_of("r1"))(life.works)
    life.works.builder.turn()
    life.works.builder.turn()
    run = life.works.runs.get("r1")
    assert (run.state, run.tries, run.holder) == (WAITING, 1, "")
    spent = run.build_seconds
    assert spent > 0
    assert run.error.startswith("try 1 of 5 failed: the file could not be written")
    assert run.retry_at > run.changed_at
    parts.unlink()
    run = until(life, "r1", READY)
    assert run.error is None
    assert run.build_seconds > spent
    assert gzip.decompress(life.works.files.path(run).read_bytes()) == RIGHT


def test_a_file_that_cannot_be_deleted_is_tried_again_and_holds_no_report_up(lives, office, monkeypatch):  # noqa: F811
    monkeypatch.setattr(builder_module, "DISK_SECONDS", 0.0)
    life = lives(update={"report_expiry_days": 7})
    old = msgspec.structs.replace(run_of("old"), requested_at=1, changed_at=1, state=CANCELLED)
    life.works.runs.journal.write("old", msgspec.json.encode(old))
    stands = office.data / "reports" / "old"  # a directory is not unlinked
    stands.mkdir(parents=True)
    asked(run_of("r1"))(life.works)
    until(life, "r1", READY)
    assert life.works.runs.get("old").state == CANCELLED
    with pytest.raises(Unavailable, match="cannot be deleted"):
        life.works.builder.forget(life.works.runs.get("old"))
    assert life.works.runs.get("old") is not None
    stands.rmdir()
    until(life, "old", EXPIRED)


@pytest.mark.parametrize("step", [Step.TAKEN, Step.MAIL_CLAIMED])
def test_a_thread_outlives_what_nobody_foresaw(lives, step):
    fails = [step]

    def stand(at):
        if at in fails:
            fails.remove(at)
            raise ZeroDivisionError

    life = lives(spawn=thread)
    steps.observer = stand
    threads = [life.works.builder, life.works.mailroom]
    try:
        for one in threads:
            one.start()
        asked(a_run("r1"))(life.works)
        eventually(lambda: (mail := life.works.mails.get("r1")) is not None and mail.state == DONE)
        assert fails == []
    finally:
        steps.observer = steps._nobody
        for one in threads:
            one.stop()
            one.join()


def test_after_enough_tries_it_fails_with_the_reason(lives, office, monkeypatch):  # noqa: F811
    monkeypatch.setattr(making, "BACK_OFF_SECONDS", (0.0,) * 4)
    life = lives()
    (office.data / "reports").write_text("a file where a directory must be")
    asked(run_of("r1"))(life.works)
    run = until(life, "r1", FAILED)
    assert (run.tries, run.attempt) == (5, 5)
    assert run.error.endswith("(tried 5 times)")


def test_long_reports_never_have_all_places(lives, hold, monkeypatch):
    held = hold(1)
    life = lives(spawn=thread, update={"report_builders": 2})
    monkeypatch.setitem(estimates.FIRST_SPEED, "authentication", 1.0)
    life.works.builder._tools.estimates._speed["authentication"] = 300 / (2 * LONG_SECONDS)
    asked(run_of("long1"), run_of("long2"))(life.works)
    until(life, "long1", BUILDING)
    eventually(lambda: held.inside == 1)
    short = run_of("short")
    short.parameters.to_ms = FROM + 1000  # one event
    asked(short)(life.works)
    until(life, "short", READY)
    assert [life.works.runs.get(n).state for n in ("long1", "long2")] == [BUILDING, WAITING]
    held.go.set()
    until(life, "long2", READY)


def test_what_only_seemed_short_gives_way_to_those_who_wait(lives, hold, monkeypatch):
    monkeypatch.setattr(builder_module, "PATIENCE_SECONDS", 0.2)
    held = hold(2)
    life = lives(spawn=thread)
    asked(run_of("slow1"), run_of("slow2"))(life.works)
    until(life, "slow2", BUILDING)
    eventually(lambda: held.inside == 2)
    asked(run_of("quick"))(life.works)
    until(life, "quick", READY)
    assert not held.go.is_set()
    held.go.set()
    assert max(until(life, name, READY).attempt for name in ("slow1", "slow2")) == 2


def test_nobody_keeps_everybody_else_waiting(lives, hold):
    held = hold(1)
    life = lives(spawn=thread)
    greedy = [run_of(f"g{n}") for n in range(5)]
    asked(*greedy)(life.works)
    life.works.builder.turn()
    eventually(lambda: held.inside == 1)
    other = run_of("other")
    other.by = "joe"
    asked(other)(life.works)
    until(life, "other", READY)
    states = [life.works.runs.get(r.run).state for r in greedy]
    assert QUEUED in states or WAITING in states
    held.go.set()
    for run in greedy:
        until(life, run.run, READY)


def test_a_report_that_ends_the_process_each_time_is_given_up(lives):
    life = lives()
    run = run_of("r1", attempt=builder_module.MOST_ATTEMPTS)
    life.works.runs.change(run, QUEUED)
    assert "the service ended 20 times" in until(life, "r1", FAILED).error


def test_what_the_store_does_not_have_in_time_fails_and_says_what_is_missing(lives):
    life = lives()
    run = run_of("r1", timeout_seconds=0.1, ends={"connections": {0: 5}})
    asked(run)(life.works)
    failed = until(life, "r1", FAILED)
    assert "connections/0 is at 0 of 5. Is a worker running?" in failed.error


def test_a_service_that_has_not_read_its_reports_says_so_instead_of_denying_them(lives):
    works = lives().works
    works.settled()
    works.runs.journal.ready = False
    with pytest.raises(Unavailable, match="has not read its reports yet"):
        works.settled()
