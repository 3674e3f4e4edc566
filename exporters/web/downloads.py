"""A finished file on its way out: as it was made, gzipped, plain or zipped.

Never with Content-Encoding: a browser that unpacks on its own leaves a file whose name lies.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send
from zlib_ng import gzip_ng

from exporters.packing import gzip_file
from exporters.reports.runs import EXPIRED, READY, Run
from exporters.service import Service
from pipeline.errors import RequestError

FORMS = {"gz": "gzip", "plain": "plain", "zip": "zip"}
MEDIA = {
    ".csv": "text/csv; charset=utf-8",
    ".ndjson": "application/x-ndjson",
    ".json": "application/json",
    ".gz": "application/gzip",
    ".zip": "application/zip",
}
_PIECE = 256 << 10
# No byte of a gzipped file becomes more than these.
_DEFLATED_MOST = 1032
# Deflated, the plain bytes may become a little more than they are.
_LARGE = 2000 << 20


def download(service: Service, run: Run, form: str | None) -> Response:
    """`form` is one of FORMS; None: as it lies there.  Raises RequestError if there is no file."""
    if run.state == EXPIRED:
        raise RequestError("this report has expired; ask for it again", status=410, code="expired")
    if run.state != READY or run.file is None:
        reason = f": {run.error}" if run.error else ""
        raise RequestError(f"this report is {run.state}; there is no file{reason}", status=409, code="not_ready")
    if form is not None and form not in FORMS:
        raise RequestError(f"unknown form {form[:20]!r}; one of {', '.join(FORMS)}")
    stored = "gz" if run.file.endswith(".gz") else "plain"
    try:
        source = service.files.open(run)
    except FileNotFoundError:
        raise RequestError("the file of this report is gone; ask for it again", status=410, code="expired") from None
    path = service.files.path(run)
    if form in (None, stored):
        if path is None:
            return _streamed(_read(source), run.file, size=run.bytes)
        source.close()
        return _File(path, media_type=_media(run.file), filename=run.file)
    inner = run.file.removesuffix(".gz")
    if form == "plain":
        return _streamed(_plain(source, stored), inner)
    if form == "gz":
        return _streamed(_gzipped(_plain(source, stored), inner), f"{inner}.gz")
    most = (run.bytes or _LARGE) * (_DEFLATED_MOST if stored == "gz" else 1)
    return _streamed(_zipped(_plain(source, stored), inner, most=most), f"{Path(inner).stem}.zip")


class _File(FileResponse):
    """A file of which parts may be asked for; a part that cannot be is refused as everything is."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def good(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                headers = {k.decode(): v.decode() for k, v in message["headers"] if k == b"content-range"}
                raise HTTPException(message["status"], "Range: there is no such part of this file", headers)
            await send(message)

        await super().__call__(scope, receive, good)


def _streamed(pieces: Iterator[bytes], name: str, *, size: int | None = None) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}  # our own names: ASCII without quotes
    if size is not None:
        headers["Content-Length"] = str(size)
    return StreamingResponse(pieces, media_type=_media(name), headers=headers)


def _media(name: str) -> str:
    return MEDIA[Path(name).suffix]


def _plain(source: IO[bytes], stored: str) -> Iterator[bytes]:
    with source:
        yield from _read(gzip_ng.GzipNGFile(fileobj=source, mode="rb") if stored == "gz" else source)


def _read(source: Any) -> Iterator[bytes]:
    with source:
        while piece := source.read(_PIECE):
            yield piece


class _Pipe(io.RawIOBase):
    """What a writer wrote, to be taken by a reader; nothing is kept."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _gzipped(pieces: Iterator[bytes], inner: str) -> Iterator[bytes]:
    pipe = _Pipe()
    yield from _through(pieces, gzip_file(pipe, inner), pipe)


def _zipped(pieces: Iterator[bytes], inner: str, *, most: int) -> Iterator[bytes]:
    """`most`: no more bytes will come than these.  Only what may be over 2 GiB gets 64-bit fields; Java cannot read those in a stream."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        # By its name: a ZipInfo would be stored, whatever the archive was told.
        yield from _through(pieces, archive.open(inner, "w", force_zip64=most >= _LARGE), pipe)
    yield pipe.take()


def _through(pieces: Iterator[bytes], out: IO[bytes], pipe: _Pipe) -> Iterator[bytes]:
    for piece in pieces:
        out.write(piece)
        yield pipe.take()
    out.close()
    yield pipe.take()
