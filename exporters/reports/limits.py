"""What one person may ask for, so that nobody's reports keep everybody else's waiting.  Counted from the journal: the same on every service.  PURE."""

from __future__ import annotations

from collections.abc import Iterable

from exporters.reports.runs import EXPIRED, HOUR_MS, OPEN, Run
from pipeline.errors import RequestError
from pipeline.settings import Settings

# When an open run will be over is not known; asking again so soon costs nobody anything.
OPEN_RETRY_SECONDS = 10.0


def check(runs: Iterable[Run], *, by: str, now_ms: int, settings: Settings, deleted: Iterable[Run] = ()) -> None:
    """`deleted` are runs that are no more, and cost all the same.  Raises RequestError (429, with when to ask again) if this person's reports are too many or took too long within the hour."""
    mine = [r for r in runs if r.by == by]
    open_ = sum(r.state in OPEN for r in mine)
    if open_ >= settings.report_open_limit:
        raise RequestError(
            f"{open_} of your reports are waiting or being made, which is the limit; cancel one or ask again when one is ready",
            status=429,
            code="too_many_open",
            retry_after_seconds=OPEN_RETRY_SECONDS,
        )
    made = [r for r in (*mine, *(d for d in deleted if d.by == by)) if r.build_seconds and r.state != EXPIRED]
    spent = sorted((r.changed_at, r.build_seconds) for r in made if r.changed_at > now_ms - HOUR_MS)
    total = sum(seconds for _, seconds in spent)
    if total < settings.report_hour_seconds:
        return
    free_at = now_ms
    for at, seconds in spent:  # the oldest leave the hour first
        total -= seconds
        free_at = at + HOUR_MS
        if total < settings.report_hour_seconds:
            break
    raise RequestError(
        "your reports of the last hour took as long as one person's may; ask again later",
        status=429,
        code="too_costly",
        retry_after_seconds=max(1.0, (free_at - now_ms) / 1000),
    )
