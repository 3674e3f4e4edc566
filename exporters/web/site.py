"""The one web application: API and pages, what guards them, and how errors look on either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from exporters.service import Service
from exporters.web import api, live
from exporters.web.pages import preferences, reports
from exporters.web.views import Views
from pipeline.errors import RequestError, Unavailable

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "testserver")
STATIC = Path(__file__).with_name("static")


def make(service: Service) -> FastAPI:
    app = FastAPI(title="User Activity", docs_url=None, redoc_url=None)
    views = Views(service)

    @app.middleware("http")
    async def only_loopback(request: Request, call_next: Any) -> Any:
        host = request.headers.get("host", "")
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        if name not in LOOPBACK:  # a web page elsewhere may point its own name at this machine
            return error(request, 403, "forbidden", "this service answers on loopback names only")
        return await call_next(request)

    def error(request: Request, status: int, code: str, message: str, *, retry_after: float | None = None) -> Response:
        headers = {"Retry-After": str(max(1, round(retry_after)))} if retry_after is not None else None
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)
        return views.error(request, status, message, headers=headers)

    @app.exception_handler(RequestError)
    def refused(request: Request, problem: RequestError) -> Response:
        return error(request, problem.status, problem.code, str(problem))

    @app.exception_handler(Unavailable)
    def unavailable(request: Request, problem: Unavailable) -> Response:
        return error(request, 503, "unavailable", str(problem), retry_after=problem.retry_after_seconds)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, problem: RequestValidationError) -> Response:
        faults = "; ".join(f"{'.'.join(str(x) for x in e['loc'][1:]) or 'body'}: {e['msg']}" for e in problem.errors())
        return error(request, 422, "bad_request", faults)

    @app.exception_handler(HTTPException)
    def other(request: Request, problem: HTTPException) -> Response:
        text = str(problem.detail)
        return error(request, problem.status_code, text.lower().replace(" ", "_"), text)

    app.include_router(api.routes(service))
    app.include_router(live.routes(service))
    app.include_router(reports.routes(service, views))
    app.include_router(preferences.routes())
    app.mount("/static", StaticFiles(directory=STATIC))
    return app
