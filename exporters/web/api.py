"""The JSON API.  One error shape: {"error": {"code": …, "message": …}}."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from exporters.reports.runs import Run
from exporters.service import Service
from exporters.web.asks import Ask, known, request, visible
from exporters.web.downloads import download
from exporters.web.gate import person_of
from pipeline import clock


def routes(service: Service) -> APIRouter:
    api = APIRouter()

    @api.post("/api/v1/reports", status_code=202)
    def ask(http: Request, body: Ask) -> Response:
        """Ask for a report: it will contain every event that Kafka has acknowledged by now.  An equal open run is returned instead (200)."""
        run, new = request(service, body, by=person_of(http).name)
        return _run(run, 202 if new else 200)

    @api.get("/api/v1/reports")
    def listed(http: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        return Response(
            msgspec.json.encode({"reports": visible(service, person_of(http))[:limit]}), media_type="application/json"
        )

    @api.get("/api/v1/reports/{run_id}")
    def one(http: Request, run_id: str) -> Response:
        return _run(known(service, person_of(http), run_id), 200)

    @api.get("/api/v1/reports/{run_id}/file")
    def file(http: Request, run_id: str) -> Response:
        return download(service, known(service, person_of(http), run_id), None)

    @api.post("/api/v1/links", status_code=201)
    def link() -> Response:
        """A link that signs one person in as an administrator, once, within the hour."""
        key = service.access.links.make(clock.now_ms())
        return Response(
            msgspec.json.encode({"path": f"/login?key={key}"}), status_code=201, media_type="application/json"
        )

    @api.get("/api/v1/health")
    def health() -> Response:
        return Response(msgspec.json.encode(service.health()), media_type="application/json")

    @api.get("/healthz")
    def healthz() -> Response:
        reason = service.unhealthy()
        return PlainTextResponse(reason or "ok", status_code=503 if reason else 200)

    @api.get("/metrics")
    def metrics() -> Response:
        return Response(service.metrics.exposition(), media_type="text/plain; version=0.0.4")

    return api


def _run(run: Run, status: int) -> Response:
    return Response(msgspec.json.encode(run), status_code=status, media_type="application/json")
