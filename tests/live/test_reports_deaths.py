"""The whole system, and a real kill -9 of the reports service at the named steps of a run, its mail and a schedule.

Some of them run always; all do with `ACTIVITY_TEST_DEATHS` (`make chaos-reports`).
"""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from collections import Counter
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default

import httpx
import msgspec
import pytest
from kafka import KafkaProducer

from exporters.access import keys
from exporters.reports.plans import Schedule, run_name
from exporters.reports.runs import READY
from exporters.reports.schedules import Timing
from exporters.reports.steps import Step
from tests.exporters.reports.test_deaths import history
from tests.live.system import System, eventually
from tests.streams import Stream

pytestmark = [pytest.mark.live, pytest.mark.chaos, pytest.mark.xdist_group("reports-deaths")]

START = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)
OF_SCHEDULES = (Step.DUE, Step.SCHEDULED, Step.ADVANCED)
OF_RUNS = tuple(s for s in Step if s not in (*OF_SCHEDULES, Step.EXPIRING))
ALL = "ACTIVITY_TEST_DEATHS" in os.environ
RUNS = OF_RUNS if ALL else (Step.ASKED, Step.MAIL_TAKEN)
SCHEDULES = OF_SCHEDULES if ALL else (Step.SCHEDULED,)


class Mortal:
    """A system whose reports service dies as told and is started again by what supervises it."""

    def __init__(self, system) -> None:
        self.system = system
        self.plan = system.stack.data / "dies-at"
        self.plan.write_text("")
        child = system.stack.child("reports")
        port = child.command[-1]
        child.stop(10)
        child.command = [sys.executable, "-m", "tests.live.dying_service", str(system.stack.data), port, str(self.plan)]
        child.start()
        token = keys.local_token(system.settings)
        self._http = httpx.Client(
            base_url=system.stack.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60
        )

    def call(self, method, path, **options):
        """As a client does: again after a broken connection."""

        def answered():
            try:
                answer = self._http.request(method, path, **options)
            except httpx.HTTPError:
                return None
            return answer if answer.status_code < 500 else None

        return eventually(answered, seconds=120, look=self.look).json()

    def look(self) -> None:
        self.system.stack.child(
            "reports"
        )._failures = 0  # it is killed more often than anything that should be given up
        self.system.stack.look()

    def mails(self):
        found = Counter()
        for path in (self.system.stack.data / "mail").glob("[0-9]*.eml"):
            found[message_from_bytes(path.read_bytes(), policy=default)["Message-ID"]] += 1
        return found

    def holds(self, name, *, repeats) -> None:
        """Ready once, one file, its very bytes, one mail."""

        def told():
            self.look()
            return self.mails()[f"<run-{name}@localhost>"]

        eventually(told, seconds=120)
        run = self.call("GET", f"/api/v1/reports/{name}")
        assert run["state"] == READY
        [stored] = {r.stored for r in history(self.system.settings)[name] if r.state == READY}

        def files():
            return [p for p in (self.system.stack.data / "reports").rglob(f"{name}*") if p.is_file()]

        eventually(lambda: [p.name for p in files()] == [stored], look=self.look)  # tidied up after it is ready
        assert hashlib.sha256(files()[0].read_bytes()).hexdigest() == run["sha256"]
        assert self.mails()[f"<run-{name}@localhost>"] <= 1 + repeats


@pytest.fixture(scope="module")
def mortal(tmp_path_factory):
    with System(tmp_path_factory.mktemp("mortal")) as system:
        system.produce(Stream(5, start_ms=START).lines(500))
        yield Mortal(system)


def dead(mortal):
    return eventually(lambda: not mortal.plan.read_text(), seconds=120, look=mortal.look)


@pytest.mark.parametrize("step", RUNS)
def test_a_killed_service_makes_every_report_once(mortal, step):
    mortal.plan.write_text(step.value)
    ask = {"kind": "active", "preset": "90d", "gzip": True, "recipients": [f"{step.value}@x.example"]}
    run = mortal.call("POST", "/api/v1/reports", json=ask, headers={"Idempotency-Key": step.value})
    dead(mortal)
    eventually(lambda: mortal.call("GET", f"/api/v1/reports/{run['run']}")["state"] == READY, seconds=120)
    mortal.holds(run["run"], repeats=step in (Step.MAIL_HANDING, Step.MAIL_TAKEN))


@pytest.mark.parametrize("step", SCHEDULES)
def test_a_killed_service_makes_every_due_time_once(mortal, step):
    now = datetime.now(UTC)
    at = now.replace(minute=now.minute - now.minute % 15, second=0, microsecond=0)
    due = int(at.timestamp() * 1000)
    timing = Timing("daily", at.strftime("%H:%M"), "UTC")
    schedule = Schedule(
        uuid.uuid4().hex, "Killed", timing, "since_last", {"kind": "active"}, "jane", 1, 1,
        recipients=["joe@x.example"], next_due=due,
    )  # fmt: skip
    mortal.plan.write_text(step.value)
    producer = KafkaProducer(bootstrap_servers=mortal.system.settings.kafka)
    producer.send("activity.reports", key=f"schedule/{schedule.id}".encode(), value=msgspec.json.encode(schedule))
    producer.close()
    dead(mortal)
    name = run_name(schedule.id, due)

    def made():
        return mortal.call("GET", f"/api/v1/schedules/{schedule.id}/reports")["reports"]

    eventually(lambda: [r["state"] for r in made()] == [READY], seconds=120, look=mortal.look)
    assert [r["run"] for r in made()] == [name]
    mortal.holds(name, repeats=0)
    moved = lambda: mortal.call("GET", f"/api/v1/schedules/{schedule.id}")["next_due"] > due  # noqa: E731
    eventually(moved, seconds=120, look=mortal.look)


def test_without_redis_pages_and_reports_go_on_and_say_so(mortal):
    mortal.call("GET", "/api/v1/health")
    redis = mortal.system.stack.child("redis")
    mortal.system.stack._children.remove(redis)
    redis.stop(10)
    try:
        ask = {"kind": "inactive", "days": 30}
        run = mortal.call("POST", "/api/v1/reports", json=ask)
        eventually(lambda: mortal.call("GET", f"/api/v1/reports/{run['run']}")["state"] == READY, seconds=120)
        assert any("Redis is away" in line for line in mortal.call("GET", "/api/v1/health")["degraded"])
    finally:
        redis.start()
        mortal.system.stack._children.append(redis)
    eventually(lambda: mortal.call("GET", "/api/v1/health")["degraded"] == [], seconds=120, look=mortal.look)
