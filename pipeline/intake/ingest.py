"""Taking files and streams in: everything that could be an event is sent, everything else is counted, a file only once."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import orjson

from pipeline import clock
from pipeline.errors import ConfigError, RequestError
from pipeline.intake.lines import Line, addressed, of_file, of_line
from pipeline.intake.records import Sender, read
from pipeline.model.dialects import decode_authentication, decode_connection
from pipeline.model.events import Rejected
from pipeline.model.times import iso
from pipeline.settings import Settings
from pipeline.topics import AUTHENTICATIONS, INGESTED

FLUSH_SECONDS = 0.2
IDLE_SECONDS = 0.1


@dataclass
class Account:
    """What became of every line."""

    read: int = 0
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
        if line.skipped.startswith("longer") and len(self.too_long) < 100:
            self.too_long.append(line.number)
        return False

    def as_dict(self) -> dict[str, object]:
        return {
            "read": self.read,
            "sent": dict(self.sent),
            "skipped": dict(self.skipped),
            "too_long_lines": self.too_long,
            "rejected": dict(self.rejected),
        }


def fingerprint(path: Path) -> str:
    """SHA-256 of the content.  Raises ConfigError."""
    try:
        with path.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give another file") from None


def known(settings: Settings) -> dict[str, int]:
    """{fingerprint: when} of the files taken in before."""
    return {(r.key or b"").decode(): r.timestamp for r in read(settings, INGESTED) if r.value}


def send_file(sender: Sender, path: Path, account: Account, advance: Callable[[int], None]) -> None:
    """Send a file whole and remember it after everything is stored."""
    mark = fingerprint(path)
    with path.open("rb") as source:
        at = 0
        for line in of_file(source):
            if account.note(line):
                _send(sender, line.value, account)
            if account.read % 1000 == 0:
                advance(source.tell() - at)
                at = source.tell()
    sender.flush()
    sender.send(INGESTED, key=mark.encode(), value=orjson.dumps({"name": path.name, "bytes": path.stat().st_size}))
    sender.flush()


def refuse_known(settings: Settings, paths: list[Path]) -> None:
    """Raises RequestError for the first file that was taken in before."""
    before = known(settings)
    for path in paths:
        if (when := before.get(fingerprint(path))) is not None:
            raise RequestError(f"{path} was taken in before ({iso(when)}); give --again to send it once more")


def dry_run(path: Path, account: Account) -> None:
    """Decode here instead of sending; duplicates are not judged."""
    with path.open("rb") as source:
        for line in of_file(source):
            if not account.note(line):
                continue
            topic, _ = addressed(line.value)
            decode = decode_authentication if topic is AUTHENTICATIONS else decode_connection
            try:
                decode(line.value, clock.now_ms())
            except Rejected as rejected:
                account.rejected[rejected.reason.value] += 1
            else:
                account.sent[topic.role] += 1


def _send(sender: Sender, value: bytes, account: Account) -> None:
    topic, key = addressed(value)
    sender.send(topic, key=key, value=value)
    account.sent[topic.role] += 1


class Tail:
    """A growing file, step by step: appended lines, truncation and rotation; a line counts when its newline is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        self._number = 0

    def step(self) -> list[Line]:
        """What was added since the last step."""
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return self._drain()
        if self._file is not None:
            mine = os.fstat(self._file.fileno())
            if (mine.st_ino, mine.st_dev) != (now.st_ino, now.st_dev):
                last = self._drain()
                self._file.close()
                self._file, self._rest = None, b""
                return last + self.step()
            if now.st_size < self._file.tell():  # copied away and truncated
                self._file.seek(0)
                self._rest = b""
        if self._file is None:
            self._file = self._path.open("rb")
        return self._drain()

    def _drain(self) -> list[Line]:
        if self._file is None:
            return []
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        lines = [of_line(self._number + i, raw) for i, raw in enumerate(whole, 1)]
        self._number += len(whole)
        return lines


def follow(sender: Sender, tails: list[Tail], account: Account, stopped: Callable[[], bool]) -> None:
    """Send what is appended until `stopped`; what was read is stored before this returns."""
    while not stopped():
        lines = [line for tail in tails for line in tail.step()]
        for line in lines:
            if account.note(line):
                _send(sender, line.value, account)
        if lines:
            sender.flush()
        else:
            clock.pause(IDLE_SECONDS)


def send_stream(sender: Sender, source: BinaryIO, account: Account, stopped: Callable[[], bool]) -> None:
    """Send standard input line by line; a pause in the input never holds lines back."""
    flushed = clock.monotonic()
    for number, raw in enumerate(_lines(source), 1):
        line = of_line(number, raw)
        if account.note(line):
            _send(sender, line.value, account)
        if clock.monotonic() - flushed >= FLUSH_SECONDS:
            sender.flush()
            flushed = clock.monotonic()
        if stopped():
            break
    sender.flush()


def _lines(source: BinaryIO) -> Iterator[bytes]:
    yield from iter(source.readline, b"")


def stdin() -> BinaryIO:
    return sys.stdin.buffer
