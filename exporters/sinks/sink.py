"""A sink takes named documents and never takes one back: `create` stores a key once and never writes over what lies there.

Every form (memory, directory, S3) keeps the same contract, which `tests/contracts/test_sinks.py` holds over all of them:

* A key is relative to the sink's target, made of parts between `/`, none of them empty, `.` or `..`; it is the same for the reader and the writer.
* `create` may be called again with the same document for ever: after a crash, a lost reply, by two processes at once.  Exactly one call of all of
  them says STORED, or none if its reply was lost; every other says EXISTS, or raises.
* A document is there whole or not at all; no reader ever sees half of one.
* What raises Unavailable may or may not have been stored: only another `create` tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pipeline.errors import RequestError

CHUNK_BYTES = 1 << 20


class Missing(RequestError):  # noqa: N818 - as in pipeline/errors.py
    """There is no object under this key.  Operator action: none, or ask for another one."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=404, code="not_found")


@dataclass(frozen=True, slots=True)
class Document:
    """Named bytes with a media type, ready to leave.  `sha256` is the hex digest of the body, which may lie in a file."""

    key: str
    body: bytes | Path
    media_type: str
    sha256: str

    @property
    def size(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.stat().st_size

    def pieces(self, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The body in pieces of exactly `size` bytes, the last one excepted; one empty piece for an empty body."""
        if isinstance(self.body, bytes):
            for start in range(0, max(len(self.body), 1), size):
                yield self.body[start : start + size]
            return
        with self.body.open("rb") as source:
            piece = source.read(size)
            while True:
                yield piece
                if not (piece := source.read(size)):
                    return


class Outcome(StrEnum):
    STORED = "stored"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What lies under the key now.  `sha256` is the document's own if it was STORED, that of the existing object if it may be read, None if not."""

    outcome: Outcome
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Object:
    """One object as a reader sees it; `etag` changes when its bytes do."""

    key: str
    size: int
    etag: str = ""


class Sink(Protocol):
    """Where documents go.  Safe to use from several threads."""

    @property
    def place(self) -> str:
        """Where this is, for a person: `s3://bucket/prefix` or a path.  Never a secret."""

    def create(self, document: Document) -> Receipt:
        """Store under the document's key if nothing lies there.  Raises Unavailable (try again, for ever), Refused (an operator is needed)."""

    def objects(self, prefix: str = "") -> Iterator[Object]:
        """Everything whose key begins with `prefix`, in the order of the keys' UTF-8 bytes.  Raises Unavailable, Refused.

        Some stores that speak like S3 sort folder by folder (`a/b` before `a.b`): rely on the order within one folder only.
        """

    def read(self, key: str) -> Iterator[bytes]:
        """The bytes of one object, in pieces; what is listed can be read, whatever others called it.  Raises Missing, Unavailable, Refused."""

    def exists(self, key: str) -> bool:
        """Whether something lies under the key.  Raises Unavailable, Refused."""

    def close(self) -> None:
        """Let go of connections."""


def checked(key: str) -> str:
    """The key, if it is one.  Raises ValueError: our own code makes keys."""
    parts = key.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\0" in key or len(key.encode()) > 1024:
        raise ValueError(f"not a key: {key!r}")
    return key
