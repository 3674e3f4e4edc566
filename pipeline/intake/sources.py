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
# So little is unpacked at once because a few bytes may become a whole block.
FRAME_BYTES = 1 << 10
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


def looked(source: io.BufferedReader, enough: Callable[[bytes], bool]) -> tuple[bytes, io.BufferedReader]:
    """How a source begins, as much as is `enough` or all there is, however slowly it comes; and the source from its beginning."""
    head = b""
    while not enough(head) and (more := source.read1(BUFFER_BYTES)):
        head += more
    return head, io.BufferedReader(_Again(head, source), BUFFER_BYTES)


def unpacked(raw: io.RawIOBase, name: str) -> io.BufferedReader:
    """The content of a source that may be packed with gzip or zstd."""
    head, source = looked(io.BufferedReader(raw, BUFFER_BYTES), lambda head: len(head) >= len(ZSTD_MAGIC))
    if not packed(head):
        return source
    if head.startswith(GZIP_MAGIC):
        return io.BufferedReader(_Unpacking(gzip.GzipFile(fileobj=source), name, "gzip"), BUFFER_BYTES)
    return io.BufferedReader(_Unpacking(_Frames(source), name, "zstd"), BUFFER_BYTES)


def packed(head: bytes) -> bool:
    return head.startswith((GZIP_MAGIC, ZSTD_MAGIC))


class _Again(io.RawIOBase):
    """What was read of a source already, and then the rest of it."""

    def __init__(self, head: bytes, source: io.BufferedReader) -> None:
        self._head = head
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._head:
            return self._source.readinto1(buffer)
        size = min(len(buffer), len(self._head))
        buffer[:size], self._head = self._head[:size], self._head[size:]
        return size


class _Frames(io.RawIOBase):
    """zstd frames one after the other.  The library's own reader ends in the middle of a frame as if it were whole."""

    def __init__(self, source: io.BufferedReader) -> None:
        self._source = source
        self._frame: Any = None
        self._packed = b""
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            self._packed = self._packed or self._source.read(FRAME_BYTES)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("a frame ended before its end was reached")
                return 0
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._ready, self._packed = self._frame.decompress(self._packed), self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


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
