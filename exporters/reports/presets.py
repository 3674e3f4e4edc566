"""Windows that people name instead of writing down: a number of hours up to now, this month, last month."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pipeline.model.windows import BUCKET_MS, instant

HOUR_MS = 3600 * 1000
# Rolling ones end with the quarter hour that has begun, so that what happened a minute ago is inside.
ROLLING = {"24h": 24, "7d": 7 * 24, "30d": 30 * 24, "90d": 90 * 24}
PRESETS = {
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "this_month": "This month",
    "last_month": "Last month",
}


def preset_window(name: str, *, now_ms: int, where: ZoneInfo) -> tuple[int, int]:
    """[from, to) in UTC ms of one of PRESETS; months are those of the zone."""
    end = now_ms - now_ms % BUCKET_MS + BUCKET_MS
    if name in ROLLING:
        return end - ROLLING[name] * HOUR_MS, end
    first = datetime.fromtimestamp(now_ms / 1000, where).date().replace(day=1)
    if name == "this_month":
        return instant(first.isoformat(), where), end
    before = (first - timedelta(days=1)).replace(day=1)
    return instant(before.isoformat(), where), instant(first.isoformat(), where, end=True)
