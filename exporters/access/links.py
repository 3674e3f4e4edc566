"""One-time sign-in links, as a notebook server prints them.  They live in this process only: a restart forgets them all."""

from __future__ import annotations

import secrets
import threading

VALID_MS = 3600 * 1000
MOST = 100


class Links:
    def __init__(self) -> None:
        self._made: dict[str, int] = {}
        self._lock = threading.Lock()

    def make(self, now_ms: int) -> str:
        """A key that signs one person in, once, within the hour."""
        with self._lock:
            for key in [k for k, at in self._made.items() if at + VALID_MS < now_ms]:
                del self._made[key]
            while len(self._made) >= MOST:
                del self._made[next(iter(self._made))]
            key = secrets.token_urlsafe(32)
            self._made[key] = now_ms
            return key

    def use(self, key: str, now_ms: int) -> bool:
        """True for a key that was made, is not older than an hour and was never used."""
        with self._lock:
            made_at = self._made.pop(key, None)
            return made_at is not None and now_ms <= made_at + VALID_MS
