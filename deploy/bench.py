"""Measurements on this machine with real servers: a table and JSON, no verdict."""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import psutil

from deploy import check as checks
from deploy.local.stack import Stack
from pipeline import clock, console
from pipeline.intake.records import Sender
from pipeline.topics import CONNECTIONS

USERS = 10_000
ROLLUPS = 12  # quarter hours in which a user is there, each day
START_MS = 1_774_600_000_000


def machine() -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
    }


class Resident(threading.Thread):
    """The most memory that a process has while this is open, bytes."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._over = threading.Event()
        self.peak = 0

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def processor() -> str:
    """Its name, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def worker(count: int) -> None:
    """Events of about 400 bytes, users with a Zipf skew, 8 partitions, all in the topic before the worker starts."""
    with (
        tempfile.TemporaryDirectory(prefix="activity-bench-") as directory,
        Stack(Path(directory), servers_only=True) as stack,
    ):
        settings = stack.settings()
        size = 0
        with Sender(settings) as sender, console.progress("writing events", count) as advance:
            for n, (key, value) in enumerate(events(count)):
                sender.send(CONNECTIONS, key=key, value=value)
                size += len(value)
                if n % 10_000 == 0:
                    advance(10_000)
        # Python compiles what it imports for the first time ever; no later start of a worker does that.
        subprocess.run([sys.executable, "-c", "import pipeline.app"], check=True)
        began = clock.monotonic()
        log = (stack.data / "logs" / "worker.log").open("ab")
        process = psutil.Popen(
            [sys.executable, "-m", "deploy.cli", "worker", "--data", str(stack.data)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        resident, ready = 0, 0.0
        try:
            while True:
                clock.pause(0.25)
                resident = max(resident, process.memory_info().rss)
                used = process.cpu_times()
                found = checks.Findings()
                checks.read_ledgers(settings, found)
                applied = sum(row["applied"] for row in found.ledgers)
                if not ready and applied == 0:
                    ready = used.user + used.system
                if applied >= count:
                    break
            used = process.cpu_times()
            wall = clock.monotonic() - began
        finally:
            process.terminate()
            process.wait(30)
        cpu = used.user + used.system
        show({
            "events": count, "bytes per event": size // count, "wall seconds": round(wall, 1), "worker CPU seconds": round(cpu, 2),
            "of these before the first event": round(ready, 2), "events per CPU second": round(count / cpu),
            "events per CPU second without the start": round(count / max(0.01, cpu - ready)), "peak resident MB": resident // 1_000_000, **machine(),
        })  # fmt: skip


def events(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of so many connection events, the same ones each time."""
    rng = random.Random(1)  # noqa: S311 - measurements want the same events each time
    weights = list(accumulate(1 / (n + 1) for n in range(USERS)))
    chosen = rng.choices(range(USERS), cum_weights=weights, k=count)
    for n, user in enumerate(chosen):
        value = (
            f'{{"event_type":"closed_connection","timestamp":{START_MS + n * 2},"connection":{{"id":"{n:08x}-4f2a","client_ip":"203.0.{user % 256}.{rng.randrange(4)}",'
            f'"duration":3012,"rx":{n % 90000},"tx":{n % 5000},"tunnel_path":"relayed"}},'
            f'"connector":{{"id":"152169","name":"amber-fox"}},"device":{{"id":"{user % 7000}"}},"user":{{"email":"user{user}@example.com","id":"{100000 + user}"}},'
            f'"remote_network":{{"id":"64894","name":"office"}},"resource":{{"address":"wiki.internal","id":"2326772"}}}}'
        )
        yield str(100_000 + user).encode(), value.encode()


def show(figures: dict[str, Any]) -> None:
    """A table for people on standard error, one line of JSON on standard output."""
    for name, value in figures.items():
        console.say(f"{name:>42}  {value}")
    sys.stdout.write(json.dumps(figures) + "\n")
