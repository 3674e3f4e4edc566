"""Whole months leave the store together, if a setting says how many stay; reports then say from when on they are complete.

The month that is running and as many whole ones before it stay.  Late events of a dropped month may bring a part of it back until the next look.
"""

from __future__ import annotations

from datetime import UTC, datetime

from exporters.store.store import MONTHLY, Store

LOOK_SECONDS = 3600.0


def complete_from(now_ms: int, months: int) -> int:
    """The first instant that is kept, UTC ms; 0: everything is."""
    if not months:
        return 0
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    year, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    return max(0, int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp()) * 1000)


def drop(store: Store, *, now_ms: int, months: int) -> int:
    """Drop what is older; how many months of tables went."""
    kept = complete_from(now_ms, months)
    if not kept:
        return 0
    first = datetime.fromtimestamp(kept / 1000, UTC)
    gone = list(store.rows("months", tables=list(MONTHLY), before=first.year * 100 + first.month))
    for table, month in gone:
        store.run("drop_month", table=table, month=month)
    return len(gone)
