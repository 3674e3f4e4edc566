"""A whole system for a test: the local stack, lines in, reports out, everything held against the oracle."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Self

from kafka import KafkaProducer

from deploy import check as checks
from deploy.local.stack import Stack
from exporters.client import Client
from pipeline import topics
from pipeline.intake.records import read
from tests.oracle import Oracle, Record

SOURCES = (topics.CONNECTIONS, topics.AUTHENTICATIONS)


def eventually(what, *, seconds=60.0, look=lambda: None):
    """Wait for a condition; a test never waits for a time."""
    deadline = time.monotonic() + seconds
    while True:
        look()
        got = what()
        if got:
            return got
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


class Servers:
    """What `stack` starts, and a producer."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def __enter__(self) -> Self:
        self.stack.__enter__()
        self.settings = self.stack.settings()
        self.producer = KafkaProducer(
            bootstrap_servers=self.settings.kafka, acks="all", linger_ms=5, max_request_size=2 << 20
        )
        return self

    def __exit__(self, *args) -> None:
        self.producer.close()
        self.stack.__exit__(*args)

    def produce(self, lines) -> None:
        for line in lines:
            self.producer.send(f"activity.{line.topic}", key=line.key, value=line.value, headers=list(line.headers))
        self.producer.flush()


class System(Servers):
    def __init__(self, data: Path) -> None:
        super().__init__(Stack(data))

    def kill(self, name: str) -> None:
        """SIGKILL a server of the stack itself, behind the back of what supervises it."""
        supervised = self.stack.child(name).process
        if supervised is None or supervised.poll() is not None:
            return
        found = subprocess.run(["pgrep", "-P", str(supervised.pid)], capture_output=True, text=True, check=False)
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    def activity(self, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli", *arguments, "--data", str(self.stack.data)],
            input=stdin,
            capture_output=True,
            check=False,
        )

    def oracle(self, accounts=()) -> Oracle:
        oracle = Oracle(accounts)
        oracle.feed(
            Record(t.role, r.partition, r.offset, r.timestamp, r.value, dict(r.headers))
            for t in SOURCES
            for r in read(self.settings, t)
        )
        return oracle

    def report(self, **ask) -> tuple[dict, bytes]:
        client = Client(self.settings)
        run = client.report({"timeout_seconds": 90, **ask}, waiting=lambda _state: self.stack.look())
        return run, b"".join(client.file(run["run"]))

    def agrees(self, oracle: Oracle, windows) -> None:
        """Every cell of the three reports, and every column of the ledger."""
        for start, end, zone, from_ms, to_ms in windows:
            run, body = self.report(**{"kind": "active", "from": start, "to": end, "tz": zone})
            assert list(csv.reader(io.StringIO(body.decode(), newline="")))[1:] == oracle.active(
                from_ms, to_ms, run["requested_at"]
            )
            _, body = self.report(**{"kind": "authentication", "from": start, "to": end, "tz": zone})
            assert [json.loads(x) for x in body.splitlines()] == oracle.authentication(from_ms, to_ms)
        as_of = windows[0][4]
        _, body = self.report(kind="inactive", days=2, as_of=windows[0][1], tz=windows[0][2])
        assert list(csv.reader(io.StringIO(body.decode(), newline="")))[1:] == oracle.inactive(as_of, 2)
        self.accounts_for(oracle)

    def accounts_for(self, oracle: Oracle) -> None:
        def committed():
            found = checks.check(self.settings)
            return found if found.worker_lag == 0 else None

        found = eventually(committed, look=self.stack.look)
        assert found.off == []
        for row in found.ledgers:
            name, partition = row["partition"].split("/")
            said = Counter({"applied": row["applied"], "duplicate": row["duplicate"]}) + Counter(
                {f"rejected:{k}": n for k, n in row["rejected"].items()}
            )
            assert said == oracle.ledger[name.split(".")[1], int(partition)]
