"""In front of every route: names this service answers to, who asks, what they may, the headers of every answer, the audit.

What is not named here as open needs a person; what is named as theirs needs an administrator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from exporters.access.people import Person
from exporters.service import Service
from pipeline import logs

log = logs.logger("web")

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
OPEN = ("/healthz", "/metrics", "/login")
OPEN_BELOW = ("/static/",)
ADMINS_BELOW: tuple[str, ...] = ("/api/v1/links",)
# Asked by the page itself, again and again; only their refusals are news.
SILENT = ("/events", "/settings/reports/runs", "/settings/reports/window")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Refuse = Callable[[Request, int, str, str], Response]


class Gate:
    """ASGI middleware.  `refuse` makes an answer of ours: request, status, code, message."""

    def __init__(self, app: Any, service: Service, refuse: Refuse) -> None:
        self._app = app
        self._service = service
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        person = scope["person"] = self._who(request)
        begun = 0

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = message["status"]
                have = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in have),
                ]
            await send(message)

        refusal = self._refusal(request, person)
        try:
            if refusal is not None:
                await self._refuse(request, *refusal)(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        except Exception as error:
            log.exception("a request failed", error=type(error).__name__)
            if not begun:
                broken = self._refuse(request, 500, "bug", "This is a fault of ours; it is in the service's log.")
                await broken(scope, receive, answer)
        finally:
            self._note(
                request, person, refusal[0] if refusal else begun or 499
            )  # a redirect to the sign-in is a refusal

    def _who(self, request: Request) -> Person | None:
        access = self._service.access
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind:
            return access.bearer(token.strip()) if kind.lower() == "bearer" else None
        if request.url.path.startswith("/api/"):  # a cookie is sent by any site's page; a token is not
            return None
        return access.visitor(request.cookies.get(access.sessions.cookie, ""))

    def _refusal(self, request: Request, person: Person | None) -> tuple[int, str, str] | None:
        """Status, code and message of what is not let through."""
        path = request.url.path
        if not self._ours(request.headers.get("host", "")):  # a page elsewhere may point its own name at this machine
            return 403, "forbidden", "this service answers on loopback names only"
        if path in OPEN or path.startswith(OPEN_BELOW):
            return None
        if person is None:
            return 401, "unauthorized", _SIGN_IN
        if path.startswith(ADMINS_BELOW) and not person.is_admin:
            return 403, "forbidden", "Only administrators may do this."
        return None

    def _ours(self, host: str) -> bool:
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        return name in LOOPBACK

    def _note(self, request: Request, person: Person | None, status: int) -> None:
        path = request.url.path
        self._service.metrics["activity_web_requests_total"].labels(
            "api" if path.startswith("/api/") else "page", f"{status // 100}xx"
        ).inc()
        refused = status in (401, 403, 413, 429)
        if not refused and (path in OPEN[:2] or path.startswith(OPEN_BELOW) or path in SILENT):
            return
        outcome = "refused" if refused else "failed" if status >= 400 else "done"
        route = request.scope.get("route")
        action = f"{request.method if request.method in _METHODS else 'OTHER'} {getattr(route, 'path', '-')}"
        self._service.access.note(
            person.name if person else "",
            action,
            path,
            outcome,
            status,
            address=request.client.host if request.client else "",
        )


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SIGN_IN = (
    "Sign in first: on this machine, `activity link` prints a link that signs you in. "
    "Programs send `Authorization: Bearer` with a token."
)


def person_of(request: Request) -> Person:
    """Who asks; the gate has let them in."""
    person = request.scope["person"]
    assert isinstance(person, Person)
    return person
