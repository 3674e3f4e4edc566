"""Hours in minutes: sign-ins at a steady rate, two syncs, a real S3 server, and something going wrong every few seconds; then the proof, and the memory.

What goes wrong: a sync is killed, or frozen past its session and woken up again; the S3 server is killed, or away for a while; so is Kafka.

And one outage by itself: how soon a sync whose S3 server was away is live again.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from deploy.bench import machine, show
from deploy.bench_sync import make_target, s3_server, sign_ins, verified, written
from deploy.local.processes import Child
from deploy.local.stack import Stack
from exporters.sync import desk
from pipeline import clock, console
from pipeline.errors import Unavailable
from pipeline.intake.records import Sender
from pipeline.settings import Settings
from pipeline.topics import AUTHENTICATIONS

TICK_SECONDS = 0.05
FAULT_SECONDS = (3.0, 8.0)
SAMPLE_SECONDS = 5.0
AWAY_SECONDS = 4.0
SETTLE_SECONDS = 300.0
SYNCS = 2
PACE: dict[str, float] = {"manifest_seconds": 5, "age_seconds": 5, "idle_seconds": 2}
# Before an outage: until the first objects are there, and how far behind a sync usually is.
CALM_SECONDS = 30.0
# Short, so that a frozen sync loses its partitions and wakes up as one owner too many.
SESSION_SECONDS = 6


@dataclass
class Syncs:
    """The processes, and what was done to them."""

    data: Path
    running: list[Any] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    def start(self) -> None:
        command = [sys.executable, "-m", "deploy.cli", "sync", "--data", str(self.data)]
        with (self.data / "logs" / "sync.log").open("ab") as log:
            self.running.append(psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT))

    def look(self) -> None:
        """Raises Unavailable if one ended by itself."""
        for process in self.running:
            if process.poll() is not None:
                raise Unavailable(f"a sync ended with code {process.returncode}; see {self.data / 'logs'}")

    def sample(self) -> None:
        self.resident.append(max(p.memory_info().rss for p in self.running))

    def note(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    def kill(self, rng: random.Random) -> None:
        process = self.running.pop(rng.randrange(len(self.running)))
        process.kill()
        process.wait()
        self.start()
        self.note("a sync killed")

    def freeze(self, rng: random.Random) -> Any:
        process = rng.choice(self.running)
        process.suspend()
        self.note("a sync frozen and woken")
        return process

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(60)
            except psutil.TimeoutExpired:
                process.kill()
        self.running.clear()


def trouble(syncs: Syncs, server: Child, broker: Child, rng: random.Random) -> Generator[None, None, None]:
    """Something goes wrong at each step, and is mended at the next, or when nothing more is to go wrong."""
    while True:
        match rng.choice(("kill", "kill", "kill", "freeze", "freeze", "server", "server", "broker")):
            case "kill":
                syncs.kill(rng)
                yield
            case "freeze":
                process = syncs.freeze(rng)
                try:
                    yield
                finally:
                    process.resume()
            case "server":
                server.stop(0.1 if rng.random() < 0.5 else 5)
                syncs.note("the S3 server away")
                try:
                    yield
                finally:
                    server.start()
            case _:
                broker.stop(0.1 if rng.random() < 0.5 else 10)
                syncs.note("Kafka away")
                clock.pause(AWAY_SECONDS)
                broker.start()  # at once: who sends waits for it, and nobody else would start it
                yield


class Scene(NamedTuple):
    stack: Stack
    server: Child
    target: dict[str, Any]
    syncs: Syncs


@contextmanager
def scene(settings: str = "") -> Iterator[Scene]:
    """Kafka, an S3 server and a destination there; `settings` are lines of TOML.  Nothing of it is left."""
    with (
        tempfile.TemporaryDirectory(prefix="activity-soak-") as directory,
        Stack(Path(directory), servers_only=True) as stack,
    ):
        server, syncs = s3_server(stack.data), Syncs(stack.data)
        try:
            target = make_target(stack.data)
            (stack.data / "activity.toml").write_text(settings + written(target, PACE))
            yield Scene(stack, server, target, syncs)
        finally:
            for process in syncs.running:
                process.kill()
            server.stop(10)


def run(minutes: float, rate: int) -> None:
    rng = random.Random(7)  # noqa: S311 - the same troubles each time
    with scene(f"session_timeout_seconds = {SESSION_SECONDS}\n") as (stack, server, target, syncs):
        for _ in range(SYNCS):
            syncs.start()
        sent = _send(stack.settings(), rate, minutes, syncs, trouble(syncs, server, stack.child("kafka"), rng))
        began = clock.monotonic()
        _settle(stack.settings(), syncs, sent)
        settled = clock.monotonic() - began
        syncs.stop()
        found = verified(stack.data, target)
    half = len(syncs.resident) // 2
    show({
        "minutes": minutes, "events per second": rate, "events sent": sent, "events in the bucket": found.events, "objects": found.objects, **syncs.done,
        "verified": found.ok and found.events == sent, "problems": found.problems[:5], "seconds to settle": round(settled, 1),
        "peak resident MB, first half": max(syncs.resident[:half], default=0) // 1_000_000,
        "peak resident MB, second half": max(syncs.resident[half:], default=0) // 1_000_000, **machine(),
    })  # fmt: skip


class Arrivals:
    """Events at a steady rate, from now on."""

    def __init__(self, sender: Sender, rate: int, total: int) -> None:
        self._sender = sender
        self._rate = rate
        self._total = total
        self._events = sign_ins(total)
        self._began = clock.monotonic()
        self.sent = 0

    def send_due(self) -> int:
        """Send what is due, and wait a moment; returns how many that were."""
        due = min(self._total, int((clock.monotonic() - self._began) * self._rate)) - self.sent
        for key, value in islice(self._events, due):
            self._sender.send(AUTHENTICATIONS, key=key, value=value)
        self.sent += due
        clock.pause(TICK_SECONDS)
        return due


def _send(settings: Settings, rate: int, minutes: float, syncs: Syncs, wrong: Generator[None, None, None]) -> int:
    """Returns how many events were sent.  All trouble is over when it does."""
    rng, total = random.Random(8), int(minutes * 60 * rate)  # noqa: S311
    began = clock.monotonic()
    next_fault, next_sample = began + 5.0, began + SAMPLE_SECONDS
    with Sender(settings) as sender, console.progress("sending", total) as advance:
        arrivals = Arrivals(sender, rate, total)
        while arrivals.sent < total:
            advance(arrivals.send_due())
            now = clock.monotonic()
            if now >= next_fault:
                next(wrong)
                next_fault = now + rng.uniform(*FAULT_SECONDS)
            if now >= next_sample:
                syncs.sample()
                next_sample = now + SAMPLE_SECONDS
            syncs.look()
    wrong.close()
    return arrivals.sent


def _settle(settings: Settings, syncs: Syncs, sent: int) -> None:
    deadline = clock.monotonic() + SETTLE_SECONDS
    clock.pause(AWAY_SECONDS)  # Kafka may have come back this moment
    with desk.following(settings) as told:
        while (delivered := _delivered(told)) < sent:
            if clock.monotonic() > deadline:
                raise Unavailable(f"not delivered after {SETTLE_SECONDS:.0f} s: {delivered} of {sent}")
            syncs.look()
            clock.pause(0.5)


def _delivered(told: desk.Desk) -> int:
    """Offsets of all partitions, by the newest word on each."""
    newest: dict[int, tuple[int, int]] = {}
    for state in told.states("bench"):
        for lane in state.lanes:
            newest[lane.partition] = max(newest.get(lane.partition, (0, 0)), (state.at, lane.delivered))
    return sum(delivered for _, delivered in newest.values())


def outage(seconds: int, rate: int) -> None:
    """The S3 server is away for so long while events go on arriving."""
    with scene() as (stack, server, target, syncs):
        syncs.start()
        with Sender(stack.settings()) as sender, desk.following(stack.settings()) as told:
            arrivals = Arrivals(sender, rate, int(rate * (CALM_SECONDS + seconds + SETTLE_SECONDS)))
            behind: list[int] = []

            def go_on(until: float) -> None:
                while clock.monotonic() < until:
                    arrivals.send_due()
                    behind.append(arrivals.sent - _delivered(told))
                    syncs.look()

            go_on(clock.monotonic() + CALM_SECONDS)
            usual = max(behind[len(behind) // 2 :])
            server.stop(5)
            go_on(clock.monotonic() + seconds)
            server.start()
            back, before, most = clock.monotonic(), _delivered(told), behind[-1]
            while behind[-1] > usual:
                if clock.monotonic() > back + SETTLE_SECONDS:
                    raise Unavailable(f"still {behind[-1]} events behind {SETTLE_SECONDS:.0f} s after the outage")
                go_on(clock.monotonic() + TICK_SECONDS)
            took, delivered = clock.monotonic() - back, _delivered(told) - before
            sent = arrivals.sent
        _settle(stack.settings(), syncs, sent)
        syncs.stop()
        found = verified(stack.data, target)
    show({
        "seconds away": seconds, "events per second": rate, "events usually behind, at most": usual, "events behind at its end": most,
        "seconds until live again": round(took, 1), "events delivered per second meanwhile": round(delivered / took),
        "times the rate of arrival": round(delivered / took / rate, 1), "verified": found.ok and found.events == sent, **machine(),
    })  # fmt: skip
