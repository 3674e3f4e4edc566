"""What is supervised comes back, or is given up in one line that says why."""

from __future__ import annotations

import re
import sys

import pytest

from deploy.local import processes
from deploy.local.processes import Child
from pipeline.errors import ConfigError
from tests.live.system import eventually


def child(tmp_path, program):
    return Child("worker", [sys.executable, "-c", program], tmp_path / "worker.log")


def given_up(failing):
    """The last line about a process that is started and does not stay."""
    failing.start()
    with pytest.raises(ConfigError) as problem:
        eventually(failing.look, seconds=60)
    return str(problem.value)


def test_no_port_is_given_twice(monkeypatch):
    few = range(processes.PORTS.start, processes.PORTS.start + 110)
    monkeypatch.setattr(processes, "PORTS", few)
    preferred = {"first": few[7], "second": few[7]} | dict.fromkeys(map(str, range(40)), 0)
    ports = processes.free_ports(preferred)
    assert len(set(ports.values())) == len(preferred) == len(ports)
    assert set(ports.values()) <= set(few)


def test_several_quick_failures_in_a_row_give_up_and_name_the_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "QUICK_FAILURES", 3)
    failing = child(tmp_path, "import sys; sys.exit('activity: the port is taken; choose another')")
    said = given_up(failing)
    assert said.startswith("worker ended with code 1 and will not be started again: ")
    assert "the port is taken; choose another" in said
    assert str(tmp_path / "worker.log") in said
    assert (tmp_path / "worker.log").read_text().count("the port is taken") == 3


def test_what_refuses_to_run_at_all_is_asked_once_more_and_not_five_times(tmp_path):
    refusing = child(tmp_path, "import sys; print('activity: choose another directory', file=sys.stderr); sys.exit(2)")
    assert re.search(r"ended with code 2 .*choose another directory", given_up(refusing))
    assert (tmp_path / "worker.log").read_text().count("choose another directory") == 2


def test_one_failure_is_only_a_restart(tmp_path):
    marker = tmp_path / "once"
    program = f"import pathlib,sys,time; p = pathlib.Path({str(marker)!r})\nif p.exists(): time.sleep(600)\np.touch(); sys.exit(3)"
    once = child(tmp_path, program)
    once.start()
    try:
        first = once.process.pid
        eventually(lambda: once.process is not None and once.process.pid != first, look=once.look)
        assert once.process.poll() is None
    finally:
        once.stop(1)
    assert once.process.poll() is not None


@pytest.mark.parametrize(
    ("answer", "clean"), [("sys.exit(143)", True), ("os.kill(os.getpid(), signal.SIGKILL)", False)]
)
def test_one_that_is_killed_while_it_stops_did_not_stop_cleanly(tmp_path, answer, clean):
    ready = tmp_path / "ready"
    program = f"""import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: {answer})
pathlib.Path({str(ready)!r}).touch()
time.sleep(600)"""
    stopping = child(tmp_path, program)
    stopping.start()
    eventually(ready.exists)
    assert stopping.stop(60) is clean
