"""A sink that opens when something is to leave: a far side that is away, or refuses, is then a delivery that is tried again, like any other.

Nothing leaves before the place is claimed for its owner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from exporters.sinks.check import claim, unclaimed
from exporters.sinks.opening import open_sink
from exporters.sinks.sink import Document, Receipt, Sink
from exporters.sinks.target import BucketTarget, DirectoryTarget
from pipeline.errors import ConfigError, Refused, Unavailable


class Door:
    """`owner` says who delivers; what it raises is why nobody may."""

    def __init__(self, target: DirectoryTarget | BucketTarget, owner: Callable[[], str]) -> None:
        self._target = target
        self._owner = owner
        self._opening = threading.Lock()
        self._sink: Sink | None = None
        self._problem: Unavailable | Refused | None = None
        self._ours: bool | None = None  # None: not claimed yet; False: somebody has, and these rights do not show who

    @property
    def place(self) -> str:
        return self._target.place

    def claim(self, *, where_empty: bool = False) -> bool:
        """Whether the place is seen to be the owner's.  `where_empty`: it is not claimed where manifests lie without a claim, as earlier versions left
        them.  Raises Unavailable, Refused.
        """
        before = self._problem
        with self._opening:
            if self._problem is not None and self._problem is not before:
                raise self._problem  # it was asked meanwhile: a place that is away makes nobody wait for more than one answer
            try:
                if not self._ours:
                    self._ours = self._claim(where_empty=where_empty)
            except (Unavailable, Refused) as problem:
                self._problem = problem
                raise
        return bool(self._ours)

    def _claim(self, *, where_empty: bool) -> bool | None:
        try:
            owner = self._owner()
            self._sink = self._sink or open_sink(self._target)
        except ConfigError as problem:
            raise Refused(str(problem)) from None
        if where_empty and unclaimed(self._sink):
            return None
        return claim(self._sink, owner).sha256 is not None

    def create(self, document: Document) -> Receipt:
        """As the sink's own.  Raises Unavailable, Refused."""
        if self._ours is None:
            self.claim()
        assert self._sink is not None
        return self._sink.create(document)

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()
