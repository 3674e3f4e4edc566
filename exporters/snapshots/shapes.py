"""What a snapshot is: one of the reports over a window that ends now, small enough to be read again and again.

A window covers whole quarter hours: it ends with the one that has begun and begins exactly 24 hours, 7 or 30 days before that end.  Instants are UTC ms.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest
from operator import attrgetter
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from exporters.reports.columns import INACTIVE, Active, Inactive, created
from exporters.reports.presets import preset_window
from pipeline.model.times import iso

WindowName = Literal["24h", "7d", "30d"]
WINDOWS: tuple[WindowName, ...] = ("24h", "7d", "30d")
TOP_USERS = 10


def edges(window: WindowName, now_ms: int) -> tuple[int, int]:
    """[from, to) in UTC ms."""
    return preset_window(window, now_ms=now_ms, where=ZoneInfo("UTC"))


class Head(msgspec.Struct, kw_only=True, frozen=True):
    """What a snapshot says of itself.  `version` grows with every change; `complete_through`: every event that Kafka had acknowledged then is inside."""

    kind: str
    window: str
    version: int
    from_ms: int
    to_ms: int
    complete_through: int
    made_at: int
    count: int
    totals: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`rows` are JSON objects in the report's order, `keys` what they are ordered by."""

    head: Head
    keys: list[tuple[Any, ...]]
    rows: list[bytes]

    def page(self, after: tuple[Any, ...] | None, limit: int) -> tuple[list[bytes], tuple[Any, ...] | None]:
        """Rows behind a key, and the key to go on from."""
        start = 0 if after is None else bisect_right(self.keys, after)
        chosen = self.rows[start : start + limit]
        more = start + len(chosen) < len(self.rows)
        return chosen, self.keys[start + len(chosen) - 1] if more and chosen else None


def active_row(p: Active) -> dict[str, Any]:
    """The report's columns under their names; addresses as a list, an absent share or date as null.  Sums of bytes may need more than 64 bits.

    Written out by hand because it runs for many people every few seconds; a test holds it to the columns of the report.
    """
    failed, known = p.failed_dns + p.failed_other, p.relay + p.p2p
    return {
        "user_email": p.person,
        "last_access_date": iso(p.last_ms) if p.last_ms else None,
        "total_connections": p.success + failed,
        "success_connections": p.success,
        "failed_connections": failed,
        "failed_connections_dns": p.failed_dns,
        "failed_connections_other": p.failed_other,
        "total_bytes": p.transferred + p.received,
        "bytes_transferred": p.transferred,
        "bytes_received": p.received,
        "percent_relay": share(p.relay, known),
        "percent_p2p": share(p.p2p, known),
        "active_devices": p.devices,
        "num_of_client_ip": p.addresses,
        "top_10_client_ips": p.top.split(),
    }


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


def active_totals(people: list[Active]) -> dict[str, Any]:
    # Column by column: it runs over everybody every few seconds, and an answer waits meanwhile.
    success, dns, other, relay, direct, transferred, received = (sum(map(of, people)) for of in _SUMMED)
    top = nsmallest(TOP_USERS, people, key=lambda p: (-(p.transferred + p.received), p.person))
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
