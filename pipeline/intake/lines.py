"""Files and streams as lines to send: what a connector's chatter is and what an event may be is decided here, whether it is one by the worker.

The form is seen from the first bytes.  A connector's log and NDJSON go line by line: what begins with `{`, after an `ANALYTICS ` prefix or not, is sent
as it is, whole or broken; other text is chatter.  Of JSON arrays each element is sent as its bytes are.  Rows of the network-events CSV become objects
of the CSV's own columns; a row with more or fewer cells than the header has, whose values cannot be told apart, is sent as an array of its cells, which
the worker refuses.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from pipeline.intake.sources import looked
from pipeline.model.dialects import looks_like_authentication, user_key
from pipeline.model.identity import digest
from pipeline.topics import AUTHENTICATIONS, CONNECTIONS, MAX_RECORD_BYTES, Topic

PREFIX = b"ANALYTICS {"
CSV_COLUMNS = (b"start_time", b"end_time", b"status")
BOM = b"\xef\xbb\xbf"
HEAD_BYTES = 4096
PIECE_BYTES = 1 << 16

# The longest value, its prefix and its line end; a longer line is cut here and cannot be sent.
READ_BYTES = MAX_RECORD_BYTES + 64

# A record holds its user's id twice, as key and in its value: a longer one would not leave room for it.
LONGEST_KEY = 1024

LINES, ARRAY, CSV = "lines", "a JSON array", "a CSV"
BLANK, CHATTER, TOO_LONG = "blank", "chatter", "longer than 1 MiB"

# A log line may begin with a bracket too ("[10:00:00] started"), but not with these two signs.
_ARRAY = re.compile(rb"\s*\[\s*[{\]]")
_OUTSIDE = re.compile(rb"\[")
_INSIDE = re.compile(rb'["{}\[\],]')
_TEXT = re.compile(rb'["\\]')


class Line(NamedTuple):
    """One line, row or element: either `value` to send, or why not (`skipped`)."""

    number: int
    value: bytes
    skipped: str = ""


def lines(source: io.BufferedReader) -> Iterator[Line]:
    """Everything in a source, in its order; lines wait for nothing but their own end."""
    head, source = looked(source, seen)
    if head.startswith(BOM):
        source.read(len(BOM))
    form = form_of(head)
    if form == ARRAY:
        yield from _of_arrays(source)
    elif form == CSV:
        yield from _of_csv(source)
    else:
        for number, raw in enumerate(_bounded(source), 1):
            yield of_line(number, raw)


def seen(head: bytes) -> bool:
    """Whether a source that begins so has shown its form."""
    text = head.removeprefix(BOM).lstrip()
    if len(head) >= HEAD_BYTES:
        return True
    return bool(text[1:].lstrip()) if text.startswith(b"[") else b"\n" in text


def form_of(head: bytes) -> str:
    """What a source that begins so consists of."""
    text = head[:HEAD_BYTES].removeprefix(BOM).lstrip()
    if _ARRAY.match(text):
        return ARRAY
    first = text.split(b"\n", 1)[0].lower()
    return CSV if all(column in first for column in CSV_COLUMNS) and not first.startswith(b"{") else LINES


def of_line(number: int, raw: bytes) -> Line:
    """Judge one line of NDJSON or of a connector's log."""
    if len(raw) >= READ_BYTES:
        return Line(number, b"", TOO_LONG)
    text = raw.removeprefix(BOM).strip(b" \t\r\n")
    if not text:
        return Line(number, b"", BLANK)
    if not text.startswith(b"{"):
        at = text.find(PREFIX)
        if at < 0:
            return Line(number, b"", CHATTER)
        text = text[at + len(PREFIX) - 1 :]
    return _fitting(number, text)


def _fitting(number: int, value: bytes) -> Line:
    return Line(number, b"", TOO_LONG) if len(value) > MAX_RECORD_BYTES else Line(number, value)


def _bounded(source: io.BufferedReader) -> Iterator[bytes]:
    """Lines of any length in bounded memory: of a longer one than 1 MiB only the beginning is kept, too long to be sent."""
    while line := source.readline(READ_BYTES):
        whole = line
        while not line.endswith(b"\n") and len(line) == READ_BYTES:
            line = source.readline(READ_BYTES)
        yield whole


def _of_arrays(source: io.BufferedReader) -> Iterator[Line]:
    """Elements of one JSON array after the other, cut at their commas; an element that does not end goes whole, as broken as it is."""
    piece, number, depth, in_text, at = b"", 0, 0, False, 0
    while chunk := source.read1(PIECE_BYTES):
        start = 0
        while sign := (_TEXT if in_text else _INSIDE if depth else _OUTSIDE).search(chunk, at):
            what, at, before = sign[0], sign.end(), depth
            if what == b'"':
                in_text = not in_text
            elif what == b"\\":
                at += 1  # this may lie in the next chunk
            else:
                depth += (what in b"[{") - (what in b"]}")
            if (what == b"," and depth == 1) or (depth != before and 0 in (depth, before)):
                for line in _elements(_kept(piece, chunk[start : sign.start()]), before, number + 1):
                    number = line.number
                    yield line
                piece, start = b"", at
        piece, at = _kept(piece, chunk[start:]), max(0, at - len(chunk))
    yield from _elements(piece, depth, number + 1)


def _kept(piece: bytes, more: bytes) -> bytes:
    return piece + more[: READ_BYTES - len(piece)]


def _elements(piece: bytes, depth: int, number: int) -> Iterator[Line]:
    """What lies between two cuts: one element, or, outside of any array, lines."""
    if not depth:
        found = (raw for raw in piece.splitlines() if raw.strip())
        yield from (of_line(n, raw) for n, raw in enumerate(found, number))
    elif len(piece) >= READ_BYTES:
        yield Line(number, b"", TOO_LONG)
    elif value := piece.strip():
        yield _fitting(number, value)


def _of_csv(source: io.BufferedReader) -> Iterator[Line]:
    # Bytes that are not UTF-8 must reach the worker as such; latin-1 carries any byte through the csv module and back.
    csv.field_size_limit(MAX_RECORD_BYTES)
    reader = csv.reader(row.decode("latin-1") for row in _rows(source))
    columns: list[bytes] = []
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:  # one cell is too long; the reader goes on with the next row
            yield Line(reader.line_num, b"", TOO_LONG)
            continue
        if not columns:
            columns = [_quoted(name.strip().lower()) for name in row]
        elif not row:
            yield Line(reader.line_num, b"", BLANK)
        elif len(row) == len(columns):
            pairs = zip(columns, map(_quoted, row), strict=True)
            yield _fitting(reader.line_num, b"{" + b",".join(map(b":".join, pairs)) + b"}")
        else:
            yield _fitting(reader.line_num, b"[" + b",".join(map(_quoted, row)) + b"]")


def _rows(source: io.BufferedReader) -> Iterator[bytes]:
    for line in _bounded(source):
        # A row that was cut must not pass as a whole one.
        yield from line.splitlines(keepends=True) if len(line) < READ_BYTES else [b"x" * READ_BYTES]


def _quoted(cell: str) -> bytes:
    raw = cell.encode("latin-1")
    try:
        return orjson.dumps(raw.decode())
    except UnicodeDecodeError:
        return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def addressed(value: bytes) -> tuple[Topic, bytes]:
    """Which topic and key a value is sent with.  Copies get one key, so that they meet in one partition."""
    topic = AUTHENTICATIONS if looks_like_authentication(value) else CONNECTIONS
    key = user_key(value) or digest(b"bytes", value)
    return topic, key if len(key) <= LONGEST_KEY else digest(b"key", key)
