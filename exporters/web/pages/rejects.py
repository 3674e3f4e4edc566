"""Rejects: what could not be an event, why, and its bytes; administrators send it once more."""

from __future__ import annotations

import unicodedata
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from exporters.service import Service
from exporters.store import rejected
from exporters.web import cursors
from exporters.web.api_rejects import known, send_again
from exporters.web.forms import fields
from exporters.web.gate import person_of
from exporters.web.views import Views
from pipeline.errors import RequestError
from pipeline.model.events import Reason

PAGE = "/rejects"
SHOWN = 100
SHOWN_BYTES = 16 << 10
DUMPED_BYTES = 256
ROW = 16


def routes(service: Service, views: Views) -> APIRouter:
    pages = APIRouter(include_in_schema=False)

    @pages.get(PAGE)
    def page(request: Request) -> Response:
        asked = request.query_params
        reason = asked.get("reason", "")
        reason = reason if reason in set(Reason) else ""
        after = cursors.decode(asked.get("after", "")[:4000], rejected.Place)
        rows, place = rejected.page(service.store, reason=reason, after=after, limit=SHOWN)
        counts = rejected.counts(service.store)
        further = {"reason": reason, "after": cursors.encode(place) or ""}
        return views.page(
            request,
            "rejects.html",
            rejects=rows,
            counts=counts,
            total=sum(counts.values()),
            reasons={r.value: r.help for r in Reason},
            reason=reason,
            sent=asked.get("sent", ""),
            next=f"{PAGE}?{urlencode({k: v for k, v in further.items() if v})}" if place else "",
            admin=person_of(request).is_admin,
            degraded=service.unhealthy(),
        )

    @pages.post(f"{PAGE}/replay")
    def replay(sent: Annotated[dict[str, str], Depends(fields)]) -> Response:
        id_, reason = sent.get("id", ""), sent.get("reason", "")
        if not id_ and reason not in set(Reason):
            raise RequestError("Choose a reject, or a reason whose rejects are to be sent again.")
        count = send_again(service, ids=[id_] if id_ else [], reason="" if id_ else reason)
        return RedirectResponse(f"{PAGE}?{urlencode({'sent': count} | ({'reason': reason} if reason else {}))}", 303)

    @pages.get(f"{PAGE}/{{reject:path}}")
    def one(request: Request, reject: str) -> Response:
        found, value = known(service, reject)
        return views.page(
            request,
            "reject.html",
            reject=found,
            help={r.value: r.help for r in Reason}.get(found.reason, ""),
            text=shown(value[:SHOWN_BYTES]),
            cut=len(value) > SHOWN_BYTES,
            dump=dump(value[:DUMPED_BYTES]),
            admin=person_of(request).is_admin,
            back=f"{PAGE}?{urlencode({'reason': found.reason})}",
        )

    return pages


def shown(value: bytes) -> str:
    """Bytes as text in which nothing is invisible or turns the reading direction: whatever is not plain is written as its code."""
    text = value.decode("utf-8", "backslashreplace")
    return "".join(c if c == "\n" or unicodedata.category(c)[0] not in "CZ" or c == " " else _code(c) for c in text)


def dump(value: bytes) -> str:
    """The classic form: offset, hexadecimal, ASCII."""
    lines = []
    for start in range(0, len(value), ROW):
        part = value[start : start + ROW]
        ascii_ = "".join(chr(b) if 32 <= b < 127 else "." for b in part)
        lines.append(f"{start:04x}  {part.hex(' '):<{ROW * 3 - 1}}  {ascii_}")
    return "\n".join(lines)


def _code(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
