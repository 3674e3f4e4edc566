"""The process `activity sync`: one pump per destination, until a signal.  Several may run; they share the partitions of each destination.

Beside the pumps an attendant, which tells everybody how far they are and passes on what operators and the API ask for, and a messenger, which has notices
sent.  The one may wait for Kafka, the other for a webhook or a mail server; neither the pumps nor each other wait for them.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from prometheus_client import start_http_server

from exporters.mail.mailer import Mailer
from exporters.sync.desk import Desk, State
from exporters.sync.destinations import Destination
from exporters.sync.door import Door
from exporters.sync.notices import Notices
from exporters.sync.pump import Pump
from exporters.sync.setup import owner
from pipeline import clock, logs
from pipeline.errors import ConfigError, Unavailable
from pipeline.metrics import Metrics
from pipeline.model import structs
from pipeline.settings import Settings

log = logs.logger("sync")

LOOK_SECONDS = 1.0
# At the end for all destinations together; a pump that waits for Kafka longer has nothing that it could finish.
STOP_SECONDS = 20.0
# With Kafka away a last word is not waited for longer than this; silence says the same.
LEAVE_SECONDS = 3.0
# How often a process says how far it is: sooner if something happened.
TELL_MS, TELL_IDLE_MS = 2_000, 5_000


def main(settings: Settings) -> None:
    """Deliver until a signal.  Raises ConfigError, or whatever ended a pump."""
    logs.configure(level=settings.log_level, json_lines=settings.log_json)
    settings.needs("kafka")
    ending = Ending()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ending)
    run(settings, ending)


class Ending:
    """What a signal's handler sets.  No event: the thread that the handler interrupts may hold its lock, and would then wait for itself for ever."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self, *_: object) -> None:
        self._asked = True

    def wait(self, seconds: float) -> bool:
        """Whether an end was asked for, if need be after so long."""
        if not self._asked:
            clock.pause(seconds)
        return self._asked


def run(settings: Settings, ending: Ending | threading.Event) -> None:
    """Deliver until `ending` says so."""
    structs.ready()
    house = House(settings)
    house.start()
    try:
        while not ending.wait(0.1):
            house.look()
    finally:
        house.stop()
    house.look()


