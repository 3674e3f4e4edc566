"""What objects are called.  Keys sort in the order of delivery, hold no `:` and no `+` (except in the vendor's own naming), and never collide.

authentication/dt=2026-03-27/hour=10/1a2b3c4d-00003-00000000000000004711-00000000000000004999.ndjson.gz
errors/authentication/dt=…/hour=…/1a2b3c4d-00003-…-…-5e6f7a8b.ndjson.gz      the last part: of its own hash
manifests/authentication/dt=…/hour=…/1a2b3c4d-00003-…-….json                 offsets [first, end)
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

HOUR_MS = 3_600_000
WINDOW_MS = 300_000
SUFFIX = {"none": "", "gzip": ".gz", "zstd": ".zst"}
MEDIA_TYPE = {"none": "application/x-ndjson", "gzip": "application/gzip", "zstd": "application/zstd"}


def short(text: str) -> str:
    """Eight hexadecimal digits that stand for a longer name."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def hour_of(ms: int) -> int:
    return ms // HOUR_MS * HOUR_MS


def window_of(ms: int) -> int:
    """The end of the vendor's five minutes around this instant."""
    return ms // WINDOW_MS * WINDOW_MS + WINDOW_MS


def folder(hour: int) -> str:
    return datetime.fromtimestamp(hour / 1000, UTC).strftime("dt=%Y-%m-%d/hour=%H")


def events(kind: str, stream: str, partition: int, first: int, end: int, hour: int, compression: str) -> str:
    name = f"{stream}-{partition:05d}-{first:020d}-{end - 1:020d}.ndjson{SUFFIX[compression]}"
    return f"{kind}/{folder(hour)}/{name}"


def vendor(kind: str, stream: str, partition: int, first: int, window: int, compression: str, *, free: bool) -> str:
    """The vendor's name: the end of its five minutes.

    `free`: this partition has an earlier cut, and none in this window.  Partition 0 then has the plain name; everything else needs a suffix, for
    several partitions, streams and cuts share one window.
    """
    name = datetime.fromtimestamp(window / 1000, UTC).isoformat()
    if not free:
        name += f"-{stream}-{partition:05d}-{first:020d}"
    elif partition:
        name += f"-{partition:05d}"
    return f"{kind}/{name}.json{SUFFIX[compression]}"


def rejects(kind: str, stream: str, partition: int, first: int, end: int, hour: int, sha256: str, suffix: str) -> str:
    name = f"{stream}-{partition:05d}-{first:020d}-{end - 1:020d}-{sha256[:8]}.ndjson{suffix}"
    return f"errors/{kind}/{folder(hour)}/{name}"


def manifest(kind: str, stream: str, partition: int, first: int, end: int, hour: int) -> str:
    return f"manifests/{kind}/{folder(hour)}/{stream}-{partition:05d}-{first:020d}-{end:020d}.json"
