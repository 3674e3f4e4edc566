"""From a gateway's event to the store a report reads: events arrive at a steady rate, the service is asked again and again how far it is."""

from __future__ import annotations

import asyncio
import re
import tempfile
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaProducer

from deploy import bench
from deploy.local.processes import Child
from deploy.local.stack import Stack
from exporters.client import Client
from pipeline import clock, console
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.topics import CONNECTIONS

TICK_SECONDS = 0.02
ASK_SECONDS = 0.01
WARM_UP_SECONDS = 3
# So many different events are prepared; ids and times are made new for each one sent.
PREPARED = 200_000
SAMPLES = 6


# The two values that are made new: the event's time and its connection's id.
_PLACES = re.compile(rb'(?<="timestamp":)\d+|(?<="connection":{"id":")[^"]+')


class Watch(threading.Thread):
    """Notes when each sent batch became visible: `sent` gets (sent at, partition, offset after the batch, events), all on the monotonic clock."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self._client = Client(settings)
        self._stopping = threading.Event()
        self.sent: deque[tuple[float, int, int, int]] = deque()
        self._waiting: dict[int, deque[tuple[float, int, int]]] = {}
        self.seen: list[tuple[float, int]] = []  # (seconds, events)

    def run(self) -> None:
        while not self._stopping.wait(ASK_SECONDS):
            through = self._client.health()["through"][CONNECTIONS.role]
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


def run(rate: int, seconds: int, days: float) -> None:
    """`rate` events a second for `seconds`, after a short warm-up; their event times move through `days` and end now."""
    with tempfile.TemporaryDirectory(prefix="activity-bench-") as directory, Stack(Path(directory)) as stack:
        watch = Watch(stack.settings())
        watch.start()
        processes = {name: _process(stack.child(name)) for name in ("worker", "reports")}
        sending = Sending(stack.settings(), rate, watch, pace=days * 86_400 / seconds or 1)
        asyncio.run(sending.run(WARM_UP_SECONDS, started_ms=clock.now_ms() - round(days * 86_400_000)))
        watch.seen.clear()
        memory: list[int] = []
        before, began = {n: sum(p.cpu_times()[:2]) for n, p in processes.items()}, clock.monotonic()
        with console.progress("sending events", seconds * rate) as advance:
            asyncio.run(
                sending.run(
                    seconds,
                    started_ms=clock.now_ms() - round(days * 86_400_000),
                    look=lambda: memory.append(processes["worker"].memory_info().rss // 1_000_000),
                    advance=advance,
                )
            )
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
        "days of event time": days, "worker resident MB along the way": memory,
        **bench.machine(),
    })  # fmt: skip


class Sending:
    """Events at a steady rate.  `pace` is how much faster event time runs than the clock."""

    def __init__(self, settings: Settings, rate: int, watch: Watch, *, pace: float) -> None:
        self._settings = settings
        self._rate = rate
        self._watch = watch
        self._pace = pace
        self._topic = CONNECTIONS.name(prefix=settings.topic_prefix, app=settings.app_id)
        self._events: Iterator[tuple[bytes, int, list[bytes]]] = cycle(
            [
                (key, zlib.crc32(key) % settings.partitions, _PLACES.split(value))
                for key, value in bench.events(PREPARED)
            ]
        )
        self._number = 0

    async def run(
        self,
        seconds: int,
        *,
        started_ms: int,
        look: Callable[[], Any] = lambda: None,
        advance: Callable[[int], Any] = lambda _n: None,
    ) -> None:
        """`look` is called SAMPLES times on the way."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka.split(","), enable_idempotence=True, max_batch_size=1 << 20
        )
        await producer.start()
        answers: set[asyncio.Task[None]] = set()
        try:
            began, sent, looked = clock.monotonic(), 0, 0
            while (passed := clock.monotonic() - began) < seconds:
                due = int(passed * self._rate)
                batches = self._batches(producer, due - sent, started_ms + int(passed * self._pace * 1000))
                at = clock.monotonic()
                for partition, batch in batches.items():
                    future = await producer.send_batch(batch, self._topic, partition=partition)
                    answers.add(asyncio.create_task(_note(future, at, partition, batch.record_count(), self._watch)))
                advance(due - sent)
                sent = due
                if passed >= (looked + 1) * seconds / (SAMPLES + 1):
                    looked += 1
                    look()
                answers = {a for a in answers if not a.done()}
                await asyncio.sleep(max(0.0, TICK_SECONDS - (clock.monotonic() - at)))
            await asyncio.gather(*answers)
        finally:
            await producer.stop()

    def _batches(self, producer: Any, count: int, time_ms: int) -> dict[int, Any]:
        batches: dict[int, Any] = {}
        for _ in range(count):
            key, partition, (head, middle, tail) = next(self._events)
            batch = batches.get(partition)
            if batch is None:
                batch = batches[partition] = producer.create_batch()
            self._number += 1
            value = b"%b%d%b%x%b" % (head, time_ms, middle, self._number, tail)
            batch.append(key=key, value=value, timestamp=None)
        return batches


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