class House:
    """The pumps of one process, their attendant and their messenger."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._desk = Desk(settings)
        self._member = uuid.uuid4().hex[:8]
        self._stopping = threading.Event()
        self._aides = [
            threading.Thread(target=self._again_and_again, args=(turn,), name=name, daemon=True)
            for name, turn in (("attendant", self._attend), ("messenger", self._notify))
        ]
        self._pumps: dict[str, Pump] = {}
        self._notices: dict[str, Notices] = {}
        self._told: dict[str, State] = {}
        self._problem: BaseException | None = None
        self._said_nothing = False

    def start(self) -> None:
        """Raises ConfigError."""
        self._desk.destinations()
        if self._settings.sync_port:
            start_http_server(self._settings.sync_port, "127.0.0.1", registry=self._metrics.registry)
        self._desk.journal.start()
        for aide in self._aides:
            aide.start()

    def look(self) -> None:
        """Raises what ended a thread of ours."""
        ended = [self._problem, *(p.problem for p in list(self._pumps.values()))]
        failed = next((p for p in ended if p is not None), None)
        if failed is not None:
            raise failed

    def stop(self) -> None:
        self._stopping.set()
        deadline = clock.monotonic() + STOP_SECONDS
        for threads in (self._aides, self._pumps.values()):  # in this order: the attendant may be hiring
            for pump in list(self._pumps.values()):
                pump.stop()
            for thread in list(threads):
                thread.join(max(0.0, deadline - clock.monotonic()))
        leaving = threading.Thread(target=self._leave, name="leaving", daemon=True)
        leaving.start()
        leaving.join(LEAVE_SECONDS)
        self._desk.journal.stop()

    def _again_and_again(self, turn: Callable[[], None]) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    if self._desk.journal.ready:
                        turn()
                except Unavailable as problem:
                    log.warning("Kafka is away; trying again", problem=str(problem))
                self._stopping.wait(LOOK_SECONDS if self._pumps else 0.1)
        except BaseException as error:
            self._problem = error

    def _leave(self) -> None:
        """Say that nobody is here any more."""
        try:
            for name, pump in list(self._pumps.items()):
                self._desk.leave(name, self._state(pump))
        except Unavailable as problem:
            log.debug("could not say goodbye", problem=str(problem))

    def _attend(self) -> None:
        if not self._pumps:
            self._desk.bury()
        self._hire()
        self._tend()

    def _tend(self) -> None:
        for name, pump in self._pumps.items():
            paused = self._desk.paused(name)
            pump.paused = (paused.note or "by an operator") if paused is not None else ""
            self._tell(name, pump, resting=paused.since if paused is not None and pump.resting else 0)

    def _notify(self) -> None:
        wanted = self._desk.destinations()
        for name, notices in list(self._notices.items()):
            pump = self._pumps.get(name)
            # What nobody wants any more is nobody's trouble.
            if pump is not None and wanted.get(name) == pump.destination:
                problem, seconds = pump.worst or (None, 0.0)
                notices.look(problem, seconds, worked_at=pump.worked_at)

    def _hire(self) -> None:
        """A pump for each destination as it is wanted now."""
        wanted = self._desk.destinations()
        for name, pump in list(self._pumps.items()):
            if wanted.get(name) != pump.destination:
                self._end(pump)
                del self._pumps[name], self._notices[name]
                if self._told.pop(name, None) is not None:
                    self._desk.leave(name, self._state(pump))
        share = self._settings.sync_memory_bytes // max(1, len(wanted))
        for pump in self._pumps.values():
            pump.memory_bytes = share
        for name, destination in sorted(wanted.items()):
            if name not in self._pumps and not self._stopping.is_set():
                self._pumps[name] = self._pump(name, destination, share)
        if not wanted and not self._said_nothing:
            self._said_nothing = True
            log.warning(
                "there is no destination yet: write a table [destinations.NAME] with a target, or set ACTIVITY_DESTINATIONS; see docs/sync.md",
                file=str(self._settings.data / "activity.toml"),
            )

    def _end(self, pump: Pump) -> None:
        """Wait for one of them, which takes long where its place is away; meanwhile the others are not forgotten."""
        pump.stop()
        deadline = clock.monotonic() + STOP_SECONDS
        with contextlib.suppress(Unavailable):
            while pump.is_alive() and clock.monotonic() < deadline:
                pump.join(LOOK_SECONDS)
                if self._told:
                    self._tend()
        pump.join(max(0.0, deadline - clock.monotonic()))

    def _pump(self, name: str, destination: Destination, share: int) -> Pump:
        mailer = None
        if destination.mail:
            try:
                mailer = Mailer(self._settings)
            except ConfigError as problem:
                log.warning("notices cannot be mailed", destination=name, problem=str(problem))
        self._notices[name] = Notices(
            self._settings, self._desk, name, destination, self._metrics, mailer, self._member
        )
        door = Door(destination.target, partial(owner, self._settings, name, destination))
        pump = Pump(self._settings, name, destination, door, self._metrics, memory_bytes=share)
        paused = self._desk.paused(name)
        pump.paused = (paused.note or "by an operator") if paused is not None else ""
        pump.start()
        log.info("delivering", destination=name, to=destination.target.place)
        return pump

    def _state(self, pump: Pump, resting: int = 0) -> State:
        return State(
            at=clock.now_ms(),
            member=self._member,
            lanes=pump.lane_states,
            last_object=pump.last_object,
            stored_at=pump.stored_at,
            resting=resting,
            partitions=pump.partitions,
            place=pump.destination.target.place,
        )

    def _tell(self, name: str, pump: Pump, *, resting: int) -> None:
        state, before = self._state(pump, resting), self._told.get(name)
        if before is not None:
            changed = msgspec.structs.replace(state, at=before.at) != before
            if state.at - before.at < (TELL_MS if changed else TELL_IDLE_MS):
                return
        self._desk.tell(name, state)
        self._told[name] = state


def verifier() -> Path:
    """The file that a customer can run with boto3 alone."""
    return Path(__file__).with_name("verify.py")
