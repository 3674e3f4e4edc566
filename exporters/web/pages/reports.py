"""Settings → Reports: ask for a report, watch the runs, take the files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from exporters.mail.mailer import recipients
from exporters.reports.ask import Ask, parameters_of
from exporters.reports.build import ACTIVE_KIND, AUTHENTICATION_KIND, INACTIVE_KIND
from exporters.reports.presets import PRESETS
from exporters.reports.runs import BUILDING, CANCELLED, OPEN, WAITING, Run
from exporters.reports.telling import KINDS, mailed, window_lines
from exporters.service import Service
from exporters.web import asks, words
from exporters.web.downloads import download
from exporters.web.forms import fields, number
from exporters.web.gate import person_of
from exporters.web.views import Views, zone_of
from pipeline import clock
from pipeline.errors import RequestError, Unavailable
from pipeline.model.events import AUTHENTICATION_TYPES, FAILURE_REASONS

PAGE = "/settings/reports"
CUSTOM = "custom"
THRESHOLDS = (30, 45, 60, 90)
SHOWN_RUNS = 100

Fields = Annotated[dict[str, str], Depends(fields)]


@dataclass
class Form:
    """What stands in the form: as sent, as linked, or as at first; `faults` by field."""

    values: dict[str, str]
    faults: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def ask(self) -> Ask | None:
        """What it asks; None, with faults, if it cannot be."""
        chosen: dict[str, Any] = {k: v for k, v in self.values.items() if k in ("kind", "tz")}
        if self["kind"] == INACTIVE_KIND:
            chosen |= {"days": number(self["days"])}
        elif self["preset"] == CUSTOM:
            chosen |= {"from": self["from"], "to": self["to"]}
        else:
            chosen |= {"preset": self["preset"]}
        if self["kind"] == AUTHENTICATION_KIND:
            chosen |= {k: self[k].strip() for k in ("user", "type", "result", "reason", "format")}
        else:
            chosen |= {"excel": self["excel"] == "yes"}
        try:
            return Ask.model_validate(chosen | {"gzip": True, "recipients": recipients(self["recipients"])})
        except ValidationError as error:
            for fault in error.errors():
                name = str(fault["loc"][0]) if fault["loc"] else "form"
                self.faults.setdefault(name, fault["msg"].removeprefix("Value error, "))
            return None


def routes(service: Service, views: Views) -> APIRouter:
    pages = APIRouter(include_in_schema=False)

    def whole(request: Request, form: Form, *, status: int = 200, problem: str = "") -> Response:
        return views.page(
            request,
            "reports.html",
            status=status,
            form=form,
            problem=problem,
            preview=preview(form),
            kinds=KINDS,
            presets=PRESETS,
            thresholds=THRESHOLDS,
            types=AUTHENTICATION_TYPES,
            reasons=FAILURE_REASONS,
            asked=request.query_params.get("asked", ""),
            degraded=service.degraded(),
            mail=service.mailroom.mailer is not None,
            **shown(request),
        )

    def shown(request: Request) -> dict[str, Any]:
        runs = [row(r) for r in asks.visible(service, person_of(request))[:SHOWN_RUNS]]
        return {"runs": runs, "open": any(r["open"] for r in runs)}

    def row(run: Run) -> dict[str, Any]:
        p = run.parameters
        expiry_ms = service.settings.report_expiry_days * words.DAY_MS
        return {
            "run": run,
            "title": KINDS[run.kind][0],
            "window": window_lines(run.kind, p),
            "filters": [f"{k} {v}" for k in ("user", "type", "result", "reason") if (v := getattr(p, k))],
            "open": run.state in OPEN,
            "expires_at": run.changed_at + expiry_ms,
            "edit": edit_link(run),
            "progress": service.watch.of(run.run) if run.state == BUILDING else None,
            "trying_again": run.state == WAITING and run.retry_at > 0,
            "waits_for": service.projector.behind(run.ends)[:3] if run.state in OPEN else [],
        }

    def known(request: Request, run_id: str) -> Run:
        return asks.known(service, person_of(request), run_id)

    def preview(form: Form) -> dict[str, Any]:
        empty: dict[str, Any] = {"lines": [], "length": "", "notes": [], "problem": ""}
        asked = Form(dict(form.values) | {"recipients": ""}).ask()
        if asked is None:
            return empty
        settings = service.settings
        try:
            parameters = parameters_of(
                asked, now_ms=clock.now_ms(), inactive_days=settings.inactive_days, device_days=settings.device_days
            )
        except RequestError as error:
            incomplete = form["preset"] == CUSTOM and not (form["from"] and form["to"])
            return empty | {"problem": "" if incomplete else str(error)}
        return empty | {
            "lines": window_lines(asked.kind, parameters),
            "length": words.length(parameters.to_ms - parameters.from_ms) if asked.kind != INACTIVE_KIND else "",
            "notes": asks.unclear_ends(asked),
        }

    def initial(request: Request) -> Form:
        first = {"kind": ACTIVE_KIND, "preset": "30d", "tz": zone_of(request), "format": "ndjson"}
        first["days"] = str(service.settings.inactive_days)
        sent = dict(request.query_params)
        return Form(first | {k: v[:2000] for k, v in sent.items()})

    @pages.get(PAGE)
    def page(request: Request) -> Response:
        return whole(request, initial(request))

    @pages.get(f"{PAGE}/window")
    def window(request: Request) -> Response:
        return views.page(request, "_window.html", preview=preview(initial(request)))

    @pages.get(f"{PAGE}/runs")
    def table(request: Request) -> Response:
        return views.page(request, "_runs.html", asked=request.query_params.get("asked", ""), **shown(request))

    @pages.post(PAGE)
    def generate(request: Request, sent: Fields) -> Response:
        form = Form(sent)
        if "show" in sent:  # without a script; as a question it would have the form's secret word in its address
            return whole(request, form)
        asked = form.ask()
        if asked is None:
            return whole(request, form, status=422, problem="Please correct the marked fields.")
        try:
            run, _ = asks.request(service, asked, by=person_of(request).name)
        except RequestError as error:
            return whole(request, form, status=error.status, problem=str(error))
        except Unavailable as error:
            return whole(request, form, status=503, problem=str(error))
        return RedirectResponse(f"{PAGE}?asked={run.run}#runs", 303)

    @pages.get(f"{PAGE}/runs/{{run_id}}")
    def one(request: Request, run_id: str) -> Response:
        run = known(request, run_id)
        schedule = service.works.plans.name(run.schedule)
        return views.page(
            request, "run.html", **row(run), mailed=mailed(run, service.works.mails.get(run.run)), schedule=schedule
        )

    @pages.get(f"{PAGE}/runs/{{run_id}}/download")
    def take(request: Request, run_id: str, form: str = "gz") -> Response:
        return download(service, known(request, run_id), form)

    @pages.post(f"{PAGE}/runs/{{run_id}}/again")
    def again(request: Request, run_id: str) -> Response:
        run, _ = asks.request(service, asks.repeat(known(request, run_id)), by=person_of(request).name)
        return RedirectResponse(f"{PAGE}?asked={run.run}#runs", 303)

    @pages.post(f"{PAGE}/runs/{{run_id}}/cancel")
    def cancel(request: Request, run_id: str) -> Response:
        run = known(request, run_id)
        if run.state in OPEN:
            service.runs.change(run, CANCELLED)
        return RedirectResponse(f"{PAGE}#runs", 303)

    @pages.post(f"{PAGE}/runs/{{run_id}}/delete")
    def delete(request: Request, run_id: str) -> Response:
        service.builder.forget(known(request, run_id))
        return RedirectResponse(f"{PAGE}#runs", 303)

    return pages


def edit_link(run: Run) -> str:
    """The page with this run's choices in the form."""
    p = run.parameters
    values = {"kind": run.kind, "tz": p.tz, "preset": CUSTOM, "recipients": ", ".join(run.recipients)}
    if run.kind == INACTIVE_KIND:
        values["days"] = str(p.days)
    else:
        values |= {"from": words.field_value(p.from_ms, p.tz), "to": words.field_value(p.to_ms, p.tz)}
    if run.kind == AUTHENTICATION_KIND:
        values |= {"user": p.user, "type": p.type, "result": p.result, "reason": p.reason, "format": p.format}
    elif p.excel:
        values["excel"] = "yes"
    return f"{PAGE}?{urlencode({k: v for k, v in values.items() if v})}#generate"
