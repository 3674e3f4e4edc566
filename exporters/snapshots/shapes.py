"""What a snapshot is: one of the reports over a window that ends now, small enough to be read again and again.

A window covers whole quarter hours: it ends with the one that has begun and begins exactly 24 hours, 7 or 30 days before that end.  Instants are UTC ms.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import attrgetter
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from exporters.reports.columns import INACTIVE, Active, Inactive, created
from exporters.reports.presets import preset_window

WindowName = Literal["24h", "7d", "30d"]
WINDOWS: tuple[WindowName, ...] = ("24h", "7d", "30d")
TOP_USERS = 10
SUMMED_AT_ONCE = 500


def edges(window: WindowName, now_ms: int) -> tuple[int, int]:
    """[from, to) in UTC ms."""
    return preset_window(window, now_ms=now_ms, where=ZoneInfo("UTC"))


class Counted(Active, gc=False, frozen=True):
    """With what the snapshot says of the person: a JSON object of the report's columns, addresses as a list, an absent share or date as null."""

    row: bytes


class Head(msgspec.Struct, kw_only=True, frozen=True):
    """What a snapshot says of itself.  `version` grows with every change; `complete_through`: every event that Kafka had acknowledged then is inside;
    None while that is not known yet.
    """

    kind: str
    window: str
    version: int
    from_ms: int
    to_ms: int
    complete_through: int | None
    made_at: int
    count: int
    totals: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`rows` are JSON objects in the report's order, `keys` what they are ordered by."""

    head: Head
    keys: list[Any]
    rows: list[bytes]

    def page(self, after: Any, limit: int) -> tuple[list[bytes], Any]:
        """Rows behind a key, and the key to go on from."""
        start = 0 if after is None else bisect_right(self.keys, after)
        chosen = self.rows[start : start + limit]
        more = start + len(chosen) < len(self.rows)
        return chosen, self.keys[start + len(chosen) - 1] if more and chosen else None


def share(part: int, whole: int) -> float | None:
    """In percent with two decimals, half up; None if there is no whole."""
    return (20_000 * part + whole) // (2 * whole) / 100 if whole else None


def inactive_rows(people: Iterable[Inactive]) -> list[bytes]:
    return [msgspec.json.encode(inactive_row(p)) for p in people]


def inactive_row(p: Inactive) -> dict[str, Any]:
    row: dict[str, Any] = {c.name: c.of(p) for c in INACTIVE}
    return row | {
        "user_email": p.person,
        "last_access_date": row["last_access_date"] or None,
        "days_since_last_access": row["days_since_last_access"] if p.last_ms else None,
        "state": p.state,
        "created_date": created(p.created) or None,
    }


_SUMMED = [
    attrgetter(name) for name in ("success", "failed_dns", "failed_other", "relay", "p2p", "transferred", "received")
]


def active_totals(people: Sequence[Active]) -> dict[str, Any]:
    # Column by column, for it runs over everybody every few seconds; and of some at a time, for an answer waits meanwhile.
    sums = [0] * len(_SUMMED)
    for start in range(0, len(people), SUMMED_AT_ONCE):
        some = people[start : start + SUMMED_AT_ONCE]
        sums = [so_far + sum(map(of, some)) for so_far, of in zip(sums, _SUMMED, strict=True)]
    success, dns, other, relay, direct, transferred, received = sums
    volumes = [p.transferred + p.received for p in people]
    least = min(nlargest(TOP_USERS, volumes), default=0)
    busiest = [p for p, volume in zip(people, volumes, strict=True) if volume >= least]
    top = sorted(busiest, key=lambda p: (-(p.transferred + p.received), p.person))[:TOP_USERS]
    return {
        "active_users": len(people),
        "total_connections": success + dns + other,
        "success_connections": success,
        "failed_connections": dns + other,
        "failed_connections_dns": dns,
        "failed_connections_other": other,
        "total_bytes": transferred + received,
        "bytes_transferred": transferred,
        "bytes_received": received,
        "relay_connections": relay,
        "p2p_connections": direct,
        "top_users": [
            {
                "user_email": p.person,
                "total_bytes": p.transferred + p.received,
                "total_connections": p.success + p.failed_dns + p.failed_other,
            }
            for p in top
        ],
    }
