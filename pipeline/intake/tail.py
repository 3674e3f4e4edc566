"""A growing file, step by step: appended lines, rotation and truncation.  A line counts when its newline is there, or when its file is finished.

A file is known again by its inode and its first line, its place in it by the bytes just before.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import ConfigError
from pipeline.intake.lines import HEAD_BYTES, LINES, READ_BYTES, Line, form_of, of_line, seen
from pipeline.intake.marks import Mark
from pipeline.intake.sources import packed

STEP_BYTES = 256 << 10
SEAL_BYTES = 256


class Tail:
    """One followed file.  `marks` say where earlier runs stopped."""

    def __init__(self, path: Path, marks: dict[str, Mark]) -> None:
        self._path = path
        self._marks = marks
        self._file: BinaryIO | None = None
        self._rest = b""  # of the line that has not ended; of a very long one only the beginning
        self._end = 0  # where the lines that were handed out end
        self._number = 0
        self._seen = False

    def step(self) -> list[Line]:
        """The lines added since the last step, at most those of 256 KiB.  Raises ConfigError."""
        try:
            now = self._path.stat()
        except FileNotFoundError:
            now = None
        except OSError as error:
            raise self._unreadable(error) from None
        if now is not None and not stat.S_ISREG(now.st_mode):
            raise ConfigError(f"{self._path} is not a file; give files to --follow, or `-` and a pipe")
        if self._file is None:
            if now is None:
                return []
            self._open()
        data, lines = self._read()
        if data or now is None or self._file is None:
            return lines
        mine = os.fstat(self._file.fileno())
        if (mine.st_ino, mine.st_dev) != (now.st_ino, now.st_dev):
            # The writer may still be at the old file until something is in the new one.
            over = now.st_size > 0
        else:
            over = mine.st_size < self._file.tell()
        return self._finish() + self.step() if over else []

    def mark(self) -> tuple[str, Mark] | None:
        """Key and mark of all that was handed out of the present file; None before its first line."""
        if self._file is None or not self._end or not (key := self._key()):
            return None
        return key, Mark(done=False, lines=self._number, end=self._end, seal=self._seal(self._end))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        try:
            self._file = self._path.open("rb")
        except OSError as error:
            raise self._unreadable(error) from None
        self._rest, self._end, self._number, self._seen = b"", 0, 0, False
        mark = self._marks.get(self._key())
        if mark is not None and mark.seal == self._seal(mark.end):
            self._end, self._number = mark.end, mark.lines
            self._file.seek(mark.end)

    def _read(self) -> tuple[bytes, list[Line]]:
        assert self._file is not None
        data = self._file.read(STEP_BYTES)
        if data and not self._seen:
            self._look()
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:READ_BYTES]
        if whole:
            self._end = self._file.tell() - len(data) + data.rfind(b"\n") + 1
        return data, self._numbered(whole)

    def _look(self) -> None:
        """Only what consists of lines can be read while it grows."""
        assert self._file is not None
        head = os.pread(self._file.fileno(), HEAD_BYTES, 0)
        self._seen = seen(head)
        form = "packed" if packed(head) else form_of(head)
        if form != LINES:
            raise ConfigError(
                f"{self._path} is {form}, and --follow reads lines that are added; take it in without --follow when it is finished"
            )

    def _numbered(self, whole: list[bytes]) -> list[Line]:
        lines = [of_line(number, raw) for number, raw in enumerate(whole, self._number + 1)]
        self._number += len(whole)
        return lines

    def _finish(self) -> list[Line]:
        """Nothing more comes to this file: what it ends with is a line."""
        lines = self._numbered([self._rest] if self._rest else [])
        self.close()
        return lines

    def _key(self) -> str:
        assert self._file is not None
        first, newline, _ = os.pread(self._file.fileno(), READ_BYTES, 0).partition(b"\n")
        inode = str(os.fstat(self._file.fileno()).st_ino).encode()
        return "tail:" + hashlib.sha256(inode + b":" + first).hexdigest() if newline else ""

    def _seal(self, end: int) -> str:
        assert self._file is not None
        start = max(0, end - SEAL_BYTES)
        return hashlib.sha256(os.pread(self._file.fileno(), end - start, start)).hexdigest()

    def _unreadable(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._path} cannot be read ({error.strerror}); give another file")
