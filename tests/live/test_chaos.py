"""`make chaos`: for some minutes everything dies, freezes, joins, leaves, forgets, at random; the reports stay the oracle's.

ACTIVITY_TEST_CHAOS_MINUTES and ACTIVITY_TEST_CHAOS_SEED; what was done is written into $ACTIVITY_TEST_CHAOS_OUT or said at the end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import redis

from deploy import check as checks
from deploy.local.stack import _answers, _healthy
from pipeline.engine.steps import Step
from pipeline.errors import Problem
from tests.live.system import System, eventually
from tests.live.test_whole_system import WINDOWS
from tests.live.workers import Workers
from tests.streams import Stream

MINUTES = float(os.environ.get("ACTIVITY_TEST_CHAOS_MINUTES", "0"))
SEED = int(os.environ.get("ACTIVITY_TEST_CHAOS_SEED", "1"))
pytestmark = [
    pytest.mark.live,
    pytest.mark.chaos,
    pytest.mark.xdist_group("chaos"),
    pytest.mark.skipif(not MINUTES, reason="runs for minutes: `make chaos`"),
]

START = int(datetime(2026, 3, 25, tzinfo=ZoneInfo("UTC")).timestamp() * 1000)
MOST_WORKERS = 3
SETTLE_SECONDS = 100
# A server that dies again within 10 s of its start five times in a row is given up, and rightly so.
REST_SECONDS = {"reports": 15, "redis": 15, "kafka": 60}
# How a worker may end: killed, asked to (-15: before it had read how to leave), or by one of its own guards; 2 only while Kafka is away.
ENDS = {-signal.SIGKILL, -signal.SIGTERM, 0, 2, *range(70, 80)}


class Chaos:
    def __init__(self, system, seed):
        self.system, self.rng = system, random.Random(seed)
        self.stream = Stream(seed, start_ms=START)
        self.workers = Workers(system)
        self.alive, self.frozen = [], []
        self.done, self.ends, self.lines = Counter(), Counter(), 0
        self.rested = dict.fromkeys(REST_SECONDS, 0.0)
        self.pace = threading.Event()
        self.actions = {
            self.kill: 30, self.die_at_a_step: 30, self.freeze: 8, self.thaw: 10, self.join: 14, self.leave: 6,
            self.kill_service: 4, self.kill_redis: 3, self.empty_redis: 4, self.kill_broker: 2, self.delete_store: 1, self.ask: 4,
        }  # fmt: skip

    def run(self, seconds):
        began = settled = time.monotonic()
        while time.monotonic() - began < seconds:
            self.produce(self.rng.randrange(20, 250))
            self.look()
            [action] = self.rng.choices(list(self.actions), list(self.actions.values()))
            action()
            self.pace.wait(self.rng.uniform(0.1, 1.5))  # moments are random: this is no waiting for anything
            if time.monotonic() - settled > SETTLE_SECONDS:
                self.settle([self.rng.choice(WINDOWS)])
                settled = time.monotonic()
        self.settle(WINDOWS)

    def look(self):
        self.system.stack.look()
        for process in [p for p in self.alive if p.poll() is not None]:
            self.alive.remove(process)
            self.ends[process.returncode] += 1
            assert process.returncode in ENDS, f"a worker ended with {process.returncode}"
        if not self.alive:
            self.alive.append(self.workers.start())

    def produce(self, count):
        self.system.produce(self.stream.lines(count))
        self.lines += count

    def settle(self, windows):
        """Everybody awake, everything taken in: the reports are the oracle's and the check holds."""
        while self.frozen:
            self.thaw()
        eventually(
            lambda: _answers(self.system.settings) and _healthy(self.system.stack.url), seconds=120, look=self.look
        )
        eventually(lambda: checks.check(self.system.settings).worker_lag == 0, seconds=180, look=self.look)
        self.system.agrees(self.system.oracle(self.stream.accounts()), windows)
        self.done["settled"] += 1

    def kill(self):
        if self.alive:
            self.rng.choice(self.alive).send_signal(signal.SIGKILL)
            self.done["killed at a random moment"] += 1

    def die_at_a_step(self):
        if len(self.alive) >= MOST_WORKERS:
            return
        step = self.rng.choice(list(Step))
        self.alive.append(self.workers.start(step.value, self.rng.randrange(1, 4)))
        self.done[f"told to die: {step.value}"] += 1

    def freeze(self):
        if self.alive and len(self.frozen) < 2:
            process = self.rng.choice(self.alive)
            self.alive.remove(process)
            process.send_signal(signal.SIGSTOP)
            self.frozen.append(process)
            self.done["frozen"] += 1

    def thaw(self):
        if self.frozen:
            process = self.frozen.pop(0)
            process.send_signal(signal.SIGCONT)
            self.alive.append(process)
            self.done["woken"] += 1

    def join(self):
        if len(self.alive) < MOST_WORKERS:
            self.alive.append(self.workers.start())
            self.done["joined"] += 1

    def leave(self):
        if len(self.alive) > 1:
            self.rng.choice(self.alive).send_signal(signal.SIGTERM)
            self.done["left"] += 1

    def _may(self, name):
        if time.monotonic() - self.rested[name] < REST_SECONDS[name]:
            return False
        self.rested[name] = time.monotonic()
        return True

    def kill_service(self):
        if self._may("reports"):
            self.system.kill("reports")
            self.done["reports service killed"] += 1

    def kill_redis(self):
        if self._may("redis"):
            self.system.kill("redis")
            self.done["Redis killed"] += 1

    def empty_redis(self):
        try:
            with redis.Redis.from_url(self.system.settings.redis, protocol=3) as client:
                client.flushall()
                self.done["Redis emptied"] += 1
        except redis.RedisError:
            pass  # it was killed a moment ago

    def kill_broker(self):
        if self._may("kafka"):
            self.system.kill("kafka")
            self.done["broker killed"] += 1
            eventually(lambda: not _answers(self.system.settings), seconds=30)
            eventually(lambda: _answers(self.system.settings), seconds=120, look=self.look)

    def delete_store(self):
        if self._may("reports"):
            child = self.system.stack.child("reports")
            child.stop(20)
            shutil.rmtree(self.system.stack.data / "store", ignore_errors=True)
            child.start()
            self.done["store deleted"] += 1

    def ask(self):
        """While all this goes on, whoever asks gets an answer or a reason, and never a wrong number of seconds."""
        try:
            self.system.report(kind="inactive", days=2, timeout_seconds=5)
            self.done["asked and answered"] += 1
        except Problem:
            self.done["asked and told why not"] += 1

    def end(self):
        for process in (*self.alive, *self.frozen):
            process.kill()
            process.wait()


def test_whatever_dies_freezes_or_forgets_the_reports_are_the_oracles(tmp_path, monkeypatch):
    monkeypatch.setenv("ACTIVITY_SESSION_TIMEOUT_SECONDS", "2")
    began = time.monotonic()
    with System(tmp_path) as system:
        chaos = Chaos(system, SEED)
        (tmp_path / "users.json").write_text(json.dumps(chaos.stream.accounts()))
        assert system.activity("users", "import", str(tmp_path / "users.json")).returncode == 0
        try:
            chaos.run(MINUTES * 60)
        finally:
            chaos.end()
            deaths = chaos.ends[-signal.SIGKILL]
            said = {"seed": SEED, "seconds": round(time.monotonic() - began), "lines": chaos.lines, "workers killed": deaths,
                    "done": dict(sorted(chaos.done.items())), "workers ended with": {str(k): n for k, n in sorted(chaos.ends.items())}}  # fmt: skip
            text = json.dumps(said, indent=1) + "\n"
            Path(out).write_text(text) if (out := os.environ.get("ACTIVITY_TEST_CHAOS_OUT")) else sys.stderr.write(text)
        assert deaths >= 4 * MINUTES, "too quiet to prove anything"
