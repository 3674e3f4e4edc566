"""Documents packed: the same content is the same bytes, in every process and on every kind of processor.

A gzip of zlib-ng depends on its input alone.  One of ISA-L is packed in half the time, but at levels 1 and 2 what comes out also depends on the address
of its state, in one document of some ten thousand, and at level 3 on which instructions the processor has.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any

import zstandard
from zlib_ng import gzip_ng, zlib_ng

GZIP_LEVEL, ZSTD_LEVEL = 2, 3
# So much is packed at once: a batch need not lie in memory a second time, and how its lines came together does not show in the bytes.
PACKED_BYTES = 1 << 16

# By the size of what comes, which zstd says in its frame: many readers want to know it first.
PACKERS: dict[str, Callable[[int], Any]] = {
    "gzip": lambda _size: zlib_ng.compressobj(GZIP_LEVEL, wbits=31),
    "zstd": lambda size: zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj(size=size),
}


def pack(lines: bytearray, packed: str) -> bytes:
    """A document: `packed` with none, gzip (one member) or zstd (one frame)."""
    if packed == "none":
        return bytes(lines)
    packer = PACKERS[packed](len(lines))
    with memoryview(lines) as view:
        pieces = [packer.compress(view[n : n + PACKED_BYTES]) for n in range(0, len(view), PACKED_BYTES)]
    return b"".join([*pieces, packer.flush()])


def gzip_file(out: io.RawIOBase, inner: str) -> IO[bytes]:
    """A file whose content goes into `out` as one gzip member, which says its name but no time; closing it leaves `out` open."""
    file: IO[bytes] = gzip_ng.GzipNGFile(filename=inner, mode="wb", compresslevel=GZIP_LEVEL, fileobj=out, mtime=0)
    return file
