"""Where bytes come from: files, packed or not, and a standard input whose end may be asked for."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import select
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zstandard

from pipeline.errors import ConfigError

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BUFFER_BYTES = 1 << 20
LOOK_SECONDS = 0.1

Stopped = Callable[[], bool]


@contextmanager
def content(path: Path) -> Iterator[tuple[io.BufferedReader, Callable[[], int]]]:
    """What is in a file, unpacked, and how many of the file's own bytes were read so far.  Raises ConfigError."""
    try:
        if path.exists() and not path.is_file():  # a pipe could not be read twice
            raise ConfigError(f"{path} is not a file; give files, or `-` and the content on standard input")
        raw = path.open("rb", buffering=0)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give another file") from None
    with raw:
        yield unpacked(raw, str(path)), raw.tell


def standard_input(stopped: Stopped) -> io.BufferedReader:
    """What comes in, unpacked; it ends where its writer ends it or, between two reads, when `stopped`."""
    return unpacked(_Stoppable(sys.stdin.fileno(), stopped), "standard input")


def fingerprint(path: Path, advance: Callable[[int], None] = lambda _n: None) -> str:
    """SHA-256 of the unpacked content, so that packing a file does not make it another one; empty for an empty file.  Raises ConfigError."""
    digest, size, before = hashlib.sha256(), 0, 0
    with content(path) as (source, position):
        while piece := source.read(BUFFER_BYTES):
            digest.update(piece)
            size += len(piece)
            advance(position() - before)
            before = position()
    return digest.hexdigest() if size else ""


def unpacked(raw: io.RawIOBase, name: str) -> io.BufferedReader:
    """The content of a source that may be packed with gzip or zstd."""
    source: io.BufferedReader = io.BufferedReader(raw, BUFFER_BYTES)
    magic = source.peek(4)[:4]
    if magic.startswith(GZIP_MAGIC):
        return io.BufferedReader(_Unpacking(gzip.GzipFile(fileobj=source), name, "gzip"), BUFFER_BYTES)
    if magic == ZSTD_MAGIC:
        opened = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        return io.BufferedReader(_Unpacking(opened, name, "zstd"), BUFFER_BYTES)
    return source


class _Unpacking(io.RawIOBase):
    def __init__(self, packed: Any, name: str, form: str) -> None:
        self._packed = packed
        self._name = name
        self._form = form

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return int(self._packed.readinto(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
            raise ConfigError(f"{self._name}: its {self._form} data is broken ({error}); give the whole file") from None


class _Stoppable(io.RawIOBase):
    def __init__(self, descriptor: int, stopped: Stopped) -> None:
        self._descriptor = descriptor
        self._stopped = stopped

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # A blocking read is taken up again after a signal, so a stop would wait for the next line.
        while not self._stopped():
            if select.select([self._descriptor], [], [], LOOK_SECONDS)[0]:
                return os.readv(self._descriptor, [buffer])
        return 0
