"""Signing in and out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from exporters.access.people import LOCAL
from exporters.service import Service
from exporters.web.views import Views
from pipeline import clock
from pipeline.errors import RequestError


def routes(service: Service, views: Views) -> APIRouter:
    pages = APIRouter(include_in_schema=False)
    access = service.access

    @pages.get("/login")
    def login(request: Request, key: str = "") -> Response:
        if not key:
            return views.page(request, "sign_in.html")
        if not access.links.use(key, clock.now_ms()):
            raise RequestError(
                "This link was used before or is older than an hour. On this machine, `activity link` prints a new one.",
                status=403,
                code="forbidden",
            )
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            access.sessions.cookie,
            access.sessions.begin(LOCAL.name, LOCAL.role, clock.now_ms()),
            max_age=access.sessions.seconds,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    @pages.post("/logout")
    def logout(request: Request) -> Response:
        access.end(request.cookies.get(access.sessions.cookie, ""))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(access.sessions.cookie)
        return answer

    return pages
