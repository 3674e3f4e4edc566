"""Listens to the sources: reads their newest records, all of them while that is cheap, and says who has fallen silent.

Every few seconds at most so many records are read; what is more is left out, the oldest first.  So the cost is bounded whatever the load, no worker
does anything for it, and a speaker is missed only if it hardly speaks: then its own usual pause decides (see `Speaker.silent`).  When nobody is known
yet, as after the store was deleted, places all over the kept log are looked at.
"""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from exporters.silence.notices import Notice, Notices
from exporters.silence.speakers import CONNECTOR, FORGOTTEN_MS, MOST, SOURCE, Speaker, heard
from exporters.store.schemas import SPEAKERS
from exporters.store.store import Store
from exporters.unpacking import quick
from pipeline import clock, logs, topics
from pipeline.errors import Problem
from pipeline.metrics import Metrics
from pipeline.settings import Settings

log = logs.logger("silence")

LOOK_SECONDS = 5.0
RECORDS_PER_LOOK = 20_000
POLL_MS = 500
# The first look: so many places in each partition, so many records at each.
PLACES, AT_EACH = 24, 50

Position = dict[TopicPartition, int]


class Listener(threading.Thread):
    """`speakers()` may be called from any thread."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics, notices: Notices) -> None:
        super().__init__(name="listener", daemon=True)
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._notices = notices
        self._lock = threading.Lock()
        self._speakers: dict[tuple[str, str], Speaker] = {}
        self._telling: set[tuple[str, str]] = set()
        self._skipped_at = 0
        self._stopping = threading.Event()
        self._roles = {
            t.name(prefix=settings.topic_prefix, app=settings.app_id): t.role
            for t in (topics.CONNECTIONS, topics.AUTHENTICATIONS)
        }

    def run(self) -> None:
        remembered = False
        while not self._stopping.is_set():
            try:
                if not remembered:
                    self._remember()
                    remembered = True
                self._listen()
            except KafkaError as error:
                log.warning("Kafka is away; trying again", error=type(error).__name__)
            except Problem as problem:
                log.warning(str(problem))
            except Exception as error:
                log.exception("listening failed; trying again", error=type(error).__name__)
            self._stopping.wait(LOOK_SECONDS)

    def stop(self) -> None:
        self._stopping.set()

    def speakers(self) -> list[tuple[Speaker, bool]]:
        """Everybody who is known and whether they are silent, silent ones first, then by name."""
        now = clock.now_ms()
        with self._lock:
            found = [(Speaker(**_fields(s)), self._silent(s, now)) for s in self._speakers.values()]
        return sorted(found, key=lambda f: (not f[1], f[0].kind, (f[0].name or f[0].id).casefold(), f[0].id))

    def _listen(self) -> None:
        consumer = quick(
            KafkaConsumer(
                bootstrap_servers=self._settings.kafka.split(","),
                client_id=f"{self._settings.app_id}-listener",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                reconnect_backoff_max_ms=2000,
                fetch_max_wait_ms=100,
            )
        )
        try:
            tps = [TopicPartition(n, p) for n in self._roles for p in sorted(consumer.partitions_for_topic(n) or ())]
            if not tps:
                return
            consumer.assign(tps)
            each = max(1, RECORDS_PER_LOOK // len(tps))
            ends: Position = consumer.end_offsets(tps)
            begins: Position = consumer.beginning_offsets(tps)
            if not self._speakers:
                self._look_around(consumer, begins, ends)
            position = {tp: max(begins[tp], ends[tp] - each) for tp in tps}
            while not self._stopping.is_set():
                if any(ends[tp] - position[tp] > each for tp in tps):
                    self._skipped_at = clock.now_ms()
                    position = {tp: max(at, ends[tp] - each) for tp, at in position.items()}
                for tp, at in position.items():
                    consumer.seek(tp, at)
                self._read(consumer, position, ends)
                self._judge(clock.now_ms())
                if self._stopping.wait(LOOK_SECONDS):
                    return
                ends = consumer.end_offsets(tps)
        finally:
            consumer.close()

    def _read(self, consumer: Any, position: Position, ends: Position) -> None:
        """Up to these ends; `position` moves along."""
        fresh: dict[tuple[str, str], Speaker] = {}
        deadline = clock.monotonic() + 4 * LOOK_SECONDS
        while any(position[tp] < ends[tp] for tp in position) and clock.monotonic() < deadline:
            for tp, records in consumer.poll(timeout_ms=POLL_MS, max_records=RECORDS_PER_LOOK).items():
                position[tp] = records[-1].offset + 1
                _add(fresh, heard(records, self._roles[tp.topic]))
            for tp in position:
                position[tp] = max(position[tp], consumer.position(tp))
            if self._stopping.is_set():
                return
        self._take(fresh)

    def _look_around(self, consumer: Any, begins: Position, ends: Position) -> None:
        fresh: dict[tuple[str, str], Speaker] = {}
        for n in range(PLACES):
            places = {tp: begins[tp] + (ends[tp] - begins[tp]) * n // PLACES for tp in begins if ends[tp] > begins[tp]}
            waiting = set(places)
            for tp, at in places.items():
                consumer.seek(tp, at)
            deadline = clock.monotonic() + LOOK_SECONDS
            while waiting and clock.monotonic() < deadline and not self._stopping.is_set():
                for tp, records in consumer.poll(timeout_ms=POLL_MS, max_records=AT_EACH * len(places)).items():
                    waiting.discard(tp)
                    _add(fresh, heard(records[:AT_EACH], self._roles[tp.topic]))
                waiting -= {tp for tp in waiting if consumer.position(tp) >= ends[tp]}
        self._take(fresh)

    def _take(self, fresh: dict[tuple[str, str], Speaker]) -> None:
        with self._lock:
            for key, speaker in fresh.items():
                known = self._speakers.get(key)
                if known is not None:
                    known.hear(speaker)
                elif len(self._speakers) < MOST:
                    self._speakers[key] = speaker
            changed = [self._speakers[k] for k in fresh if k in self._speakers]
        self._keep([_fields(s) for s in changed])

    def _judge(self, now: int) -> None:
        told: list[Notice] = []
        changed: list[dict[str, Any]] = []
        with self._lock:
            for key in [k for k, s in self._speakers.items() if now - s.heard_at > FORGOTTEN_MS]:
                del self._speakers[key]
            silent: dict[str, int] = {CONNECTOR: 0, SOURCE: 0}
            for speaker in self._speakers.values():
                quiet = self._silent(speaker, now)
                silent[speaker.kind] += quiet
                key = speaker.kind, speaker.id
                if quiet and not speaker.noticed_at and key not in self._telling:
                    self._telling.add(key)
                    told.append(
                        Notice(speaker.kind, speaker.id, speaker.name, speaker.heard_at, speaker.event_at, True)
                    )
                elif not quiet and speaker.noticed_at:
                    speaker.noticed_at = 0
                    changed.append(_fields(speaker))
                    told.append(
                        Notice(speaker.kind, speaker.id, speaker.name, speaker.heard_at, speaker.event_at, False)
                    )
        for kind, many in silent.items():
            self._metrics["activity_silent_speakers"].labels(kind).set(many)
        self._keep(changed)
        self._notices.tell(told, self._told)

    def _told(self, notice: Notice) -> None:
        """Only now it is remembered: a death before repeats a notice, under the same id, rather than losing it."""
        with self._lock:
            self._telling.discard((notice.kind, notice.id))
            speaker = self._speakers.get((notice.kind, notice.id))
            if speaker is None or not notice.silent:
                return
            speaker.noticed_at = clock.now_ms()
            changed = [_fields(speaker)]
        self._keep(changed)

    def _silent(self, speaker: Speaker, now: int) -> bool:
        limit = round(self._settings.silence_minutes * 60_000)
        return speaker.silent(now, limit_ms=limit, everything_read=self._skipped_at < speaker.heard_at)

    def _keep(self, speakers: list[dict[str, Any]]) -> None:
        if speakers:
            version = clock.now_ms()
            rows = pa.Table.from_pylist([s | {"version": version} for s in speakers], schema=SPEAKERS)
            self._store.insert("speakers", rows)

    def _remember(self) -> None:
        with self._lock:
            for row in self._store.rows("speakers", since=clock.now_ms() - FORGOTTEN_MS):
                speaker = Speaker(*row)
                self._speakers[speaker.kind, speaker.id] = speaker


def _add(fresh: dict[tuple[str, str], Speaker], more: dict[tuple[str, str], Speaker]) -> None:
    """One look sees everybody once."""
    for key, speaker in more.items():
        if key in fresh:
            fresh[key].hear(speaker)
            fresh[key].sightings = 1
        else:
            fresh[key] = speaker


def _fields(speaker: Speaker) -> dict[str, Any]:
    return {name: getattr(speaker, name) for name in Speaker.__struct_fields__}
