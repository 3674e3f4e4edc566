"""How far the runs are that are being made: in Redis for every service, in memory for this one.

A hash a run, gone by itself after a while, and a message on a channel at each change.  Without Redis each service knows of its own runs only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from exporters import redis
from pipeline import clock, logs
from pipeline.errors import Problem
from pipeline.settings import Settings

log = logs.logger("progress")

KEPT_SECONDS = 3600
AGAIN_SECONDS = 1.0
# Between two words about the same run.
PACE_SECONDS = 0.5


class Progress(msgspec.Struct, frozen=True):
    """`share` of the work from 0 to 1; `left_ms` is an estimate."""

    run: str
    share: float
    rows: int = 0
    left_ms: int | None = None
    state: str = "building"


class Watch(threading.Thread):
    """Tells and is told.  `listen` gives every change, of whatever service."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="progress", daemon=True)
        self._client = redis.connect(settings)
        self._ear = redis.connect(settings, answer_seconds=None)
        self._settings = settings
        self._channel = redis.key(settings, "progress")
        self._known: dict[str, Progress] = {}
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Progress], object]] = []
        self._stopping = threading.Event()
        self._away_until = 0.0
        self.connected = False

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                with redis.answering():
                    self._follow()
            except Problem as problem:
                if self.connected:
                    log.warning(str(problem))
                self.connected = False
            except Exception as error:
                log.exception("following progress failed; trying again", error=type(error).__name__)
                self.connected = False
            self._stopping.wait(AGAIN_SECONDS)

    def stop(self) -> None:
        self._stopping.set()

    def tell(self, progress: Progress) -> None:
        """Say how far a run is.  Never fails and never waits for long: it is only a comfort."""
        self._hear(progress)
        if clock.monotonic() < self._away_until:
            return
        try:
            with redis.answering():
                step = self._client.pipeline(transaction=False)
                name = redis.key(self._settings, "run", progress.run)
                step.hset(name, mapping={"share": progress.share, "rows": progress.rows, "state": progress.state,
                                         "left_ms": "" if progress.left_ms is None else progress.left_ms})  # fmt: skip
                step.expire(name, KEPT_SECONDS)
                step.publish(self._channel, msgspec.json.encode(progress).decode())
                step.execute()
        except Problem:
            self._away_until = clock.monotonic() + AGAIN_SECONDS

    def of(self, run: str) -> Progress | None:
        with self._lock:
            return self._known.get(run)

    def forget(self, run: str) -> None:
        """It is over: nothing is shown of it any more."""
        with self._lock:
            self._known.pop(run, None)
        if clock.monotonic() < self._away_until:
            return
        try:
            with redis.answering():
                self._client.delete(redis.key(self._settings, "run", run))
        except Problem:
            self._away_until = clock.monotonic() + AGAIN_SECONDS

    def listen(self, told: Callable[[Progress], object]) -> Callable[[], None]:
        """Have `told` called, in another thread, at every change; the answer ends that."""
        with self._lock:
            self._listeners.append(told)
        return lambda: self._listeners.remove(told)

    def _hear(self, progress: Progress) -> None:
        with self._lock:
            if self._known.get(progress.run) == progress:
                return  # our own word, come back
            self._known[progress.run] = progress
            listeners = list(self._listeners)
        for told in listeners:
            told(progress)

    def _follow(self) -> None:
        with self._ear.pubsub(ignore_subscribe_messages=True) as ear:
            ear.subscribe(self._channel)
            self._catch_up()
            self.connected = True
            while not self._stopping.is_set():
                message: Any = ear.get_message(timeout=1.0)
                if message is not None and message["type"] == "message":
                    self._hear(msgspec.json.decode(message["data"], type=Progress))

    def _catch_up(self) -> None:
        """What was told before we listened."""
        begin = redis.key(self._settings, "run", "")
        for name in self._client.scan_iter(match=f"{begin}*", count=500):
            kept = self._client.hgetall(name)
            if {"share", "rows", "state"} <= kept.keys():
                left = kept.get("left_ms") or None
                self._hear(Progress(name.removeprefix(begin), float(kept["share"]), int(kept["rows"]),
                                    None if left is None else int(left), kept["state"]))  # fmt: skip
