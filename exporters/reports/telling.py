"""A run in words: its title and its range in the zone it was asked in and in UTC, for pages and mails alike."""

from __future__ import annotations

from typing import Any

from exporters.reports.build import ACTIVE_KIND, AUTHENTICATION_KIND, INACTIVE_KIND, Parameters
from exporters.reports.mails import DONE, Mail
from exporters.reports.runs import READY, Run
from exporters.web import words
from pipeline.settings import Settings

KINDS = {
    ACTIVE_KIND: ("Active users", "Who used the network, how, and from where."),
    INACTIVE_KIND: ("Inactive users", "Who has not used it for a number of days."),
    AUTHENTICATION_KIND: ("Authentication events", "Every sign-in, and why it failed."),
}


def window_lines(kind: str, p: Parameters) -> list[tuple[str, str]]:
    """What is asked about, in the chosen zone and in UTC: [(zone, text)]"""
    zones = [p.tz] if p.tz == "UTC" else [p.tz, "UTC"]
    if kind == INACTIVE_KIND:
        cut = p.as_of_ms - p.days * words.DAY_MS
        return [(z, f"no access since {words.instant(cut, z)} ({p.days} days)") for z in zones]
    return [(z, f"{words.instant(p.from_ms, z)} to {words.instant(p.to_ms, z)}") for z in zones]


def notice(run: Run, settings: Settings, *, schedule: str) -> tuple[str, dict[str, Any]]:
    """Which mail is due for a run that is over, and what it must be told; `schedule` is the name of the one that made it."""
    said: dict[str, Any] = {
        "title": KINDS[run.kind][0],
        "window": window_lines(run.kind, run.parameters),
        "link": f"{settings.people_url}/settings/reports/runs/{run.run}",
    }
    if run.state != READY:
        return "failed", said | {"reason": run.error or "no reason given"}
    zone = run.parameters.tz
    kept_until = run.changed_at + settings.report_expiry_days * words.DAY_MS
    said |= {
        "rows": words.count(run.rows or 0),
        "size": words.size(run.bytes or 0),
        "file": run.file,
        "notes": run.notes,
        "complete_through": f"{words.instant(run.complete_through or 0, zone, seconds=True)} {zone}",
        "kept_until": f"{words.instant(kept_until, zone)} {zone}",
    }
    return ("schedule", said | {"schedule": schedule}) if schedule else ("ready", said)


def mailed(run: Run, mail: Mail | None) -> str:
    """What became of a run's mail."""
    if mail is None or not run.recipients:
        return ""
    if mail.state != DONE:
        return f"not sent yet: {mail.error}; it is tried again" if mail.error else "being sent"
    refused = [r for r, code in mail.said.items() if not 200 <= code < 300]
    if mail.error and not refused:
        return f"not sent: {mail.error}"
    return f"refused for {', '.join(refused)}" if refused else "sent"
