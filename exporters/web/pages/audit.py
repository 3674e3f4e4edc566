"""Settings → Audit: who asked for, was refused and downloaded what, newest first."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from exporters.service import Service
from exporters.web.api_access import AuditList, audited
from exporters.web.views import Views
from pipeline.errors import Unavailable

PAGE = "/settings/audit"
SHOWN = 100
OUTCOMES = ("done", "refused", "failed")


def routes(service: Service, views: Views) -> APIRouter:
    pages = APIRouter(include_in_schema=False)

    @pages.get(PAGE)
    def page(request: Request, who: str = "", action: str = "", outcome: str = "", after: str = "") -> Response:
        chosen = {
            "who": who[:254].strip(),
            "action": action[:200].strip(),
            "outcome": outcome if outcome in OUTCOMES else "",
        }
        problem = ""
        try:
            found = audited(service, after=after, limit=SHOWN, **chosen)
        except Unavailable as error:
            found, problem = AuditList([]), str(error)
        further = {k: v for k, v in {**chosen, "after": found.next or ""}.items() if v}
        return views.page(
            request,
            "audit.html",
            status=503 if problem else 200,
            entries=found.entries,
            chosen=chosen,
            outcomes=OUTCOMES,
            problem=problem,
            first=not after,
            further=f"{PAGE}?{urlencode(further)}" if found.next else "",
        )

    return pages
