"""Taking files and streams in: everything that could be an event is sent, everything else is counted, a file only once.

A file's progress is marked every 4,096 lines, after they are stored.  A run that dies is gone on with by running it again: at most the lines behind
the newest mark are sent twice.  Their copies lie within the duplicates' window (16,384 records of the partition, 24 hours) unless more than 12,288
other records or a day came in between; lines that are refused are refused twice.  Of a followed file at most the last 512 KiB are sent twice.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline import clock, console
from pipeline.errors import ConfigError
from pipeline.intake.lines import TOO_LONG, Line, addressed, lines
from pipeline.intake.marks import Mark, marks, remember
from pipeline.intake.records import Sender
from pipeline.intake.sources import Stopped, content, fingerprint, standard_input
from pipeline.intake.tail import Tail
from pipeline.model.dialects import decode_authentication, decode_connection
from pipeline.model.events import Rejected
from pipeline.model.times import iso
from pipeline.settings import Settings
from pipeline.topics import AUTHENTICATIONS

MARK_LINES = 4096
FLUSH_SECONDS = 0.2
IDLE_SECONDS = 0.1
STANDARD_INPUT = "-"

Advance = Callable[[int], None]
Store = Callable[[Mark], None]


@dataclass
class Account:
    """What became of every line."""

    read: int = 0
    resumed: int = 0  # lines that an earlier run had stored
    sent: Counter[str] = field(default_factory=Counter)  # by topic
    skipped: Counter[str] = field(default_factory=Counter)  # by kind
    too_long: list[int] = field(default_factory=list)  # line numbers, the first hundred
    rejected: Counter[str] = field(default_factory=Counter)  # by reason, in a dry run

    def note(self, line: Line) -> bool:
        """Count a line; whether it is to be sent."""
        self.read += 1
        if not line.skipped:
            return True
        self.skipped[line.skipped] += 1
        if line.skipped == TOO_LONG and len(self.too_long) < 100:
            self.too_long.append(line.number)
        return False

    def as_dict(self) -> dict[str, object]:
        return {
            "read": self.read,
            "resumed": self.resumed,
            "sent": dict(self.sent),
            "skipped": dict(self.skipped),
            "too_long_lines": self.too_long,
            "rejected": dict(self.rejected),
        }


@contextmanager
def stopping() -> Iterator[list[int]]:
    """The signals that asked for an end; a second one does not wait for it."""
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def dry_run(names: list[str], account: Account, stopped: Stopped) -> None:
    """Decode here instead of sending; duplicates are not judged.  Raises ConfigError."""
    for name in names:
        if name == STANDARD_INPUT:
            for line in lines(standard_input(stopped)):
                judge(line, account)
            continue
        with content(Path(name)) as (source, position), _progress(Path(name)) as advance:
            for line in _advancing(lines(source), position, advance):
                judge(line, account)
                if stopped():
                    return


def judge(line: Line, account: Account) -> None:
    """Count a line as what it would become."""
    if not account.note(line):
        return
    topic, _ = addressed(line.value)
    decode = decode_authentication if topic is AUTHENTICATIONS else decode_connection
    try:
        decode(line.value, clock.now_ms())
    except Rejected as rejected:
        account.rejected[rejected.reason.value] += 1
    else:
        account.sent[topic.role] += 1


def ingest(settings: Settings, names: list[str], account: Account, stopped: Stopped, *, again: bool) -> int:
    """Send files and, for `-`, standard input; how many files were refused because they had been taken in before.

    Every file is read once before anything is sent.  Raises ConfigError, Unavailable.
    """
    settings.needs("kafka")
    paths = [Path(name) for name in names if name != STANDARD_INPUT]
    prints = []
    for path in paths:
        with _progress(path, "looking at ") as advance:
            prints.append(fingerprint(path, advance))
    known = marks(settings) if paths and not again else {}
    refused = 0
    with Sender(settings) as sender:
        for path, mark in zip(paths, prints, strict=True):
            before = known.get(mark, Mark(done=False, lines=0))
            if before.done:
                console.say(f"{path} was taken in before ({iso(before.at)}); give --again to send it once more")
                refused += 1
                continue
            if stopped():
                break
            if before.lines:
                console.say(f"{path}: going on after line {before.lines}, where an earlier run had stored everything")
            with _progress(path) as advance:
                send_file(sender, path, mark, account, stopped, advance, skip=before.lines)
            if mark:
                known[mark] = Mark(done=True, lines=0, at=clock.now_ms())
        if STANDARD_INPUT in names and not stopped():
            _send_stream(sender, account, stopped)
    return refused


def send_file(
    sender: Sender, path: Path, mark: str, account: Account, stopped: Stopped, advance: Advance, *, skip: int = 0
) -> None:
    """Send a file from after its first `skip` lines on; mark what is stored under `mark`, its fingerprint."""
    with content(path) as (source, position):
        found = _advancing(lines(source), position, advance)
        store = partial(_store, sender, mark, path)
        end = send_lines(sender, found, store, account, stopped, skip=skip)
    if not end.done:
        console.say(f"{path}: stopped after line {end.lines}; give it again to go on from there")


def send_lines(
    sender: Sender, found: Iterator[Line], store: Store, account: Account, stopped: Stopped, *, skip: int
) -> Mark:
    """Send lines from after the first `skip` on.  `store` gets every mark, also the last one, which is returned: it may only be written
    when everything sent so far is stored.
    """
    done = 0
    for done, line in enumerate(found, 1):
        if done <= skip:
            account.resumed += 1
            continue
        if account.note(line):
            _send(sender, line, account)
        if done % MARK_LINES == 0 or stopped():
            store(Mark(done=False, lines=done))
        if stopped():
            return Mark(done=False, lines=done)
    end = Mark(done=True, lines=done)
    store(end)
    return end


def _store(sender: Sender, key: str, path: Path, mark: Mark) -> None:
    sender.flush()
    if key:  # an empty file is like any other empty one
        remember(sender, key, mark, name=path.name)
        sender.flush()


def _send(sender: Sender, line: Line, account: Account) -> None:
    topic, key = addressed(line.value)
    sender.send(topic, key=key, value=line.value)
    account.sent[topic.role] += 1


def _send_stream(sender: Sender, account: Account, stopped: Stopped) -> None:
    flushed = clock.monotonic()
    for line in lines(standard_input(stopped)):
        if account.note(line):
            _send(sender, line, account)
        if clock.monotonic() - flushed >= FLUSH_SECONDS:
            sender.flush()
            flushed = clock.monotonic()


def follow(settings: Settings, names: list[str], account: Account, stopped: Stopped) -> None:
    """Send what is appended to files until `stopped`.  Raises ConfigError, Unavailable."""
    if STANDARD_INPUT in names:
        raise ConfigError("standard input is followed as it is; leave --follow or the files out")
    settings.needs("kafka")
    known = marks(settings)
    tails = [(Path(name), Tail(Path(name), known)) for name in names]
    for path, _ in tails:
        if not path.exists():
            console.say(f"{path} is not there yet; waiting for it")
    with Sender(settings) as sender:
        while not stopped():
            fresh = [(path, tail, found) for path, tail in tails if (found := tail.step())]
            for _, _, found in fresh:
                for line in found:
                    if account.note(line):
                        _send(sender, line, account)
            if fresh:
                sender.flush()
            else:
                clock.pause(IDLE_SECONDS)
            for path, tail, _ in fresh:
                if (mark := tail.mark()) is not None:
                    remember(sender, *mark, name=path.name)
    for _, tail in tails:
        tail.close()


def _progress(path: Path, label: str = "") -> AbstractContextManager[Advance]:
    return console.progress(label + path.name, path.stat().st_size if path.exists() else 0)


def _advancing(found: Iterator[Line], position: Callable[[], int], advance: Advance) -> Iterator[Line]:
    before = 0
    for count, line in enumerate(found):
        yield line
        if count % 1000 == 0:
            advance(position() - before)
            before = position()
