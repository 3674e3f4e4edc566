"""A sink in memory: a real one, for journeys and for code that is shown without a disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from exporters.sinks.sink import CHUNK_BYTES, Document, Missing, Object, Outcome, Receipt, checked


class MemorySink:
    """Documents by key; gone with the process."""

    place = "memory"

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, str]] = {}
        self._lock = threading.Lock()

    def create(self, document: Document) -> Receipt:
        key, body = checked(document.key), b"".join(document.pieces())
        with self._lock:
            if key in self._kept:
                return Receipt(Outcome.EXISTS, self._kept[key][1])
            self._kept[key] = (body, document.sha256)
        return Receipt(Outcome.STORED, document.sha256)

    def objects(self, prefix: str = "") -> Iterator[Object]:
        with self._lock:
            found = sorted((key.encode(), key, len(body), sha) for key, (body, sha) in self._kept.items())
        for _, key, size, sha in found:
            if key.startswith(prefix):
                yield Object(key, size, sha)

    def read(self, key: str) -> Iterator[bytes]:
        with self._lock:
            if key not in self._kept:
                raise Missing(f"{self.place}: no object {key}")
            body = self._kept[key][0]
        for start in range(0, len(body), CHUNK_BYTES):
            yield body[start : start + CHUNK_BYTES]

    def exists(self, key: str) -> bool:
        with self._lock:
            return key in self._kept

    def close(self) -> None:
        """Nothing to let go of."""
