"""Taking in what another sync delivered: objects below a place in a bucket, each once, by the rules of files.

An object is known again by its key and its tag, so a new object under an old key is another one.  Marks lie on the same topic as those of files and
are written as often.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipeline import clock, console
from pipeline.errors import ConfigError, Problem, RequestError, Unavailable
from pipeline.intake.ingest import Account, Store, judge, send_lines
from pipeline.intake.lines import Line, lines
from pipeline.intake.marks import Mark, marks, remember
from pipeline.intake.places import Listed, Objects
from pipeline.intake.records import Sender
from pipeline.intake.sources import Stopped, unpacked
from pipeline.settings import Settings

SUFFIXES = (".json", ".ndjson", ".jsonl", ".csv", ".log")
PACKED = (".gz", ".zst", ".zstd")
# What a delivery of ours keeps beside its objects: no event lies there, or one that lies in an object as well.
OWN = re.compile(
    r"(^|/)(_activity/|backfill/\d{8}T\d{4,9}_\d{8}T\d{4,9}/"
    r"|(manifests|errors)/[a-z_]+/dt=\d{4}-\d\d-\d\d/hour=\d\d/[0-9a-f]{8}-\d{5}-\d{20}-)"
)
POLL_SECONDS = 10.0
LISTING_SHARE = 10  # listing takes at most this part of the time
ATTEMPTS = 3
HELD_MARKS = 64
LOOK_SECONDS = 0.1


@dataclass
class Taken:
    """What became of the objects themselves; their lines are in the account."""

    whole: int = 0
    before: int = 0
    other: int = 0  # neither JSON nor CSV nor a log, by their names
    broken: Counter[str] = field(default_factory=Counter)  # by key: could not be unpacked, or vanished

    def note_broken(self, key: str, problem: Problem) -> None:
        console.say(str(problem))
        self.broken[key] += 1

    def say(self, place: str) -> None:
        said = [f"{self.whole} objects taken in"]
        said += [f"{self.before} were taken in before"] if self.before else []
        said += [f"{self.other} have other names than {' '.join(SUFFIXES)}"] if self.other else []
        said += [f"{len(self.broken)} could not be read"] if self.broken else []
        console.say(f"{place}: {', '.join(said)}")


class _Marks:
    """What was taken in, known and written.  Many small objects share one wait for Kafka."""

    def __init__(self, settings: Settings, sender: Sender, *, again: bool) -> None:
        self._sender = sender
        self._earlier = {} if again else marks(settings)
        self._now: dict[str, Mark] = {}
        self._held: list[tuple[str, Mark, str]] = []

    def before(self, key: str) -> Mark:
        return self._now.get(key) or self._earlier.get(key, Mark(done=False, lines=0))

    def earlier(self, key: str) -> bool:
        """Whether that is known from an earlier run."""
        return key not in self._now

    def note(self, key: str, name: str, mark: Mark) -> None:
        self._now[key] = mark
        self._held.append((key, mark, name))
        if not mark.done or len(self._held) >= HELD_MARKS:
            self.store()

    def store(self) -> None:
        """Returns when everything sent so far is stored, and then everything noted."""
        self._sender.flush()
        for key, mark, name in self._held:
            remember(self._sender, key, mark, name=name)
        self._held.clear()
        self._sender.flush()


def ingest(settings: Settings, places: list[Objects], account: Account, stopped: Stopped, *, again: bool) -> Taken:
    """Send every object that was not sent before.  Raises Unavailable, Refused."""
    settings.needs("kafka")
    taken = Taken()
    with Sender(settings) as sender:
        known = _Marks(settings, sender, again=again)
        for place in places:
            _pass(sender, place, known, account, taken, stopped)
    return taken


def follow(settings: Settings, places: list[Objects], account: Account, stopped: Stopped) -> Taken:
    """Send what is there and what comes, until `stopped`; a store that is away is waited for."""
    settings.needs("kafka")
    taken = Taken()
    with Sender(settings) as sender:
        known = _Marks(settings, sender, again=False)
        while not stopped():
            began = clock.monotonic()
            taken.before = taken.other = 0  # of one look, however many follow
            for place in places:
                try:
                    _pass(sender, place, known, account, taken, stopped)
                except Unavailable as away:
                    console.say(str(away))
            spent = clock.monotonic() - began
            _wait(max(POLL_SECONDS, LISTING_SHARE * spent), stopped)
    return taken


def dry_run(places: list[Objects], account: Account, stopped: Stopped) -> Taken:
    """Decode here instead of sending.  Raises Unavailable, Refused."""
    taken = Taken()
    for place in places:
        for listed in _events(place, taken):
            try:
                for line in _content(place, listed):
                    judge(line, account)
                    if stopped():
                        return taken
            except (ConfigError, RequestError) as broken:
                taken.note_broken(listed.key, broken)
    return taken


def _pass(sender: Sender, place: Objects, known: _Marks, account: Account, taken: Taken, stopped: Stopped) -> None:
    """Once over everything that is there."""
    try:
        for listed in _events(place, taken):
            if stopped():
                return
            key = _mark(place, listed)
            if known.before(key).done:
                taken.before += known.earlier(key)
            elif listed.key not in taken.broken:
                _take(
                    sender,
                    place,
                    listed,
                    partial(known.note, key, listed.key),
                    known.before(key),
                    account,
                    taken,
                    stopped,
                )
    finally:
        known.store()


def _take(
    sender: Sender,
    place: Objects,
    listed: Listed,
    store: Store,
    before: Mark,
    account: Account,
    taken: Taken,
    stopped: Stopped,
) -> None:
    """Send one object from after the lines that are stored; a connection that breaks is made anew where it was."""
    skip, resumed = before.lines, account.resumed
    for attempt in range(1, ATTEMPTS + 1):
        sent = [skip]
        account.resumed = resumed
        try:
            end = send_lines(sender, _counted(_content(place, listed), sent), store, account, stopped, skip=skip)
        except Unavailable as away:
            skip = max(skip, sent[0])
            if attempt == ATTEMPTS or stopped():
                raise
            _wait(away.retry_after_seconds, stopped)
        except (ConfigError, RequestError) as broken:
            taken.note_broken(listed.key, broken)
            return
        else:
            account.resumed = resumed + before.lines
            taken.whole += end.done
            return


def _events(place: Objects, taken: Taken) -> Iterator[Listed]:
    for listed in place.objects():
        name = listed.key.lower()
        for packed in PACKED:
            name = name.removesuffix(packed)
        if OWN.search(listed.key) or not listed.size:
            continue
        if name.endswith(SUFFIXES):
            yield listed
        else:
            taken.other += 1


def _counted(found: Iterable[Line], sent: list[int]) -> Iterator[Line]:
    """Lines, and how many of them were handled: each is when the next one is asked for."""
    for done, line in enumerate(found, 1):
        yield line
        sent[0] = done


def _content(place: Objects, listed: Listed) -> Iterator[Line]:
    with closing(_Pieces(place.read(listed.key))) as raw:
        yield from lines(unpacked(raw, f"{place.place}/{listed.key}"))


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a source to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if isinstance(self._pieces, Generator):
            self._pieces.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _mark(place: Objects, listed: Listed) -> str:
    return "object:" + hashlib.sha256(f"{place.place}/{listed.key}\0{listed.etag}".encode()).hexdigest()


def _wait(seconds: float, stopped: Stopped) -> None:
    until = clock.monotonic() + seconds
    while clock.monotonic() < until and not stopped():
        clock.pause(LOOK_SECONDS)
