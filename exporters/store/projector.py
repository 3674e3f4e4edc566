"""From topics to the store: at least once, and nothing changes by twice.

Data first, then positions.  Changelogs are read under the epoch rule, sign-ins under the duplicates rule; a ledger becomes visible only after every
record before it is in the store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from exporters.store import accounts, rejected, retention, schemas
from exporters.store.changes import Changes
from exporters.store.store import Store
from exporters.unpacking import quick
from pipeline import broker, clock, logs, topics
from pipeline.errors import ConfigError, Problem
from pipeline.metrics import Metrics
from pipeline.model.dialects import authentication_document, decode_authentications
from pipeline.model.events import Authentication
from pipeline.model.protocol import Reader
from pipeline.model.rollups import ConnectionRollup
from pipeline.model.verdicts import Verdicts
from pipeline.model.wire import FENCE, LEDGER, State, decode_key, decode_ledger
from pipeline.settings import Settings

log = logs.logger("projector")

# An insert costs the store the same for one row as for thousands, and a merge later: Kafka gathers what comes within this time, or until it is so much.
GATHER_MS, GATHER_BYTES = 250, 1 << 18
POLL_RECORDS = 20_000
# How often positions are saved and the ends are asked for.
LOOK_SECONDS = 1.0
RETRY_SECONDS = 1.0

_connection_state = msgspec.json.Decoder(State[ConnectionRollup])


class _Head(msgspec.Struct):
    epoch: int


_head = msgspec.json.Decoder(_Head)

_EMPTY = ConnectionRollup()


@dataclass
class Progress:
    """How far one topic partition is projected."""

    topic: str
    number: int
    role: str
    topic_id: str
    next: int = 0
    lost: int = 0  # of a changelog: source records that retention took before a worker read them
    ledger: int = -1  # of a changelog: the source offset up to which everything is in the store
    reader: Reader = field(default_factory=Reader)
    verdicts: Verdicts | None = None
    moved: bool = False


class Projector(threading.Thread):
    """Owns the store's writing side.  `through` is what a reader may rely on."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics) -> None:
        super().__init__(name="projector", daemon=True)
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._stopping = threading.Event()
        self._advanced = threading.Condition()
        self._progress: dict[TopicPartition, Progress] = {}
        self._through: dict[str, dict[int, int]] = {}
        self._ends: dict[TopicPartition, int] = {}
        self.changes = Changes()
        self.problem: Problem | None = None
        self.on_problem: Callable[[], None] = lambda: None
        self.ready = False

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except KafkaError as error:
                log.warning("Kafka is away; trying again", error=type(error).__name__)
            except Problem as problem:
                if isinstance(problem, ConfigError):
                    self.problem = problem
                    self.on_problem()
                    return
                log.warning(str(problem))
            except Exception as error:
                self.problem = Problem(f"the projector failed ({type(error).__name__}: {error}); see the log")
                log.exception("projector failed")
                self.on_problem()
                return
            self._stopping.wait(RETRY_SECONDS)

    def stop(self) -> None:
        self._stopping.set()

    def through(self, role: str) -> dict[int, int]:
        """{partition: first source offset whose effect may not be visible yet}"""
        return dict(self._through.get(role, {}))

    def behind(self, ends: dict[str, dict[int, int]]) -> list[str]:
        """Which of these source ends are not visible yet, in words."""
        lines = []
        for role, partitions in ends.items():
            through = self._through.get(role, {})
            lines += [
                f"{role}/{n} is at {through.get(n, 0)} of {end}"
                for n, end in partitions.items()
                if through.get(n, 0) < end
            ]
        return lines

    def wait(self, ends: dict[str, dict[int, int]], timeout_seconds: float) -> bool:
        """Until every effect of the records before these source ends is visible."""
        with self._advanced:
            return self._advanced.wait_for(
                lambda: not self.behind(ends) or self.problem is not None, timeout_seconds
            ) and not self.behind(ends)

    def lost(self) -> int:
        """Source records that no report can contain, because retention took them before a worker read them."""
        return sum(p.lost for p in self._progress.values())

    def lag(self) -> dict[str, int]:
        """Records of each topic that are not in the store yet."""
        out: dict[str, int] = {}
        for tp, progress in self._progress.items():
            out[progress.topic] = out.get(progress.topic, 0) + max(0, self._ends.get(tp, 0) - progress.next)
        return out

    def _follow(self) -> None:
        settings = self._settings
        facts = broker.describe(settings)
        followed = (
            topics.CONNECTIONS_CHANGELOG,
            topics.AUTHENTICATIONS_CHANGELOG,
            topics.AUTHENTICATIONS,
            topics.DIRECTORY,
            topics.REJECTS,
        )
        names = {t.name(prefix=settings.topic_prefix, app=settings.app_id): t.role for t in followed}
        missing = [n for n in names if n not in facts]
        if missing:
            raise Problem(f"topics are missing: {', '.join(missing)}; run `activity topics create`")
        saved = {
            (topic, part): (topic_id, next_, epoch, ledger, lost)
            for topic, part, topic_id, next_, epoch, ledger, lost in self._store.rows("positions")
        }
        self._progress = {}
        for name, role in names.items():
            for number in range(facts[name].partitions):
                progress = Progress(name, number, role, facts[name].id)
                if (name, number) in saved:
                    topic_id, progress.next, epoch, progress.ledger, progress.lost = saved[name, number]
                    progress.reader.epoch = epoch
                    if topic_id != progress.topic_id:
                        raise ConfigError(
                            f"this store belongs to another installation or an earlier {name}; delete {settings.data / 'store'}: it is rebuilt from Kafka"
                        )
                if role == topics.AUTHENTICATIONS.role:
                    progress.verdicts = Verdicts(decode_authentications)
                self._progress[TopicPartition(name, number)] = progress
        consumer = quick(
            KafkaConsumer(
                bootstrap_servers=settings.kafka.split(","),
                client_id=f"{settings.app_id}-projector",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=GATHER_MS,
                fetch_min_bytes=GATHER_BYTES,
                reconnect_backoff_max_ms=2000,
            )
        )
        try:
            consumer.assign(list(self._progress))
            for tp, progress in self._progress.items():
                back = progress.verdicts.recall_from(progress.next) if progress.verdicts is not None else progress.next
                consumer.seek(tp, back)
            self._look_at_ends(consumer)
            self._announce()
            looked, kept_house = clock.monotonic(), float("-inf")
            while not self._stopping.is_set():
                if clock.monotonic() - kept_house > retention.LOOK_SECONDS:
                    kept_house = clock.monotonic()
                    if gone := retention.drop(self._store, now_ms=clock.now_ms(), months=settings.retention_months):
                        log.info("old months dropped", months=gone)
                taken = consumer.poll(timeout_ms=GATHER_MS, max_records=POLL_RECORDS)
                due = clock.monotonic() - looked > LOOK_SECONDS
                # Where nothing was taken a position moves past control records only: asking everywhere each time would be most of an idle service's work.
                self._project(consumer, taken, moved=self._progress if due or not self.ready else taken)
                if due:
                    looked = clock.monotonic()
                    self._save()
                    self._look_at_ends(consumer)
                    for topic, count in self.lag().items():
                        self._metrics["activity_store_lag_records"].labels(topic).set(count)
                    if not self.ready and not any(self.lag().values()):
                        self.ready = True
                elif not self.ready and all(p.next >= self._ends[tp] for tp, p in self._progress.items()):
                    self.ready = True
            self._save()
        finally:
            consumer.close()

    def _look_at_ends(self, consumer: Any) -> None:
        """A topic that was made again under us begins at 0: what it says would be taken for old news, and silently."""
        try:
            self._ends = consumer.end_offsets(list(self._progress))
        except KeyError as gone:  # the client's way to say that there is no such partition
            raise ConfigError(f"{gone.args[0].topic} is missing: run `activity topics create`") from None
        for tp, progress in self._progress.items():
            if self._ends[tp] < progress.next:
                raise ConfigError(
                    f"{tp.topic}/{tp.partition} ends before what the store has seen; delete {self._settings.data / 'store'}: it is rebuilt from Kafka"
                )

    def _project(
        self, consumer: Any, taken: dict[TopicPartition, list[Any]], *, moved: Iterable[TopicPartition]
    ) -> None:
        """Put what was taken into the store, then tell readers how far those are that may have `moved`."""
        columns: dict[str, list[tuple[Any, ...]]] = {"connections": [], "sign_ins": [], "accounts": [], "rejects": []}
        waiting: list[int] = []
        for tp, records in taken.items():
            progress = self._progress[tp]
            match progress.role:
                case topics.CONNECTIONS_CHANGELOG.role | topics.AUTHENTICATIONS_CHANGELOG.role:
                    waiting += self._changelog(progress, records, columns["connections"])
                case topics.AUTHENTICATIONS.role:
                    self._sign_ins(progress, records, columns["sign_ins"])
                case topics.REJECTS.role:
                    columns["rejects"] += map(rejected.row, records)
                case _:
                    self._accounts(records, columns["accounts"])
        advanced = False
        for tp in moved:
            progress, position = self._progress[tp], consumer.position(tp)
            if position > progress.next:  # a source that is read again before its first new record lies below
                progress.next, progress.moved, advanced = position, True, True
        for table, schema in (
            ("connections", schemas.CONNECTIONS),
            ("sign_ins", schemas.SIGN_INS),
            ("accounts", schemas.ACCOUNTS),
            ("rejects", schemas.REJECTS),
        ):
            if columns[table]:
                self._store.insert(table, schemas.table(columns[table], schema))
                self._metrics["activity_store_rows_total"].labels(table).inc(len(columns[table]))
        self.changes.note(columns)
        if advanced:
            self._announce()
            now = clock.now_ms()
            for since in waiting:
                self._metrics["activity_visible_seconds"].observe(max(0.0, (now - since) / 1000))

    def _save(self) -> None:
        """The positions of what is in the store: from here a next start reads on.  What lies behind them is read again, and changes nothing."""
        moved = [p for p in self._progress.values() if p.moved]
        if moved:
            rows = [(p.topic, p.number, p.topic_id, p.next, p.reader.epoch, p.ledger, p.lost) for p in moved]
            self._store.insert("positions", schemas.table(rows, schemas.POSITIONS))
            for p in moved:
                p.moved = False

    def _announce(self) -> None:
        ledgers: dict[str, dict[int, int]] = {"connections": {}, "authentications": {}}
        raw: dict[int, int] = {}
        directory: dict[int, int] = {}
        for p in self._progress.values():
            if p.role == topics.CONNECTIONS_CHANGELOG.role:
                ledgers["connections"][p.number] = p.ledger + 1
            elif p.role == topics.AUTHENTICATIONS_CHANGELOG.role:
                ledgers["authentications"][p.number] = p.ledger + 1
            elif p.role == topics.AUTHENTICATIONS.role:
                raw[p.number] = p.next
            elif p.role == topics.DIRECTORY.role:
                directory[p.number] = p.next
        both = {n: min(through, raw.get(n, 0)) for n, through in ledgers["authentications"].items()}
        with self._advanced:
            self._through = {"connections": ledgers["connections"], "authentications": both, "directory": directory}
            self._advanced.notify_all()

    def _changelog(self, progress: Progress, records: list[Any], rows: list[tuple[Any, ...]]) -> list[int]:
        """Returns since when the source records behind each ledger waited, UTC ms."""
        waiting = []
        reader, number = progress.reader, progress.number
        keeps = progress.role == topics.CONNECTIONS_CHANGELOG.role
        for record in records:
            key, value = record.key, record.value
            if key == FENCE:
                reader.accepts(record.offset, key, -1)
            elif key == LEDGER:
                state = decode_ledger(value)
                if reader.accepts(record.offset, key, state.epoch):
                    progress.ledger, progress.lost = state.ledger.offset, state.ledger.lost
                    progress.moved = True
                    if state.ledger.waiting_since:
                        waiting.append(state.ledger.waiting_since)
                else:
                    self._refused(progress)
            elif not keeps:
                if not reader.accepts(record.offset, key, _head.decode(value).epoch):
                    self._refused(progress)
            else:
                fragment = _connection_state.decode(value)
                if not reader.accepts(record.offset, key, fragment.epoch):
                    self._refused(progress)
                    continue
                r = fragment.rollup or _EMPTY
                (kind, id_, email), bucket, first = decode_key(key)
                rows.append((
                    kind, id_, email, bucket * 900, number, first, record.offset, int(fragment.rollup is None),
                    r.success, r.failed_dns, r.failed_other, r.bytes_transferred, r.bytes_received, r.relay, r.p2p,
                    r.last_access, list(r.client_ips.items()), list(r.devices),
                ))  # fmt: skip
        return waiting

    def _refused(self, progress: Progress) -> None:
        self._metrics["activity_store_refused_records_total"].labels(progress.topic).inc()

    def _sign_ins(self, progress: Progress, records: list[Any], rows: list[tuple[Any, ...]]) -> None:
        verdicts = progress.verdicts
        assert verdicts is not None
        for record, event in zip(records, verdicts(records), strict=True):
            if not isinstance(event, Authentication) or record.offset < progress.next:
                continue
            document = authentication_document(record.value)
            own = document["event"].get("id") or ""
            rows.append((
                event.time, own, progress.number, record.offset,
                event.principal.id, event.principal.email, event.type, event.result, event.reason, msgspec.json.encode(document).decode(),
            ))  # fmt: skip

    def _accounts(self, records: list[Any], rows: list[tuple[Any, ...]]) -> None:
        rows += [row for row in map(accounts.row, records) if row is not None]
