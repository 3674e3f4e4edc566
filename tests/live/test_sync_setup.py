"""`activity sync test NAME` on real servers: each step said, exit 1 if something is to be changed."""

import json
import subprocess
import sys

import pytest

from deploy.local.stack import Stack
from tests import s3

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("objects")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    home = tmp_path_factory.mktemp("setup")
    with Stack(home / "data", servers_only=True) as stack, s3.seaweed(home / "s3") as server:
        good = {
            "kind": "s3",
            "bucket": server.bucket(),
            "prefix": "events",
            "endpoint": server.endpoint,
            "path_style": True,
            "credentials": {"kind": "keys", "file": str(server.keys)},
        }
        destinations = {
            "siem": {"target": good},
            "nowhere": {"target": {**good, "bucket": "not-there"}},
            "disk": {"target": str(home / "objects")},
        }
        tables = "\n".join(f"{name} = {_inline(said)}" for name, said in destinations.items())
        (home / "data" / "activity.toml").write_text(f"[destinations]\n{tables}\n")
        yield stack


def _inline(value) -> str:
    """A value as TOML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def looked(world, *arguments):
    command = [sys.executable, "-m", "deploy.cli", "sync", "test", *arguments, "--data", str(world.data)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_good_destination_is_said_to_be_good_step_by_step(world):
    for _ in range(2):
        done = looked(world, "siem")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 9
        assert [x.split()[0] for x in lines] == ["ok"] * 6 + ["?", "ok", "ok"]
    assert "was claimed for siem@" in lines[-1]
    assert looked(world, "disk").returncode == 0


def test_what_is_to_be_changed_is_said_and_the_exit_code_is_1(world):
    done = looked(world, "nowhere", "--json")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["ok"] is False
    steps = {s["name"]: s for s in said["steps"]}
    assert steps["write"]["ok"] is False
    assert "make the bucket" in steps["write"]["said"]
    assert steps["claim"]["ok"] is None


def test_a_name_that_nobody_has_is_one_line(world):
    done = looked(world, "somewhere")
    assert done.returncode == 1
    assert done.stderr == "activity: there is no destination somewhere; there are: disk, nowhere, siem\n"
