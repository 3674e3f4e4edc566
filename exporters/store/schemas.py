"""The columns of the store's tables as the projector hands them over; `sql/schema.sql` makes the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

CONNECTIONS = pa.schema(
    [(n, pa.string()) for n in ("kind", "id", "email")]
    + [
        ("bucket", pa.timestamp("s", "UTC")),
        ("part", pa.uint16()),
        ("first", pa.uint64()),
        ("version", pa.uint64()),
        ("deleted", pa.uint8()),
    ]
    + [(n, pa.uint64()) for n in ("success", "failed_dns", "failed_other")]
    + [(n, pa.decimal128(38, 0)) for n in ("bytes_transferred", "bytes_received")]  # Arrow's way to say UInt128
    + [(n, pa.uint64()) for n in ("relay", "p2p")]
    + [
        ("last_access", pa.int64()),
        ("client_ips", pa.map_(pa.string(), pa.uint64())),
        ("devices", pa.list_(pa.string())),
    ]
)
SIGN_INS = pa.schema(
    [("time_ms", pa.int64()), ("event_id", pa.string()), ("part", pa.uint16()), ("offset", pa.uint64())]
    + [(n, pa.string()) for n in ("id", "email", "type", "result", "reason", "document")]
)
ACCOUNTS = pa.schema(
    [(n, pa.string()) for n in ("id", "email", "state", "created")]
    + [("version", pa.uint64()), ("deleted", pa.uint8())]
)
POSITIONS = pa.schema(
    [
        ("topic", pa.string()),
        ("part", pa.uint16()),
        ("topic_id", pa.string()),
        ("next", pa.uint64()),
        ("epoch", pa.int64()),
        ("ledger", pa.int64()),
        ("lost", pa.uint64()),
    ]
)
REJECTS = pa.schema(
    [
        ("id", pa.string()),
        ("at_ms", pa.int64()),
        ("reason", pa.string()),
        ("path", pa.string()),
        ("size", pa.uint64()),
        ("part", pa.uint16()),
        ("offset", pa.uint64()),
        ("keyed", pa.uint8()),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)
SPEAKERS = pa.schema(
    [(n, pa.string()) for n in ("kind", "id", "name")]
    + [(n, pa.int64()) for n in ("event_at", "heard_at", "first_heard_at")]
    + [("sightings", pa.uint64()), ("noticed_at", pa.int64()), ("version", pa.uint64())]
)


def table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Rows, at least one, whose values stand in the schema's order."""
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
