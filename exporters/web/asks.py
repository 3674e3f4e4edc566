"""What a person or a program asks for, and the run that comes of it: one door for the API, the page and the schedules."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from typing import Any

from exporters.access.people import Person
from exporters.reports import limits
from exporters.reports.ask import Ask, parameters_of
from exporters.reports.build import ACTIVE_KIND, INACTIVE_KIND
from exporters.reports.runs import OPEN, QUEUED, Run
from exporters.reports.steps import Step, reach
from exporters.service import Service
from pipeline import clock
from pipeline.errors import RequestError
from pipeline.model.times import iso
from pipeline.model.windows import BUCKET_MS, WindowError, zone


def unclear_ends(ask: Ask) -> list[str]:
    """What a person should know of wall times that a clock change makes happen twice or not at all; one line each."""
    said = []
    for text, which, takes in ((ask.from_, "start", "earlier"), (ask.to, "end", "later")):
        try:
            wall = datetime.fromisoformat(text)
            where = zone(ask.tz)
        except (ValueError, WindowError):
            continue
        first, second = (wall.replace(tzinfo=where, fold=fold).utcoffset() for fold in (0, 1))
        if wall.tzinfo is not None or first is None or second is None or first == second:
            continue
        if first > second:
            said.append(f"The clock is set back then: {text} happens twice. As the {which} the {takes} one is taken.")
        else:
            said.append(
                f"The clock is set forward then: {text} does not exist. The first instant after the gap is taken."
            )
    return said


def visible(service: Service, person: Person) -> list[Run]:
    """The runs this person may see, newest first: an administrator all, everybody else their own."""
    service.works.settled()
    return [r for r in service.runs.all() if person.is_admin or r.by == person.name]


class HiddenError(RequestError):
    """What one may not see is not there; only the audit tells the difference."""


def known(service: Service, person: Person, run_id: str) -> Run:
    """Raises RequestError."""
    service.works.settled()
    run = service.runs.get(run_id)
    if run is None or not (person.is_admin or run.by == person.name):
        kind = RequestError if run is None else HiddenError
        raise kind("There is no such report. It may have been deleted.", status=404, code="not_found")
    return run


def request(service: Service, ask: Ask, *, by: str, key: str | None = None) -> tuple[Run, bool]:
    """The run, and whether it is new: an equal open one is returned instead, and with an Idempotency-Key the one it was used for.

    It will contain every event that Kafka has acknowledged by now.  Raises RequestError, Unavailable.
    """
    service.works.settled()
    now = clock.now_ms()
    settings = service.settings
    parameters = parameters_of(ask, now_ms=now, inactive_days=settings.inactive_days, device_days=settings.device_days)
    # A run asked for with a key is named by it, so that of two requests at once, on whatever service, only one makes it.
    name = hashlib.sha256(f"{by}\0{key}".encode()).hexdigest()[:32] if key is not None else uuid.uuid4().hex
    content = hashlib.sha256(ask.model_dump_json().encode()).hexdigest()[:32] if key is not None else ""
    if ask.recipients and service.mailroom.mailer is None:
        raise RequestError("no mail server is configured: set ACTIVITY_SMTP_HOST, or leave the recipients out")
    with service.runs.asking:
        if key is not None and (earlier := _earlier(service, name, content)) is not None:
            return earlier, False
        ends = service.source_ends()
        for run in service.runs.all():
            wanted = (ask.kind, parameters, ends, ask.recipients, by)
            same = (run.kind, run.parameters, run.ends, run.recipients, run.by) == wanted
            if run.state in OPEN and same and key is None:
                return run, False
        limits.check(service.runs.all(), by=by, now_ms=now, settings=settings, deleted=service.runs.deleted_lately())
        fresh = Run(
            name,
            ask.kind,
            QUEUED,
            parameters,
            now,
            now,
            timeout_seconds=ask.timeout_seconds,
            ends=ends,
            by=by,
            recipients=ask.recipients,
            asked_by_key=content,
        )
        made = service.runs.change(fresh, QUEUED)
    reach(Step.ASKED)
    service.builder.kick.set()
    return made, True


def _earlier(service: Service, name: str, content: str) -> Run | None:
    run = service.runs.get(name)
    if service.runs.deleted(name):
        raise RequestError(
            "This Idempotency-Key was sent for a report that was deleted; take a new one.", status=409, code="conflict"
        )
    if run is not None and run.asked_by_key != content:
        raise RequestError(
            "This Idempotency-Key was sent with another question; take a new one.", status=409, code="conflict"
        )
    return run


def repeat(run: Run) -> Ask:
    """The ask that makes this run once more: the same window, now complete as of now.  Who counted back from now does so again."""
    p = run.parameters
    common: dict[str, Any] = {
        "kind": run.kind,
        "tz": p.tz,
        "gzip": p.gzip,
        "excel": p.excel,
        "recipients": run.recipients,
    }
    if run.kind == INACTIVE_KIND:
        as_of_then = p.as_of_ms == run.requested_at - run.requested_at % BUCKET_MS and not run.schedule
        return Ask.model_validate({"days": p.days, "as_of": "" if as_of_then else iso(p.as_of_ms)} | common)
    window_ = {"from": iso(p.from_ms), "to": iso(p.to_ms)}
    if run.kind == ACTIVE_KIND:
        return Ask.model_validate(window_ | common)
    chosen = {"user": p.user, "type": p.type, "result": p.result, "reason": p.reason, "format": p.format}
    return Ask.model_validate(window_ | chosen | common)
