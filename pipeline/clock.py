"""The only door to time.  Event time comes from events; these are for pacing, for freshness and for naming an instant of asking."""

from __future__ import annotations

import time


def now_ms() -> int:
    """UTC epoch milliseconds."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds that never run backwards; only differences mean something."""
    return time.monotonic()


def cpu_seconds() -> float:
    """Processor seconds of this process, user and system."""
    return time.process_time()


def pause(seconds: float) -> None:
    """Wait.  For back-off loops in processes, never in tests."""
    time.sleep(seconds)
