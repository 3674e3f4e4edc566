"""Where the files of finished runs lie.  A file is made beside, appears whole under its own name, and only the journal says which name counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from exporters.reports.runs import Run
from pipeline.settings import Settings

PARTS = ".parts"
PIECE_BYTES = 256 << 10


class Files:
    """A directory: the run's number of attempt is part of a name, so that two attempts never meet in one file."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.data / "reports"

    def part(self, run: Run) -> Path:
        """Where this attempt writes."""
        return self._root / PARTS / name(run)

    def discard(self, run: Run) -> None:
        """Delete what this attempt wrote; a disk that does not let us is met again by whoever needs it."""
        with suppress(OSError):
            self.part(run).unlink(missing_ok=True)

    def store(self, run: Run, part: Path) -> str:
        """Give a whole file its name, safe on the disk.  Raises OSError."""
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(self._root / name(run))
        directory = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return name(run)

    def path(self, run: Run) -> Path:
        return self._root / (run.stored or run.run)

    def exists(self, run: Run) -> bool:
        return self.path(run).is_file()

    def pieces(self, run: Run) -> Iterator[bytes]:
        with self.path(run).open("rb") as source:
            while piece := source.read(PIECE_BYTES):
                yield piece

    def remove(self, run: Run, *, keep: str = "") -> None:
        """Delete what any attempt of a run left, but for `keep`."""
        for number in range(run.attempt + 1):
            left = f"{run.run}-{number}" if number else run.run
            for part in (left, f"{left}.part"):
                (self._root / PARTS / part).unlink(missing_ok=True)
            if left != keep:
                (self._root / left).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete what deaths left half made.  Only for a service that is alone."""
        for part in (self._root / PARTS).glob("*"):
            part.unlink(missing_ok=True)


def name(run: Run) -> str:
    return f"{run.run}-{run.attempt}"
