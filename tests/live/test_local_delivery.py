"""What one machine delivers by itself: to a directory, or to an S3 server of its own, provable, and nothing left running."""

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from exporters.sync import verify
from pipeline import settings
from tests.live.system import eventually
from tests.s3 import Server

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("local-delivery")]
SAMPLES = Path(__file__).parents[2] / "deploy" / "samples"


class Up:
    """`activity up` as a person starts it."""

    def __init__(self, data, *arguments):
        self.data = data
        command = [sys.executable, "-m", "deploy.cli", "up", "--data", str(data), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        line = self.process.stdout.readline()
        assert line.startswith("ready "), self.process.stderr.read()
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        _, self.said = self.process.communicate(timeout=120)
        assert self.process.returncode == 0
        eventually(lambda: not belonging_to(self.data))

    def activity(self, *arguments):
        command = [sys.executable, "-m", "deploy.cli", *arguments, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def delivered(self):
        done = self.activity("sync", "status", "--json")
        return bool(done.stdout) and all(d["lag_records"] == 0 and d["last_object"] for d in json.loads(done.stdout))


def belonging_to(data):
    return [p for p in psutil.process_iter(["cmdline"]) if any(str(data) in w for w in p.info["cmdline"] or [])]


def test_a_directory_of_objects_is_there_without_any_setting(tmp_path):
    with Up(tmp_path / "data") as up:
        assert up.activity("ingest", str(SAMPLES / "authentication.ndjson")).returncode == 0
        eventually(up.delivered, seconds=120)
    # The end of a delivery accounts for what it delivered, so it can be proved at once.
    found = verify.Verifier(verify.Directory(str(tmp_path / "data" / "objects"))).run()
    assert found.problems == []
    assert found.events > 800
    assert f"delivering to {tmp_path / 'data' / 'objects'} (local)" in up.said
    assert "destinations that change in activity.toml count once `activity up` is started again" in up.said


def test_an_s3_server_of_its_own_is_a_real_one_with_keys_of_its_own(tmp_path):
    data = tmp_path / "data"
    before = set()
    for sample in ("authentication.ndjson", "network-events.ndjson"):
        with Up(data, "--s3") as up:
            target = settings.load(data).destinations["local"]["target"]
            keys = data / "s3" / "keys.json"
            for file in (keys, data / "s3" / "identities.json"):
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert json.loads(keys.read_text())["secret"] not in (data / "endpoints.json").read_text()
            assert up.activity("ingest", str(SAMPLES / sample)).returncode == 0
            client = Server("seaweed", target["endpoint"], keys).client()
            # What a delivery said at its end counts until it says something new.
            eventually(lambda: up.delivered() and _objects(client, target) > before, seconds=120)  # noqa: B023
            assert verify.Verifier(verify.Bucket(f"s3://{target['bucket']}", client=client)).run().problems == []
            listening = {
                c.laddr.ip
                for p in belonging_to(data)
                for c in p.net_connections(kind="inet")
                if c.status == psutil.CONN_LISTEN and "weed" in p.name()
            }
            assert listening == {"127.0.0.1"}
            if before:
                continue
            before = _objects(client, target)
            looked = up.activity("sync", "test", "local", "--json")
            assert looked.returncode == 0, looked.stdout
            assert up.activity("verify", "local").returncode == 0
            way = ("--endpoint-url", target["endpoint"], "--keys", str(keys))
            assert up.activity("verify", f"s3://{target['bucket']}", *way).returncode == 0
            gone = up.activity("verify", "s3://not-there", *way)
            assert (gone.returncode, gone.stderr.count("\n")) == (2, 1)
            assert "NoSuchBucket" in gone.stderr


def _objects(client, target):
    """What lies there of events."""
    listed = client.list_objects_v2(Bucket=target["bucket"])
    assert not listed["IsTruncated"]
    return {o["Key"] for o in listed.get("Contents", ()) if "/dt=" in o["Key"] and "manifests/" not in o["Key"]}


def test_destinations_of_ones_own_are_left_as_they_are(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "activity.toml").write_text(
        f'[destinations.mine]\ntarget = "{tmp_path / "mine"}"\nidle_seconds = 1\n'
    )
    with Up(tmp_path / "data") as up:
        assert up.activity("ingest", str(SAMPLES / "authentication.ndjson")).returncode == 0
        eventually(up.delivered, seconds=120)
    assert not (tmp_path / "data" / "objects").exists()
    assert verify.Verifier(verify.Directory(str(tmp_path / "mine"))).run().ok
