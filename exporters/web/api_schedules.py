"""The API of schedules, for administrators; the page uses the same functions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from exporters.mail.addresses import Recipient
from exporters.reports.ask import Format, fitting
from exporters.reports.plans import Schedule
from exporters.reports.runs import Run
from exporters.reports.schedules import Every, Timing, due_after, words
from exporters.service import Service
from exporters.web.api import Reports, answer
from exporters.web.contract import says
from exporters.web.gate import person_of
from exporters.web.paging import After, part
from pipeline import clock
from pipeline.errors import RequestError
from pipeline.model.events import FAILURE_REASONS
from pipeline.model.windows import WindowError, zone

MOST = 500
# How often a change is made anew when the schedule moved on meanwhile.
AGAIN = 5

Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most")]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")
]


def _zone(name: str) -> str:
    try:
        zone(name)
    except WindowError as error:
        raise ValueError(str(error)) from None
    return name


def _reason(name: str) -> str:
    if name and name not in FAILURE_REASONS:
        raise ValueError(f"one of {', '.join(FAILURE_REASONS)}")
    return name


class Plan(BaseModel):
    """A schedule as it is asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    every: Every
    at: str = Field(
        "06:00", pattern=r"^([01][0-9]|2[0-3]):(00|15|30|45)$", description="Time of day, on a quarter of an hour"
    )
    tz: Annotated[
        str, Field(max_length=64, description="IANA time zone of `at` and of the range"), AfterValidator(_zone)
    ] = "UTC"
    weekday: int = Field(0, ge=0, le=6, description="Weekly: 0 is Monday")
    day: int = Field(1, ge=1, le=31, description="Monthly: day of the month, or its last if it is shorter")
    kind: Literal["active", "inactive", "authentication"]
    preset: Literal["since_last", "24h", "7d", "30d", "90d", "this_month", "last_month"] = Field(
        "since_last", description="Range of each report, up to its due time; `since_last`: from the due time before"
    )
    days: int | None = Field(None, ge=0, le=36_500, description="Inactive: days without access; missing: the setting")
    format: Format | None = Field(None, description="Of sign-ins: `ndjson` (default), `json` or `ocsf`")
    gzip: bool = True
    excel: bool = False
    user: str = Field("", max_length=1000)
    type: Literal["", "client_login", "admin_login", "reauth", "mfa_setup", "mfa_reset"] = ""
    result: Literal["", "success", "failure"] = ""
    reason: Annotated[str, Field(max_length=40), AfterValidator(_reason)] = ""
    recipients: list[Recipient] = Field(default_factory=list, max_length=50)
    paused: bool = False
    _fitting = model_validator(mode="after")(fitting)

    def timing(self) -> Timing:
        return Timing(self.every, self.at, self.tz, self.weekday, self.day)

    def ask(self) -> dict[str, Any]:
        names = ("kind", "days", "format", "gzip", "excel", "user", "type", "result", "reason")
        return {n: getattr(self, n) for n in names}


class Scheduled(msgspec.Struct):
    """A schedule: `when` in words, `next_due` and `last_due` UTC ms, `skipped` due times too long ago to be made up for."""

    id: str
    name: str
    when: str
    every: Every
    at: str
    tz: str
    weekday: int
    day: int
    kind: str
    preset: str
    ask: dict[str, Any]
    recipients: list[str]
    paused: bool
    next_due: int | None
    last_due: int | None
    skipped: int
    by: str
    made_at: int


class ScheduleList(msgspec.Struct):
    """Schedules, newest first."""

    schedules: list[Scheduled]
    next: str | None = None


def shown(schedule: Schedule) -> Scheduled:
    s, t = schedule, schedule.timing
    return Scheduled(
        s.id, s.name, words(t), t.every, t.at, t.tz, t.weekday, t.day, s.ask["kind"], s.preset, s.ask, s.recipients,
        s.paused, s.next_due, s.last_due, s.skipped, s.by, s.made_at,
    )  # fmt: skip


def known(service: Service, id_: str) -> Schedule:
    """Raises RequestError."""
    service.works.settled()
    found = service.works.plans.get(id_)
    if found is None:
        raise RequestError("There is no such schedule. It may have been deleted.", status=404, code="not_found")
    return found


def make(service: Service, plan: Plan, *, by: str) -> Schedule:
    """Raises RequestError, Unavailable."""
    service.works.settled()
    _mailable(service, plan)
    if len(service.works.plans.all()) >= MOST:
        raise RequestError(f"there are {MOST} schedules, which is the limit; delete one first", status=409, code="full")
    now, timing = clock.now_ms(), plan.timing()
    fresh = Schedule(
        uuid.uuid4().hex, plan.name, timing, plan.preset, plan.ask(), by, now, now, recipients=plan.recipients,
        next_due=None if plan.paused else due_after(timing, now),
    )  # fmt: skip
    made = service.works.plans.put(fresh)
    assert made is not None, "a fresh name was taken"
    return made


def change(service: Service, id_: str, fields: Callable[[Schedule], dict[str, Any]]) -> Schedule:
    """Change a schedule, anew if it moved on meanwhile.  Raises RequestError, Unavailable."""
    for _ in range(AGAIN):
        before = known(service, id_)
        after = service.works.plans.change(before, **fields(before))
        if after is not None:
            return after
    raise RequestError("this schedule is being changed by others; try again", status=409, code="conflict")


