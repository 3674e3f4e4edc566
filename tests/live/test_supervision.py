"""`activity up` owns what it starts: nothing outlives it, whatever ends it, and what cannot be is one line with its remedy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import psutil
import pytest
from kafka.admin import NewPartitions

from deploy.local.stack import Stack
from pipeline import broker
from tests.live.system import eventually

pytestmark = pytest.mark.live


def activity(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def said(*arguments, env=None):
    process = activity(*arguments, env={**os.environ, **(env or {})})
    out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def up(tmp_path):
    process = activity("up", "--data", str(tmp_path / "data"))
    try:
        line = process.stdout.readline().decode()
        assert line.startswith("ready http://127.0.0.1:"), process.stderr.read().decode()
        yield process, tmp_path / "data", line.split()[1]
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def belonging_to(data):
    return [p for p in psutil.process_iter(["cmdline"]) if any(str(data) in w for w in p.info["cmdline"] or [])]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_one_directory_has_one_owner_and_nothing_is_left_running(up, number):
    process, data, url = up
    code, out, err = said("up", "--data", str(data))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "is in use by another `activity up`" in err
    assert "--data" in err
    with urllib.request.urlopen(f"{url}healthz", timeout=5) as answer:
        assert answer.read() == b"ok"
    assert len(belonging_to(data)) > 4
    process.send_signal(number)
    process.wait(60)
    assert process.returncode == (-number if number == signal.SIGKILL else 0)
    eventually(lambda: not belonging_to(data))


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = said("up", "--data", str(tmp_path), "--port", str(port))
    assert (code, out) == (2, "")
    assert err.strip() == f"activity: port {port} is in use; choose another with --port"
    assert belonging_to(tmp_path) == []


def test_a_wrong_destination_is_refused_before_anything_starts(tmp_path):
    (tmp_path / "activity.toml").write_text('[destinations.siem]\ntarget = "out"\n')
    code, out, err = said("up", "--data", str(tmp_path))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "destination siem: target.directory.path: say s3://bucket/prefix with two slashes, or a directory" in err
    assert belonging_to(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["worker"], "activity up"),
        (["reports"], "activity up"),
        (["check"], "activity up"),
        (["report", "inactive", "--days", "3"], "activity up"),
        (["rejects", "list"], "activity up"),
    ],
)
def test_where_no_system_runs_every_verb_says_how_to_get_one(tmp_path, arguments, says):
    code, _, err = said(*arguments, "--data", str(tmp_path / "none"))
    assert code == 2
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(("name", "value"), [("PARTITIONS", "0"), ("FLUSH_SECONDS", "soon"), ("LOG_LEVEL", "loud")])
def test_a_wrong_setting_is_one_line_that_names_it(tmp_path, name, value):
    code, _, err = said("check", "--data", str(tmp_path), env={f"ACTIVITY_{name}": value})
    assert code == 2
    assert err.count("\n") == 1
    assert f"ACTIVITY_{name}" in err


def test_topics_are_created_once_and_every_difference_is_named(tmp_path):
    with Stack(tmp_path, servers_only=True) as stack:
        settings = stack.settings()
        assert said("topics", "create", "--data", str(tmp_path))[0] == 0
        assert said("topics", "check", "--data", str(tmp_path))[0] == 0
        admin = broker.admin(settings)
        try:
            admin.create_partitions({"activity.authentications": NewPartitions(settings.partitions + 3)})
            admin.delete_topics(["activity.rejects"])
        finally:
            admin.close()
        _, out, _ = eventually(lambda: (r := said("topics", "check", "--data", str(tmp_path)))[0] == 1 and r)
        assert "activity.rejects" in out
        assert "activity.authentications" in out
        assert str(settings.partitions + 3) in out
        # A worker does not begin on topics that are not what it was written for.
        code, _, err = said("worker", "--data", str(tmp_path))
        assert code == 2
        assert err.count("\n") == 1
        assert "activity.rejects" in err
