"""Settings → Schedules: reports that are made by themselves; when next, what they made, pause, run now."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from exporters.mail.mailer import recipients
from exporters.reports.build import AUTHENTICATION_KIND, INACTIVE_KIND
from exporters.reports.plans import Schedule
from exporters.reports.schedules import WEEKDAYS, WINDOWS, words
from exporters.reports.telling import KINDS, window_lines
from exporters.service import Service
from exporters.web import api_schedules
from exporters.web.api_schedules import Plan
from exporters.web.forms import fields, number
from exporters.web.gate import person_of
from exporters.web.pages.reports import THRESHOLDS, Form
from exporters.web.views import Views, zone_of
from pipeline.errors import RequestError, Unavailable
from pipeline.model.events import AUTHENTICATION_TYPES, FAILURE_REASONS

PAGE = "/settings/schedules"
EVERY = {"daily": "Every day", "weekly": "Every week", "monthly": "Every month"}
SHOWN_RUNS = 100

Fields = Annotated[dict[str, str], Depends(fields)]


def plan_of(form: Form) -> Plan | None:
    """What the form asks; None, with faults, if it cannot be."""
    names = ["name", "every", "at", "tz", "weekday", "day", "kind"]
    if form["kind"] == INACTIVE_KIND:
        names.append("days")
    else:
        names.append("preset")
    if form["kind"] == AUTHENTICATION_KIND:
        names += ["user", "type", "result", "reason", "format"]
    chosen: dict[str, Any] = {n: form[n].strip() for n in names}
    chosen["at"] = chosen["at"][:5]
    chosen |= {n: number(chosen[n]) for n in ("weekday", "day", "days") if n in chosen}
    chosen["recipients"] = recipients(form["recipients"])
    chosen["excel"] = form["excel"] == "yes" and form["kind"] != AUTHENTICATION_KIND
    chosen["paused"] = form["paused"] == "yes"
    try:
        return Plan.model_validate(chosen)
    except ValidationError as error:
        for fault in error.errors():
            name = str(fault["loc"][0]) if fault["loc"] else "form"
            form.faults.setdefault(name, _MORE.get(name) or fault["msg"].removeprefix("Value error, "))
        return None


_MORE = {
    "at": "Give a time of day on a quarter of an hour, such as 06:15.",
    "name": "Give a name, at most 80 characters.",
}


def values_of(schedule: Schedule) -> dict[str, str]:
    """A schedule as the form has it."""
    t, ask = schedule.timing, schedule.ask
    values = {"name": schedule.name, "every": t.every, "at": t.at, "tz": t.tz, "weekday": t.weekday, "day": t.day}
    values |= {"preset": schedule.preset, "recipients": ", ".join(schedule.recipients)}
    values |= {n: ask.get(n) for n in ("kind", "days", "user", "type", "result", "reason", "format")}
    values |= {"excel": "yes" if ask.get("excel") else "", "paused": "yes" if schedule.paused else ""}
    return {n: str(v) for n, v in values.items() if v is not None}


def routes(service: Service, views: Views) -> APIRouter:
    pages = APIRouter(include_in_schema=False)

    def whole(
        request: Request, form: Form, *, edited: Schedule | None = None, status: int = 200, problem: str = ""
    ) -> Response:
        service.works.settled()
        return views.page(
            request,
            "schedules.html",
            status=status,
            form=form,
            edited=edited,
            problem=problem,
            kinds=KINDS,
            every=EVERY,
            weekdays=WEEKDAYS,
            windows=WINDOWS,
            thresholds=THRESHOLDS,
            types=AUTHENTICATION_TYPES,
            reasons=FAILURE_REASONS,
            degraded=service.degraded(),
            mail=service.mailroom.mailer is not None,
            schedules=[row(s) for s in service.works.plans.all()],
        )

    def row(schedule: Schedule) -> dict[str, Any]:
        made = api_schedules.history(service, schedule.id)
        return {
            "it": schedule,
            "when": words(schedule.timing),
            "title": KINDS[schedule.ask["kind"]][0],
            "range": f"{schedule.ask.get('days') or service.settings.inactive_days} days without access"
            if schedule.ask["kind"] == INACTIVE_KIND
            else WINDOWS[schedule.preset],
            "last": made[0] if made else None,
            "count": len(made),
        }

    def initial(request: Request) -> Form:
        first = {"kind": "active", "preset": "since_last", "every": "weekly", "weekday": "0", "day": "1", "at": "06:00"}
        return Form(first | {"tz": zone_of(request), "days": str(service.settings.inactive_days), "format": "ndjson"})

    def known(id_: str) -> Schedule:
        return api_schedules.known(service, id_)

    def saved(request: Request, sent: dict[str, str], edited: Schedule | None) -> Response:
        form = Form(sent)
        plan = plan_of(form)
        if plan is None:
            return whole(request, form, edited=edited, status=422, problem="Please correct the marked fields.")
        try:
            if edited is None:
                made = api_schedules.make(service, plan, by=person_of(request).name)
            else:
                made = api_schedules.replace(service, edited.id, plan)
        except RequestError as error:
            return whole(request, form, edited=edited, status=error.status, problem=str(error))
        except Unavailable as error:
            return whole(request, form, edited=edited, status=503, problem=str(error))
        return RedirectResponse(f"{PAGE}#schedule-{made.id}", 303)

    @pages.get(PAGE)
    def page(request: Request) -> Response:
        return whole(request, initial(request))

    @pages.post(PAGE)
    def make(request: Request, sent: Fields) -> Response:
        return saved(request, sent, None)

    @pages.get(f"{PAGE}/{{schedule_id}}/edit")
    def edit(request: Request, schedule_id: str) -> Response:
        schedule = known(schedule_id)
        return whole(request, Form(initial(request).values | values_of(schedule)), edited=schedule)

    @pages.post(f"{PAGE}/{{schedule_id}}/edit")
    def change(request: Request, schedule_id: str, sent: Fields) -> Response:
        return saved(request, sent, known(schedule_id))

    @pages.get(f"{PAGE}/{{schedule_id}}")
    def one(request: Request, schedule_id: str) -> Response:
        schedule = known(schedule_id)
        runs = [
            {"run": r, "window": window_lines(r.kind, r.parameters)}
            for r in api_schedules.history(service, schedule.id)[:SHOWN_RUNS]
        ]
        return views.page(request, "schedule.html", runs=runs, **row(schedule))

    @pages.post(f"{PAGE}/{{schedule_id}}/pause")
    def pause(schedule_id: str) -> Response:
        api_schedules.pause(service, schedule_id)
        return RedirectResponse(f"{PAGE}#schedule-{schedule_id}", 303)

    @pages.post(f"{PAGE}/{{schedule_id}}/resume")
    def resume(schedule_id: str) -> Response:
        api_schedules.resume(service, schedule_id)
        return RedirectResponse(f"{PAGE}#schedule-{schedule_id}", 303)

    @pages.post(f"{PAGE}/{{schedule_id}}/run")
    def run(request: Request, schedule_id: str) -> Response:
        made = service.works.scheduler.run_now(known(schedule_id), by=person_of(request).name)
        return RedirectResponse(f"/settings/reports?asked={made.run}#runs", 303)

    @pages.post(f"{PAGE}/{{schedule_id}}/delete")
    def delete(schedule_id: str) -> Response:
        service.works.plans.forget(known(schedule_id))
        return RedirectResponse(PAGE, 303)

    return pages
