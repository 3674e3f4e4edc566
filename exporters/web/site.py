"""The one web application: API and pages, what guards them, and how errors look on either."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from exporters.service import Service
from exporters.web import (
    api,
    api_access,
    api_destinations,
    api_numbers,
    api_rejects,
    api_schedules,
    api_silence,
    api_users,
    live,
)
from exporters.web.asks import HiddenError
from exporters.web.contract import FAILURES, Described, allowed
from exporters.web.forms import genuine
from exporters.web.gate import Gate, Refusal
from exporters.web.pages import (
    audit,
    inbox,
    overview,
    preferences,
    rejects,
    reports,
    schedules,
    sign_in,
    sign_ins,
    sync,
    tokens,
    users,
)
from exporters.web.users import Orders
from exporters.web.views import Views, address_of, page_of
from pipeline.errors import RequestError, Unavailable

STATIC = Path(__file__).with_name("static")
ABOUT = (
    "Everything the pages show and do. Programs send `Authorization: Bearer` with a token of `/settings/tokens`. "
    "Instants are UTC milliseconds. Every failure has one shape: `error` with a `code` for programs and a `message` for people. "
    "Lists come in pages: pass `next` of one answer as `after` of the next question."
)


def make(service: Service) -> Described:
    app = Described(
        title="User Activity",
        version="1",
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    views, orders = Views(service), Orders()
    numbers = overview.Numbers(service, views)

    def error(request: Request, refusal: Refusal, more: Mapping[str, str] | None = None) -> Response:
        status, code, message, retry_after = refusal
        headers = dict(more or {})
        if retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)
        if status == 401 and request.method == "GET":
            if "hx-request" not in request.headers:
                return RedirectResponse(sign_in.way(address_of(request)), 303)
            # A page that was left open: what it shows is old, and it would ask for ever.
            headers["HX-Redirect"] = sign_in.way(page_of(request))
        return views.error(request, status, message, headers=headers)

    @app.exception_handler(RequestError)
    def refused(request: Request, problem: RequestError) -> Response:
        request.scope["refused"] = isinstance(problem, HiddenError)
        return error(request, Refusal(problem.status, problem.code, str(problem), problem.retry_after_seconds))

    @app.exception_handler(Unavailable)
    def unavailable(request: Request, problem: Unavailable) -> Response:
        return error(request, Refusal(503, "unavailable", str(problem), problem.retry_after_seconds))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, problem: RequestValidationError) -> Response:
        faults = "; ".join(f"{'.'.join(str(x) for x in e['loc'][1:]) or 'body'}: {e['msg']}" for e in problem.errors())
        return error(request, Refusal(422, "bad_request", faults))

    @app.exception_handler(HTTPException)
    def other(request: Request, problem: HTTPException) -> Response:
        text = str(problem.detail)
        code, _ = FAILURES.get(problem.status_code, FAILURES[400 if problem.status_code < 500 else 500])
        headers = dict(problem.headers or {})
        if "Allow" in headers and (methods := allowed(app, request.url.path)):
            headers["Allow"] = ", ".join(methods)
        return error(request, Refusal(problem.status_code, code, text), headers)

    # Routes are looked through in this order: first what is asked for again and again.
    app.include_router(live.routes(service, numbers))
    app.include_router(overview.routes(views, numbers), dependencies=[genuine(service)])
    app.include_router(api.routes(service))
    app.include_router(api_numbers.routes(service))
    app.include_router(api_access.routes(service))
    app.include_router(api_destinations.routes(service))
    app.include_router(api_schedules.routes(service))
    app.include_router(api_users.routes(service, orders))
    app.include_router(api_rejects.routes(service))
    app.include_router(api_silence.routes(service))
    for pages in (
        sign_in.routes(service, views),
        users.routes(service, views, orders),
        sign_ins.routes(service, views),
        rejects.routes(service, views),
        reports.routes(service, views),
        schedules.routes(service, views),
        inbox.routes(service, views),
        sync.routes(service, views),
        tokens.routes(service, views),
        audit.routes(service, views),
        preferences.routes(),
    ):
        app.include_router(pages, dependencies=[genuine(service)])
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_middleware(Gate, service=service, refuse=error)
    return app
