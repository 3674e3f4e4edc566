"""What a person or a program asks for, and the run that comes of it: one door for the API, the page and the schedules."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from exporters.access.people import Person
from exporters.reports import limits
from exporters.reports.build import ACTIVE_KIND, INACTIVE_KIND, Parameters
from exporters.reports.presets import preset_window
from exporters.reports.runs import OPEN, QUEUED, Run
from exporters.reports.steps import Step, reach
from exporters.service import Service
from pipeline import clock
from pipeline.errors import RequestError
from pipeline.model.events import AUTHENTICATION_TYPES, FAILURE_REASONS
from pipeline.model.times import iso
from pipeline.model.windows import BUCKET_MS, WindowError, instant, window, zone

DEFAULT_TIMEOUT_SECONDS = 60.0


def _mailable(address: str) -> str:
    name, _, domain = address.partition("@")
    if not name or "." not in domain or any(c.isspace() or ord(c) < 32 or c in '<>",;:()[]\\' for c in address):
        raise ValueError(f"{address[:60]!r} is not an e-mail address")
    return address


Recipient = Annotated[str, Field(max_length=254), AfterValidator(_mailable)]


class Ask(BaseModel):
    """A report to be made.  Either a preset, or dates or date-times on 15-minute edges in `tz`; `to` is exclusive."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    kind: Literal["active", "inactive", "authentication"]
    preset: Literal["", "24h", "7d", "30d", "90d", "this_month", "last_month"] = Field(
        "", description="A range that ends now"
    )
    from_: str = Field("", alias="from", max_length=40, description="First day or date-time")
    to: str = Field("", max_length=40, description="End, exclusive")
    tz: str = Field("UTC", max_length=64, description="IANA time zone of `from`, `to`, `as_of` and the presets")
    days: int | None = Field(None, ge=0, le=36_500, description="Inactive: days without access; missing: the setting")
    as_of: str = Field("", max_length=40, description="Inactive: instant to count back from; empty: now")
    format: Literal["csv", "ndjson", "json"] | None = Field(
        None, description="Of sign-ins: `ndjson` (default) or `json`"
    )
    gzip: bool = Field(default=False, description="Make the file compressed")
    excel: bool = Field(default=False, description="Begin a CSV with a byte order mark")
    user: str = Field("", max_length=1000, description="Sign-ins: of this e-mail or id only")
    type: Literal["", "client_login", "admin_login", "reauth", "mfa_setup", "mfa_reset"] = ""
    result: Literal["", "success", "failure"] = ""
    reason: str = Field("", max_length=40)
    recipients: list[Recipient] = Field(default_factory=list, max_length=50)
    timeout_seconds: float = Field(DEFAULT_TIMEOUT_SECONDS, gt=0, le=3600)


def parameters_of(ask: Ask, *, now_ms: int, inactive_days: int, device_days: int) -> Parameters:
    """Raises RequestError."""
    common: dict[str, Any] = {"gzip": ask.gzip, "excel": ask.excel, "tz": ask.tz}
    try:
        if ask.kind == INACTIVE_KIND:
            as_of = instant(ask.as_of, zone(ask.tz)) if ask.as_of else now_ms - now_ms % BUCKET_MS
            return Parameters(as_of_ms=as_of, days=inactive_days if ask.days is None else ask.days, **common)
        if ask.preset:
            if ask.from_ or ask.to:
                raise RequestError("give a preset or both ends of the window, not both")
            from_ms, to_ms = preset_window(ask.preset, now_ms=now_ms, where=zone(ask.tz))
        elif ask.from_ and ask.to:
            from_ms, to_ms = window(ask.from_, ask.to, ask.tz)
        else:
            raise RequestError("give both ends of the window: from and to")
    except WindowError as error:
        raise RequestError(str(error)) from None
    if ask.kind == ACTIVE_KIND:
        return Parameters(from_ms=from_ms, to_ms=to_ms, device_days=device_days, **common)
    if ask.reason and ask.reason not in FAILURE_REASONS:
        raise RequestError(f"unknown reason {ask.reason!r}; one of {', '.join(FAILURE_REASONS)}")
    assert not ask.type or ask.type in AUTHENTICATION_TYPES
    form = ask.format if ask.format in ("ndjson", "json") else "ndjson"
    return Parameters(
        from_ms=from_ms,
        to_ms=to_ms,
        user=ask.user,
        type=ask.type,
        result=ask.result,
        reason=ask.reason,
        format=form,
        gzip=ask.gzip,
        tz=ask.tz,
    )


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
    return [r for r in service.runs.all() if person.is_admin or r.by == person.name]


class HiddenError(RequestError):
    """What one may not see is not there; only the audit tells the difference."""


def known(service: Service, person: Person, run_id: str) -> Run:
    """Raises RequestError."""
    run = service.runs.get(run_id)
    if run is None or not (person.is_admin or run.by == person.name):
        kind = RequestError if run is None else HiddenError
        raise kind("There is no such report. It may have been deleted.", status=404, code="not_found")
    return run


def request(service: Service, ask: Ask, *, by: str, key: str | None = None) -> tuple[Run, bool]:
    """The run, and whether it is new: an equal open one is returned instead, and with an Idempotency-Key the one it was used for.

    It will contain every event that Kafka has acknowledged by now.  Raises RequestError, Unavailable.
    """
    now = clock.now_ms()
    settings = service.settings
    parameters = parameters_of(ask, now_ms=now, inactive_days=settings.inactive_days, device_days=settings.device_days)
    # A run asked for with a key is named by it, so that of two requests at once, on whatever service, only one makes it.
    name = hashlib.sha256(f"{by}\0{key}".encode()).hexdigest()[:32] if key is not None else uuid.uuid4().hex
    content = hashlib.sha256(ask.model_dump_json().encode()).hexdigest()[:32] if key is not None else ""
    with service.runs.asking:
        if key is not None and (earlier := _earlier(service, name, content)) is not None:
            return earlier, False
        ends = service.source_ends()
        for run in service.runs.all():
            wanted = (ask.kind, parameters, ends, ask.recipients, by)
            same = (run.kind, run.parameters, run.ends, run.recipients, run.by) == wanted
            if run.state in OPEN and same and key is None:
                return run, False
        limits.check(service.runs.all(), by=by, now_ms=now, settings=settings)
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
    """The ask that makes this run once more: the same window, now complete as of now."""
    p = run.parameters
    common: dict[str, Any] = {
        "kind": run.kind,
        "tz": p.tz,
        "gzip": p.gzip,
        "excel": p.excel,
        "recipients": run.recipients,
    }
    if run.kind == INACTIVE_KIND:
        return Ask.model_validate({"days": p.days} | common)
    window_ = {"from": iso(p.from_ms), "to": iso(p.to_ms)}
    if run.kind == ACTIVE_KIND:
        return Ask.model_validate(window_ | common)
    chosen = {"user": p.user, "type": p.type, "result": p.result, "reason": p.reason, "format": p.format}
    return Ask.model_validate(window_ | chosen | common)
