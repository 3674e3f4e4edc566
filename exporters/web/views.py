"""Templates and what every one of them gets: the person's zone, the words, the address of the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from exporters.access.people import Person
from exporters.mail.inbox import Inbox
from exporters.service import Service
from exporters.web import words
from exporters.web.forms import WORD
from exporters.web.gate import ADMINS_BELOW
from pipeline import clock
from pipeline.model.windows import WindowError
from pipeline.model.windows import zone as known_zone

TEMPLATES = Path(__file__).with_name("templates")
ZONE_COOKIE = "zone"
INBOX = "/inbox"  # only where mail is caught
NAVIGATION = (
    ("/overview", "Overview"),
    ("/users", "Users"),
    ("/sign-ins", "Sign-ins"),
    ("/rejects", "Rejects"),
    ("/settings/reports", "Reports"),
    ("/settings/schedules", "Schedules"),
    ("/settings/sync", "S3 sync"),
    ("/settings/tokens", "Tokens"),
    ("/settings/audit", "Audit"),
    (INBOX, "Inbox"),
)


class Views:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._inbox = Inbox(service.settings)
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "size": words.size,
            "count": words.count,
            "length": words.length,
            "instant": words.instant,
            "field_type": words.field_type,
            "user_address": words.user_address,
        }
        self._templates.globals |= {"at": words.at, "written": words.written, "zone_options": words.zone_options}

    def page(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        **context: Any,
    ) -> HTMLResponse:
        return self.answer(self.text(request, template, **context), status=status, headers=headers)

    def answer(self, text: str, *, status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
        return HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store"} | (headers or {}))

    def text(self, request: Request, template: str, **context: Any) -> str:
        person: Person | None = request.scope.get("person")
        return self._templates.get_template(template).render(
            word=lambda: self._word(person),
            path=request.url.path,
            here=address_of(request),
            zone=zone_of(request),
            now_ms=clock.now_ms(),
            person=person,
            navigation=[
                (a, n)
                for a, n in NAVIGATION
                if person and (person.is_admin or not a.startswith(ADMINS_BELOW)) and (a != INBOX or self._inbox.kept)
            ],
            **context,
        )

    def _word(self, person: Person | None) -> Markup:
        """The hidden field that a form needs (see exporters/access/sessions.py)."""
        word = self._service.access.sessions.word(person) if person else ""
        return Markup('<input type="hidden" name="{}" value="{}">').format(WORD, word)

    def error(self, request: Request, status: int, message: str, *, headers: dict[str, str] | None) -> HTMLResponse:
        return self.page(request, "error.html", status=status, headers=headers, status_code=status, message=message)


def address_of(request: Request) -> str:
    """Path and query as they were asked for, encoded: the way back to a page."""
    path = quote(request.scope["raw_path"], safe="/%:@!$&'()*+,;=~")
    return f"{path}?{request.url.query}" if request.url.query else path


def page_of(request: Request) -> str:
    """Path and query of the page that asks by itself for a part of it."""
    found = re.match(r"https?://[^/]+(/[^#]*)", request.headers.get("hx-current-url", ""))
    return found[1] if found else "/"


def zone_of(request: Request) -> str:
    """The zone the person chose or their browser is in; UTC until it says so."""
    name = request.cookies.get(ZONE_COOKIE, "UTC")
    try:
        known_zone(name)
    except WindowError:
        return "UTC"
    return name
