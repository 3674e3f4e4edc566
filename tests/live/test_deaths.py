"""A worker dies at every step it has, sleeps and wakes beside its successor: every cell agrees with the oracle all the same."""

from __future__ import annotations

import json
import signal

import pytest

from deploy import check as checks
from pipeline.engine.steps import Step
from tests.live.system import System, eventually
from tests.live.test_whole_system import START, WINDOWS
from tests.live.workers import Workers
from tests.streams import Stream

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("deaths")]


@pytest.fixture
def stream():
    return Stream(43, start_ms=START)


@pytest.fixture
def system(tmp_path, stream, monkeypatch):
    monkeypatch.setenv("ACTIVITY_SESSION_TIMEOUT_SECONDS", "2")
    (tmp_path / "users.json").write_text(json.dumps(stream.accounts()))
    with System(tmp_path) as running:
        assert running.activity("users", "import", str(tmp_path / "users.json")).returncode == 0
        yield running


@pytest.mark.chaos
def test_deaths_at_every_step_and_a_sleeper_that_wakes_change_nothing(system, stream):
    workers = Workers(system)
    kills = 0
    for n, step in enumerate([*Step, *Step, *Step]):
        system.produce(stream.lines(400))
        if step in (Step.FENCED, Step.STARTED, Step.COMMITTED):
            count = 1
        else:
            count = 1 + n % 2
        process = workers.start(step.value, count)

        def feed_until_dead(process=process):
            system.produce(stream.lines(15))
            return process.poll() is not None

        eventually(feed_until_dead, seconds=120)
        assert process.returncode == -signal.SIGKILL, f"{step}: {process.returncode}"
        kills += 1
    assert kills >= 20
    sleeper = workers.start()
    system.produce(stream.lines(500))
    eventually(lambda: checks_lag(system) == 0)
    sleeper.send_signal(signal.SIGSTOP)
    successor = workers.start()
    system.produce(stream.lines(500))
    eventually(lambda: checks_lag(system) == 0)
    sleeper.send_signal(signal.SIGCONT)
    second = workers.start()
    system.produce(stream.lines(500))
    try:
        system.agrees(system.oracle(stream.accounts()), WINDOWS[:2])
        second.terminate()
        assert workers.dies(second) == 0
        system.produce(stream.lines(500))
        system.agrees(system.oracle(stream.accounts()), WINDOWS[:1])
    finally:
        for process in (sleeper, successor, second):
            if process.poll() is None:
                process.kill()
            process.wait()


def checks_lag(system):
    return checks.check(system.settings).worker_lag
