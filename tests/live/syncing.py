"""A sync beside real servers: started in this process, or as one that can be killed; what it delivered is compared with the oracle."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition

from deploy.local.stack import Stack
from exporters.sync import app, verify
from pipeline.intake.records import read
from tests.live.system import SOURCES, Servers, eventually
from tests.oracle import Oracle, Record

QUICK = {"idle_seconds": 0.3, "age_seconds": 2, "manifest_seconds": 0.5, "cut_events": 200}


class Kafka(Servers):
    """Kafka alone, and what is on it."""

    def __init__(self, data: Path) -> None:
        super().__init__(Stack(data, servers_only=True))
        self.data = data

    def ends(self, topic: str) -> dict[int, int]:
        consumer = KafkaConsumer(bootstrap_servers=self.settings.kafka)
        try:
            tps = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)]
            return {tp.partition: end for tp, end in consumer.end_offsets(tps).items()}
        finally:
            consumer.close()

    def oracle(self) -> Oracle:
        oracle = Oracle(())
        oracle.feed(
            Record(t.role, r.partition, r.offset, r.timestamp, r.value, dict(r.headers))
            for t in SOURCES
            for r in read(self.settings, t)
        )
        return oracle

    def sync(self, name: str, target: Path, **settings):
        return Syncing(self, name, {"target": str(target), **QUICK, **settings})

    def process(self, *arguments: str) -> subprocess.Popen:
        log = (self.data / "logs" / "sync.log").open("ab")
        command = [sys.executable, "-m", "tests.live.dying_sync", str(self.data), *arguments]
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[2])

    def covered(self, target: Path, kind: str, topic: str) -> bool:
        """Whether the manifests reach the source's end everywhere."""
        ends = self.ends(topic)
        told = {}
        for file in (target / "manifests" / kind).rglob("*.json"):
            m = verify.MANIFEST.fullmatch(f"manifests/{file.relative_to(target / 'manifests').as_posix()}")
            told[int(m["partition"])] = max(told.get(int(m["partition"]), 0), int(m["last"]))
        return told == ends


class Syncing:
    """`with servers.sync(…):` delivers until the block ends."""

    def __init__(self, servers: Kafka, name: str, settings: dict) -> None:
        self.settings = servers.settings.model_copy(update={"destinations": {name: settings}})
        self.ending = threading.Event()
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            app.run(self.settings, self.ending)
        except BaseException as error:
            self.problem = error

    def __enter__(self) -> Syncing:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.ending.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.problem is not None:
            raise self.problem

    def look(self) -> None:
        if self.problem is not None:
            raise self.problem


def delivered(target: Path, kind: str = "authentication") -> list[dict]:
    return [
        json.loads(line)
        for file in sorted((target / kind).rglob("*.gz"))
        for line in gzip.decompress(file.read_bytes()).splitlines()
    ]


def complete(target: Path) -> verify.Findings:
    found = verify.Verifier(verify.Directory(str(target))).run()
    assert found.problems == []
    return found


def same(servers: Kafka, target: Path) -> None:
    """Every sign-in that the oracle has lies there once, and nothing else."""
    expected = Counter(json.dumps(x, sort_keys=True) for x in servers.oracle().authentication(0, 1 << 60))
    got = Counter(json.dumps(x, sort_keys=True) for x in delivered(target))
    assert got == expected
    assert complete(target).events >= sum(expected.values())


def dies(process: subprocess.Popen) -> int:
    return eventually(lambda: process.poll() is not None, seconds=90) and process.returncode


KILLED = -signal.SIGKILL
