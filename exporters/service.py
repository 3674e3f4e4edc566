"""What runs inside the reports service, and how it is."""

from __future__ import annotations

import threading
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from exporters.access.access import Access
from exporters.replays import Replays
from exporters.reports.works import Works
from exporters.silence.listener import Listener
from exporters.silence.mails import mails
from exporters.silence.notices import Notices, webhook
from exporters.snapshots.snapshotter import Snapshotter
from exporters.store.projector import Projector
from exporters.store.store import Store
from exporters.sync.desk import Desk
from pipeline import topics
from pipeline.errors import Unavailable
from pipeline.metrics import Metrics
from pipeline.model import structs
from pipeline.settings import Settings

_SOURCES = (topics.CONNECTIONS, topics.AUTHENTICATIONS, topics.DIRECTORY)


class Service:
    """Store, projector, runs and builder of one process."""

    def __init__(self, settings: Settings) -> None:
        structs.ready()
        self.settings = settings
        self.metrics = Metrics()
        self.store = Store.open(settings.store_url, memory_bytes=settings.store_memory_bytes)
        self.projector = Projector(settings, self.store, self.metrics)
        # An embedded store has one owner, and so have the runs made from it.
        alone = settings.store_url.startswith("chdb")
        self.works = Works(settings, self.store, self.projector, self.metrics, self.source_ends, alone=alone)
        self.runs, self.files, self.builder = self.works.runs, self.works.files, self.works.builder
        self.mailroom, self.watch = self.works.mailroom, self.works.watch
        self.snapshots = Snapshotter(settings, self.store, self.projector, self.source_ends, self.metrics)
        self.access = Access(settings, self.metrics)
        self.desk = Desk(settings)
        self.replays = Replays(settings)
        ways = {"mail": mails(settings), "webhook": webhook(settings) if settings.silence_webhook else None}
        self.notices = Notices({name: way for name, way in ways.items() if way is not None})
        self.listener = Listener(settings, self.store, self.metrics, self.notices)
        self._names = {t.role: t.name(prefix=settings.topic_prefix, app=settings.app_id) for t in _SOURCES}
        self._asking = threading.Lock()
        self._asker: Any = None
        self._running = False

    def start(self) -> None:
        for thread in self._threads():
            thread.start()
        self._running = True

    def stop(self) -> None:
        self._running = False
        for thread in reversed(self._threads()):
            thread.stop()
        for thread in reversed(self._threads()):
            thread.join(3)

    def _threads(self) -> list[Any]:
        return [
            self.projector,
            self.access.journal,
            self.desk.journal,
            self.access.audit,
            self.access.uses,
            *self.works.threads(),
            self.snapshots,
            self.notices,
            self.listener,
        ]

    def source_ends(self) -> dict[str, dict[int, int]]:
        """End offsets of the sources right now, per role and partition.  Raises Unavailable."""
        with self._asking:
            try:
                if self._asker is None:
                    self._asker = KafkaConsumer(
                        bootstrap_servers=self.settings.kafka.split(","),
                        enable_auto_commit=False,
                        reconnect_backoff_max_ms=2000,
                    )
                ends: dict[str, dict[int, int]] = {}
                for role, name in self._names.items():
                    numbers = self._asker.partitions_for_topic(name) or set()
                    answered = self._asker.end_offsets([TopicPartition(name, n) for n in numbers])
                    ends[role] = {tp.partition: end for tp, end in sorted(answered.items())}
            except KafkaError as error:
                self._asker = None
                raise Unavailable(
                    f"Kafka at {self.settings.kafka} does not answer ({type(error).__name__}); try again"
                ) from None
            return ends

    def unhealthy(self) -> str | None:
        """Why the service cannot answer yet, or None."""
        if self.projector.problem is not None:
            return str(self.projector.problem)
        ended = [t.name for t in self._threads() if not t.is_alive()] if self._running else []
        if ended:
            return f"a part of the service has ended ({', '.join(ended)}); see its log and restart it"
        if not (self.runs.journal.ready and self.access.journal.ready):
            return "runs and tokens are not read yet"
        if not self.projector.ready:
            return f"the report store is catching up: {sum(self.projector.lag().values())} records left"
        return None

    def degraded(self) -> list[str]:
        """What a person should know while the service answers all the same; one line each."""
        behind = self.unhealthy()
        return [*([behind] if behind else []), *self.works.degraded()]

    def health(self) -> dict[str, Any]:
        return {
            "ok": self.unhealthy() is None,
            "reason": self.unhealthy(),
            "degraded": self.degraded(),
            "store_lag": self.projector.lag(),
            "through": {role: self.projector.through(role) for role in self._names},
            "reports": len(self.runs.all()),
        }
