"""Real S3 servers for tests: SeaweedFS from its wheel; versitygw where it was built or may be (its create-only is exact in parts, too)."""

import json
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from deploy.local import s3
from deploy.local.kafka import cache
from deploy.local.processes import Child, free_port, free_ports
from exporters.sinks.target import BucketTarget, KeyPair
from tests.live.system import eventually

VERSITYGW = "v1.8.0"  # as in the Makefile


@dataclass
class Server:
    """A running S3 server, and the keys of its owner."""

    name: str
    endpoint: str
    keys: Path
    region: str = "us-east-1"

    def client(self):
        keys = json.loads(self.keys.read_text())
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=keys["key_id"],
            aws_secret_access_key=keys["secret"],
            config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30),
        )

    def bucket(self) -> str:
        name = f"b-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def target(self, **more) -> BucketTarget:
        """A target with a bucket of its own, unless one is named."""
        said = {"endpoint": self.endpoint, "path_style": True, "credentials": KeyPair(file=self.keys), **more}
        if "bucket" not in said:
            said["bucket"] = self.bucket()
        return BucketTarget(**said)


def _answers(server: Server, child: Child) -> bool:
    child.look()
    return s3.stores(server.target(bucket="is-it-up"))


@contextmanager
def _running(server: Server, command: list[str], home: Path):
    child = Child(server.name, command, home / "log")
    child.start()
    try:
        eventually(lambda: _answers(server, child), seconds=120)
        yield server
    finally:
        child.stop(10)


@contextmanager
def seaweed(home: Path):
    ports = free_ports(dict.fromkeys(s3.PORTS, 0))
    command = s3.command(home, ports)
    with _running(Server("seaweed", f"http://127.0.0.1:{ports['s3.port']}", home / s3.KEYS), command, home) as server:
        yield server


def versitygw_binary() -> Path:
    """The built server.  Building takes two minutes, so it is not done here; without it the test is skipped, and the end of the run says so."""
    binary = cache() / f"versitygw-{VERSITYGW}" / "versitygw"
    if not binary.exists():
        why = "run `make versitygw` (two minutes, once)" if shutil.which("go") else "there is no Go toolchain here"
        pytest.skip(f"COULD NOT RUN: versitygw is not built; {why}")
    return binary


@contextmanager
def versitygw(home: Path, binary: Path):
    home.mkdir(parents=True)
    (home / "data").mkdir()
    keys = {"key_id": "owner", "secret": uuid.uuid4().hex}
    (home / s3.KEYS).write_text(json.dumps(keys))
    port = free_port()
    server = Server("versitygw", f"http://127.0.0.1:{port}", home / s3.KEYS)
    command = [str(binary), "--access", keys["key_id"], "--secret", keys["secret"], "--port", f"127.0.0.1:{port}"]
    with _running(server, [*command, "--quiet", "posix", str(home / "data")], home):
        yield server
