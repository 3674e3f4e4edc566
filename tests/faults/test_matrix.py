"""The whole sync under the table of faults: a real Kafka, a real S3 server behind a proxy, real processes that really die.

After each case: every offset of the source lies in exactly one object, the verifier is green, and nothing was committed before it was stored.  A
seeded third of the table runs here (ACTIVITY_TEST_SEED chooses another one); behind `make chaos-sync` every combination there is.
"""

import gzip
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.local.stack import Stack
from exporters.sync import verify
from exporters.sync.destinations import parse
from tests import s3
from tests.faults.cases import CASES, EVERY, KILLS, chosen
from tests.faults.proxy import Fault, Operation, Proxy
from tests.faults.sts import EXTERNAL_ID, ROLE, Sts

SEED = int(os.environ.get("ACTIVITY_TEST_SEED", "4"))
RUN = list(EVERY) if os.environ.get("ACTIVITY_TEST_EVERY_FAULT") else chosen(1 / 3, SEED)
AT_ONCE = int(os.environ.get("ACTIVITY_TEST_AT_ONCE", "4"))
TOPIC = "activity.authentications"
PARTITIONS = 2
EVENTS, CUT_EVENTS = 50, 20  # in each partition; three cuts, the last one by silence
SMALL_PARTS, ONE_PIECE = 256, 16 << 20
PATIENCE_SECONDS = 100.0  # of one case, on a loaded machine
LOOK_SECONDS = 0.2  # looking costs the store as much as a delivery does
KILLED = -9

pytestmark = [pytest.mark.live, pytest.mark.chaos, pytest.mark.xdist_group("matrix")]


def test_the_table_is_large_enough_and_leaves_nothing_out():
    assert len(CASES) >= 300
    assert {(c.operation, c.fault) for c in CASES} == {(c.operation, c.fault) for c in EVERY}
    assert {(c.operation, c.kill, c.owners) for c in CASES} == set(product(Operation, KILLS, (1, 2)))
    assert {(c.fault, c.kill) for c in CASES} == set(product(Fault, KILLS))
    assert len(RUN) >= len(CASES) // 3


class Zygote:
    """Forks deliveries; answers come back by their order."""

    def __init__(self, log: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("ab"),
            cwd=Path(__file__).parents[2],
        )
        self._lock = threading.Lock()
        self._answers: list[queue.Queue] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            answer = json.loads(line)
            self._answers[answer["order"]].put(answer)

    def fork(self, **order) -> "Owner":
        answers: queue.Queue = queue.Queue()
        with self._lock:
            order["order"] = len(self._answers)
            self._answers.append(answers)
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        return Owner(answers.get(timeout=60)["pid"], answers)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)


@dataclass
class Owner:
    pid: int
    _answers: queue.Queue
    _code: int | None = None

    @property
    def code(self) -> int | None:
        if self._code is None and not self._answers.empty():
            self._code = self._answers.get()["code"]
        return self._code

    def ends(self, number: int) -> int:
        if self.code is None:
            with suppress(ProcessLookupError):  # it may have died where it was told to, and the news be on its way
                os.kill(self.pid, number)
        until(lambda: self.code is not None, "an owner does not end")
        return self.code


def until(what, words):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, words() if callable(words) else words
        time.sleep(LOOK_SECONDS)


@dataclass
class World:
    stack: Stack
    server: s3.Server
    sts: Sts
    zygote: Zygote
    home: Path
    bucket: str = ""
    ids: Counter = field(default_factory=Counter)
    local: threading.local = field(default_factory=threading.local)

    def produce(self) -> None:
        """Sign-ins in order, every tenth one twice, and here and there something that is none."""
        producer = KafkaProducer(bootstrap_servers=self.stack.endpoints["kafka"], acks="all")
        for partition in range(PARTITIONS):
            for number in range(EVENTS):
                id_ = f"{partition}-{number:03}"
                user = {"id": id_, "email": f"user{number}@example.com"}
                event = {"id": id_, "time": "2026-03-27T10:00:00Z", "action": {"type": "reauth", "user": user}}
                self.ids[id_] += 1
                for _ in range(2 if number % 10 == 3 else 1):
                    producer.send(TOPIC, partition=partition, key=id_.encode(), value=json.dumps(event).encode())
                if number % 25 == 7:
                    producer.send(TOPIC, partition=partition, value=b"{not an event")
        producer.flush()
        producer.close()
        with KafkaConsumer(bootstrap_servers=self.stack.endpoints["kafka"]) as consumer:
            tps = [TopicPartition(TOPIC, n) for n in range(PARTITIONS)]
            self.ends = {tp.partition: end for tp, end in consumer.end_offsets(tps).items()}

    @property
    def client(self):
        if not hasattr(self.local, "client"):
            self.local.client = self.server.client()
        return self.local.client


