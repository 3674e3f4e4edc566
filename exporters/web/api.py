"""The JSON API: reports, and how the service is.  Each route says what it answers and how it is called (see contract.py)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import PlainTextResponse, Response

from exporters.access.people import LOCAL
from exporters.reports.ask import Ask
from exporters.reports.runs import CANCELLED, OPEN, Run
from exporters.service import Service
from exporters.web.asks import known, repeat, request, visible
from exporters.web.contract import JSON, says
from exporters.web.downloads import MEDIA, download
from exporters.web.gate import person_of
from exporters.web.paging import After, part
from pipeline import clock
from pipeline.errors import RequestError

Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most")]


class Reports(msgspec.Struct):
    """Runs, newest first; `next` goes on where this answer ends."""

    reports: list[Run]
    next: str | None = None


class Link(msgspec.Struct):
    """A path below the service's address, with a key that works once."""

    path: str


class Health(msgspec.Struct):
    """How the service is: `store_lag` records of each topic that are not in the store yet, `through` per source and partition the first
    offset that may not be visible yet; `degraded` what does not work as it should while everything is answered all the same.
    """

    ok: bool
    reason: str | None
    store_lag: dict[str, int]
    through: dict[str, dict[int, int]]
    reports: int
    degraded: list[str]


ABOUT_A_RUN = (("GET", ""), ("GET", "/file"), ("POST", "/again"), ("POST", "/cancel"), ("DELETE", ""))
FILE = {"type": "string", "format": "binary"}
TEXT = {"type": "string"}


def answer(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type=JSON)


def routes(service: Service) -> APIRouter:
    api = APIRouter()

    @api.post(
        "/api/v1/reports",
        **says(
            Run,
            409,
            422,
            status=202,
            also=(200,),
            then={f"{method} /api/v1/reports/{{run_id}}{rest}": "run" for method, rest in ABOUT_A_RUN},
            example="""
asked = {"kind": "active", "preset": "7d", "tz": "Europe/Berlin"}
run = api.post("/api/v1/reports", json=asked, headers={"Idempotency-Key": "weekly-2026-13"}).json()["run"]
""",
        ),
    )
    def ask(
        http: Request,
        body: Ask,
        idempotency_key: Annotated[
            str | None,
            Header(
                max_length=200,
                pattern="^[!-~]+$",
                description="Of your choice, one for each report: asking again with it returns the report it was first sent for",
            ),
        ] = None,
    ) -> Response:
        """Ask for a report: it will contain every event that Kafka has acknowledged by now.  An equal open run is returned instead (200)."""
        run, new = request(service, body, by=person_of(http).name, key=idempotency_key)
        return answer(run, 202 if new else 200)

    @api.get(
        "/api/v1/reports",
        **says(Reports, 422, example='page = api.get("/api/v1/reports", params={"limit": 10}).json()'),
    )
    def listed(http: Request, limit: Limit = 100, after: After = "") -> Response:
        """The reports you may see: an administrator all, everybody else their own."""
        runs, more = part(
            visible(service, person_of(http)), lambda r: (r.requested_at, r.run), after=after, limit=limit
        )
        return answer(Reports(runs, more))

    @api.get(
        "/api/v1/reports/{run_id}",
        **says(
            Run,
            404,
            example="""
import time
while (found := api.get(f"/api/v1/reports/{run}").json())["state"] in ("queued", "waiting", "building"):
    time.sleep(0.2)
""",
        ),
    )
    def one(http: Request, run_id: str) -> Response:
        """One report: its state, and once it is ready its size, its hash and through when it is complete."""
        return answer(known(service, person_of(http), run_id))

    @api.get(
        "/api/v1/reports/{run_id}/file",
        **says(
            FILE,
            400,
            404,
            409,
            410,
            416,
            422,
            also=(206,),
            media=tuple(sorted(set(MEDIA.values()))),
            example='csv = api.get(f"/api/v1/reports/{run}/file", params={"form": "plain"}).text',
        ),
    )
    def file(
        http: Request,
        run_id: str,
        form: Annotated[
            str, Query(pattern="^(gz|plain|zip)?$", description="gz, plain or zip; empty: as it was asked for")
        ] = "",
    ) -> Response:
        """The finished file, as an attachment; as it lies in a directory also a part of it (`Range`)."""
        return download(service, known(service, person_of(http), run_id), form or None)

    @api.post(
        "/api/v1/reports/{run_id}/again",
        **says(
            Run,
            404,
            409,
            422,
            status=202,
            also=(200,),
            example='fresh = api.post(f"/api/v1/reports/{run}/again").json()["run"]',
        ),
    )
    def again(http: Request, run_id: str) -> Response:
        """Ask for the same report once more, its window unchanged and complete as of now.  An equal open run is returned instead (200).

        Users who were inactive as of the moment of asking are those of the new moment.
        """
        person = person_of(http)
        run, new = request(service, repeat(known(service, person, run_id)), by=person.name)
        return answer(run, 202 if new else 200)

    @api.post(
        "/api/v1/reports/{run_id}/cancel",
        **says(
            Run,
            404,
            example="""
other = api.post("/api/v1/reports", json={"kind": "inactive", "days": 30}).json()["run"]
api.post(f"/api/v1/reports/{other}/cancel")
""",
        ),
    )
    def cancel(http: Request, run_id: str) -> Response:
        """End an open run.  One that is over already stays as it is."""
        run = known(service, person_of(http), run_id)
        return answer(service.runs.change(run, CANCELLED) if run.state in OPEN else run)

    @api.delete(
        "/api/v1/reports/{run_id}",
        **says(
            None,
            404,
            status=204,
            example="""
old = api.post("/api/v1/reports", json={"kind": "inactive", "days": 45}).json()["run"]
api.delete(f"/api/v1/reports/{old}")
""",
        ),
    )
    def delete(http: Request, run_id: str) -> Response:
        """Delete a report and its file; an open one is cancelled by it."""
        service.builder.forget(known(service, person_of(http), run_id))
        return Response(status_code=204)

    @api.post(
        "/api/v1/links",
        **says(Link, status=201, example='path = api.post("/api/v1/links").json()["path"]'),
    )
    def link(http: Request) -> Response:
        """A link that signs one person in as an administrator, once, within the hour.

        Only for the key of the service's own machine, which `activity link` shows: what a token opened would go on when it is revoked.
        """
        if person_of(http) != LOCAL:
            raise RequestError(
                "Only the key of the service's machine makes links: run `activity link` there.",
                status=403,
                code="forbidden",
            )
        return answer(Link(f"/login?key={service.access.links.make(clock.now_ms())}"), 201)

    @api.get("/api/v1/health", **says(Health, example='assert api.get("/api/v1/health").json()["ok"]'))
    def health() -> Response:
        """How the service is, and how far each source is visible."""
        return answer(service.health())

    @api.get(
        "/healthz", **says(TEXT, media="text/plain", also=(503,), example='api.get("/healthz").raise_for_status()')
    )
    def healthz() -> Response:
        """For supervisors, open to all: `ok`, or 503 and the reason."""
        reason = service.unhealthy()
        return PlainTextResponse(reason or "ok", status_code=503 if reason else 200)

    @api.get("/metrics", **says(TEXT, media="text/plain", example='metrics = api.get("/metrics").text'))
    def metrics() -> Response:
        """For Prometheus, open to all."""
        return Response(service.metrics.exposition(), media_type="text/plain; version=0.0.4")

    return api
