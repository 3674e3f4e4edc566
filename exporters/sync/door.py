"""A sink that opens when something is to leave: a far side that is away, or refuses, is then a delivery that is tried again, like any other.

Nothing leaves before the place is claimed for its owner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from exporters.sinks.check import claim
from exporters.sinks.opening import open_sink
from exporters.sinks.sink import Document, Receipt, Sink
from exporters.sinks.target import BucketTarget, DirectoryTarget
from pipeline.errors import ConfigError, Refused


class Door:
    """`owner` says who delivers; what it raises is why nobody may."""

    def __init__(self, target: DirectoryTarget | BucketTarget, owner: Callable[[], str]) -> None:
        self._target = target
        self._owner = owner
        self._opening = threading.Lock()
        self._sink: Sink | None = None
        self._claimed: Receipt | None = None

    @property
    def place(self) -> str:
        return self._target.place

    def claim(self) -> Receipt:
        """As `check.claim`, asked until it is known whose place it is.  Raises Unavailable, Refused."""
        with self._opening:
            if self._claimed is None or self._claimed.sha256 is None:
                try:
                    owner = self._owner()
                    self._sink = self._sink or open_sink(self._target)
                except ConfigError as problem:
                    raise Refused(str(problem)) from None
                self._claimed = claim(self._sink, owner)
        return self._claimed

    def create(self, document: Document) -> Receipt:
        """As the sink's own.  Raises Unavailable, Refused."""
        if self._claimed is None:
            self.claim()
        assert self._sink is not None
        return self._sink.create(document)

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()
