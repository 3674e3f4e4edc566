"""How far the store is, as an instant."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from pipeline import clock
from pipeline.errors import Unavailable

Ends = dict[str, dict[int, int]]  # {topic: {partition: end offset}}
# So many instants are remembered; of a store that is further behind every second one, so that however far it is, the oldest stays.
MARKS = 600


class Horizon:
    """`at` (UTC ms) is the newest instant asked about of which every event that Kafka had acknowledged is in the store; None before the first.

    It is hardly older than the store is behind if `advance` is called often.  Used by one thread.
    """

    def __init__(self, source_ends: Callable[[], Ends], behind: Callable[[Ends], object]) -> None:
        self._source_ends = source_ends
        self._behind = behind
        self._marks: deque[tuple[int, Ends]] = deque()
        self.at: int | None = None

    def advance(self) -> None:
        try:
            self._marks.append((clock.now_ms(), self._source_ends()))
        except Unavailable:
            return
        if len(self._marks) > MARKS:
            self._marks = deque(list(self._marks)[::2])
        while self._marks:
            instant, ends = self._marks[0]
            if self._behind(ends):
                break
            self.at = instant
            self._marks.popleft()
