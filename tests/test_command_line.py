"""What is wrong with a command is one line that says what to do, and exit 2; nothing was started."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Nobody listens there.
AWAY = {
    "ACTIVITY_KAFKA": "127.0.0.1:9",
    "ACTIVITY_REDIS": "redis://127.0.0.1:9/0",
    "ACTIVITY_REPORTS_URL": "http://127.0.0.1:9",
}


def activity(*arguments, **environment):
    own = {k: v for k, v in os.environ.items() if not k.startswith("ACTIVITY_")}
    command = [sys.executable, "-m", "deploy.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**own, **environment})


def refused(done):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("activity: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "--nope"], "No such option: --nope. See `activity check --help`"),
        (["report", "active", "--to", "2026-04-01"], "Missing option '--from'. See `activity report active --help`"),
        (["report", "inactive", "--days", "x"], "Invalid value for '--days'"),
        (["ingest"], "See `activity ingest --help`"),
        (["reprot"], "Did you mean 'report', 'reports'? See `activity --help`"),
    ],
)
def test_a_wrong_flag_or_verb(arguments, says):
    assert says in refused(activity(*arguments))


@pytest.mark.parametrize("verb", [["topics", "check"], ["reports"]])
def test_kafka_away(tmp_path, verb):
    said = refused(activity(*verb, "--data", str(tmp_path), **AWAY))
    assert said == "activity: Kafka at 127.0.0.1:9 does not answer; start it or correct ACTIVITY_KAFKA"
