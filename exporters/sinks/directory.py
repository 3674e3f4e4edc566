"""A directory as a sink: a document appears under its name whole, synced to the disk, or not at all, and never over another.

It is written beside, under `.parts/`, and gets its name by a hard link, which fails if the name is taken; renaming would write over.  What a death
leaves in `.parts/` is no object to any reader and is removed after a day.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporters.sinks.sink import CHUNK_BYTES, Document, Missing, Object, Outcome, Receipt, checked
from pipeline import clock
from pipeline.errors import Problem, Refused, Unavailable

PARTS = ".parts"
LEFTOVER_MS = 24 * 3600 * 1000

# By error number: what a person can do.  What is not named here is waited for.
REFUSED = {
    errno.EACCES: "give this process the right to write there",
    errno.EPERM: "give this process the right to write there, on a file system with hard links",
    errno.EROFS: "mount it writable",
    errno.ENOTDIR: "a file lies where a directory must be; choose another directory",
    errno.EEXIST: "a file lies where a directory must be; choose another directory",
    errno.EISDIR: "a directory lies where a file must be; choose another directory",
    errno.ENAMETOOLONG: "choose a directory with a shorter path or a shorter prefix",
    errno.EXDEV: "let `.parts` and the objects lie on one file system",
    errno.EOPNOTSUPP: "choose a file system with hard links",
    errno.ELOOP: "a link points to itself; mend it",
}
WAITED = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota is used up; raise it",
}


class DirectorySink:
    """Objects as files below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parts = root / PARTS
        self.place = str(root)
        with self._translated():
            self._parts.mkdir(parents=True, exist_ok=True)
            self._sweep()

    def create(self, document: Document) -> Receipt:
        path = self._path(document.key)
        with self._translated():
            stored = not path.is_file() and self._link(path, document)
            self._settle(path)
            return Receipt(Outcome.STORED, document.sha256) if stored else Receipt(Outcome.EXISTS, _digest(path))

    def objects(self, prefix: str = "") -> Iterator[Object]:
        with self._translated():
            yield from self._walk("", prefix)

    def read(self, key: str) -> Iterator[bytes]:
        with self._translated():
            try:
                with self._path(key).open("rb") as source:
                    while piece := source.read(CHUNK_BYTES):
                        yield piece
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise Missing(f"{self.place}: no object {key}") from None

    def exists(self, key: str) -> bool:
        with self._translated():
            return self._path(key).is_file()

    def close(self) -> None:
        """Nothing to let go of."""

    def _path(self, key: str) -> Path:
        if checked(key).split("/", 1)[0] == PARTS:
            raise ValueError(f"not a key: {key!r}")
        return self._root / key

    def _link(self, path: Path, document: Document) -> bool:
        """Give the whole document its name; whether nothing had it."""
        for directory in (path.parent, self._parts):  # a root that was taken away and came back is empty
            self._make(directory)
        part = self._parts / uuid.uuid4().hex
        try:
            _write(part, document)
            os.link(part, path)
        except FileExistsError:
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def _settle(self, path: Path) -> None:
        """Make a name survive a loss of power, and the folders it lies in: who made them may have failed before that, or not be there yet."""
        for folder in path.parents:
            _sync(folder)
            if folder == self._root:
                return

    def _make(self, directory: Path) -> None:
        """The directory, and its name safe in each one above that was made for it."""
        if directory.is_dir():
            return
        self._make(directory.parent)
        directory.mkdir(exist_ok=True)
        _sync(directory.parent)

    def _walk(self, below: str, prefix: str) -> Iterator[Object]:
        # A directory sorts as its name with the slash behind it, so that whole keys come in order.
        with os.scandir(self._root / below) as found:
            entries = {e.name + "/" * e.is_dir(): e for e in found if below or e.name != PARTS}
        for name in sorted(entries, key=os.fsencode):
            key = below + name
            if name.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(key, prefix)
            elif key.startswith(prefix):
                about = entries[name].stat()
                yield Object(key, about.st_size, f"{about.st_ino:x}-{about.st_mtime_ns:x}")

    def _sweep(self) -> None:
        now = clock.now_ms()
        for part in self._parts.iterdir():
            if now - part.stat().st_mtime_ns // 1_000_000 > LEFTOVER_MS:
                part.unlink(missing_ok=True)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise translated(error, self.place) from None


def translated(error: OSError, place: str) -> Problem:
    """The remedy of a failed call to the file system."""
    said = f"{place}: {error.strerror or error}"
    if error.errno in REFUSED:
        return Refused(f"{said}; {REFUSED[error.errno]}")
    return Unavailable(f"{said}; {WAITED.get(error.errno or 0, 'trying again')}", retry_after_seconds=5.0)


def _write(part: Path, document: Document) -> None:
    with part.open("xb") as out:
        for piece in document.pieces():
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())


def _sync(directory: Path) -> None:
    """Make a new name in a directory survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
