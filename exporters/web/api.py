"""The JSON API.  One error shape: {"error": {"code": …, "message": …}}."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from exporters.reports.build import ACTIVE_KIND, AUTHENTICATION_KIND, INACTIVE_KIND, Parameters
from exporters.reports.runs import EXPIRED, OPEN, QUEUED, READY, Run, Runs
from exporters.service import Service
from pipeline import clock
from pipeline.errors import RequestError, Unavailable
from pipeline.model.events import AUTHENTICATION_TYPES, FAILURE_REASONS
from pipeline.model.windows import BUCKET_MS, WindowError, instant, window, zone

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "testserver")


class Ask(BaseModel):
    """A report to be made.  Dates or date-times on 15-minute edges in `tz`; `to` is exclusive."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    kind: Literal["active", "inactive", "authentication"]
    from_: str = Field("", alias="from", max_length=40)
    to: str = Field("", max_length=40)
    tz: str = Field("UTC", max_length=64)
    days: int | None = Field(None, ge=0, le=36_500)
    as_of: str = Field("", max_length=40)
    format: Literal["csv", "ndjson", "json"] | None = None
    gzip: bool = False
    excel: bool = False
    user: str = Field("", max_length=1000)
    type: Literal["", "client_login", "admin_login", "reauth", "mfa_setup", "mfa_reset"] = ""
    result: Literal["", "success", "failure"] = ""
    reason: str = Field("", max_length=40)
    timeout_seconds: float = Field(60.0, gt=0, le=3600)


def parameters_of(ask: Ask, *, now_ms: int, inactive_days: int, device_days: int) -> Parameters:
    """Raises RequestError."""
    common: dict[str, Any] = {"gzip": ask.gzip, "excel": ask.excel, "tz": ask.tz}
    try:
        if ask.kind == INACTIVE_KIND:
            as_of = instant(ask.as_of, zone(ask.tz)) if ask.as_of else now_ms - now_ms % BUCKET_MS
            return Parameters(as_of_ms=as_of, days=inactive_days if ask.days is None else ask.days, **common)
        if not (ask.from_ and ask.to):
            raise RequestError("give both ends of the window: from and to")
        from_ms, to_ms = window(ask.from_, ask.to, ask.tz)
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


def make(service: Service) -> FastAPI:
    app = FastAPI(title="User Activity", docs_url=None, redoc_url=None)
    runs: Runs = service.runs

    @app.middleware("http")
    async def only_loopback(request: Request, call_next: Any) -> Any:
        host = (
            request.headers.get("host", "").rsplit(":", 1)[0]
            if not request.headers.get("host", "").endswith("]")
            else request.headers["host"]
        )
        if host not in LOOPBACK:  # a web page elsewhere may point its own name at this machine
            return _error(403, "forbidden", "this service answers on loopback names only")
        return await call_next(request)

    @app.exception_handler(RequestError)
    def refused(_request: Request, error: RequestError) -> JSONResponse:
        return _error(error.status, error.code, str(error))

    @app.exception_handler(Unavailable)
    def unavailable(_request: Request, error: Unavailable) -> JSONResponse:
        return _error(503, "unavailable", str(error), retry_after=error.retry_after_seconds)

    @app.exception_handler(RequestValidationError)
    def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(str(x) for x in e['loc'][1:]) or 'body'}: {e['msg']}" for e in error.errors())
        return _error(422, "bad_request", faults)

    @app.exception_handler(HTTPException)
    def other(_request: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail).lower().replace(" ", "_"), str(error.detail))

    @app.post("/api/v1/reports", status_code=202)
    def ask(body: Ask) -> Response:
        """Ask for a report: it will contain every event that Kafka has acknowledged by now.  An equal open run is returned instead (200)."""
        settings = service.settings
        now = clock.now_ms()
        parameters = parameters_of(
            body, now_ms=now, inactive_days=settings.inactive_days, device_days=settings.device_days
        )
        ends = service.source_ends()
        for run in runs.all():
            if run.state in OPEN and run.kind == body.kind and run.parameters == parameters and run.ends == ends:
                return _run(run, 200)
        fresh = Run(
            uuid.uuid4().hex, body.kind, QUEUED, parameters, now, now, timeout_seconds=body.timeout_seconds, ends=ends
        )
        made = runs.change(fresh, QUEUED)
        service.builder.kick.set()
        return _run(made, 202)

    @app.get("/api/v1/reports")
    def listed(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        return Response(msgspec.json.encode({"reports": runs.all()[:limit]}), media_type="application/json")

    @app.get("/api/v1/reports/{run_id}")
    def one(run_id: str) -> Response:
        return _run(_known(runs, run_id), 200)

    @app.get("/api/v1/reports/{run_id}/file")
    def file(run_id: str) -> Response:
        run = _known(runs, run_id)
        if run.state == EXPIRED:
            raise RequestError("this report has expired; ask for it again", status=410, code="expired")
        path: Path = service.builder.path(run)
        if run.state != READY or run.file is None or not path.exists():
            raise RequestError(
                f"this report is {run.state}; there is no file" + (f": {run.error}" if run.error else ""),
                status=409,
                code="not_ready",
            )
        media = (
            "application/gzip"
            if run.file.endswith(".gz")
            else "text/csv; charset=utf-8"
            if run.kind != AUTHENTICATION_KIND
            else "application/x-ndjson"
        )
        return FileResponse(path, media_type=media, filename=run.file)

    @app.get("/api/v1/health")
    def health() -> Response:
        return Response(msgspec.json.encode(service.health()), media_type="application/json")

    @app.get("/healthz")
    def healthz() -> Response:
        reason = service.unhealthy()
        return PlainTextResponse(reason or "ok", status_code=503 if reason else 200)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(service.metrics.exposition(), media_type="text/plain; version=0.0.4")

    return app


def _known(runs: Runs, run_id: str) -> Run:
    run = runs.get(run_id)
    if run is None:
        raise RequestError("no such report", status=404, code="not_found")
    return run


def _run(run: Run, status: int) -> Response:
    return Response(msgspec.json.encode(run), status_code=status, media_type="application/json")


def _error(status: int, code: str, message: str, *, retry_after: float | None = None) -> JSONResponse:
    headers = {"Retry-After": str(max(1, round(retry_after)))} if retry_after is not None else None
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)