class Running:
    """One case: owners, faults and deaths, and what is right afterwards."""

    def __init__(self, world: World, case) -> None:
        self.world, self.case = world, case
        self.name = f"c{case.number:08x}"
        self.owners: list[Owner] = []
        self.groups: set[str] = set()
        self.died = False

    def run(self) -> None:
        with (
            Proxy(int(self.world.server.endpoint.rsplit(":", 1)[1])) as store,
            Proxy(self.world.sts.port) as role,
        ):
            said = {
                "kind": "role",
                "role_arn": ROLE,
                "external_id": EXTERNAL_ID,
                "source": {"kind": "keys", "file": str(self.world.server.keys)},
                "sts_endpoint": role.endpoint,
            }
            self.destination = {
                "target": {
                    "kind": "s3",
                    "bucket": self.world.bucket,
                    "prefix": self.name,
                    "endpoint": store.endpoint,
                    "path_style": True,
                    "credentials": said,
                },
                "cut_events": CUT_EVENTS,
                "idle_seconds": 0.3,
                "age_seconds": 5,
                "manifest_seconds": 0.5,
            }
            proxy = role if self.case.operation is Operation.ROLE else store
            within = "" if self.case.operation is Operation.ROLE else "/authentication/"
            proxy.plan(self.case.operation, self.case.fault, within=within)
            try:
                self._owners()
                self._delivered()
                assert proxy.met == [(self.case.operation, self.case.fault)], "the fault never came to pass"
            finally:
                for owner in self.owners:
                    owner.ends(9)
            self._right()

    def _fork(self, group: str, *, kill: str = "") -> Owner:
        large = self.case.operation in (Operation.CREATE, Operation.PART, Operation.COMPLETE)
        self.groups.add(group)
        owner = self.world.zygote.fork(
            name=self.name,
            destination=self.destination,
            data=str(self.world.stack.data),
            log=str(self.world.home / f"{self.name}.log"),
            step=kill,
            passes=1 + self.case.number % 2,
            group=group,
            part_bytes=SMALL_PARTS if large else ONE_PIECE,
            session_seconds=3,
        )
        self.owners.append(owner)
        return owner

    def _owners(self) -> None:
        first = self._fork("", kill=self.case.kill)
        if self.case.owners == 2:
            self._fork("-other")
        if not self.case.kill:
            return
        # With two owners the other one may be done before this one passes the step often enough.
        until(lambda: first.code is not None or self._covered(), self._words("nobody died and nothing ended"))
        self.died = first.code is not None
        if self.died:
            assert first.code == KILLED, self._words(f"ended with {first.code}")()
            self._committed_only_what_is_stored()
            # Half of the successors are of the same group and wait for the dead one's seat; the others take it at once.
            self._fork("" if self.case.number % 4 == 0 else "-next")

    def _delivered(self) -> None:
        def done():
            for owner in self.owners:
                assert owner.code in (None, KILLED), self._words(f"an owner ended with {owner.code}")()
            return self._covered()

        until(done, self._words("not delivered"))
        for owner in self.owners:
            code = owner.code if owner.code is not None else owner.ends(15)
            assert code in ((0, KILLED) if self.case.kill else (0,)), self._words(f"ended with {code}")()

    def _objects(self) -> dict[int, list[tuple[int, int, str]]]:
        """{partition: (first, last, key)} of the objects with events, in order."""
        found: dict[int, list[tuple[int, int, str]]] = {n: [] for n in range(PARTITIONS)}
        pages = self.world.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.world.bucket, Prefix=f"{self.name}/authentication/"
        )
        for page in pages:
            for listed in page.get("Contents", ()):
                match = verify.OBJECT.fullmatch(listed["Key"])
                found[int(match["partition"])].append((int(match["first"]), int(match["last"]), listed["Key"]))
        return {partition: sorted(rows) for partition, rows in found.items()}

    def _covered(self) -> bool:
        return all(self._through(rows) == self.world.ends[n] for n, rows in self._objects().items())

    def _through(self, rows) -> int:
        """Up to where the objects reach without a gap."""
        end = 0
        for first, last, _ in rows:
            if first > end:
                break
            end = max(end, last + 1)
        return end

    def _committed_only_what_is_stored(self) -> None:
        # The commit is asked for first: what is stored meanwhile can only be more.
        committed = {group: self._committed(group) for group in self.groups}
        stored = {n: self._through(rows) for n, rows in self._objects().items()}
        for group, offsets in committed.items():
            for partition, offset in offsets.items():
                assert offset <= stored[partition], f"group {group!r} committed {offset}, stored is {stored}"

    def _committed(self, group: str) -> dict[int, int]:
        parsed = parse(self.name, self.destination)
        name = f"activity-sync-{parsed.chain(self.name)}{group}"
        with KafkaConsumer(
            bootstrap_servers=self.world.stack.endpoints["kafka"], group_id=name, enable_auto_commit=False
        ) as consumer:
            tps = [TopicPartition(TOPIC, n) for n in range(PARTITIONS)]
            return {tp.partition: consumer.committed(tp) or 0 for tp in tps}

    def _right(self) -> None:
        objects = self._objects()
        for partition, rows in objects.items():
            ranges = [(first, last) for first, last, _ in rows]
            assert ranges[0][0] == 0
            assert ranges[-1][1] + 1 == self.world.ends[partition]
            assert all(after[0] == before[1] + 1 for before, after in pairwise(ranges)), ranges
        got: Counter = Counter()
        for rows in objects.values():
            for _, _, key in rows:
                body = self.world.client.get_object(Bucket=self.world.bucket, Key=key)["Body"].read()
                got.update(json.loads(line)["event"]["id"] for line in gzip.decompress(body).splitlines())
        assert got == self.world.ids
        self._committed_only_what_is_stored()
        place = verify.Bucket(f"s3://{self.world.bucket}/{self.name}", client=self.world.client)
        found = verify.Verifier(place).run()
        assert found.problems == []
        ends = {int(chain.rsplit("-", 1)[1]): told["end"] for chain, told in found.chains.items()}
        assert ends == self.world.ends, "the manifests do not reach the end"

    def _words(self, what: str):
        def said() -> str:
            log = self.world.home / f"{self.name}.log"
            return f"{what}; objects {self._objects()}; log:\n{log.read_text()[-6000:] if log.exists() else 'none'}"

        return said


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, request):
    """All chosen cases, several at once; a test waits for its own."""
    asked = {
        item.callspec.params["case"]
        for item in request.session.items
        if item.fspath == __file__ and hasattr(item, "callspec")
    }
    home = tmp_path_factory.mktemp("matrix")
    os.environ["ACTIVITY_PARTITIONS"] = str(PARTITIONS)
    try:
        with (
            Stack(home / "data", servers_only=True) as stack,
            s3.seaweed(home / "s3") as server,
            Sts(json.loads(server.keys.read_text())) as sts,
        ):
            zygote = Zygote(home / "zygote.log")
            world = World(stack, server, sts, zygote, home, bucket=server.bucket())
            world.produce()
            with ThreadPoolExecutor(AT_ONCE) as work:
                try:
                    yield {case: work.submit(Running(world, case).run) for case in RUN if case in asked}
                finally:
                    work.shutdown(cancel_futures=True)
                    zygote.close()
    finally:
        del os.environ["ACTIVITY_PARTITIONS"]


@pytest.mark.parametrize("case", RUN, ids=str)
def test_every_offset_ends_in_exactly_one_object(outcomes, case):
    outcomes[case].result()
