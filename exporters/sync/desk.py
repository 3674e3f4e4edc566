"""What everybody knows about the deliveries: destinations made by the API, which are paused, what is wrong with which, how far each process is.

All of it lies on one compact topic, so that every sync, every reports service and every `activity sync status` sees the same.  No secret is in it.

| key | value |
|---|---|
| `destination/NAME` | the settings of a destination that was made by the API |
| `paused/NAME` | since when an operator holds it back, and why |
| `episode/NAME` | what is wrong since when; one notice when it begins, one when it is over |
| `state/NAME/MEMBER` | how far one process is, for each of its partitions |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from exporters.journal import Journal
from exporters.mail.addresses import is_mailable
from exporters.sync.destinations import Destination, configured, overlapping, parse
from pipeline import broker, clock, topics
from pipeline.errors import ConfigError, RequestError, Unavailable
from pipeline.settings import Settings

# A process that has said nothing for this long is gone.
SILENT_MS = 20_000


class Paused(msgspec.Struct, frozen=True):
    since: int
    by: str = ""
    note: str = ""


class Episode(msgspec.Struct, frozen=True):
    """Something wrong: `type` is the notice's, `since` when it began, `until` when it was over (0: it is not), both UTC ms."""

    id: str
    type: str
    message: str
    since: int
    until: int = 0
    told: bool = False  # by each of its ways it has arrived, was refused or was given up
    by: str = ""  # the process that tells it


class LaneState(msgspec.Struct, frozen=True):
    """One partition: `delivered` is the offset before which everything is, `waiting_since` the record time (UTC ms) of the oldest in hand
    (0: there is none).
    """

    topic: str
    partition: int
    delivered: int
    end: int
    waiting_since: int = 0
    lost: int = 0
    problem: str = ""


def lag_seconds(lanes: Iterable[LaneState]) -> float | None:
    """How long the oldest record of all waits to be delivered; None if one has to be that nobody has in hand."""
    now = clock.now_ms()
    oldest = min((x.waiting_since for x in lanes if x.waiting_since or x.end > x.delivered), default=now)
    return max(0.0, (now - oldest) / 1000) if oldest else None


class State(msgspec.Struct, frozen=True):
    """How far one process is with one destination."""

    at: int
    member: str
    lanes: list[LaneState]
    last_object: str = ""
    stored_at: int = 0
    resting: int = 0  # `since` of the pause under which it has finished what it had begun; 0: of none
    partitions: int = 0  # how many there are in all, whoever holds them
    place: str = ""  # where the last object lies


class Summary(msgspec.Struct, frozen=True):
    """One destination as a person wants to know it.

    Both lags are None while a partition is with no process, for nobody knows how far it is; `lag_seconds` also while something is to be delivered
    that nobody has in hand.
    """

    name: str
    place: str
    state: str  # delivering | pausing | paused | failing | needs attention | rebalancing | nobody delivers
    lag_records: int | None
    lag_seconds: float | None
    lost_records: int
    last_object: str
    stored_at: int
    problem: str
    since: int
    partitions: list[LaneState]


READY_SECONDS = 20.0


@contextmanager
def following(settings: Settings) -> Iterator[Desk]:
    """The topic, read to its end, for a moment.  Raises Unavailable."""
    broker.admin(settings).close()  # whoever follows waits for a Kafka that is away
    desk = Desk(settings)
    desk.journal.start()
    deadline = clock.monotonic() + READY_SECONDS
    try:
        while not desk.journal.ready:
            if clock.monotonic() > deadline:
                raise Unavailable(
                    f"Kafka at {settings.kafka} does not hand out the state of the sync; run `activity topics check`"
                )
            clock.pause(0.02)
        yield desk
    finally:
        desk.journal.stop()


