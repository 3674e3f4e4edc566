"""How often somebody may ask.  PURE, and of this process only: several services allow several times as much."""

from __future__ import annotations

from collections import OrderedDict

# Whoever invents names must not fill the memory; the longest silent ones are forgotten, which can only allow more.
MOST_NAMES = 20_000


class Limit:
    """A bucket per name: it holds a minute's worth, and fills evenly.  Times in seconds that never run backwards."""

    def __init__(self, per_minute: int) -> None:
        self._size = float(per_minute)
        self._rate = per_minute / 60
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, as of when

    def wait(self, name: str, now: float) -> float:
        """Seconds until one more is allowed; 0 if it is now."""
        return max(0.0, (1 - self._left(name, now)) / self._rate)

    def take(self, name: str, now: float) -> float:
        """Count one.  0 if it was allowed, else nothing is counted and the answer is the seconds to wait."""
        left = self._left(name, now)
        if left < 1:
            return (1 - left) / self._rate
        self._buckets[name] = left - 1, now
        self._buckets.move_to_end(name)
        while len(self._buckets) > MOST_NAMES:
            self._buckets.popitem(last=False)
        return 0.0

    def _left(self, name: str, now: float) -> float:
        left, at = self._buckets.get(name, (self._size, now))
        return min(self._size, left + (now - at) * self._rate)
