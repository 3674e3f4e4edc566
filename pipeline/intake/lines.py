"""Files and streams as lines to send: what a connector's chatter is and what an event may be is decided here, whether it is one by the worker.

A line that begins with `{` is sent as it is, whole or broken.  Rows of the network-events CSV become objects of the CSV's own columns.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import orjson

from pipeline.model.dialects import looks_like_authentication, user_key
from pipeline.model.identity import digest
from pipeline.topics import AUTHENTICATIONS, CONNECTIONS, MAX_RECORD_BYTES, Topic

PREFIX = b"ANALYTICS {"
CSV_COLUMNS = (b"start_time", b"end_time", b"status")
GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"

# The longest value, its prefix and its line end; a longer line is cut here and cannot be sent.
READ_BYTES = MAX_RECORD_BYTES + 64

BLANK, CHATTER, TOO_LONG = "blank", "chatter", "longer than 1 MiB"


class Line(NamedTuple):
    """One line: either `value` to send, or why not (`skipped`)."""

    number: int
    value: bytes
    skipped: str = ""


def of_line(number: int, raw: bytes) -> Line:
    """Judge one line of NDJSON or of a connector's log."""
    if len(raw) >= READ_BYTES:
        return Line(number, b"", TOO_LONG)
    text = raw.strip(b" \t\r\n")
    if not text:
        return Line(number, b"", BLANK)
    if not text.startswith(b"{"):
        at = text.find(PREFIX)
        if at < 0:
            return Line(number, b"", CHATTER)
        text = text[at + len(PREFIX) - 1 :]
    return Line(number, b"", TOO_LONG) if len(text) > MAX_RECORD_BYTES else Line(number, text)


def of_file(source: BinaryIO) -> Iterator[Line]:
    """All lines of a seekable file; what form it has is seen from its first bytes."""
    head = source.read(2)
    source.seek(0)
    if head == GZIP_MAGIC:
        source = gzip.GzipFile(fileobj=source)  # type: ignore[assignment]
    buffered: Any = io.BufferedReader(source, 1 << 20)
    if buffered.peek(3)[:3] == BOM:
        buffered.read(3)
    first = buffered.peek(4096)[:4096].split(b"\n", 1)[0].strip().lower()
    if all(column in first for column in CSV_COLUMNS) and not first.startswith((b"{", b"[")):
        yield from _of_csv(buffered)
        return
    for number, raw in enumerate(_bounded(buffered), 1):
        yield of_line(number, raw)


def _bounded(source: io.BufferedReader) -> Iterator[bytes]:
    """Lines of any length in bounded memory: of a longer one than 1 MiB only the beginning is kept, too long to be sent."""
    while line := source.readline(READ_BYTES):
        whole = line
        while not line.endswith(b"\n") and len(line) == READ_BYTES:
            line = source.readline(READ_BYTES)
        yield whole


def _of_csv(source: io.BufferedReader) -> Iterator[Line]:
    # Bytes that are not UTF-8 must reach the worker as such; latin-1 carries any byte through the csv module and back.
    reader = csv.reader(io.TextIOWrapper(source, encoding="latin-1", newline=""))
    columns = [c.strip().lower() for c in next(reader)]
    for row in reader:
        if not row:
            yield Line(reader.line_num, b"", BLANK)
            continue
        pairs = zip(columns, row, strict=False)
        value = b"{" + b",".join(orjson.dumps(name) + b":" + _quoted(cell) for name, cell in pairs) + b"}"
        yield Line(reader.line_num, b"", TOO_LONG) if len(value) > MAX_RECORD_BYTES else Line(reader.line_num, value)


def _quoted(cell: str) -> bytes:
    raw = cell.encode("latin-1")
    try:
        return orjson.dumps(raw.decode())
    except UnicodeDecodeError:
        return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def addressed(value: bytes) -> tuple[Topic, bytes]:
    """Which topic and key a value is sent with.  Copies get one key, so that they meet in one partition."""
    topic = AUTHENTICATIONS if looks_like_authentication(value) else CONNECTIONS
    return topic, user_key(value) or digest(b"bytes", value)
