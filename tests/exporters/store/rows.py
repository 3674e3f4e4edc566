"""Rows as the projector inserts them, from a few words."""

from __future__ import annotations

import pyarrow as pa

from exporters.store import schemas

START = 1_772_323_200  # 2026-03-01, UTC seconds
EMPTY = {"kind": "user", "id": "", "email": "", "bucket": START, "part": 0, "first": 0, "version": 0, "deleted": 0, "client_ips": [], "devices": [],
         **dict.fromkeys(("success", "failed_dns", "failed_other", "bytes_transferred", "bytes_received", "relay", "p2p", "last_access"), 0)}  # fmt: skip
SIGN_IN = {"time_ms": START * 1000, "event_id": "", "part": 0, "offset": 0, "id": "1", "email": "", "type": "reauth", "result": "success", "reason": "", "document": "{}"}  # fmt: skip
ACCOUNT = {"id": "1", "email": "", "state": "active", "created": "", "version": 0, "deleted": 0}


def table(schema, rows, empty):
    whole = [{**empty, **row} for row in rows]
    return pa.table([pa.array([r[f.name] for r in whole], type=f.type) for f in schema], schema=schema)


def connections(*rows):
    return table(schemas.CONNECTIONS, rows, EMPTY)


def sign_ins(*rows):
    return table(schemas.SIGN_INS, rows, SIGN_IN)


def accounts(*rows):
    return table(schemas.ACCOUNTS, rows, ACCOUNT)


def positions(*rows):
    return table(
        schemas.POSITIONS,
        rows,
        {"topic": "t", "part": 0, "topic_id": "", "next": 0, "epoch": -1, "ledger": -1, "lost": 0},
    )
