"""What a person sets for themselves: the zone in which times are shown."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from exporters.web.forms import fields
from exporters.web.views import ZONE_COOKIE
from pipeline.errors import RequestError
from pipeline.model.windows import WindowError, zone

YEAR_SECONDS = 365 * 24 * 3600


def routes() -> APIRouter:
    pages = APIRouter(include_in_schema=False)

    @pages.post("/zone")
    def choose(sent: Annotated[dict[str, str], Depends(fields)]) -> Response:
        name = sent.get("zone", "")
        try:
            zone(name)
        except WindowError as error:
            raise RequestError(str(error)) from None
        answer = RedirectResponse(here(sent.get("back", "/")), 303)
        answer.set_cookie(ZONE_COOKIE, name, max_age=YEAR_SECONDS, samesite="lax")
        return answer

    return pages


def here(address: str) -> str:
    """An address inside this site, whatever was sent."""
    inside = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if inside else "/"
