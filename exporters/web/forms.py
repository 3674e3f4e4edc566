"""Fields as a browser sends them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from exporters.service import Service
from pipeline.errors import RequestError

MAX_BYTES = 64 << 10
MAX_FIELDS = 200
MAX_DIGITS = 18
# The hidden field by which a form shows that it comes from a page of ours.
WORD = "word"


async def fields(request: Request) -> dict[str, str]:
    """The fields of a submitted form, the last of equal names.  Raises RequestError."""
    if "fields" in request.scope:
        return dict(request.scope["fields"])
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BYTES:
            raise RequestError("this form is too large", status=413, code="too_large")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise RequestError("this is not a form of this page", status=400) from None
    sent = request.scope["fields"] = dict(pairs)
    return sent


def genuine(service: Service) -> Any:
    """A dependency of every page's routes: a form counts only if it came from a page of the same session."""

    async def check(request: Request) -> None:
        if request.method in ("GET", "HEAD"):
            return
        person = request.scope["person"]
        word = (await fields(request)).get(WORD, "")
        if person is None or not service.access.sessions.knows(person, word):
            raise RequestError(
                "This form did not come from a page of this session. Go back, load the page again and repeat it.",
                status=403,
                code="forbidden",
            )

    return Depends(check)


def number(text: str) -> int | str:
    """What a field for a number holds; as it is, for the answer to say so, if that is none."""
    return int(text) if text.strip().isdecimal() and len(text) <= MAX_DIGITS else text