def replace(service: Service, id_: str, plan: Plan) -> Schedule:
    """Raises RequestError, Unavailable."""
    _mailable(service, plan)
    timing = plan.timing()

    def fields(before: Schedule) -> dict[str, Any]:
        same = timing == before.timing and not before.paused
        due = before.next_due if same else due_after(timing, clock.now_ms())
        return {
            "name": plan.name, "timing": timing, "preset": plan.preset, "ask": plan.ask(),
            "recipients": plan.recipients, "next_due": None if plan.paused else due,
        }  # fmt: skip

    return change(service, id_, fields)


def pause(service: Service, id_: str) -> Schedule:
    """Nothing is due until it is resumed, and nothing is made up for then.  Raises RequestError, Unavailable."""
    return change(service, id_, lambda _before: {"next_due": None})


def resume(service: Service, id_: str) -> Schedule:
    """Raises RequestError, Unavailable."""
    return change(service, id_, lambda s: {"next_due": due_after(s.timing, clock.now_ms()) if s.paused else s.next_due})


def history(service: Service, id_: str) -> list[Run]:
    """The runs of a schedule, newest first."""
    return [r for r in service.runs.all() if r.schedule == id_]


def _mailable(service: Service, plan: Plan) -> None:
    if plan.recipients and service.mailroom.mailer is None:
        raise RequestError("no mail server is configured: set ACTIVITY_SMTP_HOST, or leave the recipients out")


def routes(service: Service) -> APIRouter:
    api = APIRouter()

    @api.get("/api/v1/schedules", **says(ScheduleList, 422, example='api.get("/api/v1/schedules").json()["schedules"]'))
    def listed(limit: Limit = 100, after: After = "") -> Response:
        """All schedules.  Administrators only."""
        service.works.settled()
        found, more = part(service.works.plans.all(), lambda s: (s.made_at, s.id), after=after, limit=limit)
        return answer(ScheduleList([shown(s) for s in found], more))

    @api.post(
        "/api/v1/schedules",
        **says(
            Scheduled,
            409,
            422,
            status=201,
            then={f"{method} /api/v1/schedules/{{schedule_id}}": "id" for method in ("GET", "PUT", "DELETE")},
            example="""
plan = {"name": "Weekly", "every": "weekly", "weekday": 0, "at": "06:00", "tz": "Europe/Berlin", "kind": "active"}
schedule = api.post("/api/v1/schedules", json=plan).json()["id"]
""",
        ),
    )
    def make_one(http: Request, plan: Plan) -> Response:
        """A new schedule.  Each of its due times gets exactly one report.  Administrators only."""
        return answer(shown(make(service, plan, by=person_of(http).name)), 201)

    @api.get(
        "/api/v1/schedules/{schedule_id}",
        **says(Scheduled, 404, example='api.get(f"/api/v1/schedules/{schedule}").json()["next_due"]'),
    )
    def one(schedule_id: str) -> Response:
        """One schedule.  Administrators only."""
        return answer(shown(known(service, schedule_id)))

    @api.put(
        "/api/v1/schedules/{schedule_id}",
        **says(
            Scheduled, 404, 409, 422, example='api.put(f"/api/v1/schedules/{schedule}", json=plan | {"at": "07:15"})'
        ),
    )
    def put(schedule_id: str, plan: Plan) -> Response:
        """Replace a schedule.  A changed time counts from now on.  Administrators only."""
        return answer(shown(replace(service, schedule_id, plan)))

    @api.post(
        "/api/v1/schedules/{schedule_id}/pause",
        **says(Scheduled, 404, 409, example='api.post(f"/api/v1/schedules/{schedule}/pause")'),
    )
    def pause_one(schedule_id: str) -> Response:
        """Nothing is due until it is resumed, and nothing is made up for then.  Administrators only."""
        return answer(shown(pause(service, schedule_id)))

    @api.post(
        "/api/v1/schedules/{schedule_id}/resume",
        **says(Scheduled, 404, 409, example='api.post(f"/api/v1/schedules/{schedule}/resume")'),
    )
    def resume_one(schedule_id: str) -> Response:
        """Due again from the next time on.  Administrators only."""
        return answer(shown(resume(service, schedule_id)))

    @api.post(
        "/api/v1/schedules/{schedule_id}/run",
        **says(Run, 404, 422, status=202, example='api.post(f"/api/v1/schedules/{schedule}/run").json()["run"]'),
    )
    def run(http: Request, schedule_id: str) -> Response:
        """One more report now; the schedule goes on as it was.  Administrators only."""
        return answer(service.works.scheduler.run_now(known(service, schedule_id), by=person_of(http).name), 202)

    @api.get(
        "/api/v1/schedules/{schedule_id}/reports",
        **says(Reports, 404, 422, example='api.get(f"/api/v1/schedules/{schedule}/reports").json()["reports"]'),
    )
    def made(schedule_id: str, limit: Limit = 100, after: After = "") -> Response:
        """What a schedule made, newest first.  Administrators only."""
        found, more = part(
            history(service, known(service, schedule_id).id),
            lambda r: (r.requested_at, r.run),
            after=after,
            limit=limit,
        )
        return answer(Reports(found, more))

    @api.delete(
        "/api/v1/schedules/{schedule_id}",
        **says(
            None,
            404,
            status=204,
            example="""
old = api.post("/api/v1/schedules", json=plan | {"paused": True}).json()["id"]
api.delete(f"/api/v1/schedules/{old}")
""",
        ),
    )
    def delete(schedule_id: str) -> Response:
        """Delete a schedule; its reports stay.  Administrators only."""
        service.works.plans.forget(known(service, schedule_id))
        return Response(status_code=204)

    return api
