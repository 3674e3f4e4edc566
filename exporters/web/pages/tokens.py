"""Settings → Tokens: what programs show the API; made, seen once, revoked."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from exporters.access.people import ROLES, VIEWER
from exporters.service import Service
from exporters.web.api_access import Wish, shown
from exporters.web.forms import fields, number
from exporters.web.gate import person_of
from exporters.web.pages.reports import Form
from exporters.web.views import Views

PAGE = "/settings/tokens"
LENGTHS = (7, 30, 90, 180, 366)

Fields = Annotated[dict[str, str], Depends(fields)]


def routes(service: Service, views: Views) -> APIRouter:
    pages = APIRouter(include_in_schema=False)

    def whole(request: Request, form: Form, *, status: int = 200, secret: str = "") -> Response:
        return views.page(
            request,
            "tokens.html",
            status=status,
            form=form,
            secret=secret,
            roles=ROLES,
            lengths=LENGTHS,
            tokens=[shown(service, token) for token in service.access.tokens.all()],
        )

    def initial() -> Form:
        return Form({"role": VIEWER, "days": "90"})

    @pages.get(PAGE)
    def page(request: Request) -> Response:
        return whole(request, initial())

    @pages.post(PAGE)
    def make(request: Request, sent: Fields) -> Response:
        form = Form(sent)
        try:
            wish = Wish.model_validate({"name": form["name"], "role": form["role"], "days": number(form["days"])})
        except ValidationError as error:
            form.faults = {str(f["loc"][0]): f["msg"] for f in error.errors()}
            if "name" in form.faults:
                form.faults["name"] = "Give a name of letters, digits, spaces and . @ + - _, at most 80."
            return whole(request, form, status=422)
        token, secret = service.access.give(wish.name, wish.role, days=wish.days, by=person_of(request).name)
        request.scope["detail"] = f"token {token.id} ({token.role}): {token.name}"
        return whole(request, initial(), secret=secret)

    @pages.post(f"{PAGE}/{{token_id}}/revoke")
    def revoke(request: Request, token_id: str) -> Response:
        token = service.access.revoke(token_id)
        request.scope["detail"] = f"token {token.id}: {token.name}"
        return RedirectResponse(PAGE, 303)

    return pages
