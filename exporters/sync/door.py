"""A sink that opens when something is to leave: a far side that is away, or refuses, is then a delivery that is tried again, like any other."""

from __future__ import annotations

import threading

from exporters.sinks.opening import open_sink
from exporters.sinks.sink import Document, Receipt, Sink
from exporters.sinks.target import BucketTarget, DirectoryTarget
from pipeline.errors import ConfigError, Refused


class Door:
    def __init__(self, target: DirectoryTarget | BucketTarget) -> None:
        self._target = target
        self._opening = threading.Lock()
        self._sink: Sink | None = None

    @property
    def place(self) -> str:
        return self._target.place

    def create(self, document: Document) -> Receipt:
        """As the sink's own.  Raises Unavailable, Refused."""
        with self._opening:
            if self._sink is None:
                try:
                    self._sink = open_sink(self._target)
                except ConfigError as problem:
                    raise Refused(str(problem)) from None
        return self._sink.create(document)

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()
