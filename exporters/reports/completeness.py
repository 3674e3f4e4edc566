"""What a reader must know about what a report cannot contain."""

from __future__ import annotations

from exporters.reports.build import ACTIVE_KIND, DAY_MS, INACTIVE_KIND, Parameters
from exporters.store.retention import complete_from
from pipeline.model.times import iso


def lost_notes(lost: int) -> list[str]:
    if not lost:
        return []
    return [
        f"NOT COMPLETE: {lost} records were lost to retention before a worker read them; see `activity check`",
    ]


def retention_notes(kind: str, parameters: Parameters, *, now_ms: int, months: int) -> list[str]:
    """What a reader of this report must know about what is no longer there."""
    kept = complete_from(now_ms, months)
    if not kept:
        return []
    if kind == INACTIVE_KIND:
        return [f"accesses before {iso(kept)} are no longer stored: whoever has only such ones counts as never seen"]
    said = []
    if parameters.from_ms < kept:
        said.append(f"complete from {iso(kept)} on: what lies before is no longer stored (ACTIVITY_RETENTION_MONTHS)")
    if kind == ACTIVE_KIND and now_ms - parameters.device_days * DAY_MS < kept:
        said.append(f"active_devices are counted from {iso(kept)} on")
    return said
