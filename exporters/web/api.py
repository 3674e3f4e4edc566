"""The JSON API.  One error shape: {"error": {"code": …, "message": …}}."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response

from exporters.reports.runs import Run, Runs
from exporters.service import Service
from exporters.web.asks import Ask, request
from exporters.web.downloads import download
from pipeline.errors import RequestError


def routes(service: Service) -> APIRouter:
    api = APIRouter()
    runs: Runs = service.runs

    @api.post("/api/v1/reports", status_code=202)
    def ask(body: Ask) -> Response:
        """Ask for a report: it will contain every event that Kafka has acknowledged by now.  An equal open run is returned instead (200)."""
        run, new = request(service, body, by="")
        return _run(run, 202 if new else 200)

    @api.get("/api/v1/reports")
    def listed(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        return Response(msgspec.json.encode({"reports": runs.all()[:limit]}), media_type="application/json")

    @api.get("/api/v1/reports/{run_id}")
    def one(run_id: str) -> Response:
        return _run(_known(runs, run_id), 200)

    @api.get("/api/v1/reports/{run_id}/file")
    def file(run_id: str) -> Response:
        return download(service, _known(runs, run_id), None)

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


def _known(runs: Runs, run_id: str) -> Run:
    run = runs.get(run_id)
    if run is None:
        raise RequestError("no such report", status=404, code="not_found")
    return run


def _run(run: Run, status: int) -> Response:
    return Response(msgspec.json.encode(run), status_code=status, media_type="application/json")
