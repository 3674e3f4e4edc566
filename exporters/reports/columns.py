"""The reports' columns, in order: name, how it is made of a query's row, what it says.  Rounding happens here, in exact integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from exporters.documents import guard
from pipeline.model.times import iso, parse


class Active(msgspec.Struct, gc=False, frozen=True):
    """A row of active.sql.  `top`: the most frequent addresses with spaces between.

    Tens of thousands of them live for seconds: looking through them for garbage would hold up every answer meanwhile.
    """

    person: str
    last_ms: int
    success: int
    failed_dns: int
    failed_other: int
    transferred: int
    received: int
    relay: int
    p2p: int
    devices: int
    addresses: int
    top: str


class Inactive(NamedTuple):
    """A row of inactive.sql, with the instant asked about."""

    person: str
    last_ms: int
    state: str
    created: str
    as_of_ms: int


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    of: Callable[[Any], str | int]
    help: str


def percent(part: int, whole: int) -> str:
    """Two decimals, half up; empty if there is no whole."""
    if not whole:
        return ""
    hundredths = (20_000 * part + whole) // (2 * whole)
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _instant(ms: int) -> str:
    return iso(ms) if ms else ""


def created(text: str) -> str:
    if not text:
        return ""
    for candidate in (text, f"{text}T00:00:00Z", f"{text}Z"):
        try:
            return iso(parse(candidate))
        except ValueError:
            continue
    return text


ACTIVE = (
    Column("user_email", lambda r: guard(r.person), "Current e-mail of the person; the id if there is no e-mail"),
    Column(
        "last_access_date",
        lambda r: _instant(r.last_ms),
        "Newest closed or established connection in the window, UTC; empty if all failed",
    ),
    Column(
        "total_connections", lambda r: r.success + r.failed_dns + r.failed_other, "Connections that ended in the window"
    ),
    Column("success_connections", lambda r: r.success, "Of those, closed normally"),
    Column("failed_connections", lambda r: r.failed_dns + r.failed_other, "Of those, failed or denied"),
    Column("failed_connections_dns", lambda r: r.failed_dns, "Failures because a name did not resolve"),
    Column("failed_connections_other", lambda r: r.failed_other, "All other failures, denied access included"),
    Column("total_bytes", lambda r: r.transferred + r.received, "Bytes in both directions"),
    Column("bytes_transferred", lambda r: r.transferred, "Bytes from the user to Resources"),
    Column("bytes_received", lambda r: r.received, "Bytes from Resources to the user"),
    Column(
        "percent_relay",
        lambda r: percent(r.relay, r.relay + r.p2p),
        "Share through a relay, of successful connections with a known path",
    ),
    Column("percent_p2p", lambda r: percent(r.p2p, r.relay + r.p2p), "Share peer to peer, of the same"),
    Column(
        "active_devices",
        lambda r: r.devices,
        "Devices with a successful connection in the 30 days before the report was asked for",
    ),
    Column("num_of_client_ip", lambda r: r.addresses, "Distinct client addresses of successful connections"),
    Column("top_10_client_ips", lambda r: r.top, "The most frequent ones, most frequent first"),
)

INACTIVE = (
    Column("user_email", lambda r: guard(r.person), "E-mail of the account"),
    Column(
        "last_access_date",
        lambda r: _instant(r.last_ms),
        "Newest access before the instant asked about, UTC; empty if never",
    ),
    Column(
        "days_since_last_access",
        lambda r: (r.as_of_ms - r.last_ms) // 86_400_000 if r.last_ms else "never",
        "Whole days, rounded down",
    ),
    Column("state", lambda r: guard(r.state), "State of the account in the directory"),
    Column("created_date", lambda r: guard(created(r.created)), "When the account was made, UTC"),
)
