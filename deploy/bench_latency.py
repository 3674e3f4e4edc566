"""From a gateway's event to the store a report reads: events arrive at a steady rate, the service is asked again and again how far it is."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import urllib.request
import zlib
from collections import deque
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaProducer

from deploy import bench
from deploy.local.processes import Child
from deploy.local.stack import Stack
from pipeline import clock, console
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.topics import CONNECTIONS

TICK_SECONDS = 0.02
ASK_SECONDS = 0.01
WARM_UP_SECONDS = 3
# So many different events are prepared; ids are made new for each one sent.
PREPARED = 200_000


class Watch(threading.Thread):
    """Notes when each sent batch became visible: `sent` gets (sent at, partition, offset after the batch, events), all on the monotonic clock."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._stopping = threading.Event()
        self.sent: deque[tuple[float, int, int, int]] = deque()
        self._waiting: dict[int, deque[tuple[float, int, int]]] = {}
        self.seen: list[tuple[float, int]] = []  # (seconds, events)

    def run(self) -> None:
        while not self._stopping.wait(ASK_SECONDS):
            with urllib.request.urlopen(f"{self._url.rstrip('/')}/api/v1/health", timeout=10) as answer:  # noqa: S310 - our own service
                through = json.load(answer)["through"][CONNECTIONS.role]
            now = clock.monotonic()
            while self.sent:
                at, partition, until, events = self.sent.popleft()
                self._waiting.setdefault(partition, deque()).append((at, until, events))
            for partition, batches in self._waiting.items():
                while batches and through.get(str(partition), 0) >= batches[0][1]:
                    at, _, events = batches.popleft()
                    self.seen.append((now - at, events))

    def left(self) -> int:
        return len(self.sent) + sum(map(len, self._waiting.values()))

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def run(rate: int, seconds: int) -> None:
    """`rate` events a second for `seconds`, after a short warm-up."""
    with tempfile.TemporaryDirectory(prefix="activity-bench-") as directory, Stack(Path(directory)) as stack:
        watch = Watch(stack.url)
        watch.start()
        processes = {name: _process(stack.child(name)) for name in ("worker", "reports")}
        events = list(bench.events(PREPARED))
        asyncio.run(_send(stack.settings(), events, rate, WARM_UP_SECONDS, watch))
        watch.seen.clear()
        before, began = {n: sum(p.cpu_times()[:2]) for n, p in processes.items()}, clock.monotonic()
        with console.progress("sending events", seconds * rate) as advance:
            asyncio.run(_send(stack.settings(), events, rate, seconds, watch, advance))
        while watch.left():
            if not watch.is_alive():
                raise Unavailable("the reports service stopped answering; see its log")
            clock.pause(0.05)
        wall = clock.monotonic() - began
        watch.stop()
        used = {n: sum(p.cpu_times()[:2]) - before[n] for n, p in processes.items()}
        resident = {n: p.memory_info().rss // 1_000_000 for n, p in processes.items()}
    counted = sum(n for _, n in watch.seen)
    bench.show({
        "events per second asked for": rate, "events": counted, "events per second reached": round(counted / wall),
        **{f"seconds to visible, {name}": round(_quantile(watch.seen, q), 3) for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))},
        **{f"{n} CPU seconds per second": round(s / wall, 2) for n, s in used.items()}, **{f"{n} resident MB": m for n, m in resident.items()},
        **bench.machine(),
    })  # fmt: skip


async def _send(
    settings: Settings, events: list[tuple[bytes, bytes]], rate: int, seconds: int, watch: Watch, advance: Any = None
) -> None:
    topic = CONNECTIONS.name(prefix=settings.topic_prefix, app=settings.app_id)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.split(","), enable_idempotence=True, max_batch_size=1 << 20
    )
    await producer.start()
    answers: set[asyncio.Task[None]] = set()
    try:
        endless, began, sent = cycle(events), clock.monotonic(), 0
        stamp = clock.now_ms() % 10**8
        while (passed := clock.monotonic() - began) < seconds:
            batches: dict[int, Any] = {}
            due = int(passed * rate)
            while sent < due:
                key, value = next(endless)
                partition = zlib.crc32(key) % settings.partitions
                batch = batches.get(partition)
                if batch is None:
                    batch = batches[partition] = producer.create_batch()
                # The first id in the line is the connection's.
                fresh = value.replace(b'"id":"', b'"id":"%d-%d-' % (stamp, sent), 1)
                batch.append(key=key, value=fresh, timestamp=None)
                sent += 1
            at = clock.monotonic()
            for partition, batch in batches.items():
                future = await producer.send_batch(batch, topic, partition=partition)
                answers.add(asyncio.create_task(_note(future, at, partition, batch.record_count(), watch)))
            if advance is not None:
                advance(sum(b.record_count() for b in batches.values()))
            answers = {a for a in answers if not a.done()}
            await asyncio.sleep(max(0.0, TICK_SECONDS - (clock.monotonic() - at)))
        await asyncio.gather(*answers)
    finally:
        await producer.stop()


async def _note(future: Any, at: float, partition: int, events: int, watch: Watch) -> None:
    answer = await future
    watch.sent.append((at, partition, answer.offset + events, events))


def _process(child: Child) -> psutil.Process:
    """What the leash holds."""
    assert child.process is not None
    leash = psutil.Process(child.process.pid)
    return next(iter(leash.children()), leash)


def _quantile(seen: list[tuple[float, int]], q: float) -> float:
    """Of (seconds, events) pairs, every event counted."""
    left = q * sum(n for _, n in seen)
    for seconds, events in sorted(seen):
        left -= events
        if left <= 0:
            return seconds
    return max(seen)[0]
