"""In front of every route: names this service answers to, who asks, how often, what they may, the headers of every answer, the audit.

What is not named here as open needs a person; what is named as theirs needs an administrator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from exporters.access.hosts import LOOPBACK, name_of, names
from exporters.access.limits import Limit
from exporters.access.people import LOCAL, Person
from exporters.service import Service
from pipeline import clock, logs

log = logs.logger("web")

# Monitors come by address; they read nothing that is anybody's.
MONITORS = ("/healthz", "/metrics")
SIGN_IN = ("/login", "/login/start", "/login/callback")
OPEN = (*MONITORS, *SIGN_IN)
OPEN_BELOW = ("/static/",)
ADMINS_BELOW = (
    "/api/v1/links",
    "/api/v1/rejects/replay",
    "/rejects/replay",
    "/api/v1/tokens",
    "/api/v1/audit",
    "/api/v1/schedules",
    "/api/v1/destinations",
    "/settings/tokens",
    "/settings/audit",
    "/settings/schedules",
    "/settings/sync",
    "/inbox",
)
# Asked by the page itself, again and again; their refusals are news, other than that nobody is signed in any longer.
SILENT = ("/events", "/settings/sync/list", "/overview/numbers", "/settings/reports/runs", "/settings/reports/window")
# More than any form or question needs; files do not come this way.
MAX_BODY_BYTES = 256 << 10

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
# Other than what is static, what is shown is somebody's.
NOT_KEPT = {"cache-control": "private, no-store"}
ENCRYPTED_ONLY = {"strict-transport-security": "max-age=31536000"}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Refusal(NamedTuple):
    status: int
    code: str
    message: str
    retry_after: float | None = None


# Makes an answer of ours.
Refuse = Callable[[Request, Refusal], Response]


class Gate:
    """ASGI middleware.  Runs in the event loop only, so that its counts need no lock."""

    def __init__(self, app: Any, service: Service, refuse: Refuse) -> None:
        settings = service.settings
        self._app = app
        self._service = service
        self._refuse = refuse
        self._names = names(settings)
        self._requests = Limit(settings.requests_per_minute)
        self._attempts = Limit(settings.login_attempts_per_minute)
        encrypted = settings.public_url.startswith("https://")
        always = HEADERS | (ENCRYPTED_ONLY if encrypted else {})
        self._static_headers, self._headers = _encoded(always), _encoded(always | NOT_KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD" and scope["path"] not in SIGN_IN:  # who only looks at a link must not use it up
            scope = {**scope, "method": "GET"}
        request = Request(scope, receive)
        headers = self._static_headers if scope["path"].startswith(OPEN_BELOW) else self._headers
        person = scope["person"] = who(self._service, request)
        begun = 0

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = message["status"]
                have = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in headers if h[0] not in have)]
                await send(message)
                if method == "HEAD":
                    await send({"type": "http.response.body"})
            elif method != "HEAD":
                await send(message)

        refusal = self._refusal(request, person)
        try:
            if refusal is not None:
                await self._refuse(request, refusal)(scope, receive, answer)
            else:
                await self._app(scope, _bounded(receive), answer)
        except Exception as error:
            log.exception("a request failed", error=type(error).__name__)
            if not begun:
                broken = self._refuse(
                    request, Refusal(500, "bug", "This is a fault of ours; it is in the service's log.")
                )
                await broken(scope, receive, answer)
        finally:
            # A redirect to the sign-in is a refusal; nobody is left of a request whose reader went away.
            self._note(request, method, refusal.status if refusal else begun or 499)

    def _refusal(self, request: Request, person: Person | None) -> Refusal | None:
        """What is not let through."""
        path = request.url.path
        unknown_name = name_of(request.headers.get("host", "")) not in self._names
        if unknown_name and not (path in MONITORS and self._service.settings.login_issuer):
            known = ", ".join(sorted(self._names - set(LOOPBACK))) or "loopback names only"
            return Refusal(403, "forbidden", f"This service answers to {known}.")
        if "content-length" in request.headers and "transfer-encoding" in request.headers:
            # Two servers in a row may end such a request at two places.
            return Refusal(400, "bad_request", "This request says in two ways where it ends.")
        if path in MONITORS or path.startswith(OPEN_BELOW):
            return None
        if _announced(request) > MAX_BODY_BYTES:
            return Refusal(413, "too_large", "This request is too large.")
        return self._too_many(request, person) or (None if path in OPEN else self._not_allowed(path, person))

    def _not_allowed(self, path: str, person: Person | None) -> Refusal | None:
        if person is None:
            return Refusal(401, "unauthorized", _SIGN_IN)
        if person != LOCAL and not self._service.access.journal.ready:
            # Until the topic is read nobody knows what was revoked or ended.
            return Refusal(503, "unavailable", "The service is starting; try again in a moment.", 1)
        if path.startswith(ADMINS_BELOW) and not person.is_admin:
            return Refusal(403, "forbidden", "Only administrators may do this.")
        return None

    def _too_many(self, request: Request, person: Person | None) -> Refusal | None:
        if person == LOCAL:  # could stop the service as well
            return None
        now, address = clock.monotonic(), _address(request)
        if person is None and _tries(request) and (wait := self._attempts.wait(address, now)):
            return Refusal(429, "too_many", "Too many sign-ins that failed, from this address.", wait)
        if wait := self._requests.take(person.name if person else address, now):
            return Refusal(429, "too_many", "Too many requests.", wait)
        return None

    def _note(self, request: Request, method: str, status: int) -> None:
        path = request.url.path
        person: Person | None = request.scope["person"]  # signing in has set it
        metrics = self._service.metrics
        metrics["activity_web_requests_total"].labels(
            "api" if path.startswith("/api/") else "page", f"{status // 100}xx"
        ).inc()
        refused = status in REFUSED
        if refused:
            metrics["activity_access_refusals_total"].labels(REFUSED[status]).inc()
            if status in (401, 403) and person is None and _tries(request):
                self._attempts.take(_address(request), clock.monotonic())
        elif path in MONITORS or path.startswith(OPEN_BELOW) or path in SILENT:
            return
        if status == 401 and path in SILENT and not _tries(request):
            return
        outcome = "refused" if refused or request.scope.get("refused") else "failed" if status >= 400 else "done"
        route = request.scope.get("route")
        action = f"{method if method in _METHODS else 'OTHER'} {getattr(route, 'path', '-')}"
        self._service.access.note(
            person.name if person else "",
            action,
            path,
            outcome,
            status,
            address=_address(request),
            detail=str(request.scope.get("detail", "")),
        )


REFUSED = {401: "unauthorized", 403: "forbidden", 413: "too_large", 429: "too_many"}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SIGN_IN = (
    "Sign in first: on this machine, `activity link` prints a link that signs you in. "
    "Programs send `Authorization: Bearer` with a token."
)


def who(service: Service, request: Request) -> Person | None:
    """Who a request is from, as far as is known now."""
    access = service.access
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind:
        return (access.local(token.strip()) or access.bearer(token.strip())) if kind.lower() == "bearer" else None
    if request.url.path.startswith("/api/"):  # a cookie is sent by any site's page; a token is not
        return None
    return access.visitor(request.cookies.get(access.sessions.cookie, ""))


def person_of(request: Request) -> Person:
    """Who asks; the gate has let them in."""
    person = request.scope["person"]
    assert isinstance(person, Person)
    return person


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(k.encode(), v.encode()) for k, v in headers.items()]


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _tries(request: Request) -> bool:
    """True for what shows a secret, or begins a login: only that can be guessed at."""
    shows_key = request.url.path == "/login" and "key" in request.query_params
    return "authorization" in request.headers or shows_key or request.url.path in SIGN_IN[1:]


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdigit() else 0


def _bounded(receive: Receive) -> Receive:
    """A body that does not say its length ends where it becomes too large."""
    taken = 0

    async def next_piece() -> MutableMapping[str, Any]:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise HTTPException(413, "This request is too large.")
        return message

    return next_piece
