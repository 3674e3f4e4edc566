"""The one web application: API and pages, what guards them, and how errors look on either."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from exporters.service import Service
from exporters.web import api, live
from exporters.web.forms import genuine
from exporters.web.gate import Gate
from exporters.web.pages import preferences, reports, sign_in
from exporters.web.views import Views
from pipeline.errors import RequestError, Unavailable

STATIC = Path(__file__).with_name("static")


def make(service: Service) -> FastAPI:
    app = FastAPI(title="User Activity", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    views = Views(service)

    def error(request: Request, status: int, code: str, message: str, *, retry_after: float | None = None) -> Response:
        headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)
        if status == 401 and request.method == "GET" and "hx-request" not in request.headers:
            return RedirectResponse("/login", 303)
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
    for pages in (sign_in.routes(service, views), reports.routes(service, views), preferences.routes()):
        app.include_router(pages, dependencies=[genuine(service)])
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_middleware(Gate, service=service, refuse=error)
    return app
