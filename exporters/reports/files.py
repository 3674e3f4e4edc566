"""Where the files of finished runs lie.  A file is made beside, appears whole under its own name, and only the journal says which name counts.

The number of the attempt is part of a name, so that two attempts never meet in one file.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol, cast

from pydantic import ValidationError

from exporters.reports.runs import Run
from exporters.sinks.opening import open_sink
from exporters.sinks.sink import Document, Missing, Outcome, Sink
from exporters.sinks.target import TARGET
from pipeline.errors import ConfigError, Refused, Unavailable
from pipeline.settings import Settings

PARTS = ".parts"
# Below the target: what else lies in the bucket is none of ours.
BELOW = "reports"


class Files(Protocol):
    """A directory of this machine, or a bucket that several services share."""

    def part(self, run: Run) -> Path:
        """Where this attempt writes."""

    def discard(self, run: Run) -> None:
        """Delete what this attempt wrote; a disk that does not let us is met again by whoever needs it."""

    def store(self, run: Run, part: Path, *, sha256: str) -> str:
        """Give a whole file its name, safe where it lies; the name.  Raises OSError, Unavailable, Refused."""

    def path(self, run: Run) -> Path | None:
        """The file, if it is one of this machine."""

    def open(self, run: Run) -> IO[bytes]:
        """Raises FileNotFoundError, Unavailable, Refused."""

    def remove(self, run: Run, *, keep: str = "") -> None:
        """Delete what any attempt of a run left, but for `keep`.  Raises Unavailable."""

    def sweep(self) -> None:
        """Delete what deaths left half made.  Only for a service that is alone."""


def open_files(settings: Settings) -> Files:
    """Raises ConfigError, Unavailable, Refused."""
    if not settings.report_target:
        return DirectoryFiles(settings)
    try:
        target = TARGET.validate_json(settings.report_target)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(
            f'ACTIVITY_REPORT_TARGET: {faults}; give {{"kind": "s3", "bucket": …}} as a destination has it'
        ) from None
    return SunkFiles(settings, open_sink(target))


def name(run: Run) -> str:
    return f"{run.run}-{run.attempt}"


class _Parts:
    """What is being made, always on this machine."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.data / "reports"

    def part(self, run: Run) -> Path:
        return self._root / PARTS / name(run)

    def discard(self, run: Run) -> None:
        with suppress(OSError):
            self.part(run).unlink(missing_ok=True)

    def sweep(self) -> None:
        with suppress(OSError):
            for part in (self._root / PARTS).glob("*"):
                part.unlink(missing_ok=True)

    def remove(self, run: Run, *, keep: str = "") -> None:
        try:
            for number in range(run.attempt + 1):
                left = f"{run.run}-{number}" if number else run.run
                for part in (left, f"{left}.part"):
                    (self._root / PARTS / part).unlink(missing_ok=True)
                if left != keep:
                    self._remove(left)
        except OSError as error:
            raise Unavailable(
                f"the file of a report in {self._root} cannot be deleted ({error.strerror or type(error).__name__}); it is tried again"
            ) from None

    def _remove(self, name: str) -> None:
        """Delete a whole file where the form can.  Raises OSError."""


class DirectoryFiles(_Parts):
    """`reports` in the data directory."""

    def store(self, run: Run, part: Path, *, sha256: str) -> str:  # noqa: ARG002 - the other form tells it to the store
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(self._root / name(run))
        directory = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return name(run)

    def path(self, run: Run) -> Path | None:
        return self._root / (run.stored or run.run)

    def open(self, run: Run) -> IO[bytes]:
        return (self._root / (run.stored or run.run)).open("rb")

    def _remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)


class SunkFiles(_Parts):
    """Files in a sink, which takes nothing back: the bucket's own rule deletes what has expired."""

    def __init__(self, settings: Settings, sink: Sink) -> None:
        super().__init__(settings)
        self._sink = sink

    def store(self, run: Run, part: Path, *, sha256: str) -> str:
        document = Document(f"{BELOW}/{name(run)}", part, "application/octet-stream", sha256)
        receipt = self._sink.create(document)
        if receipt.outcome == Outcome.EXISTS and receipt.sha256 not in (None, sha256):
            raise Refused(f"{self._sink.place}: something else lies at {document.key}; choose an empty prefix")
        self.discard(run)
        return name(run)

    def path(self, run: Run) -> Path | None:  # noqa: ARG002 - none of them is here
        return None

    def open(self, run: Run) -> IO[bytes]:
        try:
            return _reading(self._sink.read(f"{BELOW}/{run.stored}"))
        except Missing as missing:
            raise FileNotFoundError(str(missing)) from None


class _Pieces(io.RawIOBase):
    """An iterator of bytes as a file to be read once."""

    def __init__(self, first: bytes, pieces: Iterator[bytes]) -> None:
        self._left, self._pieces = first, pieces

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        view = memoryview(into).cast("B")
        while not self._left:
            try:
                self._left = next(self._pieces)
            except StopIteration:
                return 0
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _reading(pieces: Iterator[bytes]) -> IO[bytes]:
    """The first piece is fetched at once: whether there is anything is known before an answer begins."""
    return cast("IO[bytes]", io.BufferedReader(_Pieces(next(pieces, b""), pieces)))
