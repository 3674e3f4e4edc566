"""From Kafka to objects on real servers: every event once, whoever dies, freezes or comes back; proved from the objects alone."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime

import pytest

from exporters.sync.steps import Step
from tests.live.syncing import KILLED, QUICK, Servers, complete, delivered, dies, same
from tests.live.system import eventually
from tests.streams import Stream

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("sync")]
START = int(datetime(2026, 3, 25, tzinfo=UTC).timestamp() * 1000)
SIGN_INS, CONNECTIONS = "activity.authentications", "activity.connections"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with Servers(tmp_path_factory.mktemp("sync")) as running:
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
