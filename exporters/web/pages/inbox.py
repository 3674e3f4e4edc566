"""The inbox of the local catcher: what would have been mailed.  Text is shown as text; HTML only in a frame that may do nothing."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from exporters.mail.inbox import Caught, Inbox
from exporters.service import Service
from exporters.web.gate import POLICY
from exporters.web.views import Views
from pipeline.errors import RequestError

PAGE = "/inbox"
SHOWN = 100
# The frame: no script, no form, no request to anywhere; only the styles that stand in the mail itself.
FRAMED = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"


def routes(service: Service, views: Views) -> APIRouter:
    pages = APIRouter(include_in_schema=False)
    inbox = Inbox(service.settings)

    def known(id_: str) -> Caught:
        found = inbox.get(id_)
        if found is None:
            raise RequestError("There is no such mail.", status=404, code="not_found")
        return found

    @pages.get(PAGE)
    def page(request: Request) -> Response:
        if not inbox.kept:
            raise RequestError(
                "Mail is sent on by a real server here: there is no inbox. `activity up` keeps one when no ACTIVITY_SMTP_HOST is set.",
                status=404,
                code="not_found",
            )
        return views.page(request, "inbox.html", mails=inbox.newest(SHOWN))

    @pages.get(f"{PAGE}/{{mail_id}}")
    def one(request: Request, mail_id: str) -> Response:
        return views.page(request, "mail.html", mail=known(mail_id))

    @pages.get(f"{PAGE}/{{mail_id}}/formatted")
    def formatted(request: Request, mail_id: str) -> Response:
        policy = f"{POLICY}; frame-src 'self'"
        return views.page(
            request, "mail_formatted.html", mail=known(mail_id), headers={"Content-Security-Policy": policy}
        )

    @pages.get(f"{PAGE}/{{mail_id}}/html")
    def html(mail_id: str) -> Response:
        return HTMLResponse(
            known(mail_id).html, headers={"Content-Security-Policy": FRAMED, "Cache-Control": "no-store"}
        )

    return pages
