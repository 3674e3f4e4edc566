"""Makes the files of open runs: takes them from the queue, waits until the store has what each must contain, builds so many at once.

The queue says whose turn it is, the journal whose run it is.  Without the queue (Redis is away) the runs are taken from the journal, oldest first:
slower to share among several services, never wrong.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from exporters.reports.making import Making, Tools
from exporters.reports.queue import LANES, LEASE_SECONDS, LONG, SHORT, Queue, Taken
from exporters.reports.runs import BUILDING, EXPIRED, FAILED, OPEN, WAITING, Run
from exporters.reports.steps import Step, reach
from pipeline import clock, logs
from pipeline.errors import Problem, Unavailable
from pipeline.settings import Settings

log = logs.logger("builder")

DAY_MS = 24 * 3600 * 1000
# Runs of each lane that one service holds, those included that wait for the store.
HELD = {SHORT: 16, LONG: 4}
AWAY_SECONDS = 2.0
# Between two tries to delete a file that the disk does not let go.
DISK_SECONDS = 60.0
MEASURE_SECONDS = 5.0
# A claim that was not renewed for this long belongs to nobody.
STALE_MS = round(3 * LEASE_SECONDS * 1000)
# A run that ends the process whenever it is made must not be made for ever.
MOST_ATTEMPTS = 20
# What was taken for short and is not gives its slot back when others wait for it, and begins again in the long lane.
PATIENCE_SECONDS = 60.0


def thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="making", daemon=True).start()


@dataclass
class Held:
    """A run that the journal says is ours."""

    run: Run
    lane: str
    taken: Taken | None  # None: it came from the journal
    size: int
    deadline: float
    making: Making | None = None


class Builder(threading.Thread):
    """`turn` is one look at everything; `run` takes turns.  `spawn` starts a making."""

    def __init__(
        self, settings: Settings, tools: Tools, queue: Queue, *, alone: bool, spawn: Callable[[Callable[[], None]], None] = thread
    ) -> None:  # fmt: skip
        super().__init__(name="builder", daemon=True)
        self._settings = settings
        self._tools = tools
        self._runs = tools.runs
        self._queue = queue
        self._alone = alone
        self._spawn = spawn
        self._me = uuid.uuid4().hex
        self._held: dict[str, Held] = {}
        self._sizes: dict[str, int] = {}
        self._long: set[str] = set()  # turned out to be
        self._undeletable: dict[str, float] = {}  # and when to try again
        self._away_until = 0.0
        self._kept = 0.0
        self._measured = 0.0
        self._stopping = threading.Event()
        self.kick = threading.Event()
        self.degraded: str | None = None

    def stop(self) -> None:
        self._stopping.set()
        self.kick.set()

    def run(self) -> None:
        unlisten = self._runs.journal.listen(self.kick.set)
        if self._alone:
            self._tools.files.sweep()
        while not self._stopping.is_set():
            try:
                self.turn()
            except Problem as problem:
                log.warning(str(problem))
                self._stopping.wait(0.5)
            except Exception as error:
                log.exception("the builder failed; trying again", error=type(error).__name__)
                self._stopping.wait(AWAY_SECONDS)
            self.kick.wait(0.05 if any(h.making is None for h in self._held.values()) else 0.5)
            self.kick.clear()
        unlisten()
        for held in self._held.values():
            if held.making is not None:
                held.making.abandon()

    def turn(self) -> None:
        """Raises Unavailable; what was begun goes on at the next turn."""
        if not self._runs.journal.ready:
            return
        self._expire()
        self._let_go()
        self._take()
        self._advance()

    def forget(self, run: Run) -> None:
        """Delete a run and its file.  Raises Unavailable."""
        self._tools.files.remove(run)
        self._runs.forget(run)
        self._tools.mails.forget(run.run)

    def _free(self, run: Run) -> bool:
        """Whether an open run may be claimed by us."""
        if run.run in self._held or run.retry_at > clock.now_ms():
            return False
        return self._alone or run.holder in ("", self._me) or clock.now_ms() - run.changed_at > STALE_MS

    def _take(self) -> None:
        free = [r for r in reversed(self._runs.all()) if r.state in OPEN and self._free(r)]
        for run in free:
            if run.run not in self._sizes:
                self._sizes[run.run] = self._tools.estimates.size(run)
        room = {lane: HELD[lane] - sum(h.lane == lane for h in self._held.values()) for lane in LANES}
        found: list[tuple[Run, str, Taken | None]] = []
        try:
            found = self._from_queue(free, room)
        except Unavailable as problem:
            if self.degraded is None:
                log.warning(str(problem))
            self.degraded = "Redis is away: reports are made all the same; their progress is shown more coarsely."
            self._away_until = clock.monotonic() + AWAY_SECONDS
            self._tools.metrics["activity_redis_up"].set(0)
        if self.degraded:
            for run in free:
                lane = self._lane(run)
                if room[lane] > 0:
                    room[lane] -= 1
                    found.append((run, lane, None))
        for run, lane, taken in found:
            self._claim(run, lane, taken)

    def _from_queue(self, free: list[Run], room: dict[str, int]) -> list[tuple[Run, str, Taken | None]]:
        if clock.monotonic() < self._away_until:
            return []
        for run in free:
            if self._queue.offer(run.run, self._lane(run)):
                reach(Step.OFFERED)
        if self._held and clock.monotonic() - self._kept > LEASE_SECONDS / 3:
            self._queue.keep([h.taken for h in self._held.values() if h.taken is not None])
            self._kept = clock.monotonic()
        found: list[tuple[Run, str, Taken | None]] = []
        for taken in self._queue.take(room):
            wanted = self._runs.get(taken.run)
            if wanted is None or wanted.state not in OPEN:
                self._queue.done(taken)
            elif self._free(wanted):
                found.append((wanted, taken.lane, taken))
        self.degraded = None
        self._measure()
        return found

    def _measure(self) -> None:
        if clock.monotonic() - self._measured > MEASURE_SECONDS:
            self._measured = clock.monotonic()
            self._tools.metrics["activity_redis_up"].set(1)
            for lane, length in self._queue.lengths().items():
                self._tools.metrics["activity_reports_queue_runs"].labels(lane).set(length)

    def _lane(self, run: Run) -> str:
        return LONG if run.run in self._long else self._tools.estimates.lane(run.kind, self._sizes.get(run.run, 0))

    def _claim(self, run: Run, lane: str, taken: Taken | None) -> None:
        reach(Step.TAKEN)
        number = run.attempt + 1
        now = self._runs.change(run, WAITING, attempt=number, holder=self._me, retry_at=0)
        if (now.holder, now.attempt, now.state) != (self._me, number, WAITING):
            return  # another service was first, or somebody cancelled it
        reach(Step.CLAIMED)
        # The time that a person would wait counts from asking; after a death it begins again.
        passed = (clock.now_ms() - run.requested_at) / 1000 if number == 1 else 0.0
        deadline = clock.monotonic() + max(1.0, run.timeout_seconds - passed)
        self._held[run.run] = Held(now, lane, taken, self._sizes.get(run.run, 0), deadline)
        if number > MOST_ATTEMPTS:
            self._fail(self._held[run.run], f"the service ended {number - 1} times while this report was made")

    def _let_go(self) -> None:
        """Of what is over, was cancelled, or was taken over by another service."""
        for held in list(self._held.values()):
            now = self._runs.get(held.run.run)
            mine = now is not None and now.state in OPEN and (now.holder, now.attempt) == (self._me, held.run.attempt)
            if mine and (held.making is None or not held.making.finished):
                continue
            if held.making is not None:
                held.making.abandon()
            del self._held[held.run.run]
            self._tools.watch.forget(held.run.run)
            if now is None or now.state not in OPEN:
                self._sizes.pop(held.run.run, None)
                self._long.discard(held.run.run)
                self._deleted(held.run, keep=now.stored if now else "")
            if held.taken is not None and (now is None or now.holder in ("", self._me) or now.state not in OPEN):
                self._done(held.taken)

    def _done(self, taken: Taken) -> None:
        try:
            self._queue.done(taken)
        except Unavailable:
            self._away_until = clock.monotonic() + AWAY_SECONDS  # whoever meets the entry later sees that it is over

    def _advance(self) -> None:
        building = Counter(h.run.by for h in self._held.values() if h.making is not None)
        lanes = Counter(h.lane for h in self._held.values() if h.making is not None)
        slots = self._settings.report_builders
        # Whoever has the fewest being made comes first, then whoever asked first.
        order = sorted(self._held.values(), key=lambda h: (building[h.run.by], h.run.requested_at))
        for held in order:
            if held.making is not None:
                held.making.tell()
                self._renew(held, BUILDING)
            elif self._tools.projector.behind(held.run.ends):
                self._wait(held)
            elif sum(lanes.values()) < slots and (held.lane == SHORT or lanes[LONG] < slots - 1):
                lanes[held.lane] += 1
                self._begin(held)
            else:
                self._renew(held, WAITING)
                self._make_room(held)

    def _wait(self, held: Held) -> None:
        problem = self._tools.projector.problem
        if problem is None and clock.monotonic() < held.deadline:
            self._renew(held, WAITING)
            return
        behind = problem or "; ".join(self._tools.projector.behind(held.run.ends)[:3])
        self._fail(
            held,
            f"not complete after {held.run.timeout_seconds:.0f} s: {behind}. Is a worker running? See `activity check`",
        )

    def _begin(self, held: Held) -> None:
        now = self._runs.change(held.run, BUILDING)
        if (now.state, now.holder, now.attempt) != (BUILDING, self._me, held.run.attempt):
            return
        held.run = now
        reach(Step.BUILDING)
        held.making = Making(self._tools, now, size=held.size, over=self.kick.set)
        self._spawn(held.making.work)

    def _renew(self, held: Held, state: str) -> None:
        """Say in the journal that we are still there: a lease that holds without Redis."""
        if clock.now_ms() - held.run.changed_at > LEASE_SECONDS * 1000:
            spent = held.making.seconds if held.making is not None else held.run.build_seconds
            now = self._runs.change(held.run, state, build_seconds=spent)
            if (now.state, now.holder, now.attempt) == (state, self._me, held.run.attempt):
                held.run = now

    def _make_room(self, waiting: Held) -> None:
        """A short one waits: the oldest that only seemed to be short begins again as a long one."""
        if waiting.lane != SHORT:
            return
        slow = [h for h in self._held.values() if h.lane == SHORT and h.making is not None
                and clock.monotonic() - h.making.began > PATIENCE_SECONDS]  # fmt: skip
        for held in sorted(slow, key=lambda h: h.run.requested_at)[:1]:
            log.info("a report takes longer than expected; it begins again in the long lane", kind=held.run.kind)
            self._long.add(held.run.run)
            self._runs.change(held.run, WAITING, holder="", retry_at=0)

    def _fail(self, held: Held, error: str) -> None:
        self._runs.change(held.run, FAILED, error=error)
        self._tools.metrics["activity_reports_runs_total"].labels(held.run.kind, FAILED).inc()

    def _expire(self) -> None:
        now = clock.now_ms()
        limit = now - self._settings.report_expiry_days * DAY_MS
        forgotten = limit - self._settings.report_history_days * DAY_MS
        for run in self._runs.all():
            if run.state not in (*OPEN, EXPIRED) and run.changed_at < limit and self._deleted(run):
                reach(Step.EXPIRING)
                self._runs.change(run, EXPIRED)
            elif run.state == EXPIRED and run.changed_at < forgotten and self._deleted(run):
                self.forget(run)

    def _deleted(self, run: Run, *, keep: str = "") -> bool:
        """Whether its files are gone.  Where a disk does not let us, it is tried again later, and nobody else's report waits for it."""
        if clock.monotonic() < self._undeletable.get(run.run, 0.0):
            return False
        try:
            self._tools.files.remove(run, keep=keep)
        except Unavailable as problem:
            log.warning(str(problem))
            self._undeletable[run.run] = clock.monotonic() + DISK_SECONDS
            return False
        self._undeletable.pop(run.run, None)
        return True
