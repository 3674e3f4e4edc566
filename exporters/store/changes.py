"""What the projector has put into the store since somebody looked: which quarter hours of which table, and whom it saw.

A change is noted after it can be queried and before the projector says so: whoever takes the changes after asking how far the store is misses none.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from pipeline.model.events import USER

BUCKET_SECONDS = 900


@dataclass
class Changed:
    """Quarter hours by their start in epoch seconds."""

    connections: set[int] = field(default_factory=set)
    sign_ins: set[int] = field(default_factory=set)
    seen: set[tuple[str, str]] = field(default_factory=set)  # (id, e-mail) of people
    accounts: bool = False

    def __bool__(self) -> bool:
        return bool(self.connections or self.sign_ins or self.accounts)

    def add(self, other: Changed) -> None:
        self.connections |= other.connections
        self.sign_ins |= other.sign_ins
        self.seen |= other.seen
        self.accounts = self.accounts or other.accounts


class Changes:
    """Written by the projector's thread, taken by one other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = Changed()

    def note(self, columns: dict[str, list[tuple[Any, ...]]]) -> None:
        """`columns` as the projector inserts them: {table: rows}."""
        fresh = Changed(
            {row[3] for row in columns["connections"]},
            {row[0] // 1000 // BUCKET_SECONDS * BUCKET_SECONDS for row in columns["sign_ins"]},
            {row[1:3] for row in columns["connections"] if row[0] == USER} | {row[4:6] for row in columns["sign_ins"]},
            bool(columns["accounts"]),
        )
        if fresh:
            self.put_back(fresh)

    def put_back(self, taken: Changed) -> None:
        """What was taken could not be worked on."""
        with self._lock:
            self._changed.add(taken)

    def take(self) -> Changed:
        with self._lock:
            taken, self._changed = self._changed, Changed()
            return taken