class Desk:
    """The topic, followed.  `journal` must be started."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._contents: dict[str, Any] = {}
        self._paused: dict[str, Paused] = {}
        self._episodes: dict[str, Episode] = {}
        self._states: dict[str, State] = {}
        self.journal = Journal(
            settings,
            topics.SYNC,
            {
                "destination/": self._destination,
                "paused/": lambda key, value: _keep(self._paused, key, value, Paused),
                "episode/": self._episode,
                "state/": lambda key, value: _keep(self._states, key, value, State),
                "": lambda _key, _value: None,
            },
        )

    def _destination(self, key: str, value: bytes | None) -> None:
        name = key.partition("/")[2]
        if value is None:
            self._contents.pop(name, None)
            return
        try:
            self._contents[name] = msgspec.json.decode(value)
        except msgspec.MsgspecError:
            return

    def _episode(self, key: str, value: bytes | None) -> bool | None:
        """The first to begin one has begun it, the first to end it has ended it; a repetition changes nothing.  False: refused."""
        name = key.partition("/")[2]
        if value is None:
            self._episodes.pop(name, None)
            return None
        try:
            episode = msgspec.json.decode(value, type=Episode)
        except msgspec.MsgspecError:
            return None
        before = self._episodes.get(name)
        if before is None:
            allowed = True  # if it has ended, its beginning was compacted away
        elif episode.id == before.id:
            ends = not before.until and bool(episode.until)
            # Another process tells it, or it is told.
            allowed = ends or (episode.until == before.until and not before.told)
        elif before.until:
            allowed = not episode.until
        else:
            allowed = _worse(episode.type, before.type)
        if allowed:
            self._episodes[name] = episode
        return allowed

    def destinations(self) -> dict[str, Destination]:
        """Those of the settings, and those made by the API; a name in the settings wins.  Raises ConfigError."""
        found = {}
        with self.journal.changed:
            made = dict(self._contents)
        for name, content in made.items():
            try:
                found[name] = parse(name, _deliverable(content))
            except ConfigError:
                continue  # written by a newer version: whoever can read it delivers it
        return found | configured(self._settings)

    def put(self, name: str, content: dict[str, Any]) -> Destination:
        """Make or change a destination.  Raises ConfigError, RequestError, Unavailable."""
        if name in self._settings.destinations:
            raise RequestError(
                f"destination {name} is in the settings of this system; change it there", status=409, code="conflict"
            )
        destination = parse(name, content)
        known = self.destinations()
        if other := overlapping(name, destination, known):
            raise RequestError(
                f"destination {other} already delivers to {known[other].target.place}", status=409, code="conflict"
            )
        self.journal.write(f"destination/{name}", destination.model_dump_json().encode())
        return destination

    def remove(self, name: str) -> None:
        """With its pause and its trouble, which would be those of the next one of this name.  Raises RequestError, Unavailable."""
        if name not in self._contents:
            raise RequestError(f"there is no destination {name} that was made here", status=404, code="not_found")
        for key in (f"destination/{name}", f"paused/{name}", f"episode/{name}"):
            self.journal.write(key, None)

    def pause(self, name: str, *, by: str = "", note: str = "") -> None:
        self._known(name)
        self.journal.write(f"paused/{name}", msgspec.json.encode(Paused(clock.now_ms(), by, note)))

    def resume(self, name: str) -> None:
        self._known(name)
        self.journal.write(f"paused/{name}", None)

    def _known(self, name: str) -> None:
        known = self.destinations()
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise RequestError(f"there is no destination {name}; there are: {names}", status=404, code="not_found")

    def paused(self, name: str) -> Paused | None:
        with self.journal.changed:
            return self._paused.get(name)

    def episode(self, name: str) -> Episode | None:
        with self.journal.changed:
            return self._episodes.get(name)

    def write_episode(self, name: str, episode: Episode) -> bool:
        """Whether it is ours that counts now.  Raises Unavailable."""
        self.journal.write(f"episode/{name}", msgspec.json.encode(episode))
        return self.episode(name) == episode

    def tell(self, name: str, state: State) -> None:
        """How far one process is with a destination.  Raises Unavailable."""
        self.journal.write(f"state/{name}/{state.member}", msgspec.json.encode(state))

    def leave(self, name: str, state: State) -> None:
        """The process no longer delivers it: it is not waited for, and what it stored stays known.  Raises Unavailable."""
        self.tell(name, msgspec.structs.replace(state, at=0, lanes=[]))

    def bury(self) -> None:
        """Take away what the silent said, but for the newest object of each destination: the topic does not grow with every death.  Raises Unavailable."""
        alive = clock.now_ms() - SILENT_MS
        with self.journal.changed:
            states = dict(self._states)
        newest = {key.partition("/")[0]: key for key, _ in sorted(states.items(), key=lambda s: s[1].stored_at)}
        for key in states.keys() - newest.values():
            if states[key].at < alive:
                self.journal.write(f"state/{key}", None)

    def states(self, name: str) -> list[State]:
        """Of the processes that are alive."""
        alive = clock.now_ms() - SILENT_MS
        return [s for s in self._said(name) if s.at >= alive]

    def _said(self, name: str) -> list[State]:
        with self.journal.changed:
            return [s for k, s in self._states.items() if k.startswith(f"{name}/")]

    def summary(self, name: str, destination: Destination) -> Summary:
        newest: dict[tuple[str, int], tuple[int, LaneState]] = {}
        states = self.states(name)
        for state in states:
            for lane in state.lanes:
                place = (lane.topic, lane.partition)
                if place not in newest or newest[place][0] < state.at:
                    newest[place] = (state.at, lane)
        lanes = [lane for _, (_, lane) in sorted(newest.items())]
        there = max((s.partitions for s in states), default=0)
        known = bool(lanes) and len(lanes) >= there
        paused, episode = self.paused(name), self.episode(name)
        wrong = episode if episode is not None and not episode.until else None
        problem = wrong.message if wrong is not None else next((x.problem for x in lanes if x.problem), "")
        if paused is not None:
            said, since = "paused" if all(s.resting == paused.since for s in states) else "pausing", paused.since
        elif not states:
            said, since = "nobody delivers", 0
        elif wrong is not None:
            said, since = ("needs attention" if wrong.type == REQUIRES_ATTENTION else "failing"), wrong.since
        elif not known:
            said, since = "rebalancing", 0
            unheld = f"{there - len(lanes)} of {there}" if there else "all"
            problem = problem or (
                f"{unheld} partitions are with no process yet; "
                f"after a crash that takes up to {self._settings.session_timeout_seconds:.0f} s"
            )
        else:
            said, since = "delivering", 0
        stored = [s for s in self._said(name) if s.place == destination.target.place]
        last = max(stored, key=lambda s: s.stored_at, default=None)
        return Summary(
            name=name,
            place=destination.target.place,
            state=said,
            lag_records=sum(max(0, x.end - x.delivered) for x in lanes) if known else None,
            lag_seconds=lag_seconds(lanes) if known else None,
            lost_records=sum(x.lost for x in lanes),
            last_object=last.last_object if last is not None else "",
            stored_at=last.stored_at if last is not None else 0,
            problem=problem,
            since=since,
            partitions=lanes,
        )


ERRORS = "EVENTS_SYNC_ERRORS"
REQUIRES_ATTENTION = "EVENTS_SYNC_REQUIRES_ATTENTION"
RESOLVED = "EVENTS_SYNC_ERROR_RESOLVED"


def _deliverable(content: Any) -> Any:
    """Addresses were not always looked at: one that is none stops no delivery."""
    if not isinstance(content, dict) or not isinstance(content.get("mail"), list):
        return content
    return content | {"mail": [address for address in content["mail"] if is_mailable(address)]}


def _worse(type_: str, than: str) -> bool:
    return type_ == REQUIRES_ATTENTION and than == ERRORS


def _keep(table: dict[str, Any], key: str, value: bytes | None, form: Any) -> None:
    name = key.partition("/")[2]
    if value is None:
        table.pop(name, None)
        return
    try:
        table[name] = msgspec.json.decode(value, type=form)
    except msgspec.MsgspecError:
        return
