"""One partition of one delivery: carries out what the script of the cuts asks, and gathers the next batch meanwhile.

Never waits: `turn` does what can be done now.  Positions in the source are only ever ends of the chain; whenever the chain turns out to end
elsewhere than the batch begins, the batch is dropped and read again from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from exporters.sinks.check import CLAIM_KEY
from exporters.sinks.sink import Document
from exporters.sync import cuts, keys, manifests
from exporters.sync.batches import Batch, Former, Place, attempt_of, cut_of
from exporters.sync.cuts import Attempt, Chain, Cut, Manifest, Marker, Point
from exporters.sync.destinations import Destination
from exporters.sync.door import Door
from exporters.sync.kafka import ChainId, CutLog, Gone, KafkaError, TopicPartition, read_range
from exporters.sync.steps import Step, reach
from pipeline import clock, logs
from pipeline.errors import Problem, Refused, Unavailable
from pipeline.model.verdicts import Verdicts
from pipeline.settings import Settings

log = logs.logger("sync")

# A store that is back is found soon: what lies before it after a short outage is caught up at many times the rate at which it came.
RETRY_SECONDS = (1.0, 10.0)
REFUSED_SECONDS = 60.0
# Longer than a broker needs to come back.
DEAF_SECONDS = 10.0
# What passes between two manifests that only say that nothing came, if the clock does not tell.
HEARTBEAT_SECONDS = 3600.0
# So many cuts in one manifest, even if its hour is not over: a verifier holds one manifest at a time.
MANIFEST_ENTRIES = 1_000
FINISHED = "finished"
# So many records are judged and formed at once: they stay near the processor meanwhile.
PIECE = 500


@dataclass(frozen=True, slots=True)
class Delivery:
    """What all lanes of one destination share."""

    name: str
    destination: Destination
    settings: Settings
    door: Door
    log: CutLog
    work: Executor
    bounds: Callable[[TopicPartition], tuple[int, int]]  # of the source, as of now
    commit: Callable[[TopicPartition, Point, int], None]
    start: Callable[[TopicPartition, int, int], int]  # where a new chain begins, given the bounds
    delivered: Callable[[Attempt], None]
    # A backfill's: only events whose own time lies in [from, to), and where the source is read to.
    event_window: tuple[int, int] | None = None
    until: dict[TopicPartition, int] | None = None
    backfill: str = ""

    @property
    def chain(self) -> str:
        return self.destination.chain(self.name) + (f"~{self.backfill}" if self.backfill else "")

    @property
    def folder(self) -> str:
        """What every key begins with."""
        return f"backfill/{self.backfill}/" if self.backfill else ""


class Lane:
    """`control` is the consumer of the source: the lane seeks, pauses and resumes its own partition."""

    def __init__(self, delivery: Delivery, tp: TopicPartition, place: Place, control: Any, point: Point | None) -> None:
        self.tp = tp
        self.place = place
        self.problem: Problem | None = None
        self.problem_since = 0.0
        self.worked_at = 0  # when the target last took something, be it a manifest, UTC ms
        self.done = False  # stopped well: nothing of it is left to do
        self.end = 0  # of the source, as last seen
        self.lost = 0
        self._delivery = delivery
        self._control = control
        self._id = ChainId(delivery.chain, place.kind, place.stream, place.partition)
        self._former = Former(place.kind, delivery.destination, delivery.event_window)
        self.chain = Chain(point)
        begin, self._open_at = delivery.log.follow(place.partition, self.chain.next)
        self.chain.next = max(self.chain.next, begin)
        self._script: cuts.Script | None = None
        self._effect: cuts.Effect | None = None
        self._future: Any = None
        self._retry_at = 0.0
        self._tries = 0
        self._documents: dict[str, Document] = {}
        self._made: Cut | None = None  # whose documents these are
        self._attempt = Attempt()
        self._batch: Batch | None = None
        self._verdicts: Verdicts | None = None
        self._waiting: deque[tuple[list[Any], list[Any]]] = deque()  # records and their verdicts, not in the batch yet
        self._waiting_bytes = 0
        self._next = 0  # the source offset to be handed over next
        self._began = self._touched = 0.0
        self._heard = clock.monotonic()
        self._force = False
        self._stopping = False
        self._ended = False
        self._paused = False
        # The name under which these offsets were delivered to a place that is called the same, maybe in another store.
        self._other = ""
        self._leaving = (0, 0)  # where the cut under way ends, and the record time of its first record
        self._markers: list[Marker] = [Marker("started", clock.now_ms(), f"revision {delivery.destination.revision}")]
        self._manifest_at = clock.monotonic()
        self._held_back, self._starved = True, False
        control.pause(tp)

    # What comes in.

    def read(self, records: list[Any]) -> None:
        """Records of this lane's partition of the log of cuts, of whatever chain."""
        prefix = self._id.prefix.encode()
        at_this_place = prefix[prefix.index(b"@") :]
        for record in records:
            if record.offset < self.chain.next:
                continue
            key = record.key or b""
            if key.startswith(prefix):
                self.chain.read(record.offset, cuts.decode(record.value))
            elif at_this_place in key:
                self._other = key.partition(b"@")[0].decode()
            self.chain.next = record.offset + 1

    def take(self, records: list[Any], begin: Callable[[TopicPartition], int]) -> None:
        """Records of the source from the position on.  `begin` says where the log begins now."""
        batch, verdicts = self._batch, self._verdicts
        if batch is None or verdicts is None:
            return
        limit = self._limit
        self._heard = clock.monotonic()
        fresh = [r for r in records if r.offset >= self._next and (limit is None or r.offset < limit)]
        before = [r for r in fresh if r.offset < batch.first]
        if before:
            verdicts.recall(before)
            self._next = before[-1].offset + 1
            fresh = fresh[len(before) :]
        if not fresh:
            return
        if fresh[0].offset > max(self._next, batch.first) and begin(self.tp) > max(self._next, batch.first):
            self._overtaken()
            return
        self._next = fresh[-1].offset + 1
        for n in range(0, len(fresh), PIECE):
            piece = fresh[n : n + PIECE]
            self._waiting.append((piece, verdicts(piece)))
            self._fill()
        self._weigh()

    def look(self, end: int, begin: Callable[[TopicPartition], int]) -> None:
        """The source ends at `end` now.  A client that gives nothing although there is something is told its position once more."""
        self.end = end
        self._pass_over(begin)
        now = clock.monotonic()
        if self._held_back or self._next >= end:
            self._heard = now
        elif now - self._heard > DEAF_SECONDS:
            log.warning(
                "the consumer gives no records; seeking again", topic=self.tp.topic, partition=self.tp.partition
            )
            self._heard = now
            self._read_anew()

    def _pass_over(self, begin: Callable[[TopicPartition], int]) -> None:
        """Offsets without a record, as the end of a transaction has, are the batch's, too, once the client stands behind them."""
        batch = self._batch
        if batch is None or batch.full or self._held_back:
            return
        at, limit = self._control.position(self.tp), self._limit
        at = at if limit is None else min(at, limit)
        if at <= self._next:
            return
        if begin(self.tp) > max(self._next, batch.first):
            self._overtaken()  # it stands there because there was something that is gone
            return
        self._next = at
        if at > batch.end:
            if batch.empty:
                self._began = self._touched = clock.monotonic()
            batch.end = at

    def _overtaken(self) -> None:
        """Retention took what was to be read next."""
        log.warning("the source lost records before they were read", topic=self.tp.topic, partition=self.tp.partition)
        self._read_anew()

    def _read_anew(self) -> None:
        """Deliver what is here, then read again from where that ends."""
        if self._batch is not None and not self._batch.empty:
            self._batch.full = True
            self._hold(back=True)
        else:
            self._drop()

    def _fill(self) -> None:
        batch = self._batch
        if batch is None or batch.full or not self._waiting:
            return
        now = clock.monotonic()
        if batch.empty:
            self._began = now
        self._touched = now
        while self._waiting and not batch.full:
            records, verdicts = self._waiting.popleft()
            taken = self._former.take(batch, records, verdicts)
            if taken < len(records):
                self._waiting.appendleft((records[taken:], verdicts[taken:]))
        self._hold(back=batch.full)

    def _weigh(self) -> None:
        """Whenever what waits has changed: it is asked for many times in between."""
        self._waiting_bytes = sum(len(r.value or b"") for records, _ in self._waiting for r in records)

    def starve(self, over: bool) -> None:
        """Take nothing in while there is no memory for it."""
        if over != self._starved:
            self._starved = over
            self._hold(back=over or self._batch is None or self._batch.full or bool(self._waiting))

    def _hold(self, *, back: bool) -> None:
        back = back or self._starved or self._stopping
        if back != self._held_back:
            (self._control.pause if back else self._control.resume)(self.tp)
            self._held_back = back

    # What is asked of it.

    @property
    def held(self) -> int:
        """Bytes in batch and in hand."""
        batch = self._batch.size if self._batch is not None else 0
        return batch + self._waiting_bytes + sum(d.size for d in self._documents.values())

    @property
    def can_cut(self) -> bool:
        return isinstance(self._effect, cuts.Next) and self._batch is not None and not self._batch.empty

    def cut_now(self) -> None:
        """Do not wait for age or size."""
        self._force = True

    def pause(self, *, paused: bool, note: str = "") -> None:
        """By an operator: nothing is read and nothing delivered until it is over."""
        if paused != self._paused:
            self._paused = paused
            self._markers.append(Marker("paused" if paused else "resumed", clock.now_ms(), note))
            self._retry_at = 0.0
            self._drop()

    @property
    def resting(self) -> bool:
        """Whether it is paused and has finished, or has to put off, what it had begun."""
        done = isinstance(self._effect, cuts.Next) and not self._markers and not self._manifest_due(ending=False)
        return self._paused and (done or self.problem is not None)

    def stop(self) -> None:
        """Deliver what is here, say so, and be done."""
        self._stopping = True
        self._hold(back=True)

    def close(self) -> None:
        """Let go at once; whatever is under way is finished, or found, by the next owner."""
        self.abandon()
        self._delivery.log.leave(self.place.partition)

    def abandon(self) -> None:
        """Let go together with the log of cuts."""
        if self._script is not None:
            self._script.close()

    @property
    def working(self) -> bool:
        """Whether an answer may come at any moment."""
        return not self.done and not isinstance(self._effect, cuts.Next) and clock.monotonic() >= self._retry_at

    @property
    def lag(self) -> int:
        return max(0, self.end - (self.chain.through or 0))

    @property
    def waiting_since(self) -> int:
        """Record time (UTC ms) of the oldest record in hand; 0: none."""
        end, since = self._leaving
        if since and (self.chain.through or 0) < end:
            return since
        return self._batch.timestamp if self._batch is not None else 0

    @property
    def failing_seconds(self) -> float:
        return clock.monotonic() - self.problem_since if self.problem is not None else 0.0

    # The work.

    def turn(self) -> bool:
        """Do the next thing if it can be done now; says whether it was."""
        if self._script is None:
            if self.chain.next < self._open_at:
                return False
            self._script = cuts.own(self.chain)
            self._effect = next(self._script)
            return True
        if self.done or clock.monotonic() < self._retry_at or (self._paused and self.problem is not None):
            return False
        answer = self._perform()
        if answer is ...:
            return False
        self._effect = self._script.send(answer)
        return True

    def _perform(self) -> Any:
        """The answer of the effect in hand; Ellipsis: not yet."""
        answer: Any = None
        match self._effect:
            case cuts.Append(record):
                answer = self._append(record)
            case cuts.Read(through):
                answer = ... if self.chain.next <= through else None
            case cuts.Make(cut):
                answer = self._make(cut)
            case cuts.Put(entry, attempt):
                answer = self._put(entry, attempt)
            case cuts.Publish(account):
                answer = self._publish(account)
            case cuts.Commit(point, through):
                self._delivery.commit(self.tp, point, through)
                reach(Step.COMMITTED)
            case cuts.Next(first):
                answer = self._start() if first is None else self._propose(first)
        return answer

    def _append(self, record: cuts.Record) -> Any:
        if self._future is None:
            try:
                self._future = self._delivery.log.append(self._id, record)
            except KafkaError as error:
                self._failed(Unavailable(f"Kafka does not take a cut ({type(error).__name__})"))
                return ...
        if not self._future.is_done:
            return ...
        future, self._future = self._future, None
        if future.failed():
            self._failed(Unavailable(f"Kafka did not store a cut ({type(future.exception).__name__})"))
            return ...
        self._tries, self.problem = 0, None
        if isinstance(record, Cut | Manifest):
            reach(Step.CUT_WRITTEN if isinstance(record, Cut) else Step.MANIFEST_WRITTEN)
        elif isinstance(record, cuts.Ended):
            reach(Step.ENDED)
        return future.value.offset

    def _make(self, cut: Cut) -> Any:
        reach(Step.CUT_READ)
        if self._made == cut:
            return self._attempt
        made = self._background(lambda: self._from_source(cut))
        if made is ...:
            return ...
        if made is None:
            return None
        self._attempt, self._documents = made
        self._made = cut
        return self._attempt

    def _from_source(self, cut: Cut) -> Any:
        """The cut's documents, from its offsets alone; None if the source no longer has them."""
        verdicts = self._former.verdicts()
        batch = Batch(cut.first, cut.first)
        settings = self._delivery.settings
        try:
            for records in read_range(settings, self.tp, cut.first, cut.end, verdicts.recall_from(cut.first)):
                before = [r for r in records if r.offset < cut.first]
                if before:
                    verdicts.recall(before)
                inside = records[len(before) :]
                self._former.take(batch, inside, verdicts(inside), limit=cut.end)
        except Gone:
            return None
        self._leaving = (cut.end, batch.timestamp)
        return attempt_of(batch, cut, self.place, self._delivery.destination)

    def _put(self, entry: cuts.Entry, attempt: cuts.Attempt) -> Any:
        documents = [self._documents[p.key] for p in attempt.parts]
        if self._background(lambda: self._create(entry, documents)) is ...:
            return ...
        self.worked_at = clock.now_ms()
        self._delivery.delivered(attempt)
        self._documents, self._made = {}, None
        return None

    def _create(self, entry: cuts.Entry, documents: list[Document]) -> bool:
        known = {p.sha256 for a in entry.attempts for p in a.parts}
        reach(Step.BEFORE_PUT)
        for document in documents:
            receipt = self._delivery.door.create(document)
            if receipt.sha256 is not None and receipt.sha256 not in known:
                raise Refused(
                    f"{self._delivery.door.place}/{document.key} holds something that this delivery never wrote: "
                    "somebody else writes under this prefix; give the destination a prefix of its own"
                )
        reach(Step.AFTER_PUT)
        return True

    def _publish(self, account: cuts.Account) -> Any:
        topic, name = self.tp.topic, self._delivery.name
        document = manifests.document(account, self.place, name, topic)
        # One that is there already need not have these bytes: another version may have told the same account in another form.
        if self._background(lambda: self._delivery.door.create(document)) is ...:
            return ...
        reach(Step.MANIFEST_PUT)
        self.worked_at = clock.now_ms()
        self._manifest_at = clock.monotonic()
        return None

    def _background(self, work: Callable[[], Any]) -> Any:
        """The answer of `work`, done elsewhere; Ellipsis while there is none.  What fails is tried again, for ever."""
        if self._future is None:
            self._future = self._delivery.work.submit(work)
        future: Future[Any] = self._future
        if not future.done():
            return ...
        self._future = None
        try:
            answer = future.result()
        except (Unavailable, Refused) as problem:
            self._failed(problem)
            return ...
        except Exception as error:
            # Loud, and for a person to mend: but what one target makes of us must not end the delivery to all others.
            place = self._delivery.destination.target.place
            log.exception("a delivery failed by a bug; it is tried again", destination=self._delivery.name)
            self._failed(
                Refused(f"{place}: {type(error).__name__}, which is a bug; report it with the trace in the log")
            )
            return ...
        self._tries, self.problem = 0, None
        return answer

    def _failed(self, problem: Problem) -> None:
        now = clock.monotonic()
        if self.problem is None:
            self.problem_since = now
        if self.problem is None or str(self.problem) != str(problem):
            log.warning("a delivery failed; it is tried again", destination=self._delivery.name, problem=str(problem))
        self.problem = problem
        self._tries += 1
        least, most = RETRY_SECONDS
        wait = min(most, least * 2 ** min(self._tries - 1, 10)) if not isinstance(problem, Refused) else REFUSED_SECONDS
        if isinstance(problem, Unavailable):
            wait = max(wait, problem.retry_after_seconds)
        self._retry_at = now + wait

    # What comes next.

    def _propose(self, first: int) -> Any:
        """The next record for the log of cuts, or Ellipsis while there is nothing to say."""
        exhausted = self._exhausted(first)
        if exhausted:
            self.stop()
        # One that begins elsewhere is of a range that somebody else has cut meanwhile.
        batch = self._batch if self._batch is not None and self._batch.first == first else None
        ending = self._stopping and (batch is None or batch.empty)
        if ending and not self._ended:
            self._ended = True
            if not self._said_finished:
                self._markers.append(Marker(FINISHED if exhausted else "stopped", clock.now_ms()))
        if self._markers:
            return self._markers.pop(0)
        if self._manifest_due(ending=ending):
            return self._manifest()
        if ending:
            self.done = True
        elif not self._paused:
            if batch is None:
                return self._rewind(first)
            if self._ripe(batch):
                return self._cut(batch)
        return ...

    @property
    def _limit(self) -> int | None:
        return self._delivery.until[self.tp] if self._delivery.until is not None else None

    def _exhausted(self, first: int) -> bool:
        """Whether a bounded delivery has seen all it is to deliver; the last offsets may be without a record."""
        limit = self._limit
        if limit is None:
            return False
        if first >= limit:
            return True
        at = self._batch is not None and self._batch.first == first and not self._waiting
        return at and self._control.position(self.tp) >= limit

    def _start(self) -> Any:
        if self._other and self._background(self._alone) is ...:
            return ...
        begin, end = self._delivery.bounds(self.tp)
        start = self._delivery.start(self.tp, begin, end)
        now = clock.now_ms()
        return Cut(start, start, cuts.START, "", 0, 0, now)

    def _alone(self) -> bool:
        """Another name has delivered these offsets.  That was to another store, or is gone from this one, if the place is empty or claimed for us."""
        if not self._delivery.door.claim(where_empty=True):
            place = self._delivery.door.place
            raise Refused(
                f"{place} holds what destination {self._other} delivered: give this one that name back, or choose another prefix; "
                f"if that one is gone, delete what it left there, and {CLAIM_KEY}"
            )
        return True

    def _rewind(self, first: int) -> Any:
        """Read the source from `first` on, after what the verdicts need before it."""
        begin, self.end = self._delivery.bounds(self.tp)
        if begin > first:
            self.lost += begin - first
            return Cut(first, begin, cuts.LOST, "", self.chain.hour, self.chain.window, clock.now_ms())
        self._verdicts = self._former.verdicts()
        self._next = max(begin, self._verdicts.recall_from(first))
        self._batch, self._waiting, self._waiting_bytes, self._force = Batch(first, first), deque(), 0, False
        self._documents, self._made = {}, None
        self._control.seek(self.tp, self._next)
        self._held_back = True
        self._hold(back=False)
        return ...

    def _drop(self) -> None:
        self._batch, self._verdicts, self._waiting, self._waiting_bytes = None, None, deque(), 0
        self._held_back = False
        self._hold(back=True)

    @property
    def _hour(self) -> int:
        """The hour that is to have a manifest.  They never go back: where a wrong clock once ran ahead, they go on from there, one for each that passes."""
        hour, last = keys.hour_of(clock.now_ms()), self.chain.manifest_hour
        passed = clock.monotonic() - self._manifest_at >= HEARTBEAT_SECONDS
        return last + keys.HOUR_MS if hour < last and passed else hour

    @property
    def _said_finished(self) -> bool:
        """Whether the last manifest says that nothing more is to come, and nothing has come."""
        begin, through = self.chain.unaccounted
        return begin == through and self.chain.last_word == FINISHED

    def _manifest_due(self, *, ending: bool) -> bool:
        begin, through = self.chain.unaccounted
        if ending and self._limit is not None and begin == through:
            # What has an end says so in its last manifest, even if there is nothing else to say.
            return not self._said_finished
        if not self._paused and self._hour > self.chain.manifest_hour:
            return True
        if through == begin:
            return False
        silent = clock.monotonic() - self._manifest_at >= self._delivery.destination.manifest_seconds
        return silent or ending or self._paused or len(self.chain.entries) >= MANIFEST_ENTRIES

    def _manifest(self) -> Manifest:
        begin, through = self.chain.unaccounted
        hour = max(self._hour, self.chain.manifest_hour)
        if begin == through and hour == self.chain.manifest_hour:
            hour += keys.HOUR_MS  # one of the same offsets and hour would have the same name
        until, topic = self._delivery.until, self.tp.topic
        known = self._control.partitions_for_topic(topic) if until is None else [t for t in until if t.topic == topic]
        return Manifest(begin, through, hour, clock.now_ms(), len(known or ()))

    def _ripe(self, batch: Batch) -> bool:
        if batch.full:
            return True
        if batch.empty:
            return False
        now, destination = clock.monotonic(), self._delivery.destination
        old = now - self._began >= destination.age_seconds or now - self._touched >= destination.idle_seconds
        return old or self._force or self._stopping

    def _cut(self, batch: Batch) -> Cut:
        chain = self.chain
        begun = chain.window > 0
        cut, self._documents = cut_of(
            batch,
            self.place,
            self._delivery.destination,
            hour=chain.hour,
            window=chain.window,
            begun=begun,
            at=clock.now_ms(),
        )
        self._attempt, self._made = cut.attempt, cut
        self._leaving = (cut.end, batch.timestamp)
        self._batch, self._force = Batch(cut.end, cut.end), False
        self._fill()
        self._weigh()
        if not self._waiting:
            self._hold(back=False)
        return cut
