"""Signing in, with the provider or with a one-time link, and out."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from exporters.access.hosts import LOOPBACK, name_of
from exporters.access.people import LOCAL, Person
from exporters.access.provider import CALLBACK
from exporters.service import Service
from exporters.web.pages.preferences import here
from exporters.web.views import Views
from pipeline import clock
from pipeline.errors import RequestError, Unavailable

PAGE = "/login"
START = "/login/start"


def way(back: str) -> str:
    """The sign-in page, which leads back to an address of this site."""
    return PAGE if back == "/" else f"{PAGE}?back={quote(back[:1000])}"


def routes(service: Service, views: Views) -> APIRouter:
    pages = APIRouter(include_in_schema=False)
    access, provider = service.access, service.access.provider
    way_cookie = f"{access.sessions.cookie}_way"

    def whole(request: Request, back: str, *, status: int = 200, problem: str = "", waiting: float = 0) -> Response:
        """The sign-in page, with what went wrong."""
        return views.page(
            request,
            "sign_in.html",
            status=status,
            headers={"Retry-After": str(round(waiting))} if waiting else None,
            problem=problem,
            provider=provider.name if provider else "",
            start=f"{START}?{urlencode({'back': back})}" if provider else "",
        )

    def secure(request: Request) -> bool:
        public = service.settings.public_url.startswith("https://")
        return request.url.scheme == "https" or (public and name_of(request.headers["host"]) not in LOOPBACK)

    def welcome(request: Request, person: Person, back: str) -> Response:
        request.scope["person"] = person  # for the audit
        answer = RedirectResponse(here(back), 303)
        answer.set_cookie(
            access.sessions.cookie,
            access.sessions.begin(person.name, person.role, clock.now_ms()),
            max_age=access.sessions.seconds,
            httponly=True,
            samesite="lax",
            secure=secure(request),
        )
        answer.delete_cookie(way_cookie, path=PAGE)
        return answer

    @pages.get(PAGE)
    def login(request: Request, key: str = "", back: str = "/") -> Response:
        if key:
            if not access.links.use(key, clock.now_ms()):
                raise RequestError(
                    "This link was used before or is older than an hour. On this machine, `activity link` prints a new one.",
                    status=403,
                    code="forbidden",
                )
            return welcome(request, LOCAL, "/")
        if request.scope["person"] is not None:
            return RedirectResponse(here(back), 303)
        return whole(request, here(back))

    if provider is not None:

        @pages.get(START)
        def start(request: Request, back: str = "/") -> Response:
            try:
                url, cookie = provider.leave(here(back))
            except Unavailable as error:
                return failed(request, error, here(back))
            answer = RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})
            answer.set_cookie(
                way_cookie, cookie, max_age=900, httponly=True, samesite="lax", secure=secure(request), path=PAGE
            )
            return answer

        @pages.get(CALLBACK)
        def arrive(request: Request) -> Response:
            try:
                person, back = provider.arrive(request.cookies.get(way_cookie, ""), dict(request.query_params))
            except (RequestError, Unavailable) as error:
                return failed(request, error, "/")
            return welcome(request, person, back)

    def failed(request: Request, error: RequestError | Unavailable, back: str) -> Response:
        request.scope["detail"] = str(error)
        status, waiting = (error.status, 0.0) if isinstance(error, RequestError) else (503, error.retry_after_seconds)
        answer = whole(request, back, status=status, problem=str(error), waiting=waiting)
        answer.delete_cookie(way_cookie, path=PAGE)
        return answer

    @pages.post("/logout")
    def logout(request: Request) -> Response:
        access.end(request.cookies.get(access.sessions.cookie, ""))
        answer = RedirectResponse(PAGE, 303)
        answer.delete_cookie(access.sessions.cookie)
        return answer

    return pages
