"""Rows to files: CSV that spreadsheets open safely, one gzip member with its inner name, streamed, hashed while it is written."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from exporters.packing import gzip_file

# A text cell that begins so is a formula to a spreadsheet.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_CHUNK_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Written:
    """What a finished file is: rows without header, bytes as stored, SHA-256 of those."""

    rows: int
    bytes: int
    sha256: str


def guard(text: str) -> str:
    """A text cell that no spreadsheet takes for a formula.  Never applied to numbers."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_lines(
    header: Sequence[str], rows: Iterable[Sequence[Any]], *, excel: bool = False
) -> Iterator[tuple[bytes, int]]:
    """RFC 4180 in pieces, each with its number of rows; `excel` begins with a byte order mark."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    if excel:
        buffer.write("\ufeff")
    writer.writerow(header)
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
        if count == _CHUNK_ROWS:
            yield buffer.getvalue().encode(), count
            buffer.seek(0)
            buffer.truncate()
            count = 0
    yield buffer.getvalue().encode(), count


def ndjson_lines(documents: Iterable[str]) -> Iterator[tuple[bytes, int]]:
    """One document a line."""
    for document in documents:
        yield document.encode() + b"\n", 1


def json_array(documents: Iterable[str]) -> Iterator[tuple[bytes, int]]:
    """One JSON array, one document a line."""
    first = True
    for document in documents:
        yield (b"[\n" if first else b",\n") + document.encode(), 1
        first = False
    yield (b"[]\n" if first else b"\n]\n"), 0


class _Hashed(io.RawIOBase):
    def __init__(self, out: IO[bytes]) -> None:
        self.out, self.hash, self.size = out, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self.out.write(data)


def write(path: Path, pieces: Iterable[tuple[bytes, int]], *, gzip_name: str | None) -> Written:
    """Write pieces into `path`, whole or not at all; gzipped under the given inner name.  Same pieces, same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    rows = 0
    with part.open("wb") as out:
        hashed = _Hashed(out)
        target: Any = hashed
        if gzip_name is not None:
            target = gzip_file(hashed, gzip_name)
        for piece, count in pieces:
            target.write(piece)
            rows += count
        if gzip_name is not None:
            target.close()
    part.replace(path)
    return Written(rows, hashed.size, hashed.hash.hexdigest())
